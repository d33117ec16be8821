// SPDX-License-Identifier: Apache-2.0
//! fork(2), vfork(2), clone(2), clone3(2).
//!
//! Covers: fork, vfork, clone, clone3, exit, exit_group.

use crate::kit;

pub fn copies_memory() {
    let mut value = 1;
    let status = kit::in_child(|| {
        value = 2;
        value
    });
    say!("{} {value}", kit::status(status));
}

pub fn exit_codes() {
    for code in [0, 1, 127, 255, 256, -1] {
        show!(code, kit::status(kit::in_child(|| code)));
    }
}

pub fn relations() {
    let (pid, pgid) = (sys!(getpid).ok(), sys!(getpgid, 0).ok());
    kit::in_child(|| {
        show!("parent", sys!(getppid).ok() == pid);
        show!("own pid", sys!(getpid).ok() != pid && sys!(getpid).ok() == sys!(gettid).ok());
        show!("group", sys!(getpgid, 0).ok() == pgid);
        show!("session", sys!(getsid, 0).ok() == sys!(getsid, pid).ok());
        0
    });
}

pub fn orphans_get_another_parent() {
    let (r, w) = kit::pipe();
    let middle = kit::fork(|| {
        kit::fork(|| {
            let before = sys!(getppid).ok();
            kit::until("a new parent", || sys!(getppid).ok() != before);
            sys!(write, w, &b"adopted"[..], 7).ok();
            0
        });
        kit::sleep_ms(20);
        0
    });
    kit::wait_for(middle);
    let mut buf = [0u8; 16];
    show!("read", sys!(read, r, &mut buf[..], 16));
}

pub fn vfork_waits_and_shares() {
    let mut value = 1u64;
    let at = &raw mut value;
    // vfork by clone(2), with a stack of the child's own as posix_spawn(3) does.
    extern "C" fn child(arg: *mut libc::c_void) -> i32 {
        kit::sleep_ms(50);
        unsafe { arg.cast::<u64>().write_volatile(2) };
        5
    }
    let mut stack = vec![0u8; 65536];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let top = unsafe { stack.as_mut_ptr().add(65536) };
    let pid = unsafe { libc::clone(child, top.cast(), flags, at.cast()) };
    show!("seen after", unsafe { at.read_volatile() });
    show!("child", kit::status(kit::wait_for(pid)));
}

pub fn vfork_ends_at_exec() {
    let status = std::process::Command::new("/proc/self/exe")
        .arg("task/fork/child_exits")
        .status()
        .unwrap();
    show!("spawned", status.code().unwrap());
    let missing = std::process::Command::new("/does/not/exist").status();
    show!("missing", missing.unwrap_err().raw_os_error().unwrap());
}

pub fn child_exits() {
    std::process::exit(9);
}

pub fn clone3_argument() {
    let mut args = [0u64; 11];
    args[4] = libc::SIGCHLD as u64;
    let ret = sys!(clone3, args.as_ptr(), 64);
    if ret.0 == 0 {
        unsafe { libc::_exit(4) };
    }
    show!("child", kit::status(kit::wait_for(ret.ok() as i32)));
    show!("too small", sys!(clone3, args.as_ptr(), 8));
    show!("too large", sys!(clone3, args.as_ptr(), 8192));
    let mut large = [0u64; 16];
    large[12] = 1;
    show!("unknown field set", sys!(clone3, large.as_ptr(), 128));
    args[4] = 65;
    show!("exit signal", sys!(clone3, args.as_ptr(), 64));
    args[4] = libc::SIGCHLD as u64;
    args[5] = 4096;
    show!("stack without size", sys!(clone3, args.as_ptr(), 64));
    args[5] = 0;
    args[0] = libc::CLONE_SIGHAND as u64;
    show!("SIGHAND without VM", sys!(clone3, args.as_ptr(), 64));
    args[0] = libc::CLONE_THREAD as u64;
    show!("THREAD without SIGHAND", sys!(clone3, args.as_ptr(), 64));
    args[0] = (libc::CLONE_FS | libc::CLONE_NEWNS) as u64;
    show!("FS with NEWNS", sys!(clone3, args.as_ptr(), 64));
    args[0] = 0xff;
    show!("low byte", sys!(clone3, args.as_ptr(), 64));
    show!("bad address", sys!(clone3, 8, 64));
}

pub fn tids_are_stored_and_cleared() {
    let (mut parent, mut child) = (0i32, 0i32);
    let flags = libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_SETTID | libc::SIGCHLD;
    let ret = sys!(clone, flags, 0, &raw mut parent, &raw mut child, 0);
    if ret.0 == 0 {
        let stored = unsafe { (&raw const child).read_volatile() };
        unsafe { libc::_exit(i32::from(i64::from(stored) == sys!(gettid).ok())) };
    }
    show!("parent's", i64::from(unsafe { (&raw const parent).read_volatile() }) == ret.ok());
    show!("child's", kit::status(kit::wait_for(ret.ok() as i32)));
    show!("untouched here", child);
}

pub fn many() {
    let mut bad = 0;
    for n in 0..200 {
        bad += i32::from(libc::WEXITSTATUS(kit::in_child(|| n & 63)) != n & 63);
    }
    show!("wrong", bad);
    let pids: Vec<i32> = (0..50).map(|_| kit::fork(|| { kit::sleep_ms(50); 1 })).collect();
    show!("at once", pids.iter().filter(|pid| libc::WEXITSTATUS(kit::wait_for(**pid)) == 1).count());
}
