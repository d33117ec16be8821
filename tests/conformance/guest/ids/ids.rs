// SPDX-License-Identifier: Apache-2.0
//! Who a process is: ids, groups, sessions, capabilities.
//!
//! Covers: getpid, getppid, getpgrp, getpgid, setpgid, getsid, setsid, getuid, geteuid, getgid, getegid, setuid, setgid, setreuid, setregid, setresuid, setresgid, getresuid, getresgid, setfsuid, setfsgid, getgroups, setgroups, capget, capset.

use crate::kit;

fn uids() -> String {
    let mut ids = [0u32; 3];
    let [r, e, s] = &mut ids;
    sys!(getresuid, &raw mut *r, &raw mut *e, &raw mut *s).ok();
    format!("{ids:?} fs {}", sys!(setfsuid, -1).0)
}

fn caps() -> String {
    let header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    sys!(capget, header.as_ptr(), data.as_mut_ptr()).ok();
    let has = |low: u32, high: u32| if low == 0 && high == 0 { "none" } else { "some" };
    format!("effective {} permitted {}", has(data[0], data[3]), has(data[1], data[4]))
}

pub fn users() {
    if sys!(getuid).0 != 0 {
        return say!("not root");
    }
    kit::in_child(|| {
        show!("root", uids());
        show!("setreuid", sys!(setreuid, 1, 2));
        say!("{} {}", uids(), caps());
        show!("back", sys!(setreuid, -1, 1));
        say!("{}", uids());
        show!("to root", sys!(setuid, 0));
        show!("saved", sys!(setresuid, 2, 2, 2));
        show!("gone", sys!(setresuid, 1, -1, -1));
        0
    });
    kit::in_child(|| {
        show!("effective only", sys!(setresuid, -1, 5, -1));
        say!("{} {}", uids(), caps());
        show!("and back", sys!(setresuid, -1, 0, -1));
        say!("{} {}", uids(), caps());
        show!("setuid as root", sys!(setuid, 7));
        say!("{} {} {}", uids(), sys!(getuid), sys!(geteuid));
        show!("invalid", sys!(setuid, -1));
        0
    });
    kit::in_child(|| {
        show!("setfsuid", sys!(setfsuid, 9));
        say!("{}", uids());
        0
    });
}

pub fn groups() {
    if sys!(getuid).0 != 0 {
        return say!("not root");
    }
    kit::in_child(|| {
        let list = [5u32, 3, 9];
        show!("set", sys!(setgroups, 3, list.as_ptr()));
        let mut got = [0u32; 8];
        show!("count", sys!(getgroups, 0, 0));
        show!("get", sys!(getgroups, 8, got.as_mut_ptr()));
        got[..3].sort_unstable();
        say!("{:?}", &got[..3]);
        show!("too small", sys!(getgroups, 2, got.as_mut_ptr()));
        show!("negative", sys!(getgroups, -1, got.as_mut_ptr()));
        show!("too many", sys!(setgroups, 65537, list.as_ptr()));
        show!("gid", sys!(setregid, 4, 6));
        say!("{} {}", sys!(getgid), sys!(getegid));
        show!("setresgid", sys!(setresgid, 7, 8, 9));
        show!("setfsgid", sys!(setfsgid, 11));
        show!("setfsgid", sys!(setfsgid, -1));
        sys!(setresuid, 1, 1, 1).ok();
        show!("not permitted", sys!(setgroups, 1, list.as_ptr()));
        show!("not one of them", sys!(setgid, 20));
        show!("one of them", sys!(setgid, 9));
        let mut ids = [0u32; 3];
        let [r, e, s] = &mut ids;
        sys!(getresgid, &raw mut *r, &raw mut *e, &raw mut *s).ok();
        say!("{ids:?}");
        0
    });
}

pub fn sessions_and_groups() {
    kit::in_child(|| {
        let pid = sys!(getpid).ok();
        show!("setsid", sys!(setsid).ok() == pid);
        show!("again", sys!(setsid));
        show!("group", sys!(getpgrp).ok() == pid);
        show!("session", sys!(getsid, 0).ok() == pid);
        show!("leader may not move", sys!(setpgid, 0, 0));
        let child = kit::fork(|| {
            kit::sleep_ms(10_000);
            0
        });
        show!("move the child", sys!(setpgid, child, child));
        show!("its group", sys!(getpgid, child).ok() == i64::from(child));
        show!("to no group", sys!(setpgid, child, 0x3fff_fff0));
        show!("negative", sys!(setpgid, child, -1));
        show!("no such process", sys!(setpgid, 0x3fff_fff0, 0));
        show!("getpgid of none", sys!(getpgid, 0x3fff_fff0));
        show!("getsid of none", sys!(getsid, 0x3fff_fff0));
        show!("kill the group", sys!(kill, -child, libc::SIGKILL));
        show!("child", kit::status(kit::wait_for(child)));
        0
    });
    show!("parent lives", sys!(getppid).is_ok());
}

pub fn capabilities() {
    let mut header = [0x1111u32, 0];
    let mut data = [0u32; 6];
    show!("version", sys!(capget, header.as_mut_ptr(), data.as_mut_ptr()));
    show!("preferred", format!("{:#x}", header[0]));
    header[0] = 7;
    show!("probe", sys!(capget, header.as_mut_ptr(), 0));
    header[1] = 0x3fff_fff0;
    show!("no such process", sys!(capget, header.as_ptr(), data.as_mut_ptr()));
    header[1] = -1i32 as u32;
    show!("negative", sys!(capget, header.as_ptr(), data.as_mut_ptr()));
    if sys!(getuid).0 != 0 {
        return;
    }
    kit::file("f", b"");
    kit::in_child(|| {
        let header = [0x2008_0522u32, 0];
        let mut data = [0u32; 6];
        sys!(capget, header.as_ptr(), data.as_mut_ptr()).ok();
        data[0] = 0;
        show!("lower effective", sys!(capset, header.as_ptr(), data.as_ptr()));
        say!("{}", caps());
        show!("chown needs it", sys!(chown, c"f", 5, 5));
        data = [0; 6];
        show!("drop all", sys!(capset, header.as_ptr(), data.as_ptr()));
        data[1] = 1;
        show!("not to be had again", sys!(capset, header.as_ptr(), data.as_ptr()));
        say!("{}", caps());
        0
    });
}
