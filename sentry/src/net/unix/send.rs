// SPDX-License-Identifier: Apache-2.0
//! Sending on unix sockets.

use std::sync::Arc;

use abi::{
    Errno,
    socket::{MessageFlags, SOCK_SEQPACKET, Ucred},
};

use super::{
    RECEIVE_SHUTDOWN, Role, SEND_SHUTDOWN, UnixSocket,
    in_flight::Flight,
    inbox::{Inbox, Message},
};
use crate::{
    io::Source,
    net::{Ancillary, Outgoing, SocketCaller},
    wait::{Ready, Try},
};

/// The most that one piece of a stream holds.
const PIECE: usize = 64 * 1024;

impl UnixSocket {
    /// Sends on a stream as much as the send buffer has room for (`unix_stream_sendmsg()`).
    pub(super) fn send_stream(
        &self,
        caller: &mut dyn SocketCaller,
        source: &mut dyn Source,
        message: &mut Outgoing<'_>,
    ) -> Result<Try<usize>, Errno> {
        if message.flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let (peer, from) = {
            let state = self.state.lock();
            if message.address.is_some_and(|address| !address.is_empty()) {
                return Err(match state.role {
                    Role::Connected => Errno::EISCONN,
                    _ => Errno::EOPNOTSUPP,
                });
            }
            (state.peer.clone().ok_or(Errno::ENOTCONN)?, state.address.clone())
        };
        if self.has_shutdown(SEND_SHUTDOWN) {
            return Err(Errno::EPIPE);
        }
        if source.remaining() == 0 {
            return Ok(Try::Done(0));
        }
        let limit = self.send_limit();
        let piece = (limit / 2).saturating_sub(64).clamp(1, PIECE);
        let credentials = self.credentials_for(&peer, caller, &message.ancillary);
        let mut done = 0;
        while source.remaining() > 0 && self.account.has_room(limit) {
            let want = source.remaining().min(piece);
            let bytes = match read_whole(source, want) {
                Ok(bytes) => bytes,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            };
            let count = bytes.len();
            let flight = match take_off(caller, &mut message.ancillary) {
                Ok(flight) => flight,
                Err(errno) => {
                    source.unread(count);
                    return Err(errno);
                }
            };
            let sent = Message::new(bytes, &self.account, flight, credentials, from.clone());
            if let Err(refused) = peer.take(sent, |_| true) {
                drop(refused);
                source.unread(count);
                return if done == 0 { Err(Errno::EPIPE) } else { Ok(Try::Done(done)) };
            }
            done += count;
        }
        Ok(if done == 0 { Try::WouldBlock } else { Try::Done(done) })
    }

    /// Sends one datagram or packet, whole (`unix_dgram_sendmsg()`).
    pub(super) fn send_message(
        &self,
        caller: &mut dyn SocketCaller,
        source: &mut dyn Source,
        message: &mut Outgoing<'_>,
    ) -> Result<Try<usize>, Errno> {
        if message.flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let is_packet = self.kind == SOCK_SEQPACKET;
        if is_packet && !matches!(self.state.lock().role, Role::Connected) {
            return Err(Errno::ENOTCONN);
        }
        let address = message.address.filter(|address| !address.is_empty() && !is_packet);
        let peer = match address {
            Some(address) => self.find(caller, address)?,
            None => self.peer().ok_or(Errno::ENOTCONN)?,
        };
        if self.options.with(|values| values.pass_credentials) && !is_packet {
            self.bind_anywhere()?;
        }
        let (limit, len) = (self.send_limit(), source.remaining());
        if len > limit.saturating_sub(32) {
            return Err(Errno::EMSGSIZE);
        }
        if self.has_shutdown(SEND_SHUTDOWN) {
            return Err(Errno::EPIPE);
        }
        if !is_packet && !self.may_send_to(&peer) {
            return Err(Errno::EPERM);
        }
        if peer.inbox.lock().is_closed {
            return Err(self.lost(&peer, address.is_some()));
        }
        if peer.has_shutdown(RECEIVE_SHUTDOWN) {
            return Err(Errno::EPIPE);
        }
        if !self.account.has_room(limit) || self.is_blocked_by(&peer) {
            return Ok(Try::WouldBlock);
        }
        let credentials = self.credentials_for(&peer, caller, &message.ancillary);
        let from = self.state.lock().address.clone();
        let bytes = read_whole(source, len)?;
        let flight = match take_off(caller, &mut message.ancillary) {
            Ok(flight) => flight,
            Err(errno) => {
                source.unread(len);
                return Err(errno);
            }
        };
        let sent = Message::new(bytes, &self.account, flight, credentials, from);
        let is_bounded = !self.is_peer_of(&peer);
        match peer.take(sent, |inbox| !is_bounded || !inbox.is_full()) {
            Ok(()) => Ok(Try::Done(len)),
            Err(mut refused) => {
                source.unread(len);
                let flight = refused.flight.get_mut().take();
                message.ancillary.files = flight.map(Flight::land).unwrap_or_default();
                drop(refused);
                if !peer.inbox.lock().is_closed {
                    // Others filled it meanwhile.
                    return Ok(Try::WouldBlock);
                }
                Err(self.lost(&peer, address.is_some()))
            }
        }
    }

    /// The peer turned out to be closed: a packet's sender finds a broken pipe, a datagram's is refused
    /// and forgets it.
    fn lost(&self, peer: &Arc<UnixSocket>, was_addressed: bool) -> Errno {
        if self.kind == SOCK_SEQPACKET {
            return Errno::EPIPE;
        }
        if !was_addressed {
            let mut state = self.state.lock();
            let is_peer = state.peer.as_ref().is_some_and(|known| Arc::ptr_eq(known, peer));
            let forgotten = if is_peer { state.peer.take() } else { None };
            drop(state);
            drop(forgotten);
        }
        Errno::ECONNREFUSED
    }

    fn is_peer_of(&self, other: &UnixSocket) -> bool {
        other.peer().is_some_and(|peer| std::ptr::eq(Arc::as_ptr(&peer), self))
    }

    /// Whether a datagram to `peer` has to wait for its receiver; if so, it is told of room later.
    pub(super) fn is_blocked_by(&self, peer: &Arc<UnixSocket>) -> bool {
        if std::ptr::eq(Arc::as_ptr(peer), self) || self.is_peer_of(peer) {
            return false;
        }
        let mut inbox = peer.inbox.lock();
        let is_blocked = inbox.is_full() && !inbox.is_closed;
        if is_blocked {
            inbox.block(&self.queue);
        }
        is_blocked
    }

    /// Puts a message into the inbox, or gives it back: closed, shut down or not `fits`.
    fn take(&self, message: Message, fits: impl FnOnce(&Inbox) -> bool) -> Result<(), Message> {
        let mut inbox = self.inbox.lock();
        if inbox.is_closed || self.has_shutdown(RECEIVE_SHUTDOWN) || !fits(&inbox) {
            return Err(message);
        }
        inbox.messages.push_back(Arc::new(message));
        drop(inbox);
        self.queue.notify(Ready::READABLE);
        Ok(())
    }

    /// What the message says of its sender: what was claimed, or the truth where either end asks for it.
    fn credentials_for(
        &self,
        peer: &UnixSocket,
        caller: &dyn SocketCaller,
        ancillary: &Ancillary,
    ) -> Option<Ucred> {
        let wants = |socket: &UnixSocket| {
            socket.options.with(|values| values.pass_credentials || values.pass_pidfd)
        };
        let is_wanted = wants(self) || wants(peer);
        ancillary.credentials.or_else(|| is_wanted.then(|| caller.identity()))
    }
}

/// Reads `len` bytes or none: `EFAULT`.
fn read_whole(source: &mut dyn Source, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(got) if got > 0 => at += got,
            Ok(_) | Err(_) => {
                source.unread(at);
                return Err(Errno::EFAULT);
            }
        }
    }
    Ok(bytes)
}

/// The message's files leave with it, once.
fn take_off(caller: &dyn SocketCaller, ancillary: &mut Ancillary) -> Result<Option<Flight>, Errno> {
    if ancillary.files.is_empty() {
        return Ok(None);
    }
    Flight::take_off(std::mem::take(&mut ancillary.files), caller.file_limit())
}
