// SPDX-License-Identifier: Apache-2.0
//! mount(2), umount2(2), pivot_root(2), sysfs(2), in a mount namespace of the case's own.
//!
//! Covers: mount, umount2, pivot_root, sysfs.

use std::fs;

use crate::kit::{self, Ret};

const NONE: usize = 0;

/// Runs `body` in a child with private mounts of its own; says so if that cannot be had.
pub fn apart(body: impl FnOnce()) {
    kit::in_child(|| {
        let apart = sys!(unshare, libc::CLONE_NEWNS);
        if apart.0 != 0 {
            show!("a namespace", apart);
            return 1;
        }
        sys!(mount, NONE, c"/", NONE, libc::MS_REC | libc::MS_PRIVATE, NONE).ok();
        body();
        0
    });
}

/// A new tmpfs on a new directory.
pub fn tmpfs(name: &str) {
    fs::create_dir_all(name).unwrap();
    let path = std::ffi::CString::new(name).unwrap();
    sys!(mount, c"here", path.as_c_str(), c"tmpfs", 0, NONE).ok();
}

/// What mountinfo says of the mounts on `name`: options, how events spread, type, source, `ro` or `rw`.
pub fn shown(name: &str) -> String {
    let path = fs::canonicalize(name).unwrap();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let spread: Vec<&str> = left[6..].iter().filter_map(|it| it.split(':').next()).collect();
        let access = right[2].split(',').next()?;
        let within = if left[3].len() > 1 { left[3].rsplit('/').next()? } else { "/" };
        (left[4] == path.to_str()?).then(|| {
            format!("{within} {} [{}] {} {} {access}", left[5], spread.join(" "), right[0], right[1])
        })
    };
    text.lines().filter_map(line).collect::<Vec<_>>().join(" over ")
}

fn mount_flags(target: &std::ffi::CStr, flags: u64) -> Ret {
    sys!(mount, NONE, target, NONE, flags, NONE)
}

pub fn new_and_gone() {
    apart(|| {
        fs::create_dir("m").unwrap();
        fs::write("m/under", b"").unwrap();
        show!("mount", sys!(mount, c"src", c"m", c"tmpfs", libc::MS_NOSUID | libc::MS_NOEXEC, c"mode=700"));
        say!("{}", shown("m"));
        show!("covered", fs::exists("m/under").unwrap());
        fs::write("m/file", b"x").unwrap();
        show!("again", sys!(mount, c"src", c"m", c"tmpfs", libc::MS_RDONLY, NONE));
        say!("{}", shown("m"));
        show!("make in read-only", sys!(mkdir, c"m/d", 0o755));
        show!("umount", sys!(umount2, c"m", 0));
        show!("below", fs::read_to_string("m/file").unwrap());
        show!("umount", sys!(umount2, c"m", 0));
        show!("covered", fs::exists("m/under").unwrap());
        show!("umount", sys!(umount2, c"m", 0));
    });
}

pub fn errors() {
    apart(|| {
        fs::create_dir("m").unwrap();
        fs::write("f", b"").unwrap();
        show!("unknown type", sys!(mount, c"x", c"m", c"nosuchfs", 0, NONE));
        show!("no type", sys!(mount, c"x", c"m", NONE, 0, NONE));
        show!("missing", sys!(mount, c"x", c"none", c"tmpfs", 0, NONE));
        show!("on a file", sys!(mount, c"x", c"f", c"tmpfs", 0, NONE));
        show!("bad option", sys!(mount, c"x", c"m", c"tmpfs", 0, c"nosuch=1"));
        show!("bad value", sys!(mount, c"x", c"m", c"tmpfs", 0, c"size=oops"));
        show!("empty path", sys!(mount, c"x", c"", c"tmpfs", 0, NONE));
        show!("bind nothing", sys!(mount, NONE, c"m", NONE, libc::MS_BIND, NONE));
        show!("bind missing", sys!(mount, c"none", c"m", NONE, libc::MS_BIND, NONE));
        show!("bind file on directory", sys!(mount, c"f", c"m", NONE, libc::MS_BIND, NONE));
        show!("bind directory on file", sys!(mount, c"m", c"f", NONE, libc::MS_BIND, NONE));
        show!("remount no mount", mount_flags(c"m", libc::MS_REMOUNT));
        show!("bind-remount no mount", mount_flags(c"m", libc::MS_REMOUNT | libc::MS_BIND));
        show!("spread no mount", mount_flags(c"m", libc::MS_SHARED));
        show!("two ways", mount_flags(c"m", libc::MS_SHARED | libc::MS_PRIVATE));
        show!("move no mount", sys!(mount, c"m", c"m", NONE, libc::MS_MOVE, NONE));
        show!("umount no mount", sys!(umount2, c"m", 0));
        show!("umount missing", sys!(umount2, c"none", 0));
        show!("umount flags", sys!(umount2, c"m", 16));
        show!("umount both", sys!(umount2, c"m", libc::MNT_EXPIRE | libc::MNT_DETACH));
        show!("umount bad address", sys!(umount2, 8usize, 0));
        tmpfs("d");
        show!("move into itself", {
            fs::create_dir("d/in").unwrap();
            sys!(mount, c"d", c"d/in", NONE, libc::MS_MOVE, NONE)
        });
        show!("move onto a file", sys!(mount, c"d", c"f", NONE, libc::MS_MOVE, NONE));
        sys!(setresuid, 1000, 1000, 1000).ok();
        show!("no right", sys!(mount, c"x", c"m", c"tmpfs", 0, NONE));
        show!("no right", sys!(umount2, c"d", 0));
        show!("no right", sys!(pivot_root, c"d", c"d"));
    });
}

pub fn bound() {
    apart(|| {
        tmpfs("a");
        fs::create_dir_all("a/sub").unwrap();
        fs::write("a/sub/f", b"").unwrap();
        fs::create_dir_all("b").unwrap();
        fs::write("file", b"").unwrap();
        tmpfs("a/sub2");
        fs::write("a/sub2/deep", b"").unwrap();
        show!("bind", sys!(mount, c"a", c"b", NONE, libc::MS_BIND, NONE));
        say!("{} {}", fs::exists("b/sub/f").unwrap(), fs::exists("b/sub2/deep").unwrap());
        show!("umount", sys!(umount2, c"b", 0));
        show!("rbind", sys!(mount, c"a", c"b", NONE, libc::MS_BIND | libc::MS_REC, NONE));
        say!("{} {}", fs::exists("b/sub/f").unwrap(), fs::exists("b/sub2/deep").unwrap());
        show!("busy", sys!(umount2, c"b", 0));
        show!("detach", sys!(umount2, c"b", libc::MNT_DETACH));
        show!("gone", fs::exists("b/sub").unwrap());
        show!("of a part", sys!(mount, c"a/sub", c"b", NONE, libc::MS_BIND, NONE));
        say!("{}", shown("b"));
        show!("of a file", sys!(mount, c"a/sub/f", c"file", NONE, libc::MS_BIND, NONE));
        say!("{}", shown("file"));
        let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NODEV;
        show!("read-only", mount_flags(c"b", flags));
        say!("{}", shown("b"));
        show!("there", sys!(mkdir, c"b/x", 0o755));
        show!("here", sys!(mkdir, c"a/sub/x", 0o755));
        show!("unlink mounted", sys!(unlink, c"file"));
        show!("rename mounted", sys!(rename, c"file", c"file2"));
        show!("remove mounted", sys!(rmdir, c"b"));
    });
}

pub fn writers_keep_it_writable() {
    apart(|| {
        tmpfs("m");
        let fd = kit::file("m/f", b"x");
        show!("remount", mount_flags(c"m", libc::MS_REMOUNT | libc::MS_RDONLY));
        show!("of the mount", mount_flags(c"m", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY));
        kit::close(&[fd]);
        let fd = kit::open("m/f", libc::O_RDONLY);
        show!("reader", mount_flags(c"m", libc::MS_REMOUNT | libc::MS_RDONLY));
        say!("{}", shown("m"));
        show!("write", sys!(open, c"m/f", libc::O_WRONLY, 0));
        show!("busy", sys!(umount2, c"m", 0));
        kit::close(&[fd]);
        show!("expire", sys!(umount2, c"m", libc::MNT_EXPIRE));
        show!("expire again", sys!(umount2, c"m", libc::MNT_EXPIRE));
        show!("gone", sys!(umount2, c"m", libc::MNT_EXPIRE));
    });
}

pub fn spread() {
    apart(|| {
        tmpfs("a");
        fs::create_dir_all("a/sub").unwrap();
        for name in ["b", "c", "d"] {
            fs::create_dir(name).unwrap();
        }
        show!("shared", mount_flags(c"a", libc::MS_SHARED));
        sys!(mount, c"a", c"b", NONE, libc::MS_BIND, NONE).ok();
        sys!(mount, c"a", c"c", NONE, libc::MS_BIND, NONE).ok();
        show!("slave", mount_flags(c"c", libc::MS_SLAVE));
        sys!(mount, c"a", c"d", NONE, libc::MS_BIND, NONE).ok();
        show!("unbindable", mount_flags(c"d", libc::MS_UNBINDABLE));
        for name in ["a", "b", "c", "d"] {
            say!("{name}: {}", shown(name));
        }
        sys!(mount, c"new", c"b/sub", c"tmpfs", 0, NONE).ok();
        for name in ["a/sub", "b/sub", "c/sub", "d/sub"] {
            say!("{name}: {}", shown(name));
        }
        sys!(mount, c"inner", c"c/sub", c"tmpfs", 0, NONE).ok();
        for name in ["a/sub", "b/sub", "c/sub", "d/sub"] {
            say!("{name}: {}", shown(name));
        }
        show!("umount", sys!(umount2, c"a/sub", 0));
        for name in ["a/sub", "b/sub", "c/sub", "d/sub"] {
            say!("{name}: {}", shown(name));
        }
        show!("bind unbindable", sys!(mount, c"d", c"d/sub", NONE, libc::MS_BIND, NONE));
        show!("move from shared", {
            sys!(mount, c"new", c"a/sub", c"tmpfs", 0, NONE).ok();
            sys!(mount, c"a/sub", c"d/sub", NONE, libc::MS_MOVE, NONE)
        });
    });
}

pub fn moved() {
    apart(|| {
        tmpfs("a");
        fs::write("a/f", b"").unwrap();
        fs::create_dir("b").unwrap();
        let fd = kit::open("a/f", libc::O_RDONLY);
        show!("move", sys!(mount, c"a", c"b", NONE, libc::MS_MOVE, NONE));
        say!("{} / {}", shown("a"), shown("b"));
        let path = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        show!("open file", path.ends_with("b/f"));
    });
}

pub fn copies_are_apart() {
    apart(|| {
        tmpfs("a");
        std::env::set_current_dir("a").unwrap();
        kit::in_child(|| {
            show!("unshare", sys!(unshare, libc::CLONE_NEWNS));
            fs::create_dir("sub").unwrap();
            sys!(mount, c"x", c"sub", c"tmpfs", 0, NONE).ok();
            say!("child: {}", shown("sub"));
            fs::write("sub/f", b"").unwrap();
            0
        });
        say!("parent: {} {}", shown("sub"), fs::exists("sub/f").unwrap());
        kit::in_child(|| {
            sys!(setresuid, 1000, 1000, 1000).ok();
            show!("no right", sys!(unshare, libc::CLONE_NEWNS));
            0
        });
    });
}

pub fn pivot() {
    apart(|| {
        tmpfs("new");
        fs::create_dir_all("new/old").unwrap();
        fs::write("new/f", b"").unwrap();
        tmpfs("other");
        show!("no mount", sys!(pivot_root, c"new/old", c"new/old"));
        show!("outside", sys!(pivot_root, c"new", c"other"));
        show!("missing", sys!(pivot_root, c"new", c"new/none"));
        show!("a file", sys!(pivot_root, c"new/f", c"new/old"));
        show!("the root itself", sys!(pivot_root, c"/", c"/"));
        show!("pivot", sys!(pivot_root, c"new", c"new/old"));
        show!("root", fs::exists("/f").unwrap());
        show!("old root", fs::exists("/old/tmp").unwrap());
        sys!(chdir, c"/").ok();
        show!("umount old", sys!(umount2, c"/old", libc::MNT_DETACH));
        show!("old root", fs::exists("/old/tmp").unwrap());
        show!("in a chroot", {
            fs::create_dir_all("/jail/old").unwrap();
            sys!(chroot, c"/jail").ok();
            sys!(pivot_root, c"/", c"/old")
        });
    });
}

pub fn types() {
    let mut name = [0u8; 64];
    let count = sys!(sysfs, 3).ok();
    show!("some", count > 3);
    let index = sys!(sysfs, 1, c"tmpfs").ok();
    show!("in range", index < count);
    show!("name", sys!(sysfs, 2, index, name.as_mut_ptr()));
    say!("{:?}", std::ffi::CStr::from_bytes_until_nul(&name).unwrap());
    show!("unknown", sys!(sysfs, 1, c"nosuchfs"));
    show!("behind", sys!(sysfs, 2, count, name.as_mut_ptr()));
    show!("option", sys!(sysfs, 4));
    show!("bad address", sys!(sysfs, 1, 8usize));
    show!("bad room", sys!(sysfs, 2, 0, 8usize));
}
