// SPDX-License-Identifier: Apache-2.0
//! Mounting in steps: fsopen(2), fsconfig(2), fsmount(2), fspick(2), open_tree(2), move_mount(2).
//!
//! Covers: fsopen, fsconfig, fsmount, fspick, open_tree, move_mount.

use std::fs;

use super::mount::{apart, shown, tmpfs};
use crate::kit;

const NONE: usize = 0;
const SET_FLAG: i32 = 0;
const SET_STRING: i32 = 1;
const SET_BINARY: i32 = 2;
const SET_PATH: i32 = 3;
const SET_FD: i32 = 5;
const CREATE: i32 = 6;
const RECONFIGURE: i32 = 7;
const CLONE: i32 = 1;
const RECURSIVE: i32 = 0x8000;
const FROM_EMPTY: i32 = 4;
const TO_EMPTY: i32 = 0x40;
const SET_GROUP: i32 = 0x100;
const BENEATH: i32 = 0x200;

fn context() -> i32 {
    sys!(fsopen, c"tmpfs", 0).fd()
}

fn made(attributes: i32) -> i32 {
    let context = context();
    sys!(fsconfig, context, CREATE, NONE, NONE, 0).ok();
    let tree = sys!(fsmount, context, 0, attributes).fd();
    kit::close(&[context]);
    tree
}

fn at(name: &std::ffi::CStr, fd: i32) -> kit::Ret {
    sys!(move_mount, fd, c"", libc::AT_FDCWD, name, FROM_EMPTY)
}

pub fn in_steps() {
    apart(|| {
        fs::create_dir("m").unwrap();
        let context = context();
        show!("source", sys!(fsconfig, context, SET_STRING, c"source", c"from", 0));
        show!("source again", sys!(fsconfig, context, SET_STRING, c"source", c"from", 0));
        show!("size", sys!(fsconfig, context, SET_STRING, c"size", c"1m", 0));
        show!("mode", sys!(fsconfig, context, SET_STRING, c"mode", c"0700", 0));
        show!("flag", sys!(fsconfig, context, SET_FLAG, c"ro", NONE, 0));
        show!("too early", sys!(fsmount, context, 0, 0));
        show!("create", sys!(fsconfig, context, CREATE, NONE, NONE, 0));
        show!("create again", sys!(fsconfig, context, CREATE, NONE, NONE, 0));
        show!("set late", sys!(fsconfig, context, SET_FLAG, c"rw", NONE, 0));
        let tree = sys!(fsmount, context, 1, 2 | 8).fd();
        show!("close-on-exec", sys!(fcntl, tree, libc::F_GETFD, 0));
        show!("status", sys!(fcntl, tree, libc::F_GETFL, 0).ok() as i32 & libc::O_PATH != 0);
        show!("mount again", sys!(fsmount, context, 0, 0));
        show!("in no tree", shown("m"));
        show!("move", at(c"m", tree));
        say!("{}", shown("m"));
        show!("read-only", sys!(mkdir, c"m/d", 0o755));
        show!("set", sys!(fsconfig, context, SET_FLAG, c"rw", NONE, 0));
        show!("reconfigure", sys!(fsconfig, context, RECONFIGURE, NONE, NONE, 0));
        say!("{}", shown("m"));
        show!("written", sys!(mkdir, c"m/d", 0o755));
        show!("move again", at(c"m/d", tree));
        kit::close(&[tree, context]);
        show!("still there", fs::exists("m/d").unwrap());
    });
}

pub fn messages() {
    apart(|| {
        let context = context();
        let mut text = [0u8; 200];
        show!("none", sys!(read, context, text.as_mut_ptr(), 200));
        show!("unknown", sys!(fsconfig, context, SET_FLAG, c"nosuch", NONE, 0));
        show!("no room", sys!(read, context, text.as_mut_ptr(), 4));
        let len = sys!(read, context, text.as_mut_ptr(), 200).ok() as usize;
        say!("{}", String::from_utf8_lossy(&text[..len]).trim_end());
        show!("none", sys!(read, context, text.as_mut_ptr(), 200));
        show!("write", sys!(write, context, c"x", 1));
    });
}

pub fn errors() {
    apart(|| {
        fs::create_dir("m").unwrap();
        let context = context();
        show!("unknown type", sys!(fsopen, c"nosuchfs", 0));
        show!("no type", sys!(fsopen, NONE, 0));
        show!("flags", sys!(fsopen, c"tmpfs", 2));
        show!("bad fd", sys!(fsconfig, -1, CREATE, NONE, NONE, 0));
        show!("closed fd", sys!(fsconfig, 99, CREATE, NONE, NONE, 0));
        show!("not a context", sys!(fsconfig, kit::file("f", b""), CREATE, NONE, NONE, 0));
        show!("unknown command", sys!(fsconfig, context, 100, NONE, NONE, 0));
        show!("flag without key", sys!(fsconfig, context, SET_FLAG, NONE, NONE, 0));
        show!("flag with value", sys!(fsconfig, context, SET_FLAG, c"ro", c"x", 0));
        show!("flag with aux", sys!(fsconfig, context, SET_FLAG, c"ro", NONE, 1));
        show!("string without", sys!(fsconfig, context, SET_STRING, c"size", NONE, 0));
        show!("bytes without length", sys!(fsconfig, context, SET_BINARY, c"size", c"x", 0));
        show!("path with bad fd", sys!(fsconfig, context, SET_PATH, c"size", c"x", -1));
        show!("empty path", sys!(fsconfig, context, SET_PATH, c"size", c"", libc::AT_FDCWD));
        show!("fd with value", sys!(fsconfig, context, SET_FD, c"size", c"x", 1));
        show!("closed fd", sys!(fsconfig, context, SET_FD, c"size", NONE, 99));
        show!("create with key", sys!(fsconfig, context, CREATE, c"x", NONE, 0));
        show!("reconfigure too early", sys!(fsconfig, context, RECONFIGURE, NONE, NONE, 0));
        let long = std::ffi::CString::new(vec![b'x'; 300]).unwrap();
        show!("long key", sys!(fsconfig, context, SET_FLAG, long.as_c_str(), NONE, 0));
        show!("bad value", sys!(fsconfig, context, SET_STRING, c"size", c"oops", 0));
        show!("mount flags", sys!(fsmount, context, 2, 0));
        show!("mount attributes", sys!(fsmount, context, 0, 0x40));
        show!("both times", sys!(fsmount, context, 0, 0x30));
        show!("mount closed", sys!(fsmount, 99, 0, 0));
        show!("mount no context", sys!(fsmount, 0, 0, 0));
        show!("pick no mount", sys!(fspick, libc::AT_FDCWD, c"m", 0));
        show!("pick missing", sys!(fspick, libc::AT_FDCWD, c"none", 0));
        show!("pick flags", sys!(fspick, libc::AT_FDCWD, c"m", 16));
        show!("tree flags", sys!(open_tree, libc::AT_FDCWD, c"m", 2));
        show!("recursive alone", sys!(open_tree, libc::AT_FDCWD, c"m", RECURSIVE));
        show!("tree missing", sys!(open_tree, libc::AT_FDCWD, c"none", 0));
        show!("move flags", sys!(move_mount, 0, c"", 0, c"", 8));
        show!("move both", sys!(move_mount, 0, c"", 0, c"", SET_GROUP | BENEATH));
        show!("move no mount", sys!(move_mount, libc::AT_FDCWD, c"m", libc::AT_FDCWD, c"m", 0));
        show!("onto a file", at(c"f", made(0)));
        sys!(setresuid, 1000, 1000, 1000).ok();
        show!("no right", sys!(fsopen, c"tmpfs", 0));
        show!("no right", sys!(fsmount, context, 0, 0));
        show!("no right", sys!(fspick, libc::AT_FDCWD, c"/", 0));
        show!("no right", sys!(open_tree, libc::AT_FDCWD, c"m", CLONE));
        show!("open only", sys!(open_tree, libc::AT_FDCWD, c"m", 0).is_ok());
        show!("no right", sys!(move_mount, 0, c"", 0, c"", 0));
    });
}

pub fn cloned() {
    apart(|| {
        tmpfs("a");
        fs::create_dir_all("a/sub").unwrap();
        tmpfs("a/sub");
        fs::write("a/sub/f", b"").unwrap();
        for name in ["b", "c", "d"] {
            fs::create_dir(name).unwrap();
        }
        let one = sys!(open_tree, libc::AT_FDCWD, c"a", CLONE | libc::O_CLOEXEC).fd();
        show!("close-on-exec", sys!(fcntl, one, libc::F_GETFD, 0));
        let all = sys!(open_tree, libc::AT_FDCWD, c"a", CLONE | RECURSIVE).fd();
        show!("in it", sys!(faccessat, all, c"sub/f", 0));
        show!("not in it", sys!(faccessat, one, c"sub/f", 0));
        let made = sys!(openat, all, c"sub/new", libc::O_CREAT | libc::O_RDWR, 0o600).is_ok();
        say!("{made} {}", fs::exists("a/sub/new").unwrap());
        show!("move one", at(c"b", one));
        show!("move all", at(c"c", all));
        say!("{} {}", fs::exists("b/sub/f").unwrap(), fs::exists("c/sub/f").unwrap());
        let plain = sys!(open_tree, libc::AT_FDCWD, c"b", 0).fd();
        show!("move the mount", at(c"d", plain));
        say!("{} / {}", shown("b"), shown("d"));
        let lost = sys!(open_tree, libc::AT_FDCWD, c"c", CLONE | RECURSIVE).fd();
        kit::close(&[lost]);
        show!("umount", sys!(umount2, c"c/sub", 0));
        sys!(mount, NONE, c"c", NONE, libc::MS_UNBINDABLE, NONE).ok();
        show!("unbindable", sys!(open_tree, libc::AT_FDCWD, c"c", CLONE));
    });
}

pub fn beneath_and_groups() {
    apart(|| {
        for name in ["a", "b", "c"] {
            tmpfs(name);
            fs::write(format!("{name}/{name}"), b"").unwrap();
        }
        let how = FROM_EMPTY | BENEATH;
        let tree = sys!(open_tree, libc::AT_FDCWD, c"b", CLONE).fd();
        show!("beneath", sys!(move_mount, tree, c"", libc::AT_FDCWD, c"a", how));
        show!("top", fs::exists("a/a").unwrap());
        show!("umount", sys!(umount2, c"a", 0));
        show!("below", fs::exists("a/b").unwrap());
        fs::create_dir("plain").unwrap();
        let tree = sys!(open_tree, libc::AT_FDCWD, c"b", CLONE).fd();
        show!("no mount", sys!(move_mount, tree, c"", libc::AT_FDCWD, c"plain", how));
        let cwd = libc::AT_FDCWD;
        show!("private", sys!(move_mount, cwd, c"b", cwd, c"c", SET_GROUP));
        sys!(mount, NONE, c"b", NONE, libc::MS_SHARED, NONE).ok();
        show!("other", sys!(move_mount, cwd, c"b", cwd, c"c", SET_GROUP));
        show!("group", sys!(move_mount, cwd, c"b", cwd, c"a", SET_GROUP));
        say!("{}", shown("a"));
        show!("again", sys!(move_mount, cwd, c"b", cwd, c"a", SET_GROUP));
        show!("no mount", sys!(move_mount, cwd, c"b", cwd, c"plain", SET_GROUP));
        show!("to by descriptor", {
            let (tree, to) = (made(0), kit::open("plain", libc::O_PATH));
            sys!(move_mount, tree, c"", to, c"", FROM_EMPTY | TO_EMPTY)
        });
        say!("{}", shown("plain"));
    });
}

pub fn picked() {
    apart(|| {
        tmpfs("m");
        let context = sys!(fspick, libc::AT_FDCWD, c"m", 1).fd();
        show!("close-on-exec", sys!(fcntl, context, libc::F_GETFD, 0));
        show!("create", sys!(fsconfig, context, CREATE, NONE, NONE, 0));
        show!("mount", sys!(fsmount, context, 0, 0));
        show!("flag", sys!(fsconfig, context, SET_FLAG, c"ro", NONE, 0));
        let fd = kit::file("m/f", b"");
        show!("written", sys!(fsconfig, context, RECONFIGURE, NONE, NONE, 0));
        kit::close(&[fd]);
        let context = sys!(fspick, libc::AT_FDCWD, c"m", 0).fd();
        show!("flag", sys!(fsconfig, context, SET_FLAG, c"ro", NONE, 0));
        show!("reconfigure", sys!(fsconfig, context, RECONFIGURE, NONE, NONE, 0));
        say!("{}", shown("m"));
    });
}
