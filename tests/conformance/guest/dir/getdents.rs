// SPDX-License-Identifier: Apache-2.0
//! getdents64(2), getdents(2), getcwd(2), chdir(2).
//!
//! Covers: getdents, getdents64, getcwd, chdir, fchdir, chroot.

use crate::kit;

fn entries(buf: &[u8]) -> Vec<(String, u8)> {
    let mut found = Vec::new();
    let mut rest = buf;
    while rest.len() > 19 {
        let len = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
        let end = rest[19..].iter().position(|b| *b == 0).unwrap();
        found.push((String::from_utf8_lossy(&rest[19..19 + end]).into_owned(), rest[18]));
        rest = &rest[len..];
    }
    found.sort();
    found
}

pub fn listing() {
    std::fs::create_dir("d").unwrap();
    kit::file("f", b"");
    std::os::unix::fs::symlink("f", "l").unwrap();
    let fd = kit::open(".", libc::O_RDONLY | libc::O_DIRECTORY);
    let mut buf = [0u8; 1024];
    let got = sys!(getdents64, fd, &mut buf[..], 1024).ok() as usize;
    show!("entries", format!("{:?}", entries(&buf[..got])));
    show!("end", sys!(getdents64, fd, &mut buf[..], 1024));
    sys!(lseek, fd, 0, libc::SEEK_SET).ok();
    show!("rewound", sys!(getdents64, fd, &mut buf[..], 1024).ok() as usize == got);
    show!("small buffer", {
        sys!(lseek, fd, 0, libc::SEEK_SET).ok();
        sys!(getdents64, fd, &mut buf[..], 10)
    });
    let file = kit::open("f", 0);
    show!("file", sys!(getdents64, file, &mut buf[..], 1024));
    show!("closed", sys!(getdents64, 99, &mut buf[..], 1024));
    show!("old call", sys!(getdents, fd, &mut buf[..], 1024).is_ok());
}

pub fn many_entries_in_small_steps() {
    for n in 0..300 {
        kit::close(&[kit::file(&format!("file-{n}"), b"")]);
    }
    let fd = kit::open(".", libc::O_RDONLY | libc::O_DIRECTORY);
    let mut seen = std::collections::BTreeSet::new();
    let mut twice = 0;
    let mut buf = [0u8; 128];
    loop {
        let got = sys!(getdents64, fd, &mut buf[..], 128).ok() as usize;
        if got == 0 {
            break;
        }
        for (name, _) in entries(&buf[..got]) {
            twice += u32::from(!seen.insert(name));
        }
    }
    say!("{} names, {twice} twice", seen.len());
}

pub fn removed_while_reading() {
    std::fs::create_dir("d").unwrap();
    kit::file("d/f", b"");
    let fd = kit::open("d", libc::O_RDONLY | libc::O_DIRECTORY);
    std::fs::remove_dir_all("d").unwrap();
    let mut buf = [0u8; 256];
    show!("removed directory", sys!(getdents64, fd, &mut buf[..], 256));
}

pub fn working_directory() {
    std::fs::create_dir_all("a/b").unwrap();
    kit::file("f", b"");
    show!("chdir", sys!(chdir, c"a/b"));
    let mut buf = [0u8; 4096];
    let len = sys!(getcwd, &mut buf[..], 4096).ok() as usize;
    let cwd = String::from_utf8_lossy(&buf[..len - 1]).into_owned();
    show!("ends with", cwd.ends_with("/a/b"));
    show!("with its nul", buf[len - 1] == 0 && len == cwd.len() + 1);
    show!("small", sys!(getcwd, &mut buf[..], 3));
    show!("zero", sys!(getcwd, &mut buf[..], 0));
    show!("null", sys!(getcwd, 0, 4096));
    show!("file", sys!(chdir, c"../../f"));
    show!("missing", sys!(chdir, c"none"));
    let up = kit::open("../..", libc::O_PATH);
    show!("fchdir", sys!(fchdir, up));
    show!("fchdir file", sys!(fchdir, kit::open("f", 0)));
    sys!(chdir, c"a/b").ok();
    std::fs::remove_dir("../b").unwrap();
    show!("removed", sys!(getcwd, &mut buf[..], 4096));
    show!("create in removed", sys!(open, c"x", libc::O_CREAT | libc::O_WRONLY, 0o600));
    show!("leave", sys!(chdir, c".."));
}

pub fn change_root() {
    std::fs::create_dir_all("root/inside").unwrap();
    kit::in_child(|| {
        if sys!(getuid).0 != 0 {
            show!("not root", sys!(chroot, c"root"));
            return 0;
        }
        show!("chroot", sys!(chroot, c"root"));
        show!("inside", sys!(chdir, c"/inside"));
        show!("up", sys!(chdir, c"../../.."));
        let mut buf = [0u8; 64];
        show!("root", sys!(getcwd, &mut buf[..], 64));
        show!("file", sys!(chroot, c"/none"));
        0
    });
}
