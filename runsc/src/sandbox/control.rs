// SPDX-License-Identifier: Apache-2.0
//! The language between runsc and a sentry: one JSON value a packet, over a seqpacket socket.
//!
//! Neither side believes the other: a packet is bounded, and one that does not parse ends the
//! conversation.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixDatagram,
    },
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::cgroup::Limits;

/// No packet is longer.
const LIMIT: usize = 64 * 1024;

/// Who gets a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Target {
    /// The first process.
    Init,
    /// The foreground group of the guest's terminal; without one, the first process's group.
    Foreground,
    /// Every process.
    All,
}

/// What runsc says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Run the first process.
    Start,
    /// Send a signal.
    Signal {
        /// Its number; 0 only asks whether there is somebody.
        signal: i32,
        /// Who gets it.
        target: Target,
    },
    /// Stop every process, unseen by them.
    Pause,
    /// Let them go on.
    Resume,
    /// Keep to these limits from now on.
    Limits(Box<Limits>),
    /// Tell when the first process has ended, and how.
    Wait,
}

/// Why a sandbox did not come to life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The program does not exist.
    NotFound,
    /// The program may not be executed.
    NotExecutable,
    /// Anything else.
    Other,
}

/// What the sentry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The first process is ready to run.
    Created,
    /// The first process runs.
    Started,
    /// The first process has ended: a status as wait(2) has it.
    Exited {
        /// The status.
        status: i32,
    },
    /// The sandbox cannot come to life or go on.
    Failed {
        /// What sort of reason.
        failure: Failure,
        /// The reason in one line.
        message: String,
    },
    /// A request was carried out, or not: an errno.
    Done {
        /// 0 or an errno.
        errno: i32,
    },
    /// What `do --report` prints.
    Report {
        /// A few lines.
        text: String,
    },
}

/// One end of a conversation.
#[derive(Debug)]
pub(crate) struct Channel(UnixDatagram);

/// Why there is no next message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The other side is gone.
    #[error("the other side is gone")]
    Closed,
    /// The other side does not speak the language.
    #[error("malformed message: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Channel {
    /// Both ends of a new conversation.
    pub(crate) fn pair() -> io::Result<(Channel, OwnedFd)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Channel(ours.into()), theirs))
    }

    /// The end behind this descriptor.
    pub(crate) fn new(fd: OwnedFd) -> Channel {
        Channel(fd.into())
    }

    /// Says something. Too long a message is cut off by the other side's rules, so it is refused.
    pub(crate) fn send(&self, message: &impl Serialize) -> Result<(), ChannelError> {
        let packet = serde_json::to_vec(message)?;
        if packet.len() > LIMIT {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        self.0.send(&packet)?;
        Ok(())
    }

    /// Asks for something and waits until it is done.
    pub(crate) fn ask(&self, request: &Request) -> Result<(), ChannelError> {
        self.send(request)?;
        match self.receive()? {
            Event::Done { errno: 0 } | Event::Exited { .. } => Ok(()),
            Event::Done { errno } => Err(io::Error::from_raw_os_error(errno).into()),
            other => Err(io::Error::other(format!("unexpected answer {other:?}")).into()),
        }
    }

    /// Waits for the next message.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> Result<T, ChannelError> {
        let mut packet = vec![0; LIMIT];
        let length = loop {
            match self.0.recv(&mut packet) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        match packet.get(..length) {
            None | Some([]) => Err(ChannelError::Closed),
            Some(packet) => Ok(serde_json::from_slice(packet)?),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_and_the_end_is_seen() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::new(theirs);
        let signal = Request::Signal { signal: 15, target: Target::Init };
        ours.send(&signal).unwrap();
        ours.send(&Request::Start).unwrap();
        assert_eq!(theirs.receive::<Request>().unwrap(), signal);
        assert_eq!(theirs.receive::<Request>().unwrap(), Request::Start);
        theirs.0.send(b"{nonsense").unwrap();
        assert!(matches!(ours.receive::<Event>(), Err(ChannelError::Malformed(_))));
        drop(theirs);
        assert!(matches!(ours.receive::<Event>(), Err(ChannelError::Closed)));
    }
}
