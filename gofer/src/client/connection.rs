// SPDX-License-Identifier: Apache-2.0
//! A connection: channels that threads borrow, and the releases that wait for the next call.

use std::{
    fmt,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use abi::Errno;
use parking_lot::{Condvar, Mutex};

use super::channel::{Answer, Channel, Failure};
use crate::protocol::{
    Call, MAX_RELEASES, NodeId,
    message::{OpenChannel, Release},
};

/// How long a gofer may take for one request before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most channels beside the first. More threads than this wait for one another.
const MAX_CHANNELS: usize = 16;

/// A connection to a gofer. Clones share it.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_lost", &self.is_lost()).finish_non_exhaustive()
    }
}

struct Inner {
    patience: Duration,
    is_lost: AtomicBool,
    /// Channels that nobody uses now.
    idle: Mutex<Idle>,
    /// Tells that a channel was put back.
    returned: Condvar,
    /// The first channel, over which more are opened.
    first: Mutex<Channel>,
    /// Nodes to be released with the next call.
    unused: Mutex<Vec<NodeId>>,
}

#[derive(Default)]
struct Idle {
    channels: Vec<Channel>,
    /// How many there are, borrowed ones included.
    count: usize,
}

impl Connection {
    /// Takes the sentry's end of a `SOCK_SEQPACKET` pair whose other end a gofer serves.
    pub fn new(socket: OwnedFd) -> Connection {
        Connection::with_patience(socket, PATIENCE)
    }

    /// The same, giving the gofer so long for a request.
    pub fn with_patience(socket: OwnedFd, patience: Duration) -> Connection {
        Connection {
            inner: Arc::new(Inner {
                patience,
                is_lost: AtomicBool::new(false),
                idle: Mutex::default(),
                returned: Condvar::new(),
                first: Mutex::new(Channel::new(socket)),
                unused: Mutex::default(),
            }),
        }
    }

    /// Whether the gofer has been given up: every call fails with `EIO`.
    pub fn is_lost(&self) -> bool {
        self.inner.is_lost.load(Ordering::Acquire)
    }

    /// Whether both speak to the same gofer.
    pub(super) fn is_same(&self, other: &Connection) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Releases what has been dropped since the last call: for when no call may come for long.
    pub fn flush(&self) -> Result<(), Errno> {
        while !self.inner.unused.lock().is_empty() {
            self.call(&Release {})?;
        }
        Ok(())
    }

    /// Remembers to release a node. Never blocks: values are dropped under any lock.
    pub(super) fn release(&self, node: NodeId) {
        self.inner.unused.lock().push(node);
    }

    /// Makes a call that donates nothing.
    pub(super) fn call<C: Call>(&self, request: &C) -> Result<C::Reply, Errno> {
        self.exchange(request).map(|answer| answer.reply)
    }

    /// Makes a call that donates a descriptor.
    pub(super) fn call_for_fd<C: Call>(&self, request: &C) -> Result<(C::Reply, OwnedFd), Errno> {
        let answer = self.exchange(request)?;
        match answer.donation {
            Some(fd) => Ok((answer.reply, fd)),
            None => Err(self.lose("it donated nothing")),
        }
    }

    fn exchange<C: Call>(&self, request: &C) -> Result<Answer<C::Reply>, Errno> {
        let mut channel = self.borrow()?;
        let releases = self.take_releases();
        let result = channel.call(request, releases, self.inner.patience);
        match result {
            Ok(answer) => {
                self.put_back(channel);
                Ok(answer)
            }
            Err(Failure::Refused(errno) | Failure::Unsendable(errno)) => {
                self.put_back(channel);
                Err(errno)
            }
            Err(Failure::Lost(why)) => Err(self.lose(why)),
        }
    }

    /// Gives the gofer up. Logged by whoever finds out first.
    fn lose(&self, why: &'static str) -> Errno {
        if !self.inner.is_lost.swap(true, Ordering::AcqRel) {
            tracing::error!(why, "the gofer is lost: files of the host cannot be reached");
        }
        self.inner.returned.notify_all();
        Errno::EIO
    }

    fn take_releases(&self) -> Vec<NodeId> {
        let mut unused = self.inner.unused.lock();
        let keep = unused.len().saturating_sub(MAX_RELEASES);
        unused.split_off(keep)
    }

    /// A channel for one call: an idle one, a new one, or the next that is put back.
    fn borrow(&self) -> Result<Channel, Errno> {
        let deadline = Instant::now() + self.inner.patience;
        let mut idle = self.inner.idle.lock();
        loop {
            if self.is_lost() {
                return Err(Errno::EIO);
            }
            if let Some(channel) = idle.channels.pop() {
                return Ok(channel);
            }
            if idle.count < MAX_CHANNELS {
                idle.count += 1;
                drop(idle);
                match self.open_channel() {
                    Ok(channel) => return Ok(channel),
                    Err(errno) => {
                        idle = self.inner.idle.lock();
                        idle.count -= 1;
                        // With a channel at all there is one to wait for.
                        if idle.count == 0 || self.is_lost() {
                            return Err(errno);
                        }
                    }
                }
            }
            if idle.channels.is_empty()
                && self.inner.returned.wait_until(&mut idle, deadline).timed_out()
            {
                return Err(self.lose("no channel became free before the deadline"));
            }
        }
    }

    fn put_back(&self, channel: Channel) {
        self.inner.idle.lock().channels.push(channel);
        self.inner.returned.notify_one();
    }

    fn open_channel(&self) -> Result<Channel, Errno> {
        let answer = self.inner.first.lock().call(&OpenChannel {}, Vec::new(), self.inner.patience);
        match answer {
            Ok(Answer { donation: Some(socket), .. }) => Ok(Channel::new(socket)),
            Ok(_) => Err(self.lose("it donated no channel")),
            Err(Failure::Refused(errno) | Failure::Unsendable(errno)) => Err(errno),
            Err(Failure::Lost(why)) => Err(self.lose(why)),
        }
    }
}
