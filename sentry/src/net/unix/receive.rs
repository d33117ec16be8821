// SPDX-License-Identifier: Apache-2.0
//! Receiving on unix sockets.

use std::sync::Arc;

use abi::{
    Errno,
    cred::OVERFLOW_ID,
    socket::{MessageFlags, SOCK_SEQPACKET, Ucred},
};

use super::{RECEIVE_SHUTDOWN, Role, UnixSocket, in_flight::Flight, inbox::Message};
use crate::{
    io::Sink,
    net::{Incoming, Received, Socket},
    wait::{Ready, Try},
};

/// What a receiver wants to know of the sender.
#[derive(Clone, Copy)]
struct Wanted {
    credentials: bool,
    pidfd: bool,
}

impl UnixSocket {
    fn wanted(&self) -> Wanted {
        self.options.with(|values| Wanted {
            credentials: values.pass_credentials,
            pidfd: values.pass_pidfd,
        })
    }

    /// Receives from a stream what is there (`unix_stream_read_generic()`).
    pub(super) fn receive_stream(
        &self,
        sink: &mut dyn Sink,
        request: Incoming,
    ) -> Result<Try<Received>, Errno> {
        if !matches!(self.state.lock().role, Role::Connected) {
            return Err(Errno::EINVAL);
        }
        if request.flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let is_peek = request.flags.contains(MessageFlags::PEEK);
        let wanted = self.wanted();
        let peek_offset = self.options.with(|values| values.peek_offset);
        let mut skip = match peek_offset {
            Some(offset) if is_peek => usize::try_from(offset).unwrap_or(usize::MAX),
            _ => 0,
        };
        let mut received = Received::default();
        let mut first: Option<Arc<Message>> = None;
        // Dropped after the turn is given back: files may be in it.
        let mut garbage: Vec<Arc<Message>> = Vec::new();
        let turn = self.turn.lock();
        let mut index = 0;
        loop {
            // Looked at before the inbox: what was sent before the end is still to be read.
            let is_over = self.has_shutdown(RECEIVE_SHUTDOWN);
            let message = self.inbox.lock().messages.get(index).cloned();
            let Some(message) = message else {
                if first.is_some() {
                    break;
                }
                if let Some(errno) = self.take_error() {
                    return Err(errno);
                }
                if is_over {
                    received.is_final = true;
                    return Ok(Try::Done(received));
                }
                return Ok(Try::WouldBlock);
            };
            if skip > 0 && skip >= message.rest().len() {
                skip -= message.rest().len();
                index += 1;
                continue;
            }
            let is_other_sender = first.as_ref().is_some_and(|first| {
                wanted.credentials && first.credentials != message.credentials
            });
            if is_other_sender {
                received.is_final = true;
                break;
            }
            let rest = message.rest().get(skip..).unwrap_or_default();
            skip = 0;
            let chunk = rest.len().min(sink.remaining());
            let bytes = rest.get(..chunk).unwrap_or_default();
            if sink.write(bytes).unwrap_or(0) < chunk {
                if received.count == 0 {
                    return Err(Errno::EFAULT);
                }
                break;
            }
            received.count += chunk;
            let has_files = message.has_files();
            let is_whole = chunk == rest.len();
            if is_peek {
                index += 1;
                let flight = message.flight.lock();
                received.ancillary.files.extend(flight.iter().flat_map(Flight::peek));
            } else {
                message.consume(chunk);
                let flight = message.flight.lock().take();
                received.ancillary.files.extend(flight.into_iter().flat_map(Flight::land));
                if is_whole {
                    garbage.extend(self.inbox.lock().messages.pop_front());
                }
            }
            first.get_or_insert(message);
            if has_files {
                received.is_final = true;
                break;
            }
            if sink.remaining() == 0 || !is_whole {
                break;
            }
        }
        drop(turn);
        if let Some(first) = &first {
            tell_of_sender(&mut received, first, wanted);
        }
        self.move_peek_offset(is_peek, received.count);
        drop((first, garbage));
        Ok(Try::Done(received))
    }

    /// Receives one datagram or packet (`__unix_dgram_recvmsg()`).
    pub(super) fn receive_message(
        &self,
        sink: &mut dyn Sink,
        request: Incoming,
    ) -> Result<Try<Received>, Errno> {
        if self.kind == SOCK_SEQPACKET && !matches!(self.state.lock().role, Role::Connected) {
            return Err(Errno::ENOTCONN);
        }
        if request.flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let is_peek = request.flags.contains(MessageFlags::PEEK);
        let wanted = self.wanted();
        let peek_offset = self.options.with(|values| values.peek_offset);
        let turn = self.turn.lock();
        let is_over = self.has_shutdown(RECEIVE_SHUTDOWN);
        let (message, unblocked) = {
            let mut inbox = self.inbox.lock();
            match is_peek {
                true => (inbox.messages.front().cloned(), Vec::new()),
                false => {
                    let message = inbox.messages.pop_front();
                    (message, inbox.unblock())
                }
            }
        };
        drop(turn);
        for sender in unblocked {
            sender.notify(Ready::WRITABLE | Ready::WRBAND);
        }
        let Some(message) = message else {
            if let Some(errno) = self.take_error() {
                return Err(errno);
            }
            return Ok(if is_over { Try::Done(Received::default()) } else { Try::WouldBlock });
        };
        let mut received = Received::default();
        let skip = match peek_offset {
            Some(offset) if is_peek => usize::try_from(offset).unwrap_or(0),
            _ => 0,
        };
        let bytes = message.bytes.get(skip..).unwrap_or_default();
        let chunk = bytes.len().min(sink.remaining());
        let put = bytes.get(..chunk).unwrap_or_default();
        if chunk > 0 && sink.write(put)? < chunk {
            return Err(Errno::EFAULT);
        }
        if chunk < bytes.len() {
            received.flags |= MessageFlags::TRUNC;
        }
        let is_full_length = request.flags.contains(MessageFlags::TRUNC);
        received.count = if is_full_length { bytes.len() } else { chunk };
        tell_of_sender(&mut received, &message, wanted);
        if is_peek {
            let flight = message.flight.lock();
            received.ancillary.files = flight.iter().flat_map(Flight::peek).collect();
        } else {
            let flight = message.flight.lock().take();
            received.ancillary.files = flight.map(Flight::land).unwrap_or_default();
        }
        self.move_peek_offset(is_peek, chunk);
        Ok(Try::Done(received))
    }

    /// `SO_PEEK_OFF` moves forward with each look and back with each read.
    fn move_peek_offset(&self, is_peek: bool, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.options.change(|values| {
            if let Some(offset) = &mut values.peek_offset {
                *offset = match is_peek {
                    true => offset.saturating_add(count),
                    false => offset.saturating_sub(count),
                };
            }
        });
    }
}

fn tell_of_sender(received: &mut Received, message: &Message, wanted: Wanted) {
    received.address = message.from.as_ref().map(|from| from.to_vec()).unwrap_or_default();
    let nobody = Ucred { pid: 0, uid: OVERFLOW_ID, gid: OVERFLOW_ID };
    let sender = message.credentials.unwrap_or(nobody);
    received.ancillary.credentials = wanted.credentials.then_some(sender);
    received.ancillary.pidfd = wanted.pidfd.then_some(sender.pid);
}
