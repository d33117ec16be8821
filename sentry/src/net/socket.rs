// SPDX-License-Identifier: Apache-2.0
//! What a family of sockets implements, and a socket as an open file.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use abi::{
    Errno, UserAddr, ioctl,
    socket::{MessageFlags, ShutdownHow, Ucred},
};

use super::{Incoming, Options, Outgoing, Received};
use crate::{
    creds::Credentials,
    io::{Sink, Source},
    vfs::{Caller, FileOps, Inode},
    wait::{Ready, Try, WaitQueue},
};

/// What a socket may ask of the task that calls it.
pub trait SocketCaller {
    /// Who asks.
    fn credentials(&self) -> Arc<Credentials>;

    /// The caller's process number with its effective ids, as `SO_PEERCRED` shows them.
    fn identity(&self) -> Ucred;

    /// Makes a socket's name in the file system; `EADDRINUSE` if it is taken.
    fn create_name(&mut self, path: &[u8]) -> Result<Arc<dyn Inode>, Errno>;

    /// The file a socket's name leads to; the caller may write it.
    fn find_name(&mut self, path: &[u8]) -> Result<Arc<dyn Inode>, Errno>;

    /// How many files may be in flight on the caller's behalf (`RLIMIT_NOFILE`), unless privileged.
    fn file_limit(&self) -> Option<u64>;
}

/// How far connect(2) has come.
#[derive(Debug)]
pub enum Connecting {
    /// There.
    Done,
    /// To be tried again when the queue says `WRITABLE`; a caller that does not wait gets this errno.
    Wait(WaitQueue, Errno),
}

/// A socket. Everything answers at once; what would wait says [`Try::WouldBlock`], and the wait queue
/// tells of the change. Addresses are bytes as the guest gives and gets them.
pub trait Socket: Send + Sync + fmt::Debug {
    /// `AF_…`.
    fn family(&self) -> u16;

    /// `SOCK_…` without flags.
    fn kind(&self) -> i32;

    /// The protocol number.
    fn protocol(&self) -> i32;

    /// The options of `SOL_SOCKET`.
    fn options(&self) -> &Options;

    /// bind(2).
    fn bind(&self, caller: &mut dyn SocketCaller, address: &[u8]) -> Result<(), Errno>;

    /// connect(2).
    fn connect(
        self: Arc<Self>,
        caller: &mut dyn SocketCaller,
        address: &[u8],
    ) -> Result<Connecting, Errno>;

    /// listen(2).
    fn listen(&self, caller: &mut dyn SocketCaller, backlog: i32) -> Result<(), Errno>;

    /// accept(2): the connected socket.
    fn accept(&self) -> Result<Try<Arc<dyn Socket>>, Errno>;

    /// shutdown(2) with a checked `how`.
    fn shutdown(&self, how: ShutdownHow) -> Result<(), Errno>;

    /// getsockname(2).
    fn local_address(&self) -> Result<Vec<u8>, Errno>;

    /// getpeername(2); `ENOTCONN` if there is no peer.
    fn peer_address(&self) -> Result<Vec<u8>, Errno>;

    /// Sends what can be sent now. `EPIPE` says nothing of `SIGPIPE`: that is the caller's.
    fn send(
        &self,
        caller: &mut dyn SocketCaller,
        source: &mut dyn Source,
        message: &mut Outgoing<'_>,
    ) -> Result<Try<usize>, Errno>;

    /// Receives what is there.
    fn receive(&self, sink: &mut dyn Sink, request: Incoming) -> Result<Try<Received>, Errno>;

    /// Whether bytes have no message bounds: a send that may wait goes on until all are taken.
    fn is_byte_stream(&self) -> bool;

    /// What it is ready for.
    fn ready(&self) -> Ready;

    /// Who hears of changes.
    fn wait_queue(&self) -> WaitQueue;

    /// Takes the error that is pending (`SO_ERROR`).
    fn take_error(&self) -> Option<Errno>;

    /// Whether it listens (`SO_ACCEPTCONN`).
    fn is_listening(&self) -> bool;

    /// Who is at the other end (`SO_PEERCRED`).
    fn peer_credentials(&self) -> Option<(Ucred, Arc<[u32]>)> {
        None
    }

    /// getsockopt(2) at other levels than `SOL_SOCKET`.
    fn option(&self, _level: i32, _name: i32, _len: usize) -> Result<Vec<u8>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// setsockopt(2) at other levels than `SOL_SOCKET`.
    fn set_option(&self, _level: i32, _name: i32, _value: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Bytes to read (`FIONREAD`).
    fn pending(&self) -> Result<usize, Errno>;

    /// Bytes sent that the peer has not read (`SIOCOUTQ`).
    fn unsent(&self) -> usize;

    /// Whether the next byte is the urgent one (`SIOCATMARK`).
    fn is_at_mark(&self) -> bool {
        false
    }

    /// The last open file of it is gone.
    fn close(&self);

    /// For downcasts within one family.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// The caller for write(2), where only the file is known: whoever made the socket.
struct Maker(Ucred);

impl SocketCaller for Maker {
    fn credentials(&self) -> Arc<Credentials> {
        Arc::new(Credentials::user(self.0.uid, self.0.gid))
    }

    fn identity(&self) -> Ucred {
        self.0
    }

    fn create_name(&mut self, _path: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::EINVAL)
    }

    fn find_name(&mut self, _path: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::EINVAL)
    }

    fn file_limit(&self) -> Option<u64> {
        Some(0)
    }
}

/// A socket as an open file.
pub struct SocketFile {
    socket: Arc<dyn Socket>,
    maker: Ucred,
}

impl SocketFile {
    /// The open file of a new socket, made by `maker`.
    pub fn new(socket: Arc<dyn Socket>, maker: Ucred) -> SocketFile {
        SocketFile { socket, maker }
    }

    /// The socket.
    pub fn socket(&self) -> &Arc<dyn Socket> {
        &self.socket
    }
}

impl FileOps for SocketFile {
    fn is_stream(&self) -> bool {
        true
    }

    fn writes_whole(&self) -> bool {
        self.socket.is_byte_stream()
    }

    fn read_at(&self, sink: &mut dyn Sink, _offset: u64) -> Result<Try<usize>, Errno> {
        let received = self.socket.receive(sink, Incoming::default())?;
        Ok(received.map(|received| received.count))
    }

    fn write_at(&self, source: &mut dyn Source, _offset: u64) -> Result<Try<usize>, Errno> {
        let mut message = Outgoing { flags: MessageFlags::empty(), ..Outgoing::default() };
        self.socket.send(&mut Maker(self.maker), source, &mut message)
    }

    fn ready(&self) -> Ready {
        self.socket.ready()
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        Some(self.socket.wait_queue())
    }

    fn patience(&self, interest: Ready) -> Option<Duration> {
        self.socket.options().with(|values| match interest.contains(Ready::OUT) {
            true => values.send_timeout,
            false => values.receive_timeout,
        })
    }

    fn ioctl(&self, caller: &mut dyn Caller, command: u32, argument: u64) -> Result<u64, Errno> {
        let number = match command {
            ioctl::FIONREAD => self.socket.pending()?,
            ioctl::TIOCOUTQ => self.socket.unsent(),
            ioctl::SIOCATMARK => usize::from(self.socket.is_at_mark()),
            _ => return Err(Errno::ENOTTY),
        };
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        caller.write_memory(UserAddr(argument), &number.to_ne_bytes())?;
        Ok(0)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.socket.close();
    }
}

impl fmt::Debug for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketFile").field(&self.socket).finish()
    }
}
