// SPDX-License-Identifier: Apache-2.0
//! The extended state (x87, SSE, AVX …) as signal frames carry it: XSAVE's standard format.

use crate::{Error, host::cpu, memory::channel::Channel, systrap::frame::Frame};

/// The legacy part, which FXSAVE knew.
const LEGACY: usize = 512;
/// Legacy part and header.
const WITH_HEADER: usize = 576;
/// The software-reserved bytes of the legacy part.
const SOFTWARE: usize = 464;
/// In them, at their start: the kernel's word that an XSAVE area follows.
const MAGIC1: u32 = 0x4650_5853;
/// Behind the XSAVE area.
const MAGIC2_SIZE: usize = 4;
/// In protection keys' register: all keys but 0 deny access. Linux's `init_pkru_value`.
const INITIAL_PKRU: u32 = 0x5555_5554;

/// What the host's frames look like. Taken from the zygote's, which no guest has touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateLayout {
    size: usize,
    features: u64,
    software: [u8; 48],
    mxcsr_mask: u32,
}

impl StateLayout {
    /// Reads it from a trusted frame.
    pub(crate) fn of(channel: &Channel, frame: Frame) -> Result<StateLayout, Error> {
        let mut legacy = [0; LEGACY];
        let at = frame.state(channel, LEGACY)?;
        channel.read(at, &mut legacy);
        let layout = StateLayout::parse(&legacy);
        frame.state(channel, layout.frame_size())?;
        Ok(layout)
    }

    /// From a legacy area with its software-reserved bytes.
    fn parse(legacy: &[u8; LEGACY]) -> StateLayout {
        let mut software = [0; 48];
        software.copy_from_slice(&legacy[SOFTWARE..]);
        let (size, features) = if word(legacy, SOFTWARE) == MAGIC1 {
            let size = usize::try_from(word(legacy, SOFTWARE + 16)).unwrap_or(0);
            (size.max(WITH_HEADER), long(legacy, SOFTWARE + 8))
        } else {
            (LEGACY, 3)
        };
        let mask = word(legacy, 28);
        StateLayout { size, features, software, mxcsr_mask: if mask == 0 { 0xffbf } else { mask } }
    }

    /// Bytes of state.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Bytes that a frame has for it.
    pub(crate) fn frame_size(&self) -> usize {
        self.size + MAGIC2_SIZE
    }

    /// A new program's state.
    pub(crate) fn initial(&self) -> Vec<u8> {
        let mut state = vec![0; self.size];
        put(&mut state, 0, &0x37f_u16.to_le_bytes());
        put(&mut state, 24, &0x1f80_u32.to_le_bytes());
        put(&mut state, 28, &self.mxcsr_mask.to_le_bytes());
        put(&mut state, SOFTWARE, &self.software);
        if let Some(offset) = cpu::pkru_offset()
            && self.features & 1 << 9 != 0
            && offset + 8 <= self.size
        {
            put(&mut state, offset, &INITIAL_PKRU.to_le_bytes());
            put(&mut state, LEGACY, &(1_u64 << 9).to_le_bytes());
        }
        state
    }

    /// Puts the host's own words about the area back into `state`, which a guest may have changed.
    pub(crate) fn sign(&self, state: &mut [u8]) {
        put(state, SOFTWARE, &self.software);
    }

    /// Makes `state`, which came from a guest, one that the kernel will take; `None` when that would
    /// mean to change its meaning. As `fpu__restore_sig`: without the magic only the legacy part
    /// counts.
    pub(crate) fn accept(&self, state: &[u8]) -> Option<Vec<u8>> {
        if state.len() < LEGACY || word(state, 24) & !self.mxcsr_mask != 0 {
            return None;
        }
        let size = usize::try_from(word(state, SOFTWARE + 16)).ok()?;
        let extended = word(state, SOFTWARE) == MAGIC1
            && (WITH_HEADER..=self.size).contains(&size)
            && size <= state.len()
            && self.size >= WITH_HEADER;
        let mut accepted = self.initial();
        if extended {
            let wanted = long(state, SOFTWARE + 8);
            let present = long(state, LEGACY);
            // xcomp_bv and what XRSTOR wants to be zero behind it. It looks no further.
            let reserved = state.get(LEGACY + 8..LEGACY + 24)?.iter().any(|byte| *byte != 0);
            if present & !self.features != 0 || reserved {
                return None;
            }
            put(&mut accepted, 0, state.get(..size)?);
            put(&mut accepted, LEGACY, &(present & (wanted | 3)).to_le_bytes());
            put(&mut accepted, LEGACY + 24, &[0; WITH_HEADER - LEGACY - 24]);
        } else {
            put(&mut accepted, 0, state.get(..LEGACY)?);
            if self.size >= WITH_HEADER {
                let present = long(&accepted, LEGACY) | 3;
                put(&mut accepted, LEGACY, &present.to_le_bytes());
            }
        }
        put(&mut accepted, 28, &self.mxcsr_mask.to_le_bytes());
        put(&mut accepted, SOFTWARE, &self.software);
        Some(accepted)
    }
}

fn put(state: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = state.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |eight| u64::from_le_bytes(*eight))
}
