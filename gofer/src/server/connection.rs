// SPDX-License-Identifier: Apache-2.0
//! Channels: receive a request, have it handled, reply.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use abi::Errno;

use super::{Error, Root, Server, handlers};
use crate::{
    host::ProcFd,
    protocol::{
        MAX_FRAME, NodeId, Reader, Request, Wire, Writer, code,
        message::{ReplyHeader, RequestHeader},
    },
    sys,
    transport::Socket,
};

/// The most channels beside the first.
const MAX_CHANNELS: usize = 64;

/// What a channel's thread needs of stack; its buffers are on the heap.
const STACK_SIZE: usize = 256 * 1024;

/// Serves `roots` over `connection`, until the sentry closes it. `proc` must be this process's own.
pub fn run(connection: OwnedFd, roots: Vec<Root>, proc: ProcFd) -> Result<(), Error> {
    let server = Arc::new(Server::new(roots, proc)?);
    let channels = Arc::new(AtomicUsize::new(0));
    serve(&server, &channels, &Socket::new(connection))
}

/// Where a channel's thread runs: where its caller does. One of the two always waits for the other, and
/// to wake a thread on the same processor is a switch of threads, on one that has halted it takes ten
/// times that.
#[derive(Debug, Default)]
struct Place {
    at: Option<u32>,
    /// The host refuses, so nothing is tried again.
    is_free: bool,
}

impl Place {
    fn follow(&mut self, cpu: u32) {
        if self.is_free || self.at == Some(cpu) {
            return;
        }
        self.is_free = !sys::tie_to(cpu);
        self.at = Some(cpu);
    }
}

/// What one request has made so far, and what comes with its reply.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Nodes that the sentry does not know of yet.
    pub(super) fresh: Vec<NodeId>,
    /// What the reply donates.
    pub(super) donation: Option<OwnedFd>,
}

/// Serves one channel until its peer has gone.
pub(super) fn serve(
    server: &Arc<Server>,
    channels: &Arc<AtomicUsize>,
    socket: &Socket,
) -> Result<(), Error> {
    server.proc.enter().map_err(Error::Proc)?;
    let mut buffer = vec![0; MAX_FRAME];
    let mut reply = Vec::with_capacity(1024);
    let mut place = Place::default();
    loop {
        let frame = socket.receive(&mut buffer).map_err(Error::Receive)?;
        if frame.len == 0 {
            return Ok(());
        }
        let bytes = buffer.get(..frame.len).ok_or(Error::Malformed)?;
        if !frame.fds.is_empty() {
            // No request carries descriptors: whoever sends one is not our client.
            return Err(Error::Malformed);
        }
        let mut reader = Reader::new(bytes);
        let header = RequestHeader::decode(&mut reader).map_err(|_| Error::Malformed)?;
        let request = Request::decode(header.kind, reader.rest()).map_err(|_| Error::Malformed)?;
        place.follow(header.cpu);
        server.nodes.release(&header.releases);

        let mut work = Work::default();
        reply.clear();
        ReplyHeader { id: header.id, errno: 0 }.encode(&mut Writer::new(&mut reply));
        let done = match request {
            Request::OpenChannel(_) => open_channel(server, channels, &mut work),
            request => handlers::handle(server, &mut work, request, &mut Writer::new(&mut reply)),
        };
        let done = if reply.len() > MAX_FRAME { Err(Errno::EOVERFLOW) } else { done };
        if let Err(errno) = done {
            server.nodes.release(&work.fresh);
            work = Work::default();
            reply.clear();
            let errno = u16::try_from(answer(errno).raw()).unwrap_or(u16::MAX);
            ReplyHeader { id: header.id, errno }.encode(&mut Writer::new(&mut reply));
        }
        let donation = work.donation.as_ref().map(AsFd::as_fd);
        if let Err(errno) = socket.send(&reply, donation) {
            server.nodes.release(&work.fresh);
            tracing::debug!(%errno, "a channel's peer has gone");
            return Ok(());
        }
    }
}

/// Makes a channel and a thread that serves it.
fn open_channel(
    server: &Arc<Server>,
    channels: &Arc<AtomicUsize>,
    work: &mut Work,
) -> Result<(), Errno> {
    if channels.fetch_add(1, Ordering::Relaxed) >= MAX_CHANNELS {
        channels.fetch_sub(1, Ordering::Relaxed);
        return Err(Errno::ENFILE);
    }
    let made = spawn_channel(server, channels);
    match made {
        Ok(theirs) => {
            work.donation = Some(theirs);
            Ok(())
        }
        Err(errno) => {
            channels.fetch_sub(1, Ordering::Relaxed);
            Err(errno)
        }
    }
}

fn spawn_channel(server: &Arc<Server>, channels: &Arc<AtomicUsize>) -> Result<OwnedFd, Errno> {
    let (ours, theirs) = Socket::pair()?;
    let (server, counter) = (server.clone(), channels.clone());
    std::thread::Builder::new()
        .name("channel".into())
        .stack_size(STACK_SIZE)
        .spawn(move || {
            if let Err(error) = serve(&server, &counter, &ours) {
                tracing::warn!(%error, "a channel is closed");
            }
            counter.fetch_sub(1, Ordering::Relaxed);
        })
        .map_err(|_| Errno::EAGAIN)?;
    Ok(theirs.into())
}

/// What the sentry is told of an error. Each unexpected number is logged once.
fn answer(errno: Errno) -> Errno {
    static LOGGED: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
    code::expected(errno).unwrap_or_else(|| {
        let number = u64::try_from(errno.raw()).unwrap_or(0);
        let seen = LOGGED.get(usize::try_from(number / 64).unwrap_or(0)).is_some_and(|word| {
            word.fetch_or(1 << (number % 64), Ordering::Relaxed) >> (number % 64) & 1 != 0
        });
        if !seen {
            tracing::warn!(%errno, "the host gave an unexpected error: the guest sees EIO");
        }
        Errno::EIO
    })
}
