// SPDX-License-Identifier: Apache-2.0
//! sigaltstack(2).
//!
//! Covers: sigaltstack.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kit;

static WHERE: AtomicUsize = AtomicUsize::new(0);
static FLAGS: AtomicUsize = AtomicUsize::new(0);
static CHANGE: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_stack(_: i32) {
    let local = 0u8;
    WHERE.store(&raw const local as usize, Ordering::SeqCst);
    let mut old: libc::stack_t = unsafe { std::mem::zeroed() };
    sys!(sigaltstack, 0, &raw mut old);
    FLAGS.store(old.ss_flags as usize, Ordering::SeqCst);
    old.ss_flags = 0;
    CHANGE.store((-sys!(sigaltstack, &raw const old, 0).0) as usize, Ordering::SeqCst);
}

fn stack(size: usize) -> libc::stack_t {
    let memory: &'static mut [u8] = Box::leak(vec![0u8; size].into_boxed_slice());
    libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: size }
}

pub fn handlers_run_there() {
    let mut old: libc::stack_t = unsafe { std::mem::zeroed() };
    let new = stack(65536);
    sys!(sigaltstack, &raw const new, 0).ok();
    sys!(sigaltstack, 0, &raw mut old).ok();
    show!("as set", old.ss_sp == new.ss_sp && old.ss_size == 65536 && old.ss_flags == 0);
    kit::handle(libc::SIGUSR1, on_stack, libc::SA_ONSTACK);
    kit::handle(libc::SIGUSR2, on_stack, 0);
    let inside = || {
        let at = WHERE.load(Ordering::SeqCst);
        (new.ss_sp.addr()..new.ss_sp.addr() + 65536).contains(&at)
    };
    sys!(kill, sys!(getpid).ok(), libc::SIGUSR1).ok();
    say!("{} flags {} change {}", inside(), FLAGS.load(Ordering::SeqCst), CHANGE.load(Ordering::SeqCst));
    sys!(kill, sys!(getpid).ok(), libc::SIGUSR2).ok();
    say!("{} flags {} change {}", inside(), FLAGS.load(Ordering::SeqCst), CHANGE.load(Ordering::SeqCst));
}

pub fn errors_and_flags() {
    let mut new = stack(65536);
    new.ss_size = 1000;
    show!("too small", sys!(sigaltstack, &raw const new, 0));
    new.ss_size = 65536;
    new.ss_flags = 7;
    show!("flags", sys!(sigaltstack, &raw const new, 0));
    new.ss_flags = libc::SS_ONSTACK;
    show!("SS_ONSTACK is taken", sys!(sigaltstack, &raw const new, 0));
    new.ss_flags = libc::SS_DISABLE;
    show!("disable", sys!(sigaltstack, &raw const new, 0));
    let mut old: libc::stack_t = unsafe { std::mem::zeroed() };
    sys!(sigaltstack, 0, &raw mut old).ok();
    say!("{} {} {}", old.ss_flags, old.ss_size, old.ss_sp.is_null());
    show!("null", sys!(sigaltstack, 0, 0));
    show!("bad address", sys!(sigaltstack, 8, 0));
}

pub fn overflow_is_handled() {
    extern "C" fn leave(_: i32) {
        say!("caught on the other stack");
        unsafe { libc::_exit(3) };
    }
    #[allow(unconditional_recursion, reason = "the stack is to overflow")]
    fn recurse(depth: u64) -> u64 {
        let big = std::hint::black_box([depth; 512]);
        recurse(depth + 1) + big[7]
    }
    let status = kit::in_child(|| {
        let new = stack(65536);
        sys!(sigaltstack, &raw const new, 0).ok();
        kit::handle(libc::SIGSEGV, leave, libc::SA_ONSTACK);
        (recurse(0) & 1) as i32
    });
    show!("end", kit::status(status));
    let status = kit::in_child(|| {
        let none = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        sys!(sigaltstack, &raw const none, 0).ok();
        kit::handle(libc::SIGSEGV, leave, libc::SA_ONSTACK);
        (recurse(0) & 1) as i32
    });
    show!("without", kit::status(status));
}
