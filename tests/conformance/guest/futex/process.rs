// SPDX-License-Identifier: Apache-2.0
//! Private futexes and the life of processes: ends, programs, forks; and many threads at once.
//!
//! Covers: futex.

use std::{
    sync::{
        Arc, Barrier, Condvar, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
};

use crate::kit;

const WAIT: i32 = 128;
const WAKE: i32 = 129;

static WORD: AtomicU32 = AtomicU32::new(0);

fn wait() -> kit::Ret {
    sys!(futex, WORD.as_ptr(), WAIT, 0, 0, 0, 0)
}

/// Starts threads that wait for ever.
fn waiters(count: usize) {
    let ready = Arc::new(Barrier::new(count + 1));
    for _ in 0..count {
        let ready = Arc::clone(&ready);
        thread::spawn(move || {
            ready.wait();
            loop {
                wait();
            }
        });
    }
    ready.wait();
    kit::sleep_ms(50);
}

pub fn exit_with_waiters() {
    show!("exit_group", kit::status(kit::in_child(|| {
        waiters(8);
        7
    })));
    // The first thread goes, another ends the process.
    show!("exit", kit::status(kit::in_child(|| {
        waiters(2);
        thread::spawn(|| {
            kit::sleep_ms(50);
            unsafe { libc::_exit(8) };
        });
        sys!(exit, 0);
        0
    })));
    let child = kit::fork(|| {
        waiters(8);
        wait();
        0
    });
    kit::sleep_ms(150);
    sys!(kill, child, libc::SIGKILL).ok();
    show!("killed", kit::status(kit::wait_for(child)));
    let child = kit::fork(|| {
        waiters(3);
        wait();
        0
    });
    kit::sleep_ms(150);
    sys!(kill, child, libc::SIGTERM).ok();
    show!("terminated", kit::status(kit::wait_for(child)));
}

pub fn exec_with_waiters() {
    show!("exec", kit::status(kit::in_child(|| {
        waiters(8);
        let args = [c"/proc/self/exe".as_ptr(), c"futex/process/child_says".as_ptr(), std::ptr::null()];
        unsafe { libc::execv(args[0], args.as_ptr()) };
        1
    })));
    // By a thread that is not the first, which waits.
    show!("exec", kit::status(kit::in_child(|| {
        thread::spawn(|| {
            kit::sleep_ms(50);
            let args = [c"/proc/self/exe".as_ptr(), c"futex/process/child_says".as_ptr(), std::ptr::null()];
            unsafe { libc::execv(args[0], args.as_ptr()) };
        });
        loop {
            wait();
        }
    })));
}

pub fn child_says() {
    say!("another program, {} thread", std::fs::read_dir("/proc/self/task").unwrap().count());
    std::process::exit(4);
}

pub fn forks_are_apart() {
    waiters(2);
    let status = kit::in_child(|| {
        // It has the word, but nobody waits in its memory.
        show!("child wakes", sys!(futex, WORD.as_ptr(), WAKE, 9, 0, 0, 0));
        let waiter = thread::spawn(wait);
        kit::until("its own", || sys!(futex, WORD.as_ptr(), WAKE, 9, 0, 0, 0).ok() == 1);
        show!("its own", waiter.join().unwrap());
        0
    });
    show!("child", kit::status(status));
    show!("parent wakes", sys!(futex, WORD.as_ptr(), WAKE, 9, 0, 0, 0));
}

pub fn children_that_share_memory() {
    static STACK: [AtomicU64; 8192] = [const { AtomicU64::new(0) }; 8192];
    static RESULT: AtomicU32 = AtomicU32::new(99);
    extern "C" fn child(_: *mut libc::c_void) -> i32 {
        RESULT.store(unsafe { libc::syscall(libc::SYS_futex, WORD.as_ptr(), WAIT, 0, 0, 0, 0) } as u32, Ordering::SeqCst);
        5
    }
    let top = unsafe { STACK.as_ptr().add(STACK.len()) } as *mut libc::c_void;
    let pid = unsafe { libc::clone(child, top, libc::CLONE_VM | libc::SIGCHLD, std::ptr::null_mut()) };
    assert!(pid > 0);
    kit::until("the child", || sys!(futex, WORD.as_ptr(), WAKE, 1, 0, 0, 0).ok() == 1);
    show!("child", kit::status(kit::wait_for(pid)));
    show!("result", RESULT.load(Ordering::SeqCst));
    // vfork(2): its parent stands still, another thread does not.
    extern "C" fn waker(_: *mut libc::c_void) -> i32 {
        let woken = unsafe { libc::syscall(libc::SYS_futex, WORD.as_ptr(), WAKE, 9, 0, 0, 0) };
        RESULT.store(woken as u32, Ordering::SeqCst);
        6
    }
    let (send, receive) = std::sync::mpsc::channel();
    let waiter = thread::spawn(move || {
        send.send(sys!(gettid).ok()).unwrap();
        wait()
    });
    kit::until_asleep(receive.recv().unwrap());
    kit::sleep_ms(20);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let pid = unsafe { libc::clone(waker, top, flags, std::ptr::null_mut()) };
    assert!(pid > 0);
    show!("child", kit::status(kit::wait_for(pid)));
    show!("woken", RESULT.load(Ordering::SeqCst));
    show!("waiter", waiter.join().unwrap());
}

pub fn a_filter_sees_futexes() {
    // seccomp(2): futex fails with EXDEV, for this thread and, by TSYNC, for one that waits and waits again.
    show!("child", kit::status(kit::in_child(|| {
        let other = thread::spawn(|| {
            let short = [0i64, 1_000_000];
            loop {
                let ret = sys!(futex, WORD.as_ptr(), WAIT, 0, short.as_ptr(), 0, 0);
                if ret.to_string() != "ETIMEDOUT" {
                    return ret;
                }
            }
        });
        kit::sleep_ms(30);
        let refused = 0x0005_0000 | libc::EXDEV as u32;
        // ld nr; jeq futex; ret errno; ret allow.
        let code: [(u16, u8, u8, u32); 4] =
            [(0x20, 0, 0, 0), (0x15, 0, 1, 202), (0x06, 0, 0, refused), (0x06, 0, 0, 0x7fff_0000)];
        let program = (4u64, code.as_ptr());
        sys!(prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).ok();
        show!("filter", sys!(seccomp, 1, 1, kit::at(&program)));
        show!("wake", sys!(futex, WORD.as_ptr(), WAKE, 1, 0, 0, 0));
        show!("wait", sys!(futex, WORD.as_ptr(), WAIT, 1, 0, 0, 0));
        kit::until("the other", || other.is_finished());
        // It cannot be joined: that is a futex's business, too.
        show!("other", other.is_finished());
        unsafe { libc::_exit(0) }
    })));
}

pub fn a_crowd() {
    const THREADS: u64 = 64;
    const ROUNDS: u64 = 50;
    let state = Arc::new((Mutex::new(0u64), Condvar::new()));
    let threads: Vec<_> = (0..THREADS)
        .map(|own| {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                let (count, changed) = &*state;
                for round in 0..ROUNDS {
                    let mut now = count.lock().unwrap();
                    // By turns, in groups of eight.
                    while *now / 8 % (THREADS / 8) != own / 8 || *now / THREADS != round {
                        now = changed.wait(now).unwrap();
                    }
                    *now += 1;
                    changed.notify_all();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    show!("sum", *state.0.lock().unwrap());
}

pub fn ping_pong_under_signals() {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_: i32) {
        HANDLED.fetch_add(1, Ordering::SeqCst);
    }
    for flags in [0, libc::SA_RESTART] {
        kit::handle(libc::SIGUSR2, count, flags);
        let turn = AtomicU32::new(0);
        thread::scope(|scope| {
            for own in 0..2 {
                let turn = &turn;
                scope.spawn(move || {
                    for round in 0..3000 {
                        let wanted = round * 2 + own;
                        loop {
                            let now = turn.load(Ordering::SeqCst);
                            if now == wanted {
                                break;
                            }
                            sys!(futex, turn.as_ptr(), WAIT, now, 0, 0, 0);
                        }
                        turn.store(wanted + 1, Ordering::SeqCst);
                        sys!(futex, turn.as_ptr(), WAKE, 1, 0, 0, 0).ok();
                        if round % 16 == 0 {
                            sys!(kill, std::process::id(), libc::SIGUSR2).ok();
                        }
                    }
                });
            }
        });
        show!("turns", turn.load(Ordering::SeqCst));
        show!("handled", HANDLED.load(Ordering::SeqCst) > 0);
    }
}
