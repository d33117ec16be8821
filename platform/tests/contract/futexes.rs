// SPDX-License-Identifier: Apache-2.0
//! Private futexes that a stub answers by itself, on platforms that have such.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use abi::UserAddr;
use platform::{CutWait, Exit, FutexCall};

use crate::{
    code,
    guest::{CODE, DATA, Guest, Host},
};

const FUTEX: u64 = 202;
const WAIT: u64 = 128;
const WAKE: u64 = 129;
/// What [`code::twice`] calls next.
const MARKER: u64 = 500;

/// A guest that may have its futexes answered; `None` where the platform has none of its own.
fn guest(host: &Host) -> Option<Guest> {
    let mut guest = host.guest(code::twice());
    guest.context.answer_futexes(true);
    guest.context.has_own_futexes().then_some(guest)
}

/// Has the guest make a futex call from the beginning of its code.
fn prepare(guest: &mut Guest, operation: u64, value: u64, timeout: u64) {
    let registers = &mut guest.registers;
    registers.rip = CODE;
    (registers.rax, registers.rdi, registers.rsi) = (FUTEX, DATA, operation);
    (registers.rdx, registers.r10) = (value, timeout);
}

/// The call's result, where the stub gives it.
fn answer(guest: &mut Guest, operation: u64, value: u64, timeout: u64) -> i64 {
    prepare(guest, operation, value, timeout);
    assert_eq!(guest.call(), MARKER);
    guest.registers.rbx as i64
}

pub fn are_answered_only_when_they_may(host: &Host) {
    let Some(mut guest) = guest(host) else { return };
    assert_eq!(answer(&mut guest, WAKE, 1, 0), 0);
    assert_eq!(answer(&mut guest, WAIT, 7, 0), -i64::from(libc::EAGAIN));
    guest.put(DATA + 64, 0);
    guest.put(DATA + 72, 1_000_000);
    assert_eq!(answer(&mut guest, WAIT, 0, DATA + 64), -i64::from(libc::ETIMEDOUT));
    // Shared words, odd times, addresses that are not the guest's, and all when nobody may answer.
    for (operation, timeout, word) in
        [(0, 0, DATA), (1, 0, DATA), (WAIT, 8, DATA), (WAIT, 0, 8), (WAKE, 0, 0x7fff_0000_0000)]
    {
        prepare(&mut guest, operation, 0, timeout);
        guest.registers.rdi = word;
        assert_eq!(guest.call(), FUTEX, "{operation} {timeout:#x} {word:#x}");
        assert_eq!(guest.context.take_cut(), None);
    }
    guest.context.answer_futexes(false);
    prepare(&mut guest, WAKE, 1, 0);
    assert_eq!(guest.call(), FUTEX);
    guest.context.answer_futexes(true);
    assert_eq!(answer(&mut guest, WAKE, 1, 0), 0);
}

pub fn a_wait_can_be_interrupted(host: &Host) {
    let Some(mut guest) = guest(host) else { return };
    guest.put(DATA + 64, 9);
    guest.put(DATA + 72, 0);
    let mut cut_short = 0;
    for round in 0..400_u64 {
        // What is left of the interrupt before.
        assert_eq!(answer(&mut guest, WAKE, 1, 0), 0);
        let timeout = if round % 2 == 0 { 0 } else { DATA + 64 };
        prepare(&mut guest, WAIT, 0, timeout);
        let (interrupter, over) = (guest.context.interrupter(), AtomicBool::new(false));
        let start = Instant::now();
        let exit = thread::scope(|scope| {
            scope.spawn(|| {
                // Now before it waits, now at the same time, now afterwards.
                if round % 4 < 2 {
                    thread::sleep(Duration::from_micros(round));
                } else {
                    while !interrupter.is_waiting() && !over.load(Ordering::SeqCst) {
                        thread::yield_now();
                    }
                }
                interrupter.interrupt();
            });
            let exit = guest.context.switch(&mut guest.registers).unwrap();
            over.store(true, Ordering::SeqCst);
            exit
        });
        // Of nine, if it is not for ever.
        assert!(start.elapsed() < Duration::from_secs(8), "{round}");
        if exit == Exit::Interrupted {
            // Before the call was made.
            assert_eq!(guest.registers.rip, CODE);
            continue;
        }
        assert_eq!((exit, guest.registers.orig_rax), (Exit::Syscall, FUTEX));
        cut_short += 1;
        match guest.context.take_cut() {
            Some(CutWait::Again) => assert_eq!(timeout, 0),
            Some(CutWait::Until(at)) => assert!(timeout != 0 && at > 9_000_000_000),
            None => panic!("an ordinary call"),
        }
        assert_eq!(guest.context.take_cut(), None);
    }
    assert!(cut_short > 50, "{cut_short}");
}

pub fn threads_wake_each_other_unseen(host: &Host) {
    let Some(mut guest) = guest(host) else { return };
    assert_eq!(answer(&mut guest, WAKE, 1, 0), 0);
    for _ in 0..50 {
        let context = guest.context.spawn_thread().unwrap();
        let mut waiter = guest.beside(context);
        waiter.context.answer_futexes(true);
        let interrupter = waiter.context.interrupter();
        let side = thread::spawn(move || {
            let start = Instant::now();
            let result = answer(&mut waiter, WAIT, 0, 0);
            let waited = waiter.context.waited(1_000_000);
            let all = start.elapsed();
            waiter.context.exit();
            (result, waited, all)
        });
        while !interrupter.is_waiting() {
            thread::yield_now();
        }
        // The share of the time since it was told to run. On a busy host it may not have run at once.
        let start = Instant::now();
        while interrupter.waited(1_000_000) < 500_000 {
            assert!(start.elapsed() < Duration::from_secs(30), "it hardly waits");
            thread::sleep(Duration::from_millis(1));
        }
        let at_least = start.elapsed();
        wake_one(&mut guest);
        let (result, waited, all) = side.join().unwrap();
        assert_eq!(result, 0);
        // Of that time it had waited while we looked; on a busy host it may have stood still since.
        let share = 1_000_000.0 * at_least.as_secs_f64() / all.as_secs_f64();
        let least = (0.9 * share) as u64;
        assert!((least..=1_000_000).contains(&waited), "{waited} of a million, {share} at least");
    }
}

/// Wakes the one who waits, or is just about to: it says so before it does.
fn wake_one(guest: &mut Guest) {
    crate::life::eventually(|| answer(guest, WAKE, 1, 0) == 1);
}

pub fn wakes_can_be_held(host: &Host) {
    let Some(mut guest) = guest(host) else { return };
    assert_eq!(answer(&mut guest, WAKE, 1, 0), 0);
    let context = guest.context.spawn_thread().unwrap();
    let mut waiter = guest.beside(context);
    waiter.context.answer_futexes(true);
    let interrupter = waiter.context.interrupter();
    let side = thread::spawn(move || answer(&mut waiter, WAIT, 0, 0));
    while !interrupter.is_waiting() {
        thread::yield_now();
    }
    guest.space.hold_wakes();
    guest.space.hold_wakes();
    guest.space.release_wakes();
    let context = guest.context.spawn_thread().unwrap();
    let mut late = guest.beside(context);
    late.context.answer_futexes(true);
    for guest in [&mut guest, &mut late] {
        prepare(guest, WAKE, 1, 0);
        assert_eq!(guest.call(), FUTEX);
        // Waits are none of the holder's business.
        assert_eq!(answer(guest, WAIT, 7, 0), -i64::from(libc::EAGAIN));
    }
    let call = FutexCall {
        addr: UserAddr(DATA),
        operation: libc::FUTEX_WAKE_BITSET,
        value: 9,
        value2: 0,
        addr2: UserAddr(DATA),
        value3: 1,
    };
    // It says that it waits before it does.
    crate::life::eventually(|| guest.context.futex(&call).unwrap() == 1);
    assert_eq!(side.join().unwrap(), 0);
    for (operation, addr) in
        [(libc::FUTEX_WAIT, DATA), (libc::FUTEX_LOCK_PI, DATA), (libc::FUTEX_WAKE_OP, 1 << 47)]
    {
        let call = FutexCall { operation, addr2: UserAddr(addr), ..call };
        assert!(guest.context.futex(&call).is_err());
    }
    guest.space.release_wakes();
    for guest in [&mut guest, &mut late] {
        assert_eq!(answer(guest, WAKE, 1, 0), 0);
    }
}

/// A sibling writes over the words by which waits are begun and ended: the waiter ends all the same, by
/// its own process's death at worst.
pub fn waits_that_are_scribbled_over_end(host: &Host) {
    for pattern in [None, Some(0), Some(1), Some(u64::MAX), Some(DATA)] {
        let Some(mut guest) = guest(host) else { return };
        assert_eq!(answer(&mut guest, WAKE, 1, 0), 0);
        let target = crate::attacks::find(&guest, "memfd:channel")[0].0 + 128;
        let context = guest.context.spawn_thread().unwrap();
        let mut sibling = guest.beside(context);
        let at = CODE + 0x1000;
        let code = if pattern.is_some() { code::fill() } else { code::scribble() };
        guest.context.write(UserAddr(at), code);
        sibling.registers.rip = at;
        sibling.registers.rdi = target;
        (sibling.registers.rsi, sibling.registers.rcx) = (pattern.unwrap_or(16), 16);
        let space = guest.space.clone();
        let noise = thread::spawn(move || sibling.context.switch(&mut sibling.registers));
        let over = AtomicBool::new(false);
        let interrupter = guest.context.interrupter();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                    interrupter.interrupt();
                }
            });
            let start = Instant::now();
            for _ in 0..200 {
                prepare(&mut guest, WAIT, 0, 0);
                if let Ok(Exit::Died(_)) | Err(_) = guest.context.switch(&mut guest.registers) {
                    break;
                }
                let _ = guest.context.take_cut();
            }
            assert!(start.elapsed() < Duration::from_secs(120), "{pattern:?}");
            over.store(true, Ordering::SeqCst);
        });
        space.kill();
        let _ = noise.join().unwrap();
    }
    let mut guest = host.guest(code::calls());
    guest.call();
}
