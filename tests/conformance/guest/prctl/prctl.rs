// SPDX-License-Identifier: Apache-2.0
//! prctl(2), arch_prctl(2).
//!
//! Covers: prctl, arch_prctl.

use crate::kit;

fn prctl(option: i32, arg: usize) -> kit::Ret {
    sys!(prctl, option, arg, 0, 0, 0)
}

pub fn attributes() {
    let mut value = -1i32;
    show!("name", sys!(prctl, libc::PR_SET_NAME, c"a name longer than 15", 0, 0, 0));
    let mut name = [0u8; 16];
    sys!(prctl, libc::PR_GET_NAME, name.as_mut_ptr(), 0, 0, 0).ok();
    show!("cut", String::from_utf8_lossy(&name));
    show!("pdeathsig", prctl(libc::PR_SET_PDEATHSIG, 10));
    show!("get", sys!(prctl, libc::PR_GET_PDEATHSIG, &raw mut value, 0, 0, 0));
    show!("value", value);
    show!("bad signal", prctl(libc::PR_SET_PDEATHSIG, 65));
    show!("dumpable", prctl(libc::PR_GET_DUMPABLE, 0));
    show!("set", prctl(libc::PR_SET_DUMPABLE, 0));
    show!("get", prctl(libc::PR_GET_DUMPABLE, 0));
    show!("2 is not for us", prctl(libc::PR_SET_DUMPABLE, 2));
    show!("keepcaps", prctl(libc::PR_SET_KEEPCAPS, 1));
    show!("get", prctl(libc::PR_GET_KEEPCAPS, 0));
    show!("bad", prctl(libc::PR_SET_KEEPCAPS, 2));
    show!("subreaper", prctl(libc::PR_SET_CHILD_SUBREAPER, 1));
    sys!(prctl, libc::PR_GET_CHILD_SUBREAPER, &raw mut value, 0, 0, 0).ok();
    show!("get", value);
    show!("no_new_privs", prctl(libc::PR_GET_NO_NEW_PRIVS, 0));
    show!("bad", prctl(libc::PR_SET_NO_NEW_PRIVS, 0));
    show!("set", prctl(libc::PR_SET_NO_NEW_PRIVS, 1));
    show!("get", prctl(libc::PR_GET_NO_NEW_PRIVS, 0));
    show!("extra argument", sys!(prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 1, 0, 0));
    show!("timer slack", prctl(libc::PR_GET_TIMERSLACK, 0));
    show!("unknown", prctl(99_999, 0));
    show!("cap bound", prctl(libc::PR_CAPBSET_READ, 0).0 >= 0);
    show!("cap bound, unknown", prctl(libc::PR_CAPBSET_READ, 64));
    show!("seccomp", prctl(libc::PR_GET_SECCOMP, 0));
    show!("tsc", {
        sys!(prctl, libc::PR_GET_TSC, &raw mut value, 0, 0, 0).ok();
        value
    });
}

pub fn orphans_come_to_the_subreaper() {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1).ok();
    let middle = kit::fork(|| {
        kit::fork(|| {
            kit::sleep_ms(50);
            11
        });
        0
    });
    kit::wait_for(middle);
    let mut status = 0;
    show!("the grandchild", sys!(wait4, -1, &raw mut status, 0, 0).is_ok());
    show!("status", kit::status(status));
}

pub fn death_of_the_parent() {
    let ((r, w), (set, told)) = (kit::pipe(), kit::pipe());
    let middle = kit::fork(|| {
        kit::fork(|| {
            prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as usize).ok();
            kit::close(&[r]);
            sys!(write, told, &b"x"[..], 1).ok();
            kit::sleep_ms(200_000);
            0
        });
        sys!(read, set, [0u8; 1].as_mut_ptr(), 1).ok();
        0
    });
    kit::close(&[w]);
    kit::wait_for(middle);
    // The last writer is gone as soon as the grandchild is killed.
    show!("killed", sys!(read, r, [0u8; 1].as_mut_ptr(), 1));
}

#[cfg(target_arch = "x86_64")]
pub fn segment_bases() {
    let mut base = 0u64;
    show!("get fs", sys!(arch_prctl, 0x1003, &raw mut base));
    show!("is set", base != 0);
    show!("set gs", sys!(arch_prctl, 0x1001, 0x1234_5000usize));
    show!("get gs", sys!(arch_prctl, 0x1004, &raw mut base));
    show!("gs", format!("{base:#x}"));
    show!("kernel half", sys!(arch_prctl, 0x1001, usize::MAX));
    show!("unknown", sys!(arch_prctl, 0x9999, 0));
    show!("survives a call", {
        sys!(getpid).ok();
        sys!(arch_prctl, 0x1004, &raw mut base).ok();
        base == 0x1234_5000
    });
    show!("and a fork", kit::status(kit::in_child(|| {
        let mut base = 0u64;
        sys!(arch_prctl, 0x1004, &raw mut base).ok();
        i32::from(base == 0x1234_5000)
    })));
}
