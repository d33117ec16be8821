// SPDX-License-Identifier: Apache-2.0
//! An open file of the host as an open file of the guest.

use std::{
    any::Any,
    fmt,
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use abi::{Errno, fcntl::OpenFlags};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        socket::{MsgFlags, recv, send},
        stat::{FileStat, SFlag},
        time::TimeSpec,
        uio::{pread, pwrite},
    },
    unistd::{Whence, lseek, read, write},
};
use platform::hostio;

use super::{Watch, notifier::from_host, shown, terminal::TerminalState};
use crate::{
    io::{CHUNK, Sink, Source, drain, fill},
    mm::{HostRange, Mappable},
    vfs::{AT_POSITION, Caller, FileKind, FileOps, SeekFrom},
    wait::{Ready, Try, WaitQueue},
};

/// Bytes written at once where the file cannot promise not to wait: what has room for one byte by
/// poll(2)'s word has room for these (`PIPE_BUF`; a terminal's buffer has more).
const SURE_CHUNK: usize = 1024;

/// How it is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// At offsets; always ready.
    Regular,
    /// A pipe, a terminal, a device.
    Stream,
    /// By recv(2) and send(2).
    Socket,
}

/// An open file of the host. Clones are the same open file.
#[derive(Clone)]
pub struct HostFile {
    shared: Arc<Shared>,
}

impl Deref for HostFile {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// What clones of a [`HostFile`] share.
pub struct Shared {
    file: Arc<OwnedFd>,
    kind: FileKind,
    manner: Manner,
    flags: OpenFlags,
    /// Has its own description with `O_NONBLOCK`: plain calls do not wait.
    is_nonblocking: bool,
    /// Whether `RWF_NOWAIT` is of use: true until the host says otherwise.
    knows_nowait: AtomicBool,
    queue: WaitQueue,
    watch: OnceLock<Option<Watch>>,
    pub(super) terminal: Option<TerminalState>,
}

/// Looks at files without waiting.
fn look(fds: &mut [PollFd<'_>]) -> nix::Result<i32> {
    ppoll(fds, Some(TimeSpec::new(0, 0)), None)
}

impl HostFile {
    /// Takes an open file over. Its rights and its append mode are those of the host's open.
    pub fn import(file: OwnedFd) -> Result<HostFile, Errno> {
        let stat = hostio::status(file.as_fd())?;
        let kind = kind_of(&stat);
        let manner = match kind {
            FileKind::Regular | FileKind::BlockDevice | FileKind::Directory => Manner::Regular,
            FileKind::Socket => Manner::Socket,
            _ => Manner::Stream,
        };
        let host_flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL).map_err(shown)?);
        let mut flags = OpenFlags::RDONLY;
        match host_flags & OFlag::O_ACCMODE {
            OFlag::O_WRONLY => flags |= OpenFlags::WRONLY,
            OFlag::O_RDWR => flags |= OpenFlags::RDWR,
            _ => {}
        }
        if host_flags.contains(OFlag::O_APPEND) {
            flags |= OpenFlags::APPEND;
        }
        let is_terminal = kind == FileKind::CharDevice && hostio::termios(file.as_fd()).is_ok();
        let shared = Shared {
            file: Arc::new(file),
            kind,
            manner,
            flags,
            is_nonblocking: host_flags.contains(OFlag::O_NONBLOCK),
            knows_nowait: AtomicBool::new(true),
            queue: WaitQueue::new(),
            watch: OnceLock::new(),
            terminal: is_terminal.then(TerminalState::default),
        };
        Ok(HostFile { shared: Arc::new(shared) })
    }
}

impl Shared {
    /// The access mode and `O_APPEND` of the host's open, for the guest's description. `O_NONBLOCK` is
    /// the guest's own affair.
    pub fn open_flags(&self) -> OpenFlags {
        self.flags
    }

    /// What it is.
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// The host's file.
    pub fn host(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// What the host says of it.
    pub fn stat(&self) -> Result<FileStat, Errno> {
        hostio::status(self.host())
    }

    /// Whether it has no position.
    pub(super) fn is_stream_file(&self) -> bool {
        self.manner != Manner::Regular
    }

    /// ftruncate(2).
    pub(super) fn resize(&self, size: u64) -> Result<(), Errno> {
        let size = i64::try_from(size).map_err(|_| Errno::EFBIG)?;
        nix::unistd::ftruncate(&self.file, size).map_err(shown)
    }

    fn is_ready_for(&self, wanted: PollFlags) -> Result<bool, Errno> {
        let mut fds = [PollFd::new(self.host(), wanted)];
        Ok(look(&mut fds).map_err(shown)? > 0)
    }

    /// One read that does not wait: `EAGAIN` instead.
    fn read_now(&self, to: &mut [u8]) -> Result<usize, Errno> {
        if self.manner == Manner::Socket {
            return recv(self.file.as_raw_fd(), to, MsgFlags::MSG_DONTWAIT).map_err(shown);
        }
        if self.manner == Manner::Regular || self.is_nonblocking {
            return read(&self.file, to).map_err(shown);
        }
        if self.knows_nowait.load(Ordering::Relaxed) {
            match hostio::read_now(self.host(), to) {
                Err(Errno::EOPNOTSUPP) => self.knows_nowait.store(false, Ordering::Relaxed),
                done => return done,
            }
        }
        if !self.is_ready_for(PollFlags::POLLIN)? {
            return Err(Errno::EAGAIN);
        }
        read(&self.file, to).map_err(shown)
    }

    /// One write that does not wait: `EAGAIN` instead.
    fn write_now(&self, from: &[u8]) -> Result<usize, Errno> {
        if self.manner == Manner::Socket {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            return send(self.file.as_raw_fd(), from, flags).map_err(shown);
        }
        if self.manner == Manner::Regular || self.is_nonblocking {
            return write(&self.file, from).map_err(shown);
        }
        if self.knows_nowait.load(Ordering::Relaxed) {
            match hostio::write_now(self.host(), from) {
                Err(Errno::EOPNOTSUPP) => self.knows_nowait.store(false, Ordering::Relaxed),
                done => return done,
            }
        }
        if !self.is_ready_for(PollFlags::POLLOUT)? {
            return Err(Errno::EAGAIN);
        }
        write(&self.file, from.get(..SURE_CHUNK).unwrap_or(from)).map_err(shown)
    }

    /// Makes changes of readiness reach the queue, once somebody wants to hear of them.
    fn watch(&self) {
        self.watch.get_or_init(|| match Watch::new(&self.file, self.queue.clone()) {
            Ok(watch) => Some(watch),
            Err(Errno::EPERM) => None,
            Err(errno) => {
                tracing::warn!(%errno, "a host file cannot be waited for");
                None
            }
        });
    }

    /// Writes at the host's position all that the file takes now.
    fn write_sequential(&self, source: &mut dyn Source) -> Result<Try<usize>, Errno> {
        if source.remaining() == 0 {
            return Ok(Try::Done(0));
        }
        let done = drain(source, |bytes| {
            let mut done = 0;
            while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
                match self.write_now(rest) {
                    Ok(0) => break,
                    Ok(wrote) => done += wrote,
                    Err(_) if done > 0 => break,
                    Err(errno) => return Err(errno),
                }
            }
            Ok(done)
        });
        self.settle(done)
    }

    fn settle(&self, done: Result<usize, Errno>) -> Result<Try<usize>, Errno> {
        match done {
            Ok(done) => Ok(Try::Done(done)),
            Err(Errno::EAGAIN) => {
                self.watch();
                Ok(Try::WouldBlock)
            }
            Err(errno) => Err(errno),
        }
    }
}

impl FileOps for HostFile {
    fn is_stream(&self) -> bool {
        self.manner != Manner::Regular
    }

    fn writes_whole(&self) -> bool {
        self.manner != Manner::Regular
    }

    fn seeks_itself(&self) -> bool {
        self.manner == Manner::Regular
    }

    fn read_at(&self, sink: &mut dyn Sink, offset: u64) -> Result<Try<usize>, Errno> {
        if sink.remaining() == 0 {
            return Ok(Try::Done(0));
        }
        if self.manner == Manner::Regular && offset != AT_POSITION {
            let offset = i64::try_from(offset).map_err(|_| Errno::EINVAL)?;
            let mut at = offset;
            let done = fill(sink, |to| {
                let got = pread(&self.file, to, at).map_err(shown)?;
                at += i64::try_from(got).unwrap_or(0);
                Ok(got)
            });
            return done.map(Try::Done);
        }
        // One host read: what has been read from a stream cannot be given back.
        let mut buffer = vec![0; sink.remaining().min(CHUNK)];
        match self.read_now(&mut buffer) {
            Ok(got) => sink.write(buffer.get(..got).unwrap_or_default()).map(Try::Done),
            Err(errno) => self.settle(Err(errno)),
        }
    }

    fn write_at(&self, source: &mut dyn Source, offset: u64) -> Result<Try<usize>, Errno> {
        if self.manner == Manner::Regular && offset != AT_POSITION {
            let mut at = i64::try_from(offset).map_err(|_| Errno::EINVAL)?;
            let done = drain(source, |bytes| {
                let put = pwrite(&self.file, bytes, at).map_err(shown)?;
                at += i64::try_from(put).unwrap_or(0);
                Ok(put)
            });
            return done.map(Try::Done);
        }
        self.write_sequential(source)
    }

    fn append(&self, source: &mut dyn Source) -> Result<Try<(usize, u64)>, Errno> {
        // The host's open has O_APPEND as well: each write goes to the end.
        let done = self.write_sequential(source)?;
        Ok(done.map(|done| (done, AT_POSITION)))
    }

    fn seek(&self, from: SeekFrom, _current: u64) -> Result<u64, Errno> {
        let (offset, whence) = match from {
            SeekFrom::Start(offset) => (offset, Whence::SeekSet),
            SeekFrom::Current(offset) => (offset, Whence::SeekCur),
            SeekFrom::End(offset) => (offset, Whence::SeekEnd),
            SeekFrom::Data(offset) => (offset, Whence::SeekData),
            SeekFrom::Hole(offset) => (offset, Whence::SeekHole),
        };
        let at = lseek(&self.file, offset, whence).map_err(shown)?;
        u64::try_from(at).map_err(|_| Errno::EOVERFLOW)
    }

    fn ready(&self) -> Ready {
        if self.manner == Manner::Regular {
            return Ready::READABLE | Ready::WRITABLE;
        }
        let wanted = PollFlags::POLLIN | PollFlags::POLLOUT | PollFlags::POLLPRI;
        let mut fds = [PollFd::new(self.host(), wanted | PollFlags::from_bits_retain(0x2000))];
        if look(&mut fds).is_err() {
            return Ready::ERR;
        }
        let [fd] = &fds;
        let bits = fd.revents().map_or(0, |revents| revents.bits());
        from_host(u32::from(u16::from_ne_bytes(bits.to_ne_bytes())))
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        if self.manner == Manner::Regular {
            return None;
        }
        self.watch();
        Some(self.queue.clone())
    }

    fn ioctl(&self, caller: &mut dyn Caller, command: u32, argument: u64) -> Result<u64, Errno> {
        self.host_ioctl(caller, command, argument)
    }

    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        if data_only {
            nix::unistd::fdatasync(&self.file).map_err(shown)
        } else {
            nix::unistd::fsync(&self.file).map_err(shown)
        }
    }

    fn mappable(&self) -> Result<Arc<dyn Mappable>, Errno> {
        if self.kind != FileKind::Regular {
            return Err(Errno::ENODEV);
        }
        let stat = self.stat()?;
        Ok(Arc::new(Contents {
            file: Arc::clone(&self.file),
            identity: (stat.st_dev, stat.st_ino),
        }))
    }

    fn host_file(&self) -> Option<Arc<OwnedFd>> {
        (self.kind == FileKind::Regular).then(|| Arc::clone(&self.file))
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for HostFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostFile").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A regular host file, to be mapped.
#[derive(Debug)]
struct Contents {
    file: Arc<OwnedFd>,
    identity: (u64, u64),
}

impl Mappable for Contents {
    fn host_range(&self, offset: u64, _len: u64) -> Result<HostRange, Errno> {
        Ok(HostRange { file: Arc::clone(&self.file), offset })
    }

    fn identity(&self) -> (u64, u64) {
        self.identity
    }
}

fn kind_of(stat: &FileStat) -> FileKind {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => FileKind::Regular,
        SFlag::S_IFDIR => FileKind::Directory,
        SFlag::S_IFLNK => FileKind::Symlink,
        SFlag::S_IFIFO => FileKind::Fifo,
        SFlag::S_IFSOCK => FileKind::Socket,
        SFlag::S_IFCHR => FileKind::CharDevice,
        SFlag::S_IFBLK => FileKind::BlockDevice,
        _ => FileKind::Anonymous,
    }
}
