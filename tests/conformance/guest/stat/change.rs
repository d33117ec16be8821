// SPDX-License-Identifier: Apache-2.0
//! chmod(2), chown(2), utimensat(2), umask(2), statfs(2).
//!
//! Covers: chmod, fchmod, fchmodat, fchmodat2, chown, fchown, lchown, fchownat, utime, utimes, futimesat, utimensat, umask, statfs, fstatfs.

use std::os::unix::fs::{MetadataExt, symlink};

use crate::kit;

fn mode(name: &str) -> String {
    format!("{:o}", std::fs::symlink_metadata(name).unwrap().mode())
}

pub fn modes() {
    let fd = kit::file("f", b"");
    symlink("f", "l").unwrap();
    show!("chmod", sys!(chmod, c"f", 0o4755));
    show!("mode", mode("f"));
    show!("fchmod", sys!(fchmod, fd, 0o100_640));
    show!("mode", mode("f"));
    show!("through link", sys!(fchmodat, libc::AT_FDCWD, c"l", 0o600));
    show!("mode", mode("f"));
    show!("of the link", sys!(fchmodat2, libc::AT_FDCWD, c"l", 0o600, libc::AT_SYMLINK_NOFOLLOW));
    show!("flags", sys!(fchmodat2, libc::AT_FDCWD, c"l", 0o600, 1));
    show!("missing", sys!(chmod, c"none", 0o600));
    show!("path", sys!(fchmod, kit::open("f", libc::O_PATH), 0o600));
}

pub fn write_clears_set_id() {
    let fd = kit::file("f", b"");
    sys!(chmod, c"f", 0o6777).ok();
    kit::in_child(|| {
        if sys!(getuid).0 == 0 {
            sys!(setresuid, 1000, 1000, 1000).ok();
        }
        sys!(write, fd, &b"x"[..], 1).ok();
        0
    });
    show!("mode", mode("f"));
}

pub fn owners() {
    let fd = kit::file("f", b"");
    let root = sys!(getuid).0 == 0;
    sys!(chmod, c"f", 0o6755).ok();
    show!("leave both", sys!(chown, c"f", -1, -1));
    show!("mode after", mode("f"));
    if root {
        show!("chown", sys!(chown, c"f", 1000, 1001));
        let meta = std::fs::metadata("f").unwrap();
        say!("{} {}", meta.uid(), meta.gid());
        show!("fchown", sys!(fchown, fd, -1, 5));
        symlink("f", "l").unwrap();
        show!("lchown", sys!(lchown, c"l", 7, 7));
        say!("{} {}", std::fs::symlink_metadata("l").unwrap().uid(), mode("f"));
        show!("fchownat", sys!(fchownat, fd, c"", 8, 8, libc::AT_EMPTY_PATH));
        show!("flags", sys!(fchownat, libc::AT_FDCWD, c"f", 8, 8, 2));
        kit::in_child(|| {
            sys!(setresuid, 8, 8, 8).ok();
            show!("owner may not give away", sys!(chown, c"f", 9, -1));
            show!("owner may chmod", sys!(chmod, c"f", 0o600));
            show!("not the owner", sys!(chmod, c"l", 0o600));
            0
        });
    }
}

pub fn umask() {
    show!("old", format!("{:o}", sys!(umask, 0o7077).ok()));
    show!("new", format!("{:o}", sys!(umask, 0o027).ok()));
    kit::close(&[sys!(open, c"f", libc::O_CREAT, 0o6777).fd()]);
    sys!(mkdir, c"d", 0o1777).ok();
    say!("{} {}", mode("f"), mode("d"));
}

pub fn times() {
    kit::file("f", b"");
    let cwd = libc::AT_FDCWD;
    let spec = |s, n| libc::timespec { tv_sec: s, tv_nsec: n };
    let set = |times: [libc::timespec; 2]| sys!(utimensat, cwd, c"f", times.as_ptr(), 0);
    let now = || {
        let meta = std::fs::metadata("f").unwrap();
        format!("{}.{} {}.{}", meta.atime(), meta.atime_nsec(), meta.mtime(), meta.mtime_nsec())
    };
    show!("set", set([spec(5, 6), spec(7, 8)]));
    say!("{}", now());
    show!("omit", set([spec(0, libc::UTIME_OMIT), spec(9, 0)]));
    say!("{}", now());
    show!("negative seconds", set([spec(-5, 0), spec(-5, 1)]));
    show!("bad nanoseconds", set([spec(0, 1_000_000_000), spec(0, 0)]));
    show!("null path of cwd", sys!(utimensat, cwd, 0, 0, 0));
    show!("flags", sys!(utimensat, cwd, c"f", 0, 1));
    show!("now", sys!(utimensat, cwd, c"f", 0, 0));
    show!("is recent", std::fs::metadata("f").unwrap().mtime() > 1_000_000_000);
    let old = [100i64, 200];
    show!("utime", sys!(utime, c"f", old.as_ptr()));
    let val = [3i64, 999_999, 4, 1_000_000];
    show!("utimes, bad", sys!(utimes, c"f", val.as_ptr()));
    show!("futimesat", sys!(futimesat, cwd, c"f", [3i64, 9, 4, 9].as_ptr()));
    say!("{}", now());
}

pub fn file_systems() {
    let mut st: libc::statfs = unsafe { std::mem::zeroed() };
    show!("statfs", sys!(statfs, c"/proc", &raw mut st));
    show!("proc", format!("{:#x}", st.f_type));
    show!("name length", st.f_namelen);
    show!("missing", sys!(statfs, c"none", &raw mut st));
    show!("closed", sys!(fstatfs, 99, &raw mut st));
    let fd = kit::file("f", b"");
    show!("fstatfs", sys!(fstatfs, fd, &raw mut st));
    show!("has blocks", st.f_bsize > 0);
    show!("null", sys!(statfs, c"/proc", 0));
}
