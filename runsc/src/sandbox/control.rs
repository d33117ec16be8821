// SPDX-License-Identifier: Apache-2.0
//! The language between runsc and a sentry: one JSON value a packet, over a seqpacket socket.
//!
//! Neither side believes the other: a packet is bounded, and one that does not parse ends the
//! conversation.

use std::{
    io::{self, IoSlice},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixDatagram,
    },
};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::cgroup::Limits;
use crate::sys;

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
    /// The process of this number.
    Process(i32),
    /// The process group of this number.
    Group(i32),
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
    /// Run a further process. With it come, as descriptors, the end of a conversation about that process
    /// alone, its plan, and its files.
    Exec,
    /// Tell when the first process runs. The monitor answers, with `Started` or the end.
    AwaitStart,
    /// Stop every process, unseen by them.
    Pause,
    /// Let them go on.
    Resume,
    /// Tell how many tasks there are.
    CountTasks,
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
    /// A further process runs.
    Joined {
        /// Its number inside.
        pid: i32,
    },
    /// The process has ended: a status as wait(2) has it.
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
    /// So many tasks there are.
    Tasks {
        /// How many.
        count: u64,
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

    /// Says something that comes with open files.
    pub(crate) fn send_files(
        &self,
        message: &impl Serialize,
        files: &[OwnedFd],
    ) -> Result<(), ChannelError> {
        let packet = serde_json::to_vec(message)?;
        let numbers: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if files.is_empty() { &[][..] } else { &rights };
        let parts = [IoSlice::new(&packet)];
        sendmsg::<()>(self.0.as_raw_fd(), &parts, rights, MsgFlags::MSG_NOSIGNAL, None)
            .map_err(io::Error::from)?;
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

    /// Waits until the first process runs; whether it ever does.
    pub(crate) fn await_start(&self) -> bool {
        let said = self.send(&Request::AwaitStart).and_then(|()| self.receive());
        matches!(said, Ok(Event::Started | Event::Exited { .. }))
    }

    /// Asks how many tasks there are.
    pub(crate) fn count_tasks(&self) -> Result<u64, ChannelError> {
        self.send(&Request::CountTasks)?;
        match self.receive()? {
            Event::Tasks { count } => Ok(count),
            other => Err(io::Error::other(format!("unexpected answer {other:?}")).into()),
        }
    }

    /// Waits for the next message. Files that came with it are closed.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> Result<T, ChannelError> {
        let mut packet = vec![0; LIMIT];
        let length = loop {
            match self.0.recv(&mut packet) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        parse(packet.get(..length))
    }

    /// Waits for the next message and the files that come with it.
    pub(crate) fn receive_files<T: DeserializeOwned>(
        &self,
    ) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        let mut packet = vec![0; LIMIT];
        let (length, files) = loop {
            match sys::receive_files(self.0.as_fd(), &mut packet) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        Ok((parse(packet.get(..length))?, files))
    }
}

fn parse<T: DeserializeOwned>(packet: Option<&[u8]>) -> Result<T, ChannelError> {
    match packet {
        None | Some([]) => Err(ChannelError::Closed),
        Some(packet) => Ok(serde_json::from_slice(packet)?),
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

    #[test]
    fn files_travel_with_a_message() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::new(theirs);
        let (reader, writer) = io::pipe().unwrap();
        ours.send_files(&Request::Exec, &[writer.into()]).unwrap();
        ours.send_files(&Request::Start, &[]).unwrap();
        let (request, files) = theirs.receive_files::<Request>().unwrap();
        assert_eq!((request, files.len()), (Request::Exec, 1));
        let (request, none) = theirs.receive_files::<Request>().unwrap();
        assert_eq!((request, none.len()), (Request::Start, 0));
        // The reader's end comes with the last copy.
        drop(files);
        assert_eq!(io::read_to_string(reader).unwrap(), "");
    }
}
