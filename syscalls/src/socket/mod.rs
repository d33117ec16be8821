// SPDX-License-Identifier: Apache-2.0
//! Sockets.

mod asker;
mod control;
mod message;

use std::{sync::Arc, time::Instant};

use abi::{
    Errno, Fd, UserIn, UserInOut, UserOut,
    fcntl::OpenFlags,
    socket::{
        AF_UNIX, SHUT_RD, SHUT_RDWR, SOCK_TYPE_MASK, ShutdownHow, SockaddrStorage, SocketFlags,
    },
};
use sentry::{
    kernel::{OrRestart, Restart, SysResult},
    net::{Connecting, Namespace, Socket, SocketCaller, SocketFile, unix::UnixSocket},
    task::Current,
    vfs::{FileDescription, FileKind, anon::AnonInode},
    wait::{Cut, Ready, Try},
};

use asker::Asker;
pub use message::{recvfrom, recvmmsg, recvmsg, sendmmsg, sendmsg, sendto};

/// A socket with the open file that a number means.
pub(crate) struct Found {
    pub(crate) file: Arc<FileDescription>,
    pub(crate) socket: Arc<dyn Socket>,
}

/// `EBADF`, then `ENOTSOCK`.
pub(crate) fn find(cx: &Current, fd: Fd) -> Result<Found, Errno> {
    let file = cx.file(fd)?;
    let socket = Arc::clone(file.ops_as::<SocketFile>().ok_or(Errno::ENOTSOCK)?.socket());
    Ok(Found { file, socket })
}

/// Reads an address (`move_addr_to_kernel()`).
pub(crate) fn read_address(
    cx: &mut Current,
    addr: UserIn<SockaddrStorage>,
    len: i32,
) -> Result<Vec<u8>, Errno> {
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    if len > size_of::<SockaddrStorage>() {
        return Err(Errno::EINVAL);
    }
    cx.read_slice(addr.cast::<u8>(), len)
}

/// Tells an address as far as there is room, and its whole length (`move_addr_to_user()`).
pub(crate) fn write_address(
    cx: &mut Current,
    address: &[u8],
    addr: UserOut<SockaddrStorage>,
    len: UserInOut<i32>,
) -> Result<(), Errno> {
    let room = usize::try_from(cx.read(len.as_in())?).map_err(|_| Errno::EINVAL)?;
    cx.write_slice(addr.cast::<u8>(), address.get(..room).unwrap_or(address))?;
    let whole = i32::try_from(address.len()).unwrap_or(i32::MAX);
    cx.write(len.as_out(), &whole)
}

/// Splits a type from its flags: `EINVAL` for others.
fn split_kind(kind: i32) -> Result<(i32, SocketFlags), Errno> {
    let bits = u32::from_ne_bytes((kind & !SOCK_TYPE_MASK).to_ne_bytes());
    let flags = SocketFlags::from_bits(bits).ok_or(Errno::EINVAL)?;
    Ok((kind & SOCK_TYPE_MASK, flags))
}

/// `__sock_create()`'s checks of family, type and protocol.
fn check_family(domain: i32, kind: i32, protocol: i32) -> Result<(), Errno> {
    /// Families that Linux has numbers for.
    const FAMILIES: i32 = 46;
    const KINDS: i32 = 11;
    if !(0..FAMILIES).contains(&domain) {
        return Err(Errno::EAFNOSUPPORT);
    }
    if !(0..KINDS).contains(&kind) {
        return Err(Errno::EINVAL);
    }
    if domain != i32::from(AF_UNIX) {
        return Err(Errno::EAFNOSUPPORT);
    }
    if protocol != 0 && protocol != i32::from(AF_UNIX) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    Ok(())
}

/// A socket as a new open file.
fn open(cx: &Current, socket: Arc<dyn Socket>, flags: SocketFlags) -> Arc<FileDescription> {
    let creds = cx.creds();
    let inode = AnonInode::new(FileKind::Socket, 0o777, creds.fsuid, creds.fsgid);
    let name = format!("socket:[{}]", inode.number());
    let mut status = OpenFlags::RDWR;
    if flags.contains(SocketFlags::NONBLOCK) {
        status |= OpenFlags::NONBLOCK;
    }
    let ops = SocketFile::new(socket, Asker::new(cx).identity());
    FileDescription::pseudo(Box::new(ops), Arc::new(inode), name.as_bytes(), status)
}

/// Gives two files numbers and tells them; what could not be told is taken back.
pub(crate) fn install_two(
    cx: &mut Current,
    files: [Arc<FileDescription>; 2],
    is_cloexec: bool,
    to: UserOut<[i32; 2]>,
) -> SysResult {
    let [first, second] = files;
    let first = cx.install(first, is_cloexec)?;
    let told = cx.install(second, is_cloexec).map_err(|errno| (None, errno)).and_then(|second| {
        let told = cx.write(to, &[first.0, second.0]);
        told.map_err(|errno| (Some(second), errno))
    });
    let Err((second, errno)) = told else { return Ok(()) };
    for fd in [Some(first), second].into_iter().flatten() {
        // Another thread may have closed it meanwhile.
        drop(cx.fd_table().remove(fd));
    }
    Err(errno.into())
}

/// socket(2)
pub fn socket(cx: &mut Current, domain: i32, kind: i32, protocol: i32) -> SysResult<Fd> {
    let (kind, flags) = split_kind(kind)?;
    check_family(domain, kind, protocol)?;
    let socket = UnixSocket::new(Namespace::initial(), kind)?;
    let file = open(cx, socket, flags);
    Ok(cx.install(file, flags.contains(SocketFlags::CLOEXEC))?)
}

/// socketpair(2)
pub fn socketpair(
    cx: &mut Current,
    domain: i32,
    kind: i32,
    protocol: i32,
    sv: UserOut<[i32; 2]>,
) -> SysResult {
    let (kind, flags) = split_kind(kind)?;
    check_family(domain, kind, protocol)?;
    let (first, second) = UnixSocket::pair(Namespace::initial(), kind, &Asker::new(cx))?;
    let files = [open(cx, first, flags), open(cx, second, flags)];
    install_two(cx, files, flags.contains(SocketFlags::CLOEXEC), sv)
}

/// bind(2)
pub fn bind(
    cx: &mut Current,
    sockfd: Fd,
    addr: UserIn<SockaddrStorage>,
    addrlen: i32,
) -> SysResult {
    let found = find(cx, sockfd)?;
    let address = read_address(cx, addr, addrlen)?;
    Ok(found.socket.bind(&mut Asker::new(cx), &address)?)
}

/// listen(2)
pub fn listen(cx: &mut Current, sockfd: Fd, backlog: i32) -> SysResult {
    let found = find(cx, sockfd)?;
    Ok(found.socket.listen(&mut Asker::new(cx), backlog)?)
}

/// How an interrupted wait goes on: one with a deadline does not begin anew (`sock_intr_errno()`).
fn restart_of(timeout: Option<std::time::Duration>) -> Restart {
    if timeout.is_some() { Restart::Never } else { Restart::IfSaRestart }
}

/// The deadline that a socket's timeout option means.
fn deadline_of(timeout: Option<std::time::Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// A socket's timeout passes: the call would block.
fn or_again<T>(result: Result<T, Cut>) -> Result<T, Cut> {
    match result {
        Err(Cut::Failed(Errno::ETIMEDOUT)) => Err(Cut::Failed(Errno::EAGAIN)),
        other => other,
    }
}

/// connect(2)
pub fn connect(
    cx: &mut Current,
    sockfd: Fd,
    addr: UserIn<SockaddrStorage>,
    addrlen: i32,
) -> SysResult {
    let found = find(cx, sockfd)?;
    let address = read_address(cx, addr, addrlen)?;
    let timeout = found.socket.options().with(|values| values.send_timeout);
    let deadline = deadline_of(timeout);
    let mut asker = Asker::new(cx);
    loop {
        let queue = match Arc::clone(&found.socket).connect(&mut asker, &address)? {
            Connecting::Done => return Ok(()),
            Connecting::Wait(_, errno) if found.file.is_nonblocking() => return Err(errno.into()),
            Connecting::Wait(queue, _) => queue,
        };
        let mut is_there = false;
        let waited = cx.wait(&[&queue], Ready::WRITABLE, deadline, || {
            let socket = Arc::clone(&found.socket);
            Ok(match socket.connect(&mut asker, &address)? {
                Connecting::Done => {
                    is_there = true;
                    Try::Done(())
                }
                // The name leads elsewhere by now: wait there.
                Connecting::Wait(other, _) if !other.is_same(&queue) => Try::Done(()),
                Connecting::Wait(..) => Try::WouldBlock,
            })
        });
        or_again(waited).or_restart(restart_of(timeout))?;
        if is_there {
            return Ok(());
        }
    }
}

/// accept(2)
pub fn accept(
    cx: &mut Current,
    sockfd: Fd,
    addr: UserOut<SockaddrStorage>,
    addrlen: UserInOut<i32>,
) -> SysResult<Fd> {
    accept4(cx, sockfd, addr, addrlen, SocketFlags::empty())
}

/// accept4(2)
pub fn accept4(
    cx: &mut Current,
    sockfd: Fd,
    addr: UserOut<SockaddrStorage>,
    addrlen: UserInOut<i32>,
    flags: SocketFlags,
) -> SysResult<Fd> {
    if !SocketFlags::all().contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let found = find(cx, sockfd)?;
    cx.fd_table().check_room(cx.fd_limit())?;
    let timeout = found.socket.options().with(|values| values.receive_timeout);
    let accepted = cx
        .until_ready(&found.file, Ready::READABLE, deadline_of(timeout), || found.socket.accept());
    let accepted = or_again(accepted).or_restart(restart_of(timeout))?;
    let peer = accepted.peer_address();
    // From here on, closing the file is what ends the connection.
    let file = open(cx, accepted, flags);
    if let Some(addr) = addr.nullable() {
        let peer = peer.map_err(|_| Errno::ECONNABORTED)?;
        write_address(cx, &peer, addr, addrlen)?;
    }
    Ok(cx.install(file, flags.contains(SocketFlags::CLOEXEC))?)
}

/// shutdown(2)
pub fn shutdown(cx: &mut Current, sockfd: Fd, how: ShutdownHow) -> SysResult {
    let found = find(cx, sockfd)?;
    if !(SHUT_RD..=SHUT_RDWR).contains(&how.0) {
        return Err(Errno::EINVAL.into());
    }
    Ok(found.socket.shutdown(how)?)
}

/// getsockname(2)
pub fn getsockname(
    cx: &mut Current,
    sockfd: Fd,
    addr: UserOut<SockaddrStorage>,
    addrlen: UserInOut<i32>,
) -> SysResult {
    let address = find(cx, sockfd)?.socket.local_address()?;
    Ok(write_address(cx, &address, addr, addrlen)?)
}

/// getpeername(2)
pub fn getpeername(
    cx: &mut Current,
    sockfd: Fd,
    addr: UserOut<SockaddrStorage>,
    addrlen: UserInOut<i32>,
) -> SysResult {
    let address = find(cx, sockfd)?.socket.peer_address()?;
    Ok(write_address(cx, &address, addr, addrlen)?)
}
