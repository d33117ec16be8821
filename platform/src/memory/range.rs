// SPDX-License-Identifier: Apache-2.0
//! Who lies where in a stub's address space.
//!
//! The guest has everything from [`USER_START`] to the end that [`layout`] finds; above are the
//! stub, the channels and the host's vDSO.

use std::{fs, io, sync::OnceLock};

use abi::{PAGE_SIZE, UserAddr, UserRange};

use crate::{Vdso, sys};

/// The lowest address that the guest may use: the host's usual `vm.mmap_min_addr`.
pub(crate) const USER_START: u64 = 0x1_0000;
/// Where the guest's addresses end when the vDSO lies above, which it nearly always does.
const USER_END: u64 = 0x7f00_0000_0000;
/// The next try: below any vDSO that stands near the top.
const USER_END_LOW: u64 = 0x7e00_0000_0000;
/// The end of user space with four-level page tables.
pub(crate) const TASK_END: u64 = 0x7fff_ffff_f000;

/// What is decided once for all stubs of a platform.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) user: UserRange,
    pub(crate) vdso: Option<Vdso>,
}

/// Finds the host's vDSO and with it the guest's range.
pub(crate) fn layout() -> Layout {
    let vdso = *VDSO.get_or_init(find_vdso);
    let end = match vdso {
        Some(vdso) if vdso.data.start.raw() < USER_END => USER_END_LOW,
        _ => USER_END,
    };
    let user = UserRange { start: UserAddr(USER_START), end: UserAddr(end) };
    // A vDSO among the guest's own addresses (an unlimited stack selects that layout) is given up.
    let vdso = vdso.filter(|vdso| vdso.data.start.raw() >= end);
    if vdso.is_none() {
        tracing::warn!("the host's vDSO cannot be kept: reading the time will cost guests a call");
    }
    Layout { user, vdso }
}

static VDSO: OnceLock<Option<Vdso>> = OnceLock::new();

/// Looks where the vDSO is, which only /proc tells: a jailed sentry has none.
pub(crate) fn prepare() {
    VDSO.get_or_init(find_vdso);
}

fn find_vdso() -> Option<Vdso> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let (mut data, mut code): (Option<UserRange>, Option<UserRange>) = (None, None);
    for line in maps.lines() {
        let Some((range, name)) = parse(line) else { continue };
        match name {
            "[vdso]" => code = Some(range),
            name if name.starts_with("[vvar") => {
                data = Some(match data {
                    Some(before) => UserRange { start: before.start, end: range.end },
                    None => range,
                });
            }
            _ => {}
        }
    }
    let (data, code) = (data?, code?);
    (data.end <= code.start).then_some(Vdso { data, code })
}

fn parse(line: &str) -> Option<(UserRange, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let start = UserAddr(u64::from_str_radix(start, 16).ok()?);
    let end = UserAddr(u64::from_str_radix(end, 16).ok()?);
    Some((UserRange { start, end }, rest.split_whitespace().last()?))
}

/// A random address, aligned to `align` (a power of two), for `len` bytes between `layout`'s guest
/// range and the end of user space. From the host's CSPRNG.
pub(crate) fn place(layout: &Layout, len: u64, align: u64) -> io::Result<u64> {
    let start = layout.user.end.raw().max(USER_END);
    loop {
        let mut bytes = [0; 8];
        sys::random(&mut bytes)?;
        let span = TASK_END - start - len;
        let addr = (start + u64::from_le_bytes(bytes) % span) & !(align - 1);
        let range = UserRange { start: UserAddr(addr), end: UserAddr(addr + len) };
        let clashes = layout.vdso.is_some_and(|vdso| {
            let all = UserRange { start: vdso.data.start, end: vdso.code.end };
            all.intersect(range).is_some()
        });
        if addr >= start && !clashes {
            return Ok(addr);
        }
    }
}

/// What lies between `kept` ranges, from 0 to the end of user space.
pub(crate) fn gaps(mut kept: Vec<UserRange>) -> Vec<UserRange> {
    kept.sort_by_key(|range| range.start);
    let mut gaps = Vec::new();
    let mut at = UserAddr(0);
    for range in kept {
        if at < range.start {
            gaps.push(UserRange { start: at, end: range.start });
        }
        at = at.max(range.end);
    }
    if at.raw() < TASK_END {
        gaps.push(UserRange { start: at, end: UserAddr(TASK_END) });
    }
    gaps
}

/// `len` rounded up to whole pages.
pub(crate) const fn pages(len: u64) -> u64 {
    len.div_ceil(PAGE_SIZE) * PAGE_SIZE
}
