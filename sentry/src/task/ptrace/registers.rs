// SPDX-License-Identifier: Apache-2.0
//! What `struct user` and the register sets show of a tracee, and take.

use abi::{Errno, UserAddr};
use platform::{
    HostCallError, Registers,
    registers::{USER_CS, USER_EFLAGS, USER_SS},
};
use zerocopy::{FromBytes, IntoBytes};

use crate::{mm::TASK_SIZE, task::Current};

/// Offset of `u_debugreg` in `struct user`.
pub const DEBUG_REGISTERS: u64 = 848;
/// Bytes of `struct user`.
const USER_SIZE: u64 = 928;
/// Flags that a tracer may set: the nested-task flag as well.
const FLAGS: u64 = USER_EFLAGS | 0x4000;
/// Bytes of the legacy part of the extended state.
const LEGACY: usize = 512;
/// The software-reserved bytes there.
const SOFTWARE: usize = 464;

/// The register sets that `PTRACE_GETREGSET` knows, by the name of their note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterSet {
    /// `NT_PRSTATUS`.
    General,
    /// `NT_PRFPREG`.
    Legacy,
    /// `NT_X86_XSTATE`.
    Extended,
}

impl RegisterSet {
    /// By the number of its note.
    pub fn of_note(note: u64) -> Option<RegisterSet> {
        match note {
            1 => Some(RegisterSet::General),
            2 => Some(RegisterSet::Legacy),
            0x202 => Some(RegisterSet::Extended),
            _ => None,
        }
    }

    /// The unit in which parts of it may be asked for.
    pub fn unit(self) -> usize {
        match self {
            RegisterSet::General | RegisterSet::Extended => 8,
            RegisterSet::Legacy => LEGACY,
        }
    }
}

impl Current {
    /// A register set in full.
    pub fn register_set(&mut self, set: RegisterSet) -> Result<Vec<u8>, Errno> {
        if set == RegisterSet::General {
            return Ok(self.registers.as_bytes().to_vec());
        }
        let mut state = self.context.extended_state().map_err(|_| Errno::ESRCH)?;
        let features = state.get(SOFTWARE + 8..SOFTWARE + 16).map(<[u8]>::to_vec);
        if let Some(software) = state.get_mut(SOFTWARE..LEGACY) {
            software.fill(0);
        }
        if set == RegisterSet::Legacy {
            state.truncate(LEGACY);
        } else if let (Some(word), Some(features)) =
            (state.get_mut(SOFTWARE..SOFTWARE + 8), features)
        {
            // What debuggers read instead of XCR0.
            word.copy_from_slice(&features);
        }
        Ok(state)
    }

    /// Sets the first bytes of a register set.
    pub fn set_register_set(&mut self, set: RegisterSet, bytes: &[u8]) -> Result<(), Errno> {
        if set == RegisterSet::General {
            let mut registers = self.registers;
            for (to, from) in registers.as_mut_bytes().iter_mut().zip(bytes) {
                *to = *from;
            }
            return self.set_general(registers);
        }
        let mut state = self.context.extended_state().map_err(|_| Errno::ESRCH)?;
        let own: Vec<u8> = state.get(SOFTWARE..LEGACY).unwrap_or_default().to_vec();
        if set == RegisterSet::Extended && bytes.len() != state.len() {
            // `xstateregs_set`: all of it or nothing.
            return Err(Errno::EFAULT);
        }
        let most = if set == RegisterSet::Legacy { LEGACY } else { state.len() };
        for (to, from) in state.iter_mut().take(most).zip(bytes) {
            *to = *from;
        }
        if let Some(software) = state.get_mut(SOFTWARE..LEGACY) {
            software.copy_from_slice(&own);
        }
        if set == RegisterSet::Legacy
            && let Some(present) = state.get_mut(LEGACY)
        {
            // What was set is not in its initial state any more (`xfpregs_set`).
            *present |= 3;
        }
        self.context.set_extended_state(&state).map_err(|error| match error {
            HostCallError::Refused(errno) => errno,
            HostCallError::Lost(_) => Errno::ESRCH,
        })
    }

    /// The word at `offset` of `struct user`.
    pub fn peek_user(&mut self, offset: u64) -> Result<u64, Errno> {
        let at = user_offset(offset)?;
        let bytes = self.registers.as_bytes();
        if let Some((word, _)) = bytes.get(at..).and_then(|rest| u64::read_from_prefix(rest).ok()) {
            return Ok(word);
        }
        match offset.checked_sub(DEBUG_REGISTERS).map(|past| past / 8) {
            Some(index @ 0..=3) => {
                let addresses = self.task.trace().lock().debug_addresses;
                Ok(addresses.get(abi::num::to_usize(index)).copied().unwrap_or(0))
            }
            _ => Ok(0),
        }
    }

    /// Sets the word at `offset` of `struct user`.
    ///
    /// DIFFERS: there are no debug registers to be had: addresses are kept, but to switch one on is `ENOSPC`,
    /// as where all are taken.
    pub fn poke_user(&mut self, offset: u64, word: u64) -> Result<(), Errno> {
        let at = user_offset(offset)?;
        let mut registers = self.registers;
        if let Some(slot) = registers.as_mut_bytes().get_mut(at..at + 8) {
            slot.copy_from_slice(&word.to_ne_bytes());
            return self.set_general(registers);
        }
        /// `DR7`: what is on.
        const ENABLED: u64 = 0xff;
        match offset.checked_sub(DEBUG_REGISTERS).map(|past| past / 8) {
            Some(index @ 0..=3) => {
                if word >= TASK_SIZE {
                    return Err(Errno::EIO);
                }
                let mut trace = self.task.trace().lock();
                if let Some(slot) = trace.debug_addresses.get_mut(abi::num::to_usize(index)) {
                    *slot = word;
                }
                Ok(())
            }
            Some(4 | 5) => Err(Errno::EIO),
            Some(6) => Ok(()),
            Some(7) if word & ENABLED == 0 => Ok(()),
            Some(7) => Err(Errno::ENOSPC),
            _ => Err(Errno::EIO),
        }
    }

    /// Registers from a tracer, checked as `putreg` checks them one by one.
    fn set_general(&mut self, mut new: Registers) -> Result<(), Errno> {
        let old = self.registers;
        // Selectors may only name user segments; of these, we have those that Linux starts programs with.
        let is_user = |selector: u64| selector & 0xffff == 0 || selector & 3 == 3;
        let all = [new.cs, new.ss, new.ds, new.es, new.fs, new.gs];
        if !all.into_iter().all(is_user) || new.cs & 0xffff == 0 || new.ss & 0xffff == 0 {
            return Err(Errno::EIO);
        }
        if new.fs_base >= TASK_SIZE || new.gs_base >= TASK_SIZE {
            return Err(Errno::EIO);
        }
        (new.cs, new.ss) = (USER_CS, USER_SS);
        (new.ds, new.es, new.fs, new.gs) = (old.ds, old.es, old.fs, old.gs);
        new.eflags = (old.eflags & !FLAGS) | (new.eflags & FLAGS);
        self.registers = new;
        Ok(())
    }

    /// `PTRACE_PEEKDATA`.
    pub fn peek(&mut self, addr: UserAddr) -> Result<u64, Errno> {
        let mut word = [0; 8];
        let got = self.context.read(addr, &mut word);
        if got == word.len() { Ok(u64::from_ne_bytes(word)) } else { Err(Errno::EIO) }
    }

    /// `PTRACE_POKEDATA`: also through pages that the program itself may not write.
    pub fn poke(&mut self, addr: UserAddr, word: u64) -> Result<(), Errno> {
        let bytes = word.to_ne_bytes();
        if self.context.poke(addr, &bytes) == bytes.len() { Ok(()) } else { Err(Errno::EIO) }
    }
}

/// Words of `struct user` are asked for by their offset.
fn user_offset(offset: u64) -> Result<usize, Errno> {
    if !offset.is_multiple_of(8) || offset >= USER_SIZE {
        return Err(Errno::EIO);
    }
    Ok(abi::num::to_usize(offset))
}
