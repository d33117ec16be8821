// SPDX-License-Identifier: Apache-2.0
//! NUMA policy, on a machine of one node: checked as on Linux, and without effect.

use abi::{
    Errno, PAGE_SIZE, Pid, UserAddr, UserIn, UserOut,
    cred::Capabilities,
    mempolicy::{
        MPOL_DEFAULT, MPOL_F_ADDR, MPOL_F_MEMS_ALLOWED, MPOL_F_NODE, MPOL_F_RELATIVE_NODES,
        MPOL_F_STATIC_NODES, MPOL_LOCAL, MPOL_PREFERRED, MPOL_WEIGHTED_INTERLEAVE, MemoryPolicy,
    },
    num::{to_u64, to_usize},
};
use sentry::{kernel::SysResult, task::Current};

use crate::ids;

/// The nodes that there are: node 0.
const NODES: u64 = 1;
/// Flags in the policy's number.
const MODE_FLAGS: i32 = MPOL_F_STATIC_NODES.cast_signed() | MPOL_F_RELATIVE_NODES.cast_signed();

/// get_nodes(): the set of nodes that a mask names.
fn read_nodes(cx: &mut Current, mask: UserIn<u64>, maxnode: u64) -> Result<u64, Errno> {
    // One bit less than is said: an old mistake that programs rely on.
    let bits = maxnode.wrapping_sub(1);
    if bits == 0 || mask.addr().is_null() {
        return Ok(0);
    }
    if bits > PAGE_SIZE * 8 {
        return Err(Errno::EINVAL);
    }
    let words = cx.read_slice(mask, to_usize(bits.div_ceil(64)))?;
    let last_bits = bits % 64;
    let mut nodes = 0;
    for (index, word) in words.iter().enumerate() {
        let is_last = to_u64(index) + 1 == to_u64(words.len());
        let word = if is_last && last_bits != 0 { word & ((1 << last_bits) - 1) } else { *word };
        if index == 0 {
            nodes = word;
        } else if word != 0 {
            return Err(Errno::EINVAL);
        }
    }
    Ok(nodes)
}

/// sanitize_mpol_flags() and mpol_new().
fn check_policy(mode: MemoryPolicy, nodes: u64) -> Result<(), Errno> {
    let (flags, mode) = (mode.0 & MODE_FLAGS, mode.0 & !MODE_FLAGS);
    if !(0..=MPOL_WEIGHTED_INTERLEAVE).contains(&mode) || flags == MODE_FLAGS {
        return Err(Errno::EINVAL);
    }
    let is_right = match mode {
        MPOL_DEFAULT => nodes == 0,
        MPOL_PREFERRED if nodes == 0 => flags == 0,
        MPOL_LOCAL => nodes == 0 && flags == 0,
        _ => nodes & NODES != 0,
    };
    if is_right { Ok(()) } else { Err(Errno::EINVAL) }
}

/// set_mempolicy(2)
pub fn set_mempolicy(
    cx: &mut Current,
    mode: MemoryPolicy,
    nodemask: UserIn<u64>,
    maxnode: u64,
) -> SysResult {
    let nodes = read_nodes(cx, nodemask, maxnode)?;
    Ok(check_policy(mode, nodes)?)
}

/// mbind(2)
pub fn mbind(
    cx: &mut Current,
    addr: UserAddr,
    len: usize,
    mode: MemoryPolicy,
    nodemask: UserIn<u64>,
    maxnode: u64,
    flags: u32,
) -> SysResult {
    /// `MPOL_MF_STRICT`, `MPOL_MF_MOVE`, `MPOL_MF_MOVE_ALL`.
    const KNOWN: u32 = 7;
    const MOVE_ALL: u32 = 4;
    let nodes = read_nodes(cx, nodemask, maxnode)?;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & MOVE_ALL != 0 && !cx.creds().has(Capabilities::SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    if !addr.is_page_aligned() {
        return Err(Errno::EINVAL.into());
    }
    let end = addr.raw().checked_add(to_u64(len)).and_then(|end| UserAddr(end).page_ceil());
    let end = end.ok_or(Errno::EINVAL)?;
    check_policy(mode, nodes)?;
    if end == addr || cx.mm().is_mapped(addr, end) { Ok(()) } else { Err(Errno::EFAULT.into()) }
}

/// get_mempolicy(2)
pub fn get_mempolicy(
    cx: &mut Current,
    mode: UserOut<i32>,
    nodemask: UserOut<u64>,
    maxnode: u64,
    addr: UserAddr,
    flags: u32,
) -> SysResult {
    let asks_allowed = flags & MPOL_F_MEMS_ALLOWED != 0;
    let asks_addr = flags & MPOL_F_ADDR != 0;
    if (nodemask.nullable().is_some() && maxnode < NODES)
        || flags & !(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED) != 0
        || (asks_allowed && flags != MPOL_F_MEMS_ALLOWED)
        || (!asks_addr && (!addr.is_null() || flags & MPOL_F_NODE != 0))
    {
        return Err(Errno::EINVAL.into());
    }
    if asks_addr && cx.mm().protection_at(addr).is_none() {
        return Err(Errno::EFAULT.into());
    }
    // With MPOL_F_NODE the answer is the node of the page: 0 as well.
    if let Some(mode) = mode.nullable() {
        cx.write(mode, &MPOL_DEFAULT)?;
    }
    if let Some(mask) = nodemask.nullable() {
        let words = to_usize(maxnode.saturating_sub(1).min(PAGE_SIZE * 8).div_ceil(64));
        let mut nodes = vec![0_u64; words];
        if let Some(first) = nodes.first_mut() {
            *first = if asks_allowed { NODES } else { 0 };
        }
        cx.write_slice(mask, &nodes)?;
    }
    Ok(())
}

/// migrate_pages(2): everything is on node 0 already.
pub fn migrate_pages(
    cx: &mut Current,
    pid: Pid,
    maxnode: u64,
    old_nodes: UserIn<u64>,
    new_nodes: UserIn<u64>,
) -> SysResult<u64> {
    read_nodes(cx, old_nodes, maxnode)?;
    let new = read_nodes(cx, new_nodes, maxnode)?;
    check_target(cx, pid)?;
    if new & NODES == 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}

fn check_target(cx: &Current, pid: Pid) -> Result<(), Errno> {
    if pid.0 == 0 {
        return Ok(());
    }
    let target = cx.kernel().tasks().task(pid.0).ok_or(Errno::ESRCH)?;
    ids::check_trace(cx, &target)
}

/// move_pages(2): tells where pages are, which is node 0.
pub fn move_pages(
    cx: &mut Current,
    pid: Pid,
    count: u64,
    pages: UserIn<u64>,
    nodes: UserIn<i32>,
    status: UserOut<i32>,
    flags: u32,
) -> SysResult<u64> {
    /// `MPOL_MF_MOVE`, `MPOL_MF_MOVE_ALL`.
    const KNOWN: u32 = 6;
    const MOVE_ALL: u32 = 4;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & MOVE_ALL != 0 && !cx.creds().has(Capabilities::SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    check_target(cx, pid)?;
    let mm = match pid.0 {
        0 => Some(cx.mm().clone()),
        pid => cx.kernel().tasks().task(pid).and_then(|task| task.mm()),
    };
    let mm = mm.ok_or(Errno::ESRCH)?;
    for index in 0..to_usize(count) {
        let page = cx.read(pages.element(index)?)?;
        if nodes.nullable().is_some() {
            match cx.read(nodes.element(index)?)? {
                0 => {}
                _ => return Err(Errno::ENODEV.into()),
            }
        }
        let is_there = mm.protection_at(UserAddr(page)).is_some();
        let answer = if is_there { 0 } else { -Errno::EFAULT.raw() };
        cx.write(status.element(index)?, &answer)?;
        if cx.sleeper().is_interrupted() {
            break;
        }
    }
    Ok(0)
}

/// set_mempolicy_home_node(2)
pub fn set_mempolicy_home_node(
    _cx: &mut Current,
    addr: UserAddr,
    len: usize,
    home_node: u64,
    flags: u64,
) -> SysResult {
    if !addr.is_page_aligned() || flags != 0 || home_node != 0 {
        return Err(Errno::EINVAL.into());
    }
    // Only ranges with a policy to which a home node can be given count, and none has one.
    match addr.raw().checked_add(to_u64(len)) {
        Some(end) if end == addr.raw() => Ok(()),
        Some(_) => Err(Errno::ENOENT.into()),
        None => Err(Errno::EINVAL.into()),
    }
}
