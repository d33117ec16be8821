// SPDX-License-Identifier: Apache-2.0
//! The plan and the fake host in step.

use std::sync::Arc;

use abi::{
    Errno, UserAddr, UserRange,
    mman::{
        Advice, LockFlags, MADV_DONTFORK, MADV_DONTNEED, MADV_WIPEONFORK, MapFlags, Prot,
        RemapFlags,
    },
};
use platform::{Context, Protection};
use proptest::prelude::*;

use super::{
    FileToMap, Layout, Limits, MapRequest, MapSource, MemoryManager, RemapRequest, SharedMemory,
    fake::{FAKE_RANGE, FakeContext, FakePlatform},
};

const RW: Prot = Prot::READ.union(Prot::WRITE);
const ANON: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS);

fn fresh() -> (Arc<MemoryManager>, FakeContext) {
    let cx = FakeContext::new();
    let layout = Layout::new(FAKE_RANGE, 8 << 20, None);
    (MemoryManager::new(&FakePlatform, Arc::clone(cx.space()), layout), cx)
}

fn request(addr: u64, len: u64, prot: Prot, flags: MapFlags) -> MapRequest {
    MapRequest { addr: UserAddr(addr), len, prot, flags, source: MapSource::Anonymous }
}

fn file(len: u64, readable: bool, writable: bool) -> MapSource {
    let memory = SharedMemory::new(len, b"/file").expect("a memfd");
    let mappable = Ok(Arc::clone(&memory) as _);
    let file = FileToMap {
        mappable,
        file: memory,
        is_readable: readable,
        is_writable: writable,
        is_append_only: false,
        is_noexec: true,
    };
    MapSource::File(file, 0)
}

/// The plan's ranges with their protection, joined as the fake host joins them.
fn planned(mm: &MemoryManager) -> Vec<(u64, u64, Protection)> {
    let mut ranges: Vec<(u64, u64, Protection)> = Vec::new();
    for (range, vma) in mm.mappings.lock().set.iter() {
        let (start, end) = (range.start.raw(), range.end.raw());
        match ranges.last_mut() {
            Some(last) if last.1 == start && last.2 == vma.protection => last.1 = end,
            _ => ranges.push((start, end, vma.protection)),
        }
    }
    ranges
}

#[test]
fn mmap_places_and_checks_like_linux() {
    let (mm, mut cx) = fresh();
    let mut map = |request| mm.map(&mut cx, &Limits::NONE, &request);
    let first = map(request(0, 5000, RW, ANON)).expect("there is room");
    assert_eq!(first.raw(), mm.layout().map_base.raw() - 0x2000);
    let next = map(request(0, 1, RW, ANON)).expect("there is room");
    assert_eq!(next.raw(), first.raw() - 0x1000);
    assert_eq!(mm.mappings.lock().set.len(), 1, "neighbours are joined");
    let hint = map(request(0x1234_5678, 1, RW, ANON));
    assert_eq!(hint, Ok(UserAddr(0x1234_5000)));
    assert_ne!(map(request(0x1234_5000, 1, RW, ANON)), Ok(UserAddr(0x1234_5000)), "taken");
    let low = map(request(0, 1, RW, ANON | MapFlags::LOW_2GB)).expect("there is room");
    assert!(low.raw() < 0x8000_0000);
    let fixed = ANON | MapFlags::FIXED;
    assert_eq!(map(request(0x1000, 1, RW, fixed)), Err(Errno::EPERM));
    assert_eq!(map(request(0x10001, 1, RW, fixed)), Err(Errno::EINVAL));
    assert_eq!(map(request(1 << 47, 1, RW, fixed)), Err(Errno::ENOMEM));
    assert_eq!(map(request(0x7f00_0000_0000, 1, RW, fixed)), Err(Errno::ENOMEM));
    let careful = ANON | MapFlags::FIXED_NOREPLACE;
    assert_eq!(map(request(first.raw(), 1, RW, careful)), Err(Errno::EEXIST));
    assert_eq!(map(request(0, 0, RW, ANON)), Err(Errno::EINVAL));
    assert_eq!(map(request(0, u64::MAX, RW, ANON)), Err(Errno::ENOMEM));
    assert_eq!(map(request(0, 1 << 47, RW, ANON)), Err(Errno::ENOMEM));
    assert_eq!(map(request(0, 1, RW, MapFlags::ANONYMOUS)), Err(Errno::EINVAL));
    let validate = MapFlags::SHARED_VALIDATE | MapFlags::ANONYMOUS;
    assert_eq!(map(request(0, 1, RW, validate)), Err(Errno::EINVAL));
    assert_eq!(planned(&mm), cx.fake.ranges());
}

#[test]
fn files_are_mapped_with_no_more_rights_than_their_open() {
    let (mm, mut cx) = fresh();
    let mut map = |prot, flags, source| {
        let request = MapRequest { source, ..request(0, 4096, prot, flags) };
        mm.map(&mut cx, &Limits::NONE, &request)
    };
    let (shared, private) = (MapFlags::SHARED, MapFlags::PRIVATE);
    assert_eq!(map(RW, shared, file(4096, true, false)), Err(Errno::EACCES));
    assert_eq!(map(Prot::WRITE, private, file(4096, false, true)), Err(Errno::EACCES));
    assert_eq!(map(Prot::EXEC, private, file(4096, true, true)), Err(Errno::EPERM));
    let unknown = MapFlags::SHARED_VALIDATE | MapFlags::from_bits_retain(0x800_0000);
    assert_eq!(map(Prot::READ, unknown, file(4096, true, true)), Err(Errno::EOPNOTSUPP));
    let at = map(Prot::READ, shared, file(4096, true, false)).expect("readable");
    let mut protect = |prot| mm.protect(&mut cx, &Limits::NONE, at, 4096, prot);
    assert_eq!(protect(RW), Err(Errno::EACCES));
    assert_eq!(protect(Prot::EXEC), Err(Errno::EACCES));
    assert_eq!(protect(Prot::empty()), Ok(()));
    let lines = String::from_utf8(mm.maps_lines()).expect("ASCII");
    let first = lines.lines().next().expect("a line");
    assert!(first.contains(" ---s 00000000 00:01 ") && first.ends_with(" /file"), "{first}");
    assert_eq!(first.find("/file"), Some(73));
}

#[test]
fn limits_and_refusals_leave_the_plan_alone() {
    let (mm, mut cx) = fresh();
    let limits = Limits { address_space: 0x3000, ..Limits::NONE };
    let at = mm.map(&mut cx, &limits, &request(0, 0x3000, RW, ANON)).expect("within the limit");
    assert_eq!(mm.map(&mut cx, &limits, &request(0, 1, RW, ANON)), Err(Errno::ENOMEM));
    let fixed = request(at.raw(), 0x1000, Prot::READ, ANON | MapFlags::FIXED);
    assert_eq!(mm.map(&mut cx, &limits, &fixed), Ok(at), "what is replaced does not count");
    let before = planned(&mm);
    cx.refuse_next(Errno::ENOMEM);
    assert_eq!(mm.unmap(&mut cx, at, 0x1000), Err(Errno::ENOMEM));
    cx.refuse_next(Errno::EPERM);
    assert_eq!(mm.map(&mut cx, &Limits::NONE, &request(0, 1, RW, ANON)), Err(Errno::EPERM));
    assert_eq!(planned(&mm), before);
    let locked = Limits { locked: 0x1000, may_lock: false, ..Limits::NONE };
    let lock = ANON | MapFlags::LOCKED;
    assert_eq!(mm.map(&mut cx, &locked, &request(0, 0x2000, RW, lock)), Err(Errno::EAGAIN));
    assert_eq!(mm.lock(&mut cx, &locked, at, 0x2000, false), Err(Errno::ENOMEM));
    assert_eq!(mm.lock(&mut cx, &locked, at, 0x1000, false), Ok(()));
    assert_eq!(mm.usage().locked, 0x1000);
    assert_eq!(mm.lock_all(&mut cx, &locked, LockFlags::ONFAULT), Err(Errno::EINVAL));
    let none = Limits { locked: 0, ..locked };
    assert_eq!(mm.lock(&mut cx, &none, at, 1, true), Err(Errno::EPERM));
}

#[test]
fn protect_changes_what_stands_before_a_hole() {
    let (mm, mut cx) = fresh();
    let base = mm.map(&mut cx, &Limits::NONE, &request(0, 0x4000, RW, ANON)).expect("room");
    let hole = base.checked_add(0x2000).expect("small");
    mm.unmap(&mut cx, hole, 0x1000).expect("mapped");
    let result = mm.protect(&mut cx, &Limits::NONE, base, 0x4000, Prot::READ);
    assert_eq!(result, Err(Errno::ENOMEM));
    assert_eq!(mm.protection_at(base), Some(Protection::READ));
    let after = hole.checked_add(0x1000).expect("small");
    assert_eq!(mm.protection_at(after), Some(Protection::READ | Protection::WRITE));
    assert_eq!(planned(&mm), cx.fake.ranges());
    let bad = Prot::from_bits_retain(0x80);
    assert_eq!(mm.protect(&mut cx, &Limits::NONE, base, 1, bad), Err(Errno::EINVAL));
    let down = Prot::READ | Prot::GROWSDOWN;
    assert_eq!(mm.protect(&mut cx, &Limits::NONE, base, 1, down), Err(Errno::EINVAL));
    mm.seal(base, 0x1000).expect("mapped");
    assert_eq!(mm.unmap(&mut cx, base, 0x1000), Err(Errno::EPERM));
    assert_eq!(mm.protect(&mut cx, &Limits::NONE, base, 1, RW), Err(Errno::EPERM));
}

#[test]
fn the_break_moves_until_something_is_in_its_way() {
    let (mm, mut cx) = fresh();
    mm.set_brk_start(0x40_0123);
    let mut brk = |to| mm.brk(&mut cx, &Limits::NONE, UserAddr(to)).raw();
    assert_eq!(brk(0), 0x40_0123);
    assert_eq!(brk(0x40_5001), 0x40_5001);
    assert_eq!(brk(0x40_2000), 0x40_2000);
    assert_eq!(mm.usage().total, 0x1000);
    let wall = request(0x50_0000, 1, RW, ANON | MapFlags::FIXED);
    mm.map(&mut cx, &Limits::NONE, &wall).expect("free");
    let mut brk = |to| mm.brk(&mut cx, &Limits::NONE, UserAddr(to)).raw();
    assert_eq!(brk(0x50_0000), 0x40_2000, "a page is kept free");
    assert_eq!(brk(0x4f_f000), 0x4f_f000);
    let limits = Limits { data: 0x10_0000, ..Limits::NONE };
    assert_eq!(mm.brk(&mut cx, &limits, UserAddr(0x40_0000)), UserAddr(0x4f_f000));
    assert_eq!(planned(&mm), cx.fake.ranges());
}

#[test]
fn fork_copies_what_it_should() {
    let (mm, mut cx) = fresh();
    let mut map = |len| mm.map(&mut cx, &Limits::NONE, &request(0, len, RW, ANON)).expect("room");
    let (kept, gone) = (map(0x1000), map(0x1000));
    mm.advise(&mut cx, gone, 0x1000, Advice(MADV_DONTFORK)).expect("mapped");
    mm.advise(&mut cx, kept, 0x1000, Advice(MADV_WIPEONFORK)).expect("mapped");
    let (child, _child_cx) = mm.fork(&mut cx).expect("the fake forks");
    assert_ne!(child.id(), mm.id());
    assert!(child.protection_at(kept).is_some() && child.protection_at(gone).is_none());
    let nowhere = UserAddr(0x10000);
    assert_eq!(mm.advise(&mut cx, nowhere, 1, Advice(MADV_DONTNEED)), Err(Errno::ENOMEM));
    assert_eq!(mm.advise(&mut cx, nowhere, 1, Advice(99)), Err(Errno::EINVAL));
    assert_eq!(mm.advise(&mut cx, nowhere, 0, Advice(MADV_DONTNEED)), Ok(()));
}

#[test]
fn stacks_grow_when_asked_but_not_into_others() {
    let (mm, mut cx) = fresh();
    let flags = ANON | MapFlags::FIXED | MapFlags::GROWSDOWN;
    let top = 0x7000_0000_0000;
    mm.map(&mut cx, &Limits::NONE, &request(top, 0x1000, RW, flags)).expect("free");
    let limits = Limits { stack: 4 << 20, ..Limits::NONE };
    assert!(mm.grow_stack(&mut cx, &limits, UserAddr(top - 0x2345)));
    assert!(mm.protection_at(UserAddr(top - 0x2345)).is_some());
    assert!(!mm.grow_stack(&mut cx, &limits, UserAddr(top - (8 << 20))), "beyond the limit");
    let wall = request(top - (3 << 20), 0x1000, RW, ANON | MapFlags::FIXED);
    mm.map(&mut cx, &Limits::NONE, &wall).expect("free");
    assert!(!mm.grow_stack(&mut cx, &limits, UserAddr(top - (3 << 20) + 0x1000)), "the guard");
    assert!(!mm.grow_stack(&mut cx, &limits, UserAddr(0x20000)));
    assert_eq!(planned(&mm), cx.fake.ranges());
}

#[derive(Debug, Clone)]
enum Step {
    Map(u64, u64, u32, u32),
    Unmap(u64, u64),
    Protect(u64, u64, u32),
    Remap(u64, u64, u64, u32, u64),
    Brk(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let page = || 15..60_u64;
    let len = || 0..9_u64;
    proptest::collection::vec(
        prop_oneof![
            (page(), len(), 0..4_u32, 0..5_u32).prop_map(|(a, l, p, f)| Step::Map(a, l, p, f)),
            (page(), len()).prop_map(|(a, l)| Step::Unmap(a, l)),
            (page(), len(), 0..4_u32).prop_map(|(a, l, p)| Step::Protect(a, l, p)),
            (page(), len(), len(), 0..8_u32, page())
                .prop_map(|(a, o, n, f, t)| Step::Remap(a, o, n, f, t)),
            (40..80_u64).prop_map(Step::Brk),
        ],
        0..40,
    )
}

proptest! {
    #[test]
    fn plan_and_host_agree_whatever_the_guest_does(steps in steps()) {
        let (mm, mut cx) = fresh();
        mm.set_brk_start(50 << 12);
        let limits = Limits { address_space: 64 << 12, ..Limits::NONE };
        for step in steps {
            match step {
                Step::Map(at, len, prot, how) => {
                    let extra = [
                        MapFlags::PRIVATE | MapFlags::FIXED,
                        MapFlags::PRIVATE,
                        MapFlags::SHARED | MapFlags::FIXED,
                        MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE,
                        MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::LOCKED,
                    ][how as usize];
                    let flags = extra | MapFlags::ANONYMOUS;
                    let prot = Prot::from_bits_retain(prot);
                    let _ = mm.map(&mut cx, &limits, &request(at << 12, len << 12, prot, flags));
                }
                Step::Unmap(at, len) => {
                    let _ = mm.unmap(&mut cx, UserAddr(at << 12), len << 12);
                }
                Step::Protect(at, len, prot) => {
                    let prot = Prot::from_bits_retain(prot);
                    let _ = mm.protect(&mut cx, &limits, UserAddr(at << 12), len << 12, prot);
                }
                Step::Remap(at, old, new, flags, to) => {
                    let request = RemapRequest {
                        addr: UserAddr(at << 12),
                        old_len: old << 12,
                        new_len: new << 12,
                        flags: RemapFlags::from_bits_retain(flags),
                        new_addr: UserAddr(to << 12),
                    };
                    // What keeps its length or shrinks may have holes.
                    if let Ok(at) = mm.remap(&mut cx, &limits, &request) && new > old {
                        let moved = UserRange::new(at, new << 12).expect("small");
                        prop_assert!(mm.mappings.lock().set.covers(moved));
                    }
                }
                Step::Brk(to) => {
                    mm.brk(&mut cx, &limits, UserAddr(to << 12));
                }
            }
            prop_assert_eq!(planned(&mm), cx.fake.ranges());
            prop_assert!(mm.usage().total <= 64 << 12);
        }
    }
}
