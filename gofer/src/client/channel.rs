// SPDX-License-Identifier: Apache-2.0
//! One channel: at most one request under way.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use abi::Errno;

use crate::{
    protocol::{
        Call, MAX_FRAME, NodeId, Reader, Wire, Writer, code,
        message::{ReplyHeader, RequestHeader},
    },
    sys,
    transport::Socket,
};

/// Why a call has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The gofer refused: the errno is the answer.
    Refused(Errno),
    /// The request cannot be sent as it is; nothing has happened.
    Unsendable(Errno),
    /// The gofer is gone, silent or talks nonsense.
    Lost(&'static str),
}

/// What came back: the reply, and what it donates.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) reply: T,
    pub(super) donation: Option<OwnedFd>,
}

/// A socket with its buffers.
#[derive(Debug)]
pub(super) struct Channel {
    socket: Socket,
    out: Vec<u8>,
    buffer: Vec<u8>,
    last_id: u32,
}

impl Channel {
    pub(super) fn new(socket: OwnedFd) -> Channel {
        Channel {
            socket: Socket::new(socket),
            out: Vec::with_capacity(512),
            buffer: vec![0; MAX_FRAME],
            last_id: 0,
        }
    }

    /// Sends a request and waits for its reply. `releases` go along.
    pub(super) fn call<C: Call>(
        &mut self,
        request: &C,
        releases: Vec<NodeId>,
        patience: Duration,
    ) -> Result<Answer<C::Reply>, Failure> {
        self.last_id = self.last_id.wrapping_add(1);
        let header =
            RequestHeader { id: self.last_id, kind: C::KIND, cpu: sys::current_cpu(), releases };
        self.out.clear();
        let mut writer = Writer::new(&mut self.out);
        header.encode(&mut writer);
        request.encode(&mut writer);
        if !writer.fits() {
            return Err(Failure::Unsendable(Errno::E2BIG));
        }
        self.socket.send(&self.out, None).map_err(|_| Failure::Lost("it cannot be sent to"))?;
        self.reply(patience)
    }

    fn reply<T: Wire>(&mut self, patience: Duration) -> Result<Answer<T>, Failure> {
        let deadline = Instant::now() + patience;
        let frame = loop {
            // The server shares this processor: it has not answered before we wait.
            self.socket.wait_readable(deadline).map_err(|errno| match errno {
                Errno::ETIMEDOUT => Failure::Lost("it missed the deadline"),
                _ => Failure::Lost("it cannot be waited for"),
            })?;
            match self.socket.try_receive(&mut self.buffer) {
                Ok(frame) => break frame,
                Err(Errno::EAGAIN) => {}
                Err(_) => return Err(Failure::Lost("it cannot be received from")),
            }
        };
        if frame.len == 0 {
            return Err(Failure::Lost("it has gone"));
        }
        let malformed = |_| Failure::Lost("it sent a malformed reply");
        let bytes = self.buffer.get(..frame.len).unwrap_or_default();
        let mut reader = Reader::new(bytes);
        let header = ReplyHeader::decode(&mut reader).map_err(malformed)?;
        if header.id != self.last_id {
            return Err(Failure::Lost("it answered another request"));
        }
        if let Some(errno) = code::from_wire(header.errno) {
            return Err(Failure::Refused(errno));
        }
        let reply = T::decode(&mut reader).map_err(malformed)?;
        reader.finish().map_err(malformed)?;
        // More than one donation is more than any reply has: the rest is closed here.
        Ok(Answer { reply, donation: frame.fds.into_iter().next() })
    }
}
