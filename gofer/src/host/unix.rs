// SPDX-License-Identifier: Apache-2.0
//! Unix sockets of the host. The calling thread has entered [`super::ProcFd`].

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use abi::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket};

use super::{errno, open::number, retry};
use crate::protocol::Name;

/// The socket type of this number: `EPROTOTYPE` for what unix sockets are not.
fn socket_type(number: u32) -> Result<SockType, Errno> {
    match i32::try_from(number) {
        Ok(libc::SOCK_STREAM) => Ok(SockType::Stream),
        Ok(libc::SOCK_DGRAM) => Ok(SockType::Datagram),
        Ok(libc::SOCK_SEQPACKET) => Ok(SockType::SeqPacket),
        _ => Err(Errno::EPROTOTYPE),
    }
}

/// A new socket connected to the socket that `fd` names. Does not wait for a full backlog: `EAGAIN`.
pub fn connected(fd: BorrowedFd<'_>, kind: u32) -> Result<OwnedFd, Errno> {
    let kind = socket_type(kind)?;
    let address = UnixAddr::new(number(fd).as_c_str()).map_err(errno)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let new = retry(|| socket(AddressFamily::Unix, kind, flags, None))?;
    retry(|| connect(new.as_raw_fd(), &address))?;
    Ok(new)
}

/// A new socket bound to `name` in the directory that `parent` refers to.
pub fn bound(parent: BorrowedFd<'_>, name: &Name, kind: u32) -> Result<OwnedFd, Errno> {
    let kind = socket_type(kind)?;
    let mut path = number(parent).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name.as_bytes());
    let address = UnixAddr::new(path.as_slice()).map_err(errno)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let new = retry(|| socket(AddressFamily::Unix, kind, flags, None))?;
    retry(|| bind(new.as_raw_fd(), &address))?;
    Ok(new)
}
