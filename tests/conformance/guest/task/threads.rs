// SPDX-License-Identifier: Apache-2.0
//! Threads: clone(2) with CLONE_THREAD, exit(2), set_tid_address(2).
//!
//! Covers: set_tid_address, gettid.

use std::{
    sync::{Arc, Barrier, Condvar, Mutex, atomic::{AtomicU64, Ordering}},
    thread,
};

use crate::kit;

pub fn ids() {
    let (pid, main) = (sys!(getpid).ok(), sys!(gettid).ok());
    show!("leader", pid == main);
    let tids = thread::spawn(|| (sys!(getpid).ok(), sys!(gettid).ok())).join().unwrap();
    show!("same process", tids.0 == pid);
    show!("own id", tids.1 != main);
    let mut word = 0i32;
    show!("set_tid_address", sys!(set_tid_address, &raw mut word).ok() == main);
}

pub fn mutex_and_condvar() {
    let state = Arc::new((Mutex::new(0u64), Condvar::new()));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                for _ in 0..2000 {
                    *state.0.lock().unwrap() += 1;
                    state.1.notify_one();
                }
            })
        })
        .collect();
    let mut value = state.0.lock().unwrap();
    while *value < 16_000 {
        value = state.1.wait(value).unwrap();
    }
    show!("sum", *value);
    drop(value);
    for thread in threads {
        thread.join().unwrap();
    }
}

pub fn many_short_ones() {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    for _ in 0..50 {
        let threads: Vec<_> =
            (0..10).map(|_| thread::spawn(|| COUNT.fetch_add(1, Ordering::Relaxed))).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
    show!("ran", COUNT.load(Ordering::Relaxed));
}

pub fn exit_group_ends_all() {
    let status = kit::in_child(|| {
        for _ in 0..4 {
            thread::spawn(|| loop {
                std::hint::spin_loop();
            });
        }
        thread::spawn(|| {
            kit::sleep_ms(20);
            sys!(exit_group, 42);
        });
        loop {
            kit::sleep_ms(1000);
        }
    });
    show!("end", kit::status(status));
}

pub fn leader_may_leave_first() {
    let status = kit::in_child(|| {
        thread::spawn(|| {
            kit::sleep_ms(50);
            say!("still here");
            sys!(exit_group, 5);
        });
        sys!(exit, 1);
        2
    });
    show!("end", kit::status(status));
}

pub fn signals_to_threads() {
    static TID: AtomicU64 = AtomicU64::new(0);
    extern "C" fn record(_: i32) {
        TID.store(sys!(gettid).0 as u64, Ordering::SeqCst);
    }
    kit::handle(libc::SIGUSR1, record, 0);
    let barrier = Arc::new(Barrier::new(2));
    let other = Arc::clone(&barrier);
    let thread = thread::spawn(move || {
        let tid = sys!(gettid).ok();
        sys!(tgkill, sys!(getpid).ok(), tid, libc::SIGUSR1).ok();
        show!("directed", TID.load(Ordering::SeqCst) == tid as u64);
        other.wait();
        // The main thread blocks it: this one gets what is sent to the process.
        kit::until("the signal", || TID.load(Ordering::SeqCst) == tid as u64);
        show!("to the process", true);
    });
    let set = 1u64 << (libc::SIGUSR1 - 1);
    sys!(rt_sigprocmask, libc::SIG_BLOCK, &raw const set, 0, 8).ok();
    barrier.wait();
    TID.store(0, Ordering::SeqCst);
    sys!(kill, sys!(getpid).ok(), libc::SIGUSR1).ok();
    thread.join().unwrap();
}

pub fn fork_in_a_thread() {
    let status = thread::spawn(|| {
        kit::in_child(|| i32::from(sys!(getpid).ok() == sys!(gettid).ok()))
    });
    show!("the child is a leader", kit::status(status.join().unwrap()));
}

pub fn thread_local_data() {
    thread_local!(static MINE: std::cell::Cell<u64> = const { std::cell::Cell::new(1) });
    MINE.set(7);
    let other = thread::spawn(|| {
        let before = MINE.get();
        MINE.set(8);
        before
    });
    say!("{} {}", other.join().unwrap(), MINE.get());
    kit::in_child(|| {
        say!("child {}", MINE.get());
        0
    });
}

/// Processes that start threads and children all at the same time: none is refused.
pub fn clones_at_once() {
    let children: Vec<_> = (0..6)
        .map(|_| {
            kit::fork(|| {
                let mut refused = 0;
                for _ in 0..100 {
                    match thread::Builder::new().stack_size(64 * 1024).spawn(|| ()) {
                        Ok(thread) => thread.join().unwrap(),
                        Err(_) => refused += 1,
                    }
                    if kit::status(kit::in_child(|| 0)) != "exited 0" {
                        refused += 1;
                    }
                }
                refused.min(100)
            })
        })
        .collect();
    for child in children {
        say!("{}", kit::status(kit::wait_for(child)));
    }
}
