// SPDX-License-Identifier: Apache-2.0
//! How unix sockets get names, find each other, and part.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use abi::{
    Errno,
    socket::{AF_UNIX, AF_UNSPEC, SOMAXCONN},
};

use super::{
    BOTH_SHUTDOWN, RECEIVE_SHUTDOWN, Role, UnixSocket,
    address::{Binding, Name},
    identity_of, in_flight,
};
use crate::{
    net::{Connecting, SocketCaller},
    sync::lock_pair,
    vfs::FileKind,
    wait::{Ready, Try},
};

impl UnixSocket {
    pub(super) fn bind_to(
        &self,
        caller: &mut dyn SocketCaller,
        address: &[u8],
    ) -> Result<(), Errno> {
        let name = Name::parse(address)?;
        if name == Name::Auto {
            return self.bind_anywhere();
        }
        if self.state.lock().address.is_some() {
            // Linux makes a path's file first, so a name that is taken is told first.
            return Err(match &name {
                Name::Path(path) => match caller.find_name(path) {
                    Ok(_) | Err(Errno::EACCES) => Errno::EADDRINUSE,
                    Err(Errno::ENOENT) => Errno::EINVAL,
                    Err(errno) => errno,
                },
                _ => Errno::EINVAL,
            });
        }
        let names = &self.namespace.unix;
        let binding = match name {
            Name::Path(path) => {
                let inode = caller.create_name(&path)?;
                names.take_file(path, inode, &self.own)?
            }
            Name::Abstract(name) => names.take(name, &self.own)?,
            Name::Auto => names.take_any(&self.own)?,
        };
        self.keep(binding)
    }

    /// Gives it an abstract name unless it has a name.
    pub(super) fn bind_anywhere(&self) -> Result<(), Errno> {
        if self.state.lock().address.is_some() {
            return Ok(());
        }
        let binding = self.namespace.unix.take_any(&self.own)?;
        self.keep(binding)
    }

    fn keep(&self, binding: Binding) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.address.is_some() || matches!(state.role, Role::Closed) {
            drop(state);
            drop(binding);
            return Err(Errno::EINVAL);
        }
        state.address = Some(Arc::clone(&binding.address));
        state.binding = Some(binding);
        Ok(())
    }

    /// The socket that an address leads to (`unix_find_other()`).
    pub(super) fn find(
        &self,
        caller: &mut dyn SocketCaller,
        address: &[u8],
    ) -> Result<Arc<UnixSocket>, Errno> {
        let names = &self.namespace.unix;
        let found = match Name::parse(address)? {
            Name::Auto => return Err(Errno::EINVAL),
            Name::Abstract(name) => names.find(&name),
            Name::Path(path) => {
                let inode = caller.find_name(&path)?;
                if inode.kind() != FileKind::Socket {
                    return Err(Errno::ECONNREFUSED);
                }
                names.find_file(&*inode)?
            }
        };
        let found = found.ok_or(Errno::ECONNREFUSED)?;
        if found.kind != self.kind {
            return Err(Errno::EPROTOTYPE);
        }
        Ok(found)
    }

    /// Connects a stream or a sequence of packets (`unix_stream_connect()`).
    pub(super) fn connect_to(
        self: Arc<Self>,
        caller: &mut dyn SocketCaller,
        address: &[u8],
    ) -> Result<Connecting, Errno> {
        let passes_credentials = self.options.with(|values| values.pass_credentials);
        if Name::parse(address)? != Name::Auto && passes_credentials {
            self.bind_anywhere()?;
        }
        let listener = self.find(caller, address)?;
        if Arc::ptr_eq(&self, &listener) {
            let state = self.state.lock();
            return Err(match state.role {
                Role::Listening { .. } => Errno::EINVAL,
                _ => Errno::ECONNREFUSED,
            });
        }
        let accepted = UnixSocket::make(&self.namespace, self.kind);
        let (mut own, mut theirs) = lock_pair(&self.state, &listener.state);
        let address = theirs.address.clone();
        let Role::Listening { backlog, pending, identity } = &mut theirs.role else {
            return Err(Errno::ECONNREFUSED);
        };
        if listener.has_shutdown(RECEIVE_SHUTDOWN) {
            return Err(Errno::ECONNREFUSED);
        }
        if pending.len() > *backlog {
            return Ok(Connecting::Wait(listener.queue.clone(), Errno::EAGAIN));
        }
        match own.role {
            Role::Idle => {}
            Role::Connected => return Err(Errno::EISCONN),
            Role::Listening { .. } | Role::Closed => return Err(Errno::EINVAL),
        }
        let inherited = listener.options.values();
        accepted.options.change(|values| {
            values.pass_credentials = inherited.pass_credentials;
            values.pass_pidfd = inherited.pass_pidfd;
            values.pass_security = inherited.pass_security;
        });
        own.role = Role::Connected;
        own.peer = Some(Arc::clone(&accepted));
        own.peer_identity = Some(identity.clone());
        pending.push_back(Arc::clone(&accepted));
        // Nobody else knows the new socket before the listener's lock is given back. Its lock is not
        // taken in the order of addresses, but it cannot be waited for.
        if let Some(mut state) = accepted.state.try_lock() {
            state.role = Role::Connected;
            state.peer = Some(Arc::clone(&self));
            state.peer_identity = Some(identity_of(caller));
            state.address = address;
        }
        drop((own, theirs));
        listener.queue.notify(Ready::READABLE);
        self.notify_all();
        Ok(Connecting::Done)
    }

    /// Says where datagrams go by default (`unix_dgram_connect()`).
    pub(super) fn set_peer(
        &self,
        caller: &mut dyn SocketCaller,
        address: &[u8],
    ) -> Result<(), Errno> {
        let family = address.first_chunk().ok_or(Errno::EINVAL)?;
        let peer = match u16::from_ne_bytes(*family) {
            AF_UNSPEC => None,
            AF_UNIX => {
                if self.options.with(|values| values.pass_credentials) {
                    self.bind_anywhere()?;
                }
                let peer = self.find(caller, address)?;
                if !self.may_send_to(&peer) {
                    return Err(Errno::EPERM);
                }
                Some(peer)
            }
            _ => return Err(Errno::EINVAL),
        };
        let identity = peer.as_ref().map(|_| identity_of(caller));
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.peer, peer);
        state.peer_identity = identity;
        drop(state);
        drop(before);
        self.queue.notify(Ready::WRITABLE | Ready::WRBAND);
        Ok(())
    }

    /// Whether `peer` takes datagrams from it: from anybody, unless it has a peer itself.
    pub(super) fn may_send_to(&self, peer: &Arc<UnixSocket>) -> bool {
        let theirs = peer.peer();
        theirs.is_none_or(|theirs| std::ptr::eq(Arc::as_ptr(&theirs), self))
    }

    pub(super) fn listen_for(
        &self,
        caller: &mut dyn SocketCaller,
        backlog: i32,
    ) -> Result<(), Errno> {
        if !self.is_connection_based() {
            return Err(Errno::EOPNOTSUPP);
        }
        let most = usize::try_from(SOMAXCONN).unwrap_or(0);
        let allowed = usize::try_from(backlog).map_or(most, |backlog| backlog.min(most));
        let mut state = self.state.lock();
        if state.address.is_none() {
            return Err(Errno::EINVAL);
        }
        match &mut state.role {
            Role::Idle => {
                state.role = Role::Listening {
                    backlog: allowed,
                    pending: VecDeque::new(),
                    identity: identity_of(caller),
                };
            }
            Role::Listening { backlog, identity, .. } => {
                *backlog = allowed;
                *identity = identity_of(caller);
            }
            Role::Connected | Role::Closed => return Err(Errno::EINVAL),
        }
        drop(state);
        self.queue.notify(Ready::WRITABLE);
        Ok(())
    }

    pub(super) fn accept_one(&self) -> Result<Try<Arc<UnixSocket>>, Errno> {
        if !self.is_connection_based() {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        let Role::Listening { pending, .. } = &mut state.role else {
            return Err(Errno::EINVAL);
        };
        let Some(socket) = pending.pop_front() else {
            return match self.has_shutdown(RECEIVE_SHUTDOWN) {
                true => Err(Errno::EINVAL),
                false => Ok(Try::WouldBlock),
            };
        };
        drop(state);
        self.queue.notify(Ready::WRITABLE);
        Ok(Try::Done(socket))
    }

    /// The last open file is gone (`unix_release_sock()`).
    pub(super) fn close_all(&self) {
        self.close_as(false);
    }

    fn close_as(&self, was_never_accepted: bool) {
        let (role, peer, binding) = {
            let mut state = self.state.lock();
            let role = std::mem::replace(&mut state.role, Role::Closed);
            (role, state.peer.take(), state.binding.take())
        };
        let (messages, blocked) = {
            let mut inbox = self.inbox.lock();
            inbox.is_closed = true;
            let messages = std::mem::take(&mut inbox.messages);
            (messages, inbox.unblock())
        };
        self.shutdown.fetch_or(BOTH_SHUTDOWN, Ordering::AcqRel);
        if let Some(peer) = peer.filter(|_| self.is_connection_based()) {
            if !messages.is_empty() || was_never_accepted {
                peer.error.store(Errno::ECONNRESET.raw(), Ordering::Release);
            }
            peer.shutdown.fetch_or(BOTH_SHUTDOWN, Ordering::AcqRel);
            peer.notify_all();
        }
        if let Role::Listening { pending, .. } = role {
            for socket in pending {
                socket.close_as(true);
            }
        }
        for sender in blocked {
            sender.notify(Ready::WRITABLE | Ready::WRBAND);
        }
        // Those who wait to be accepted hear that it listens no more.
        self.notify_all();
        drop(binding);
        in_flight::discard_messages(messages);
    }
}
