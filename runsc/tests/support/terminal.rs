// SPDX-License-Identifier: Apache-2.0
//! A terminal as an engine gets and reads it.

use std::{
    fs,
    io::Read as _,
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _},
        unix::net::UnixListener,
    },
    time::{Duration, Instant},
};

/// The terminal's master, as an engine takes it.
pub(crate) fn receive(listener: &UnixListener) -> fs::File {
    let (socket, _) = listener.accept().unwrap();
    let mut byte = [0; 64];
    let mut room = nix::cmsg_space!([i32; 4]);
    let mut parts = [std::io::IoSliceMut::new(&mut byte)];
    let message = nix::sys::socket::recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut room),
        nix::sys::socket::MsgFlags::MSG_CMSG_CLOEXEC,
    )
    .unwrap();
    assert!(message.bytes > 0);
    let received = message.cmsgs().unwrap().find_map(|message| match message {
        nix::sys::socket::ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    unsafe { fs::File::from_raw_fd(received.expect("a descriptor")) }
}

/// Reads until `wanted` has been seen, or the end.
pub(crate) fn expect(terminal: &mut fs::File, wanted: &str) -> String {
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if text.contains(wanted) {
            return text;
        }
        assert!(Instant::now() < deadline, "no {wanted:?} in {text:?}");
        let mut fds = [nix::poll::PollFd::new(terminal.as_fd(), nix::poll::PollFlags::POLLIN)];
        if nix::poll::poll(&mut fds, 100u16).unwrap() > 0 {
            let mut bytes = [0; 4096];
            let count = terminal.read(&mut bytes).unwrap_or(0);
            assert!(count > 0, "the end, and no {wanted:?} in {text:?}");
            seen.extend(&bytes[..count]);
        }
    }
}
