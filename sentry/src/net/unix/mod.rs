// SPDX-License-Identifier: Apache-2.0
//! Unix sockets: unix(7).
//!
//! * **The types to know.** A [`UnixSocket`] is one end; what it has received lies in its [`Inbox`] as
//!   [`Message`]s; an [`Account`] limits what a sender has in flight; [`Names`] says who is bound where.
//! * **Invariants.** A connected pair refers to each other until each is closed. Limits are Linux's: a
//!   sender waits for its own `SO_SNDBUF`, a datagram sender also for a full receiver that is not its peer.
//!   Messages and the files in them are dropped without any lock held.
//! * **Lock levels.** `Endpoint` for the state and for a reader's turn, never both at once; `Queue` for
//!   the inbox.
//! * **What it does not do.** `MSG_OOB`: `EOPNOTSUPP`.

mod address;
mod connect;
mod in_flight;
mod inbox;
mod receive;
mod send;

#[cfg(test)]
mod tests;

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicI32, AtomicU8, Ordering},
    },
};

use abi::{
    Errno,
    socket::{self, AF_UNIX, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, ShutdownHow, Ucred},
};

use super::{Connecting, Incoming, Namespace, Options, Outgoing, Received, Socket, SocketCaller};
use crate::{
    io::{Sink, Source},
    sync::{Mutex, levels},
    vfs::FileDescription,
    wait::{Ready, Try, WaitQueue},
};
use address::Binding;
use inbox::{Account, Inbox};

pub use address::Names;

/// Nothing more is received.
const RECEIVE_SHUTDOWN: u8 = 1;
/// Nothing more is sent.
const SEND_SHUTDOWN: u8 = 2;
const BOTH_SHUTDOWN: u8 = RECEIVE_SHUTDOWN | SEND_SHUTDOWN;

/// Who somebody is, to the other end.
type Identity = (Ucred, Arc<[u32]>);

#[derive(Default)]
enum Role {
    /// Neither connected nor listening.
    #[default]
    Idle,
    /// Waits for connections.
    Listening {
        backlog: usize,
        /// Connected sockets that nobody has accepted.
        pending: VecDeque<Arc<UnixSocket>>,
        /// Who called listen(2).
        identity: Identity,
    },
    /// One end of a connection, even after the other is closed.
    Connected,
    /// Closed.
    Closed,
}

#[derive(Default)]
struct State {
    role: Role,
    /// The other end; for datagrams, where they go by default.
    peer: Option<Arc<UnixSocket>>,
    peer_identity: Option<Identity>,
    /// What getsockname(2) says. An accepted socket has its listener's.
    address: Option<Arc<[u8]>>,
    binding: Option<Binding>,
}

/// A unix socket.
pub struct UnixSocket {
    own: Weak<UnixSocket>,
    kind: i32,
    namespace: Arc<Namespace>,
    options: Options,
    queue: WaitQueue,
    account: Arc<Account>,
    state: Mutex<State, levels::Endpoint>,
    /// Readers take turns: what is at the front stays there while it is copied.
    turn: Mutex<(), levels::Endpoint>,
    inbox: Mutex<Inbox, levels::Queue>,
    shutdown: AtomicU8,
    /// The pending error's number, or 0.
    error: AtomicI32,
}

impl UnixSocket {
    /// socket(2). `ESOCKTNOSUPPORT` for a type that unix sockets have not; `SOCK_RAW` is `SOCK_DGRAM`.
    pub fn new(namespace: &Arc<Namespace>, kind: i32) -> Result<Arc<UnixSocket>, Errno> {
        let kind = match kind {
            SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET => kind,
            socket::SOCK_RAW => SOCK_DGRAM,
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        };
        Ok(UnixSocket::make(namespace, kind))
    }

    fn make(namespace: &Arc<Namespace>, kind: i32) -> Arc<UnixSocket> {
        let queue = WaitQueue::new();
        Arc::new_cyclic(|own| UnixSocket {
            own: Weak::clone(own),
            kind,
            namespace: Arc::clone(namespace),
            options: Options::default(),
            account: Account::new(queue.clone()),
            queue,
            state: Mutex::default(),
            turn: Mutex::new(()),
            inbox: Mutex::default(),
            shutdown: AtomicU8::new(0),
            error: AtomicI32::new(0),
        })
    }

    /// socketpair(2).
    pub fn pair(
        namespace: &Arc<Namespace>,
        kind: i32,
        caller: &dyn SocketCaller,
    ) -> Result<(Arc<UnixSocket>, Arc<UnixSocket>), Errno> {
        let first = UnixSocket::new(namespace, kind)?;
        let second = UnixSocket::new(namespace, kind)?;
        for (one, other) in [(&first, &second), (&second, &first)] {
            let mut state = one.state.lock();
            state.peer = Some(Arc::clone(other));
            state.peer_identity = Some(identity_of(caller));
            if one.is_connection_based() {
                state.role = Role::Connected;
            }
        }
        Ok((first, second))
    }

    fn is_connection_based(&self) -> bool {
        self.kind != SOCK_DGRAM
    }

    fn has_shutdown(&self, halves: u8) -> bool {
        self.shutdown.load(Ordering::Acquire) & halves != 0
    }

    fn send_limit(&self) -> usize {
        self.options.with(|values| usize::try_from(values.send_buffer).unwrap_or(usize::MAX))
    }

    fn peer(&self) -> Option<Arc<UnixSocket>> {
        self.state.lock().peer.clone()
    }

    fn notify_all(&self) {
        let all = Ready::READABLE | Ready::WRITABLE | Ready::WRBAND | Ready::RDHUP | Ready::ALWAYS;
        self.queue.notify(all);
    }

    /// Sockets whose inboxes only this one leads to: itself, and who waits to be accepted.
    fn reachable(&self) -> Vec<Arc<UnixSocket>> {
        let mut sockets: Vec<Arc<UnixSocket>> = self.own.upgrade().into_iter().collect();
        if let Role::Listening { pending, .. } = &self.state.lock().role {
            sockets.extend(pending.iter().cloned());
        }
        sockets
    }

    /// Files that have been sent to it and not yet received.
    fn files_in_flight(&self) -> Vec<Arc<FileDescription>> {
        let mut files = Vec::new();
        for socket in self.reachable() {
            for message in &socket.inbox.lock().messages {
                files.extend(message.flight.lock().iter().flat_map(in_flight::Flight::peek));
            }
        }
        files
    }

    /// Throws away what it has received: nobody can ever read it.
    fn empty(&self) {
        for socket in self.reachable() {
            let messages = std::mem::take(&mut socket.inbox.lock().messages);
            in_flight::discard_messages(messages);
        }
    }

    fn readiness(&self) -> Ready {
        let (role_ready, is_listening, is_idle, peer) = {
            let state = self.state.lock();
            match &state.role {
                Role::Listening { pending, .. } => (!pending.is_empty(), true, false, None),
                Role::Idle => (false, false, true, state.peer.clone()),
                Role::Connected | Role::Closed => (false, false, false, state.peer.clone()),
            }
        };
        let shutdown = self.shutdown.load(Ordering::Acquire);
        let mut ready = Ready::empty();
        if self.error.load(Ordering::Acquire) != 0 {
            ready |= Ready::ERR;
        }
        if shutdown == BOTH_SHUTDOWN || (is_idle && self.is_connection_based()) {
            ready |= Ready::HUP;
        }
        if shutdown & RECEIVE_SHUTDOWN != 0 {
            ready |= Ready::RDHUP | Ready::READABLE;
        }
        if role_ready || !self.inbox.lock().messages.is_empty() {
            ready |= Ready::READABLE;
        }
        if !is_listening && self.account.is_writable(self.send_limit()) {
            let is_blocked =
                self.kind == SOCK_DGRAM && peer.is_some_and(|peer| self.is_blocked_by(&peer));
            if !is_blocked {
                ready |= Ready::WRITABLE | Ready::WRBAND;
            }
        }
        ready
    }
}

fn identity_of(caller: &dyn SocketCaller) -> Identity {
    (caller.identity(), Arc::clone(&caller.credentials().groups))
}

impl Socket for UnixSocket {
    fn family(&self) -> u16 {
        AF_UNIX
    }

    fn kind(&self) -> i32 {
        self.kind
    }

    fn protocol(&self) -> i32 {
        0
    }

    fn options(&self) -> &Options {
        &self.options
    }

    fn bind(&self, caller: &mut dyn SocketCaller, address: &[u8]) -> Result<(), Errno> {
        self.bind_to(caller, address)
    }

    fn connect(
        self: Arc<Self>,
        caller: &mut dyn SocketCaller,
        address: &[u8],
    ) -> Result<Connecting, Errno> {
        if self.is_connection_based() {
            self.connect_to(caller, address)
        } else {
            self.set_peer(caller, address).map(|()| Connecting::Done)
        }
    }

    fn listen(&self, caller: &mut dyn SocketCaller, backlog: i32) -> Result<(), Errno> {
        self.listen_for(caller, backlog)
    }

    fn accept(&self) -> Result<Try<Arc<dyn Socket>>, Errno> {
        let accepted = self.accept_one()?;
        Ok(accepted.map(|socket| socket as Arc<dyn Socket>))
    }

    fn shutdown(&self, how: ShutdownHow) -> Result<(), Errno> {
        let (own, theirs) = match how.0 {
            socket::SHUT_RD => (RECEIVE_SHUTDOWN, SEND_SHUTDOWN),
            socket::SHUT_WR => (SEND_SHUTDOWN, RECEIVE_SHUTDOWN),
            _ => (BOTH_SHUTDOWN, BOTH_SHUTDOWN),
        };
        self.shutdown.fetch_or(own, Ordering::AcqRel);
        let peer = self.peer().filter(|_| self.is_connection_based());
        if let Some(peer) = peer {
            peer.shutdown.fetch_or(theirs, Ordering::AcqRel);
            peer.notify_all();
        }
        self.notify_all();
        Ok(())
    }

    fn local_address(&self) -> Result<Vec<u8>, Errno> {
        let state = self.state.lock();
        Ok(state.address.as_ref().map_or_else(address::unnamed, |address| address.to_vec()))
    }

    fn peer_address(&self) -> Result<Vec<u8>, Errno> {
        self.peer().ok_or(Errno::ENOTCONN)?.local_address()
    }

    fn send(
        &self,
        caller: &mut dyn SocketCaller,
        source: &mut dyn Source,
        message: &mut Outgoing<'_>,
    ) -> Result<Try<usize>, Errno> {
        if self.kind == SOCK_STREAM {
            self.send_stream(caller, source, message)
        } else {
            self.send_message(caller, source, message)
        }
    }

    fn receive(&self, sink: &mut dyn Sink, request: Incoming) -> Result<Try<Received>, Errno> {
        if self.kind == SOCK_STREAM {
            self.receive_stream(sink, request)
        } else {
            self.receive_message(sink, request)
        }
    }

    fn is_byte_stream(&self) -> bool {
        self.kind == SOCK_STREAM
    }

    fn ready(&self) -> Ready {
        self.readiness()
    }

    fn wait_queue(&self) -> WaitQueue {
        self.queue.clone()
    }

    fn take_error(&self) -> Option<Errno> {
        Errno::from_raw(self.error.swap(0, Ordering::AcqRel))
    }

    fn is_listening(&self) -> bool {
        matches!(self.state.lock().role, Role::Listening { .. })
    }

    fn peer_credentials(&self) -> Option<Identity> {
        let state = self.state.lock();
        match &state.role {
            Role::Listening { identity, .. } => Some(identity.clone()),
            _ => state.peer_identity.clone(),
        }
    }

    fn pending(&self) -> Result<usize, Errno> {
        if self.is_listening() {
            return Err(Errno::EINVAL);
        }
        let inbox = self.inbox.lock();
        Ok(match self.is_connection_based() {
            true => inbox.pending(),
            false => inbox.messages.front().map_or(0, |message| message.bytes.len()),
        })
    }

    fn unsent(&self) -> usize {
        self.account.used()
    }

    fn close(&self) {
        self.close_all();
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl fmt::Debug for UnixSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixSocket").field("kind", &self.kind).finish_non_exhaustive()
    }
}
