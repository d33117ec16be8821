// SPDX-License-Identifier: Apache-2.0
//! Sending and receiving: the calls of send(2) and recv(2).

use std::time::{Duration, Instant};

use abi::{
    Errno, Fd, Signal, UserAddr, UserIn, UserInOut, UserOut,
    socket::{MessageFlags, Mmsghdr, Msghdr, SockaddrStorage},
    time::Timespec,
    uio::Iovec,
};
use sentry::{
    io::{Sink, Source},
    kernel::{OrRestart, Stop, SysResult},
    net::{Incoming, Outgoing, Received},
    task::Current,
    time::{duration_of, timespec_of},
    wait::{Cut, Ready, Try},
};

use super::{
    Found, asker::Asker, control, deadline_of, find, or_again, read_address, restart_of,
    write_address,
};

/// The most iovecs of a message, and messages of a call (`UIO_MAXIOV`).
const MAX_VECTOR: u32 = 1024;

/// Sends; a stream that may wait goes on until all is taken.
fn send(
    cx: &mut Current,
    found: &Found,
    source: &mut dyn Source,
    message: &mut Outgoing<'_>,
) -> SysResult<usize> {
    let may_wait = !message.flags.contains(MessageFlags::DONTWAIT) && !found.file.is_nonblocking();
    let timeout = found.socket.options().with(|values| values.send_timeout);
    let deadline = deadline_of(timeout);
    let (queue, is_stream) = (found.socket.wait_queue(), found.socket.is_byte_stream());
    let mut asker = Asker::new(cx);
    let mut done = 0;
    loop {
        let mut attempt = || found.socket.send(&mut asker, source, message);
        let sent = match attempt() {
            Ok(Try::WouldBlock) if may_wait => {
                or_again(cx.wait(&[&queue], Ready::WRITABLE, deadline, attempt))
            }
            Ok(Try::WouldBlock) => Err(Cut::Failed(Errno::EAGAIN)),
            Ok(Try::Done(sent)) => Ok(sent),
            Err(errno) => Err(Cut::Failed(errno)),
        };
        match sent {
            Ok(sent) => done += sent,
            Err(_) if done > 0 => return Ok(done),
            Err(cut) => {
                let is_broken = cut == Cut::Failed(Errno::EPIPE) && is_stream;
                if is_broken && !message.flags.contains(MessageFlags::NOSIGNAL) {
                    cx.send_self(Signal::SIGPIPE);
                }
                return Err(cut).or_restart(restart_of(timeout));
            }
        }
        if !is_stream || source.remaining() == 0 {
            return Ok(done);
        }
    }
}

/// Receives; `MSG_WAITALL` on a stream goes on until the room is full.
fn receive(
    cx: &mut Current,
    found: &Found,
    sink: &mut dyn Sink,
    request: Incoming,
) -> SysResult<Received> {
    let may_wait = !request.flags.contains(MessageFlags::DONTWAIT) && !found.file.is_nonblocking();
    let waits_for_all = request.flags.contains(MessageFlags::WAITALL)
        && !request.flags.contains(MessageFlags::PEEK)
        && found.socket.is_byte_stream();
    let timeout = found.socket.options().with(|values| values.receive_timeout);
    let deadline = deadline_of(timeout);
    let queue = found.socket.wait_queue();
    let mut all: Option<Received> = None;
    loop {
        let mut attempt = || found.socket.receive(sink, request);
        let got = match attempt() {
            Ok(Try::WouldBlock) if may_wait => {
                or_again(cx.wait(&[&queue], Ready::READABLE, deadline, attempt))
            }
            Ok(Try::WouldBlock) => Err(Cut::Failed(Errno::EAGAIN)),
            Ok(Try::Done(got)) => Ok(got),
            Err(errno) => Err(Cut::Failed(errno)),
        };
        let got = match (got, all.take()) {
            (Err(_), Some(all)) => return Ok(all),
            (Err(cut), None) => return Err(cut).or_restart(restart_of(timeout)),
            (Ok(got), None) => got,
            (Ok(got), Some(mut all)) => {
                let is_end = got.count == 0;
                all.count += got.count;
                all.ancillary.files.extend(got.ancillary.files);
                all.is_final = got.is_final || is_end;
                all
            }
        };
        if !waits_for_all || got.is_final || got.count == 0 || sink.remaining() == 0 {
            return Ok(got);
        }
        all = Some(got);
    }
}

/// sendto(2), send(2)
pub fn sendto(
    cx: &mut Current,
    sockfd: Fd,
    buf: UserIn<u8>,
    len: usize,
    flags: MessageFlags,
    dest_addr: UserIn<SockaddrStorage>,
    addrlen: i32,
) -> SysResult<usize> {
    let found = find(cx, sockfd)?;
    let address = match dest_addr.nullable() {
        Some(addr) => Some(read_address(cx, addr, addrlen)?),
        None => None,
    };
    let mut source = cx.source(buf, len);
    let mut message = Outgoing { address: address.as_deref(), flags, ..Outgoing::default() };
    send(cx, &found, &mut source, &mut message)
}

/// recvfrom(2), recv(2)
pub fn recvfrom(
    cx: &mut Current,
    sockfd: Fd,
    buf: UserOut<u8>,
    len: usize,
    flags: MessageFlags,
    src_addr: UserOut<SockaddrStorage>,
    addrlen: UserInOut<i32>,
) -> SysResult<usize> {
    let found = find(cx, sockfd)?;
    let mut sink = cx.sink(buf, len);
    let received = receive(cx, &found, &mut sink, Incoming { flags, wants_ancillary: false })?;
    if let Some(addr) = src_addr.nullable() {
        write_address(cx, &received.address, addr, addrlen)?;
    }
    Ok(received.count)
}

fn iov_count(header: &Msghdr) -> Result<usize, Errno> {
    if header.msg_iovlen > u64::from(MAX_VECTOR) {
        return Err(Errno::EMSGSIZE);
    }
    usize::try_from(header.msg_iovlen).map_err(|_| Errno::EMSGSIZE)
}

/// `____sys_sendmsg()`.
fn send_one(
    cx: &mut Current,
    found: &Found,
    header: &Msghdr,
    flags: MessageFlags,
) -> SysResult<usize> {
    if header.msg_name != 0 && header.msg_namelen < 0 {
        return Err(Errno::EINVAL.into());
    }
    let address = match header.msg_name {
        0 => None,
        _ if header.msg_namelen == 0 => None,
        name => {
            let most = i32::try_from(size_of::<SockaddrStorage>()).unwrap_or(0);
            Some(read_address(cx, UserIn::new(UserAddr(name)), header.msg_namelen.min(most))?)
        }
    };
    let count = iov_count(header)?;
    let list: UserIn<Iovec> = UserIn::new(UserAddr(header.msg_iov));
    let mut source = cx.source_iov(list, count)?;
    let ancillary =
        control::read(cx, found.socket.family(), header.msg_control, header.msg_controllen)?;
    let mut message = Outgoing { address: address.as_deref(), ancillary, flags };
    send(cx, found, &mut source, &mut message)
}

/// sendmsg(2)
pub fn sendmsg(
    cx: &mut Current,
    sockfd: Fd,
    msg: UserIn<Msghdr>,
    flags: MessageFlags,
) -> SysResult<usize> {
    let found = find(cx, sockfd)?;
    let header = cx.read(msg)?;
    send_one(cx, &found, &header, flags)
}

/// sendmmsg(2)
pub fn sendmmsg(
    cx: &mut Current,
    sockfd: Fd,
    msgvec: UserInOut<Mmsghdr>,
    vlen: u32,
    flags: MessageFlags,
) -> SysResult<usize> {
    let found = find(cx, sockfd)?;
    let count = usize::try_from(vlen.min(MAX_VECTOR)).map_err(|_| Errno::EINVAL)?;
    for index in 0..count {
        let sent = (|| {
            let at = msgvec.element(index)?;
            let mut entry = cx.read(at.as_in())?;
            let sent = send_one(cx, &found, &entry.msg_hdr, flags)?;
            entry.msg_len = u32::try_from(sent).unwrap_or(u32::MAX);
            cx.write(at.as_out(), &entry)?;
            SysResult::Ok(())
        })();
        match sent {
            Ok(()) => {}
            Err(_) if index > 0 => return Ok(index),
            Err(stop) => return Err(stop),
        }
    }
    Ok(count)
}

/// `____sys_recvmsg()`: what is told goes into `header`.
fn receive_one(
    cx: &mut Current,
    found: &Found,
    header: &mut Msghdr,
    flags: MessageFlags,
) -> SysResult<usize> {
    if header.msg_name != 0 && header.msg_namelen < 0 {
        return Err(Errno::EINVAL.into());
    }
    let count = iov_count(header)?;
    let list: UserIn<Iovec> = UserIn::new(UserAddr(header.msg_iov));
    let mut sink = cx.sink_iov(list, count)?;
    let received = receive(cx, found, &mut sink, Incoming { flags, wants_ancillary: true })?;
    if header.msg_name != 0 {
        let room = usize::try_from(header.msg_namelen).unwrap_or(0);
        let address = received.address.get(..room).unwrap_or(&received.address);
        cx.write_bytes(UserAddr(header.msg_name), address)?;
        header.msg_namelen = i32::try_from(received.address.len()).unwrap_or(i32::MAX);
    }
    let mut sink = control::ControlSink::new(header.msg_control, header.msg_controllen);
    let is_cloexec = flags.contains(MessageFlags::CMSG_CLOEXEC);
    sink.put_all(cx, received.ancillary, is_cloexec)?;
    header.msg_controllen = sink.used();
    let kept = flags & MessageFlags::CMSG_CLOEXEC;
    header.msg_flags = (received.flags | sink.flags | kept).bits();
    Ok(received.count)
}

/// recvmsg(2)
pub fn recvmsg(
    cx: &mut Current,
    sockfd: Fd,
    msg: UserInOut<Msghdr>,
    flags: MessageFlags,
) -> SysResult<usize> {
    let found = find(cx, sockfd)?;
    let mut header = cx.read(msg.as_in())?;
    let count = receive_one(cx, &found, &mut header, flags)?;
    cx.write(msg.as_out(), &header)?;
    Ok(count)
}

/// recvmmsg(2). As Linux has it, the timeout is looked at only after each message.
pub fn recvmmsg(
    cx: &mut Current,
    sockfd: Fd,
    msgvec: UserInOut<Mmsghdr>,
    vlen: u32,
    flags: MessageFlags,
    timeout: UserInOut<Timespec>,
) -> SysResult<usize> {
    let timeout_value = match timeout.nullable() {
        Some(timeout) => Some(duration_of(cx.read(timeout.as_in())?)?),
        None => None,
    };
    let deadline = timeout_value.and_then(|timeout| Instant::now().checked_add(timeout));
    let found = find(cx, sockfd)?;
    let count = usize::try_from(vlen.min(MAX_VECTOR)).map_err(|_| Errno::EINVAL)?;
    let mut each = flags - MessageFlags::WAITFORONE;
    let mut done = 0;
    let mut stopped: Option<Stop> = None;
    while done < count {
        let received = (|| {
            let at = msgvec.element(done)?;
            let mut entry = cx.read(at.as_in())?;
            let received = receive_one(cx, &found, &mut entry.msg_hdr, each)?;
            entry.msg_len = u32::try_from(received).unwrap_or(u32::MAX);
            cx.write(at.as_out(), &entry)?;
            SysResult::Ok(())
        })();
        if let Err(stop) = received {
            stopped = Some(stop);
            break;
        }
        done += 1;
        if flags.contains(MessageFlags::WAITFORONE) {
            each |= MessageFlags::DONTWAIT;
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            break;
        }
    }
    if done == 0
        && let Some(stop) = stopped
    {
        return Err(stop);
    }
    if let Some(timeout) = timeout.nullable() {
        let left = deadline
            .map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()));
        cx.write(timeout.as_out(), &timespec_of(left))?;
    }
    Ok(done)
}
