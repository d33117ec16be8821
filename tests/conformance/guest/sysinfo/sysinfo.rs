// SPDX-License-Identifier: Apache-2.0
//! What the system is.
//!
//! Covers: uname, sysinfo, sethostname, setdomainname, syslog.

use crate::kit;

pub fn names() {
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    show!("uname", sys!(uname, &raw mut name));
    let text = |field: &[libc::c_char]| -> String {
        field.iter().map(|c| *c as u8 as char).take_while(|c| *c != '\0').collect()
    };
    say!("{} {}", text(&name.sysname), text(&name.machine));
    let release = text(&name.release);
    show!("release", release.split('.').next().unwrap().parse::<u32>().unwrap() >= 5);
    show!("null", sys!(uname, 0));
    kit::in_child(|| {
        if sys!(getuid).0 == 0 {
            sys!(setresuid, 1000, 1000, 1000).ok();
        }
        show!("hostname", sys!(sethostname, c"name", 4));
        show!("domain", sys!(setdomainname, c"name", 4));
        0
    });
}

pub fn resources() {
    let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
    show!("sysinfo", sys!(sysinfo, &raw mut info));
    say!("{} {} {}", info.totalram > 0, info.mem_unit, info.procs > 0);
    show!("free is no more than all", info.freeram <= info.totalram);
    show!("null", sys!(sysinfo, 0));
}

pub fn numbers_that_do_not_exist() {
    for number in [335 + 10, 400, 423, 600, 9999, 0x4000_0000] {
        show!(number, kit::raw(number, &[]));
    }
    show!("low half counts", kit::raw(0x1_0000_0000 + 39, &[]).0 == sys!(getpid).0);
    show!("removed", kit::raw(156, &[]));
    show!("never there", kit::raw(181, &[]));
}
