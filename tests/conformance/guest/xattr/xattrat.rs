// SPDX-License-Identifier: Apache-2.0
//! setxattrat(2), getxattrat(2), listxattrat(2), removexattrat(2).
//!
//! Covers: setxattrat, getxattrat, listxattrat, removexattrat.

use crate::{
    kit,
    mount::mount::{apart, tmpfs},
};

const CWD: i32 = libc::AT_FDCWD;
const NOFOLLOW: i32 = libc::AT_SYMLINK_NOFOLLOW;
const EMPTY: i32 = libc::AT_EMPTY_PATH;

/// `struct xattr_args`: the value, its size, flags.
fn arguments(value: &[u8], flags: u32) -> [u64; 2] {
    [value.as_ptr() as u64, value.len() as u64 | u64::from(flags) << 32]
}

pub fn of_paths_and_descriptors() {
    apart(|| {
        tmpfs("m");
        std::env::set_current_dir("m").unwrap();
        let fd = kit::file("f", b"");
        std::os::unix::fs::symlink("f", "l").unwrap();
        let value = arguments(b"one", 0);
        let name = c"trusted.a";
        show!("set", sys!(setxattrat, CWD, c"l", 0, name, value.as_ptr(), 16));
        let again = arguments(b"two", 1);
        show!("create", sys!(setxattrat, CWD, c"f", 0, name, again.as_ptr(), 16));
        let on_link = arguments(b"link", 0);
        show!("of the link", sys!(setxattrat, CWD, c"l", NOFOLLOW, name, on_link.as_ptr(), 16));
        let by_fd = arguments(b"three", 2);
        show!("by descriptor", sys!(setxattrat, fd, c"", EMPTY, name, by_fd.as_ptr(), 16));
        for (path, flags) in [(c"f", 0), (c"l", 0), (c"l", NOFOLLOW)] {
            let room = [0u8; 16];
            let to = arguments(&room, 0);
            let got = sys!(getxattrat, CWD, path, flags, name, to.as_ptr(), 16);
            say!("{got} {:?}", std::ffi::CStr::from_bytes_until_nul(&room).unwrap());
            let mut names = [0u8; 64];
            let got = sys!(listxattrat, CWD, path, flags, names.as_mut_ptr(), 64);
            say!("{got} {:?}", std::ffi::CStr::from_bytes_until_nul(&names).unwrap());
        }
        show!("size", sys!(getxattrat, fd, c"", EMPTY, name, arguments(b"", 0).as_ptr(), 16));
        show!("small", sys!(getxattrat, CWD, c"f", 0, name, arguments(b"x", 0).as_ptr(), 16));
        show!("get flags", sys!(getxattrat, CWD, c"f", 0, name, again.as_ptr(), 16));
        show!("set flags", {
            let wrong = arguments(b"x", 8);
            sys!(setxattrat, CWD, c"f", 0, name, wrong.as_ptr(), 16)
        });
        show!("path flags", sys!(setxattrat, CWD, c"f", 1, name, value.as_ptr(), 16));
        show!("small arguments", sys!(setxattrat, CWD, c"f", 0, name, value.as_ptr(), 8));
        let wide = [value[0], value[1], 1];
        show!("wide arguments", sys!(setxattrat, CWD, c"f", 0, name, wide.as_ptr(), 24));
        show!("huge arguments", sys!(setxattrat, CWD, c"f", 0, name, wide.as_ptr(), 8192));
        show!("bad arguments", sys!(getxattrat, CWD, c"f", 0, name, 8usize, 16));
        show!("missing", sys!(getxattrat, CWD, c"none", 0, name, value.as_ptr(), 16));
        show!("list flags", sys!(listxattrat, CWD, c"f", 1, 0, 0));
        show!("remove", sys!(removexattrat, CWD, c"l", NOFOLLOW, name));
        show!("remove again", sys!(removexattrat, CWD, c"l", NOFOLLOW, name));
        show!("remove", sys!(removexattrat, fd, c"", EMPTY, name));
        show!("remove flags", sys!(removexattrat, CWD, c"f", 1, name));
    });
}
