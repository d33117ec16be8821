// SPDX-License-Identifier: Apache-2.0
//! Frames over a `SOCK_SEQPACKET` socket, with descriptors by `SCM_RIGHTS`.
//!
//! One datagram is one frame, so a peer cannot make the other wait for the rest of one, and the end of
//! the stream is an empty datagram.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use abi::Errno;

use crate::{protocol::MAX_FRAME, sys};

/// What came in one datagram.
#[derive(Debug)]
pub struct Frame {
    /// How many bytes of the buffer it fills. Zero: the peer has gone.
    pub len: usize,
    /// The descriptors that came with it, close-on-exec; at most [`sys::MAX_FDS`].
    pub fds: Vec<OwnedFd>,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Takes one end of a connected `SOCK_SEQPACKET` pair.
    pub fn new(fd: OwnedFd) -> Socket {
        Socket(fd)
    }

    /// Both ends of a new connection.
    pub fn pair() -> Result<(Socket, Socket), Errno> {
        let (one, other) = sys::socket_pair()?;
        Ok((Socket(one), Socket(other)))
    }

    /// Sends one frame, with at most one descriptor. Waits while the peer's queue is full, which with
    /// one request under way per socket it never is: a full queue is `EAGAIN`.
    pub fn send(&self, frame: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        if frame.is_empty() || frame.len() > MAX_FRAME {
            return Err(Errno::EMSGSIZE);
        }
        sys::send(self.0.as_fd(), frame, fd)
    }

    /// Takes the next frame into `buffer`, waiting for as long as it takes.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Frame, Errno> {
        let (len, fds) = sys::receive(self.0.as_fd(), buffer, sys::Wait::Block)?;
        Ok(Frame { len, fds })
    }

    /// Takes the next frame if there is one: `EAGAIN` otherwise.
    pub fn try_receive(&self, buffer: &mut [u8]) -> Result<Frame, Errno> {
        let (len, fds) = sys::receive(self.0.as_fd(), buffer, sys::Wait::No)?;
        Ok(Frame { len, fds })
    }

    /// Waits until there is something to receive: `ETIMEDOUT` after the deadline.
    pub fn wait_readable(&self, deadline: Instant) -> Result<(), Errno> {
        sys::poll_readable(self.0.as_fd(), deadline)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> OwnedFd {
        socket.0
    }
}

#[cfg(test)]
mod tests {
    use super::Socket;
    use abi::Errno;
    use std::{
        io::Read,
        os::fd::AsFd,
        time::{Duration, Instant},
    };

    #[test]
    fn a_frame_arrives_whole_with_its_descriptor() {
        let (one, other) = Socket::pair().unwrap();
        let file = std::fs::File::open("/dev/zero").unwrap();
        one.send(b"hello", Some(file.as_fd())).unwrap();
        let mut buffer = [0; 64];
        let frame = other.receive(&mut buffer).unwrap();
        assert_eq!(&buffer[..frame.len], b"hello");
        let mut donated = std::fs::File::from(frame.fds.into_iter().next().unwrap());
        donated.read_exact(&mut buffer).unwrap();
        assert_eq!(buffer, [0; 64]);
    }

    #[test]
    fn too_long_a_frame_is_refused_at_both_ends() {
        let (one, other) = Socket::pair().unwrap();
        assert_eq!(one.send(&vec![0; super::MAX_FRAME + 1], None), Err(Errno::EMSGSIZE));
        one.send(&[7; 100], None).unwrap();
        assert_eq!(other.receive(&mut [0; 10]).unwrap_err(), Errno::EMSGSIZE);
    }

    #[test]
    fn a_peer_that_went_is_an_empty_frame_and_a_deadline_is_kept() {
        let (one, other) = Socket::pair().unwrap();
        assert_eq!(other.try_receive(&mut [0; 10]).unwrap_err(), Errno::EAGAIN);
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(other.wait_readable(soon), Err(Errno::ETIMEDOUT));
        assert!(Instant::now() >= soon);
        drop(one);
        assert_eq!(other.receive(&mut [0; 10]).unwrap().len, 0);
    }
}
