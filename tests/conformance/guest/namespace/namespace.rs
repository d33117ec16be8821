// SPDX-License-Identifier: Apache-2.0
//! unshare(2), setns(2).
//!
//! Covers: unshare, setns.

use crate::kit;

pub fn files_and_directories() {
    let fd = kit::file("f", b"");
    let (mut tid, flags) = (0i32, libc::CLONE_FILES | libc::CLONE_FS | libc::CLONE_VM | libc::CLONE_VFORK);
    // A child that shares both until it unshares them.
    let body = |share: bool| {
        let page = kit::shared_page();
        extern "C" fn child(arg: *mut libc::c_void) -> i32 {
            let page = arg.cast::<u8>();
            if unsafe { page.read_volatile() } == 1 {
                sys!(unshare, libc::CLONE_FILES | libc::CLONE_FS).ok();
            }
            sys!(umask, 0o077).ok();
            sys!(dup2, 1, 80).ok();
            0
        }
        unsafe { page.write_volatile(u8::from(!share)) };
        let mut stack = vec![0u8; 65536];
        let top = unsafe { stack.as_mut_ptr().add(65536) };
        let pid = unsafe { libc::clone(child, top.cast(), flags | libc::SIGCHLD, page.cast()) };
        kit::wait_for(pid);
        let seen = format!("{} {:o}", sys!(fcntl, 80, libc::F_GETFD, 0), sys!(umask, 0o022).ok());
        kit::close(&[80]);
        seen
    };
    show!("unshared", body(false));
    show!("shared", body(true));
    tid += fd;
    show!("own descriptor", tid > 0);
}

pub fn errors() {
    kit::in_child(|| {
        show!("nothing", sys!(unshare, 0));
        show!("unknown", sys!(unshare, 0x1));
        show!("thread alone", sys!(unshare, libc::CLONE_THREAD));
        show!("not a namespace", sys!(setns, kit::file("f", b""), 0));
        show!("closed", sys!(setns, 99, 0));
        if sys!(getuid).0 == 0 {
            sys!(setresuid, 1000, 1000, 1000).ok();
        }
        show!("mounts need a right", sys!(unshare, libc::CLONE_NEWNS));
        show!("names need a right", sys!(unshare, libc::CLONE_NEWUTS));
        0
    });
}
