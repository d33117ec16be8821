// SPDX-License-Identifier: Apache-2.0
//! Several threads and processes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use abi::UserAddr;
use platform::Exit;

use crate::{
    code,
    guest::{DATA, Guest, Host, STACK},
};

pub fn fork_copies_memory(host: &Host) {
    let mut guest = host.guest(code::xmm());
    guest.put(DATA, 0xabcd);
    (guest.registers.rsi, guest.registers.rdi) = (DATA, DATA + 64);
    guest.registers.fs_base = 0x1000;
    guest.call();
    let context = guest.context.fork().unwrap();
    let mut child = guest.beside(context);
    assert_ne!(child.space.host_pid(), guest.space.host_pid());
    guest.put(DATA, 1);
    assert_eq!(child.word(DATA), 0xabcd);
    child.put(DATA + 128, 5);
    assert_eq!(guest.word(DATA + 128), 0);
    // Floating-point state is the parent's of the moment of the fork.
    child.registers.rax = 77;
    let (end, ended) = std::sync::mpsc::channel();
    let side = thread::spawn(move || {
        child.call();
        assert_eq!(child.word(DATA + 64), 0xabcd);
        assert_eq!(child.registers.fs_base, 0x1000);
        ended.recv().unwrap();
        child.call();
    });
    guest.call();
    assert_eq!(guest.word(DATA + 64), 0xabcd);
    drop(guest);
    end.send(()).unwrap();
    side.join().unwrap();
}

pub fn fork_of_a_fork(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.put(DATA, 0);
    for depth in 1..=6 {
        guest.registers.rax = depth;
        assert_eq!(guest.call(), depth);
        let context = guest.context.fork().unwrap();
        let mut child = guest.beside(context);
        assert_eq!(child.word(DATA), depth - 1);
        child.put(DATA, depth);
        if depth % 2 == 0 {
            guest.call();
        }
        guest = child;
    }
    guest.call();
}

pub fn threads_share_memory(host: &Host) {
    let mut guest = host.guest(code::store());
    guest.registers.rdi = DATA;
    let context = guest.context.spawn_thread().unwrap();
    let mut other = guest.beside(context);
    assert_eq!(other.space.host_pid(), guest.space.host_pid());
    (guest.registers.rsi, other.registers.rsi) = (1, 2);
    other.registers.rdi = DATA + 8;
    other.registers.rsp = STACK - 0x8000;
    other.registers.fs_base = 0x7000;
    let side = thread::spawn(move || {
        other.call();
        assert_eq!(other.registers.fs_base, 0x7000);
        other.context.exit();
    });
    guest.call();
    side.join().unwrap();
    assert_eq!((guest.word(DATA), guest.word(DATA + 8)), (1, 2));
    assert_eq!(guest.registers.fs_base, 0);
}

pub fn a_spinning_guest_can_be_interrupted(host: &Host) {
    let mut guest = host.guest(code::spin());
    let begin = Instant::now();
    let mut rounds = 0;
    // On a busy host it may not have run at all by the time of an interrupt.
    while rounds < 20 || guest.registers.rax <= 1000 {
        rounds += 1;
        assert!(begin.elapsed() < Duration::from_secs(60), "it does not run");
        let interrupter = guest.context.interrupter();
        let side = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            interrupter.interrupt();
        });
        let exit = guest.context.switch(&mut guest.registers).unwrap();
        assert_eq!(exit, Exit::Interrupted);
        side.join().unwrap();
    }
}

pub fn an_interrupt_before_the_run_counts(host: &Host) {
    let mut guest = host.guest(code::spin());
    let interrupter = guest.context.interrupter();
    for _ in 0..100 {
        interrupter.interrupt();
        let exit = guest.context.switch(&mut guest.registers).unwrap();
        assert_eq!(exit, Exit::Interrupted);
    }
    // A storm from beside loses none, and none hurts.
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                interrupter.interrupt();
                thread::yield_now();
            }
        });
        for _ in 0..50 {
            assert_eq!(guest.context.switch(&mut guest.registers).unwrap(), Exit::Interrupted);
        }
        over.store(true, Ordering::SeqCst);
    });
    drop(guest);
    interrupter.interrupt();
}

pub fn many_threads_call_at_once(host: &Host) {
    let mut guest = host.guest(code::calls());
    let mut sides = Vec::new();
    for number in 0..8_u64 {
        let context = guest.context.spawn_thread().unwrap();
        let mut other = guest.beside(context);
        sides.push(thread::spawn(move || {
            other.registers.rbx = number;
            for round in 0..300 {
                other.registers.rax = round;
                assert_eq!(other.call(), round);
                assert_eq!(other.registers.rbx, number);
                let at = UserAddr(DATA + number * 8);
                assert_eq!(other.context.write(at, &round.to_le_bytes()), 8);
                if round % 100 == 50 {
                    let context = other.context.fork().unwrap();
                    let mut child = other.beside(context);
                    assert_eq!(child.word(DATA + number * 8), round);
                    child.registers.rax = 99;
                    assert_eq!(child.call(), 99);
                }
            }
            other.context.exit();
        }));
    }
    guest.call();
    for side in sides {
        side.join().unwrap();
    }
    for number in 0..8 {
        assert_eq!(guest.word(DATA + number * 8), 299);
    }
}

pub fn the_first_thread_may_leave_first(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.call();
    let context = guest.context.spawn_thread().unwrap();
    let mut other = guest.beside(context);
    guest.context.exit();
    other.registers.rax = 3;
    assert_eq!(other.call(), 3);
    other.put(DATA, 4);
    let mut bytes = [0; 8];
    assert_eq!(other.space.read(UserAddr(DATA), &mut bytes), 8);
    assert_eq!(u64::from_le_bytes(bytes), 4);
    let context = other.context.fork().unwrap();
    let mut child = other.beside(context);
    assert_eq!(child.word(DATA), 4);
    child.registers.rax = 5;
    assert_eq!(child.call(), 5);
}

pub fn threads_that_follow_each_other_begin_alike(host: &Host) {
    let mut guest = host.guest(code::xmm());
    guest.put(DATA, 0x1111);
    guest.put(DATA + 8, 0xdead);
    (guest.registers.rsi, guest.registers.rdi) = (DATA, DATA + 64);
    guest.call();
    let threads = |guest: &Guest| {
        let tasks = format!("/proc/{}/task", guest.space.host_pid());
        std::fs::read_dir(tasks).unwrap().count()
    };
    let mut first = None;
    let run = |from: &mut Guest, number: u64, first: &mut Option<Guest>| {
        let context = from.context.spawn_thread().unwrap();
        let mut other = from.beside(context);
        (other.registers.fs_base, other.registers.gs_base) = (0x7000 * number, 0x9000);
        other.registers.rdi = DATA + 64 + 8 * number;
        other.registers.r12 = number;
        other.call();
        assert_eq!(other.word(DATA + 64 + 8 * number), 0x1111, "its maker's state, not another's");
        // Leaves other values behind, and an interrupt that comes too late.
        other.registers.rsi = DATA + 8;
        other.call();
        let r = other.registers;
        assert_eq!((r.fs_base, r.gs_base, r.r12), (0x7000 * number, 0x9000, number));
        other.context.interrupter().interrupt();
        match number {
            3 => *first = Some(other),
            _ => other.context.exit(),
        }
    };
    for number in 1..20 {
        run(&mut guest, number, &mut first);
        assert_eq!((guest.registers.fs_base, guest.registers.gs_base), (0, 0));
    }
    // This one, that one, and a few that wait for a guest.
    crate::life::eventually(|| threads(&guest) <= 2 + 4);
    // Where the first thread was, another one may be.
    let mut stays = first.unwrap();
    guest.context.exit();
    stays.registers.rsi = DATA;
    stays.call();
    stays.call();
    for number in 20..26 {
        run(&mut stays, number, &mut None);
    }
    let context = stays.context.fork().unwrap();
    let mut child = stays.beside(context);
    child.registers.rdi = DATA + 512;
    child.call();
    assert_eq!(child.word(DATA + 512), 0x1111);
}
