// SPDX-License-Identifier: Apache-2.0
//! The lesser calls on memory: sealing, keys, policies, barriers, other processes' memory.
//!
//! Covers: mseal, pkey_alloc, pkey_free, pkey_mprotect, membarrier, remap_file_pages.
//! Covers: set_mempolicy, get_mempolicy, mbind, migrate_pages, move_pages, set_mempolicy_home_node.
//! Covers: process_vm_readv, process_vm_writev, process_madvise, process_mrelease.

use crate::kit;

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const ANON: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const PAGE: usize = 4096;

pub fn sealing() {
    let map = kit::map(2 * PAGE, RW, ANON, -1);
    show!("flags", sys!(mseal, map, PAGE, 1));
    show!("unaligned", sys!(mseal, map as usize + 1, PAGE, 0));
    show!("hole", sys!(mseal, PAGE * 16, PAGE, 0));
    show!("seal", sys!(mseal, map, PAGE, 0));
    show!("again", sys!(mseal, map, PAGE, 0));
    show!("unmap", sys!(munmap, map, PAGE));
    show!("protect", sys!(mprotect, map, PAGE, 1));
    show!("over", sys!(mmap, map, PAGE, RW, ANON | libc::MAP_FIXED, -1, 0));
    show!("move", sys!(mremap, map, PAGE, 4 * PAGE, 1, 0));
    show!("use", unsafe {
        map.write_volatile(3);
        map.read_volatile()
    });
    show!("the rest", sys!(munmap, map as usize + PAGE, PAGE));
}

pub fn keys() {
    let map = kit::map(PAGE, RW, ANON, -1);
    show!("no key", sys!(pkey_mprotect, map, PAGE, 1, -1));
    show!("never given", sys!(pkey_mprotect, map, PAGE, 1, 14));
    show!("flags", sys!(pkey_alloc, 1, 0));
    show!("rights", sys!(pkey_alloc, 0, 0x10));
    show!("free", sys!(pkey_free, 14));
}

pub fn policies() {
    let map = kit::map(PAGE, RW, ANON, -1);
    let (mut mode, mut nodes) = (7i32, 7u64);
    show!("default", sys!(get_mempolicy, &raw mut mode, &raw mut nodes, 64, 0, 0));
    show!("what", format!("{mode} {nodes}"));
    show!("flags", sys!(get_mempolicy, 0, 0, 0, 0, 0x10));
    show!("address alone", sys!(get_mempolicy, &raw mut mode, 0, 0, map, 0));
    show!("mode", sys!(set_mempolicy, 99, 0, 0));
    show!("default with nodes", sys!(set_mempolicy, 0, &raw const nodes, 0));
    let (first, none) = (1u64, 0u64);
    show!("bind", sys!(set_mempolicy, 2, &raw const first, 64));
    show!("bind to nothing", sys!(set_mempolicy, 2, &raw const none, 64));
    show!("back", sys!(set_mempolicy, 0, 0, 0));
    show!("mbind", sys!(mbind, map, PAGE, 2, &raw const first, 64, 0));
    show!("mbind flags", sys!(mbind, map, PAGE, 2, &raw const first, 64, 0x100));
    show!("mbind unaligned", sys!(mbind, map as usize + 1, PAGE, 2, &raw const first, 64, 0));
    show!("mbind hole", sys!(mbind, PAGE * 16, PAGE, 2, &raw const first, 64, 0));
    show!("migrate", sys!(migrate_pages, 0, 64, &raw const first, &raw const first));
    show!("nobody", sys!(migrate_pages, 4_000_000, 64, &raw const first, &raw const first));
    unsafe { map.write_volatile(1) };
    let (pages, mut status) = ([map as u64, 4096 * 16], [9i32; 2]);
    show!("where", sys!(move_pages, 0, 2, pages.as_ptr(), 0, status.as_mut_ptr(), 0));
    show!("there", status[0]);
    show!("flags", sys!(move_pages, 0, 0, 0, 0, 0, 1));
    show!("home", sys!(set_mempolicy_home_node, map as usize + 1, PAGE, 0, 0));
}

pub fn barriers() {
    const GLOBAL: i32 = 1;
    const PRIVATE: i32 = 8;
    const REGISTER: i32 = 16;
    let query = sys!(membarrier, 0, 0, 0).ok();
    show!("known", query & i64::from(GLOBAL | PRIVATE | REGISTER));
    show!("unregistered", sys!(membarrier, PRIVATE, 0, 0));
    show!("register", sys!(membarrier, REGISTER, 0, 0));
    show!("private", sys!(membarrier, PRIVATE, 0, 0));
    show!("unknown", sys!(membarrier, 1 << 20, 0, 0));
    show!("flags", sys!(membarrier, PRIVATE, 2, 0));
}

pub fn other_memory() {
    // Two pages that the compiler believes nothing about.
    let (mine, theirs) = (kit::map(PAGE, RW, ANON, -1), kit::map(PAGE, RW, ANON, -1));
    let text = |at: *mut u8| unsafe { at.cast::<[u8; 4]>().read_volatile() };
    unsafe {
        mine.copy_from(b"mine".as_ptr(), 4);
        theirs.copy_from(b"theirs".as_ptr(), 6);
    }
    let local = |len: usize| [mine as usize, len];
    let remote = |len: usize| [theirs as usize, len];
    let pid = sys!(getpid).0;
    let read = |pid: i64, local: [usize; 2], remote: [usize; 2], flags: usize| {
        sys!(process_vm_readv, pid, local.as_ptr(), 1, remote.as_ptr(), 1, flags)
    };
    show!("shorter", read(pid, local(4), remote(3), 0));
    show!("bytes", text(mine) == *b"thee");
    show!("flags", read(pid, local(4), remote(4), 1));
    show!("nobody", read(4_000_000, local(4), remote(4), 0));
    show!("bad remote", read(pid, local(4), [8, 4], 0));
    show!("bad local", read(pid, [8, 4], remote(4), 0));
    show!(
        "too many",
        sys!(process_vm_readv, pid, local(4).as_ptr(), 1025, remote(4).as_ptr(), 1, 0)
    );
    let page = kit::map(2 * PAGE, RW, ANON, -1);
    sys!(munmap, page as usize + PAGE, PAGE).ok();
    let at_end = [page as usize + PAGE - 2, 4];
    show!("partly", sys!(process_vm_writev, pid, local(4).as_ptr(), 1, at_end.as_ptr(), 1, 0));
    let child = kit::fork(|| {
        kit::sleep_ms(5_000);
        0
    });
    let to = [page as usize, 4];
    show!("child", sys!(process_vm_writev, child, local(4).as_ptr(), 1, to.as_ptr(), 1, 0));
    let seen = kit::map(PAGE, RW, ANON, -1);
    let back = [seen as usize, 4];
    show!("from it", sys!(process_vm_readv, child, back.as_ptr(), 1, to.as_ptr(), 1, 0));
    show!("bytes", text(seen) == text(mine));
    show!("not mine", unsafe { page.read_volatile() });
    let pidfd = sys!(pidfd_open, child, 0).fd();
    show!("alive", sys!(process_mrelease, pidfd, 0));
    show!("flags", sys!(process_mrelease, pidfd, 1));
    sys!(kill, child, 9).ok();
    kit::wait_for(child);
    let own = sys!(pidfd_open, pid, 0).fd();
    let range = [page as usize, PAGE];
    show!("advise", sys!(process_madvise, own, range.as_ptr(), 1, libc::MADV_COLD, 0));
    show!("advise flags", sys!(process_madvise, own, range.as_ptr(), 1, libc::MADV_COLD, 1));
    show!("advise closed", sys!(process_madvise, 99, range.as_ptr(), 1, libc::MADV_COLD, 0));
}

pub fn nonlinear() {
    let bytes: Vec<u8> = (0..3).flat_map(|page| vec![b'a' + page; PAGE]).collect();
    let fd = kit::file("f", &bytes);
    let map = kit::map(3 * PAGE, RW, libc::MAP_SHARED, fd);
    show!("remap", sys!(remap_file_pages, map, PAGE, 0, 2, 0));
    show!("first page", unsafe { map.read_volatile() });
    show!("prot", sys!(remap_file_pages, map, PAGE, 1, 2, 0));
    let private = kit::map(PAGE, RW, libc::MAP_PRIVATE, fd);
    show!("private", sys!(remap_file_pages, private, PAGE, 0, 1, 0));
}
