// SPDX-License-Identifier: Apache-2.0
//! Open files: what a file descriptor refers to.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering},
    },
};

use abi::{Errno, fcntl::OpenFlags};

use super::{
    AT_POSITION, AccessTime, Attributes, Dentry, FileKind, FileOps, Inode, LockOwner, MountOptions,
    Place, SeekFrom, anon,
    notify::{self, Event},
};
use crate::{
    creds::Credentials,
    io::{LimitedSource, Sink, Source},
    sync::{Mutex, levels},
    wait::{Ready, Registration, Try},
};

/// What open(2) makes and dup(2) shares: position, status flags, rights, and the file behind them.
pub struct FileDescription {
    id: u64,
    ops: Box<dyn FileOps>,
    place: Place,
    kind: FileKind,
    is_stream: bool,
    /// The file system keeps the position.
    seeks_itself: bool,
    is_readable: bool,
    is_writable: bool,
    is_path: bool,
    /// Counted among the inode's writers.
    holds_write: bool,
    /// open(2) made the file.
    is_created: AtomicBool,
    status: AtomicU32,
    offset: Mutex<u64, levels::FileOffset>,
    /// The position as it was last left, for those who must not wait for it.
    last_offset: AtomicU64,
    creds: Arc<Credentials>,
    signal: SignalOwner,
}

/// Who gets `SIGIO` (fcntl(2), `F_SETOWN` and `F_SETSIG`).
#[derive(Default)]
pub struct SignalOwner {
    /// `F_OWNER_TID`, `F_OWNER_PID` or `F_OWNER_PGRP`.
    pub kind: AtomicI32,
    /// The number; 0: nobody.
    pub id: AtomicI32,
    /// The signal; 0: `SIGIO`.
    pub signal: AtomicI32,
    /// Real and effective user of who set the owner.
    ids: [AtomicU32; 2],
    /// What listens while `O_ASYNC` is set.
    registration: Mutex<Option<Registration>, levels::Leaf>,
    /// What listens for `F_NOTIFY`, by whose descriptor it was asked.
    watches: Mutex<Vec<(LockOwner, Watch)>, levels::Leaf>,
}

/// Something that listens as long as it is kept.
type Watch = Arc<dyn Any + Send + Sync>;

impl SignalOwner {
    /// Names who gets the signals.
    pub fn set(&self, kind: i32, id: i32, by: &Credentials) {
        let [real, effective] = &self.ids;
        real.store(by.ruid, Ordering::Relaxed);
        effective.store(by.euid, Ordering::Relaxed);
        self.kind.store(kind, Ordering::Relaxed);
        self.id.store(id, Ordering::Relaxed);
    }

    /// Real and effective user of who set the owner (`F_GETOWNER_UIDS`).
    pub fn setter(&self) -> [u32; 2] {
        [0, 1].map(|index: usize| self.ids.get(index).map_or(0, |id| id.load(Ordering::Relaxed)))
    }

    /// `sigio_perm()`: whether who set the owner may signal one with these credentials.
    pub fn may_signal(&self, target: &Credentials) -> bool {
        let own = self.setter();
        let [_, effective] = own;
        effective == 0 || own.iter().any(|uid| *uid == target.ruid || *uid == target.suid)
    }

    /// Keeps what listens for `O_ASYNC` now.
    pub fn set_registration(&self, registration: Option<Registration>) {
        let old = std::mem::replace(&mut *self.registration.lock(), registration);
        drop(old);
    }

    /// What listens for `F_NOTIFY` through a descriptor of `owner`.
    pub fn watch_of(&self, owner: LockOwner) -> Option<Watch> {
        let watches = self.watches.lock();
        watches.iter().find(|(of, _)| *of == owner).map(|(_, watch)| watch.clone())
    }

    /// Keeps a watch, in the place of an older one of `owner`.
    pub fn keep_watch(&self, owner: LockOwner, watch: Watch) {
        self.forget_watch(owner);
        self.watches.lock().push((owner, watch));
    }

    /// `dnotify_flush()`.
    pub fn forget_watch(&self, owner: LockOwner) {
        let old: Vec<_> = self.watches.lock().extract_if(.., |(of, _)| *of == owner).collect();
        drop(old);
    }
}

/// How one write(2)-like call departs from the description's flags.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions {
    /// `RLIMIT_FSIZE` of the caller. A regular file does not grow beyond it: `EFBIG`.
    pub limit: u64,
    /// `RWF_APPEND` (`Some(true)`) and `RWF_NOAPPEND`.
    pub append: Option<bool>,
    /// `RWF_SYNC` or `RWF_DSYNC`.
    pub sync: bool,
    /// Whether the writer has `CAP_FSETID`: set-id bits stay.
    pub keeps_set_id: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        WriteOptions { limit: u64::MAX, append: None, sync: false, keeps_set_id: false }
    }
}

/// Flags that F_SETFL changes and F_GETFL shows besides the access mode.
const STATUS: u32 = OpenFlags::APPEND.bits()
    | OpenFlags::NONBLOCK.bits()
    | OpenFlags::DSYNC.bits()
    | OpenFlags::SYNC.bits()
    | OpenFlags::ASYNC.bits()
    | OpenFlags::DIRECT.bits()
    | OpenFlags::NOATIME.bits()
    | OpenFlags::LARGEFILE.bits()
    | OpenFlags::DIRECTORY.bits()
    | OpenFlags::NOFOLLOW.bits()
    | OpenFlags::PATH.bits()
    | OpenFlags::TMPFILE.bits()
    | 3;

const MAX_OFFSET: u64 = i64::MAX.unsigned_abs();

impl FileDescription {
    /// An open file at `place`. Permission has been checked; a writer that must be counted for
    /// `ETXTBSY` is opened by [`super::open`].
    pub fn new(
        place: Place,
        ops: Box<dyn FileOps>,
        flags: OpenFlags,
        creds: Arc<Credentials>,
    ) -> Arc<FileDescription> {
        FileDescription::build(place, ops, flags, creds, false)
    }

    pub(super) fn build(
        place: Place,
        ops: Box<dyn FileOps>,
        flags: OpenFlags,
        creds: Arc<Credentials>,
        holds_write: bool,
    ) -> Arc<FileDescription> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let is_path = flags.contains(OpenFlags::PATH);
        let access = flags.bits() & 3;
        place.mount.unmark_expiring();
        if holds_write {
            place.mount.count_writer();
        }
        Arc::new(FileDescription {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            kind: place.inode().kind(),
            is_stream: ops.is_stream(),
            seeks_itself: ops.seeks_itself(),
            // Access mode 3 is for ioctl only: neither right.
            is_readable: !is_path && matches!(access, 0 | 2),
            is_writable: !is_path && matches!(access, 1 | 2),
            is_path,
            holds_write,
            is_created: AtomicBool::new(false),
            status: AtomicU32::new(flags.bits() & STATUS),
            offset: Mutex::new(0),
            last_offset: AtomicU64::new(0),
            creds,
            signal: SignalOwner::default(),
            ops,
            place,
        })
    }

    /// An open file with no name in any tree and the shared anonymous inode: eventfd and its like.
    /// `name` is what `/proc/<pid>/fd` shows: `anon_inode:[eventfd]`.
    pub fn anonymous(ops: Box<dyn FileOps>, name: &str, flags: OpenFlags) -> Arc<FileDescription> {
        FileDescription::pseudo(ops, anon::shared_inode(), name.as_bytes(), flags)
    }

    /// An open file with no name in any tree and an inode of its own: pipes, sockets, memfds.
    pub fn pseudo(
        ops: Box<dyn FileOps>,
        inode: Arc<dyn Inode>,
        name: &[u8],
        flags: OpenFlags,
    ) -> Arc<FileDescription> {
        let place = Place { mount: anon::mount().clone(), dentry: Dentry::unattached(inode, name) };
        let creds = Arc::new(Credentials::user(0, 0));
        FileDescription::build(place, ops, flags, creds, false)
    }

    /// A number unlike that of every other description of this sentry: kcmp(2), lock owners.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The file system's side.
    pub fn ops(&self) -> &dyn FileOps {
        &*self.ops
    }

    /// The file system's side as the type it is, for sockets, epoll instances, pipes.
    pub fn ops_as<T: 'static>(&self) -> Option<&T> {
        self.ops.as_any().downcast_ref()
    }

    /// Where it was opened.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The file.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.place.inode()
    }

    /// What it is.
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// Whether it was opened with `O_PATH`.
    pub fn is_path(&self) -> bool {
        self.is_path
    }

    /// Whether it may be read.
    pub fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Whether it may be written.
    pub fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// Whether it has no position.
    pub fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// Whether the file system keeps the position.
    pub fn keeps_position(&self) -> bool {
        self.seeks_itself
    }

    /// Whether the open that made this made the file, too.
    pub fn is_created(&self) -> bool {
        self.is_created.load(Ordering::Relaxed)
    }

    pub(super) fn set_created(&self) {
        self.is_created.store(true, Ordering::Relaxed);
    }

    /// Who opened it.
    pub fn creds(&self) -> &Arc<Credentials> {
        &self.creds
    }

    /// Who gets `SIGIO`.
    pub fn signal_owner(&self) -> &SignalOwner {
        &self.signal
    }

    /// Access mode and status flags, as F_GETFL shows them.
    pub fn status(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.status.load(Ordering::Relaxed))
    }

    /// Whether operations that would wait are to fail instead.
    pub fn is_nonblocking(&self) -> bool {
        self.status.load(Ordering::Relaxed) & OpenFlags::NONBLOCK.bits() != 0
    }

    /// Sets those of `flags` that are in `mask`, and tells the file system.
    pub fn change_status(&self, mask: OpenFlags, flags: OpenFlags) {
        let (mask, flags) = (mask.bits(), flags.bits());
        let change = |old: u32| Some((old & !mask) | (flags & mask));
        // The closure always gives a value, so this cannot fail.
        let _ = self.status.try_update(Ordering::Relaxed, Ordering::Relaxed, change);
        self.ops.status_changed(self.status());
    }

    /// The inode's attributes.
    pub fn attributes(&self) -> Result<Attributes, Errno> {
        self.inode().attributes()
    }

    /// What it is ready for.
    pub fn ready(&self) -> Ready {
        self.ops.ready()
    }

    /// The position.
    pub fn position(&self) -> u64 {
        let mut offset = self.offset.lock();
        // What keeps its position itself can tell it, unless it has none.
        if self.seeks_itself
            && let Ok(position) = self.ops.seek(SeekFrom::Current(0), *offset)
        {
            self.move_to(&mut offset, position);
        }
        *offset
    }

    /// The position as it was last left: `fdinfo` looks at it from within a read of another file, or of
    /// the same.
    pub fn last_position(&self) -> u64 {
        self.last_offset.load(Ordering::Relaxed)
    }

    fn move_to(&self, offset: &mut u64, position: u64) {
        *offset = position;
        self.last_offset.store(position, Ordering::Relaxed);
    }

    /// Sets the position without asking the file system whether it may be there (sendfile, splice).
    pub fn set_position(&self, position: u64) {
        let mut offset = self.offset.lock();
        if self.seeks_itself {
            let to = SeekFrom::Start(i64::try_from(position).unwrap_or(i64::MAX));
            if let Err(errno) = self.ops.seek(to, *offset) {
                tracing::warn!(%errno, "a file that keeps its position does not move");
            }
        }
        self.move_to(&mut offset, position);
    }

    fn check_readable(&self) -> Result<(), Errno> {
        if self.is_readable { Ok(()) } else { Err(Errno::EBADF) }
    }

    fn check_writable(&self) -> Result<(), Errno> {
        if self.is_writable { Ok(()) } else { Err(Errno::EBADF) }
    }

    /// read(2).
    pub fn read(&self, sink: &mut dyn Sink) -> Result<Try<usize>, Errno> {
        self.check_readable()?;
        self.check_not_directory()?;
        let result = if self.is_stream || self.seeks_itself {
            self.ops.read_at(sink, AT_POSITION)
        } else {
            let mut offset = self.offset.lock();
            let result = self.ops.read_at(sink, *offset);
            if let Ok(Try::Done(count)) = result {
                let end = offset.saturating_add(widen(count)).min(MAX_OFFSET);
                self.move_to(&mut offset, end);
            }
            result
        };
        self.after_read(&result);
        result
    }

    /// pread(2).
    pub fn pread(&self, sink: &mut dyn Sink, offset: u64) -> Result<Try<usize>, Errno> {
        self.check_seekable()?;
        self.check_readable()?;
        self.check_not_directory()?;
        let result = self.ops.read_at(sink, offset);
        self.after_read(&result);
        result
    }

    /// `ESPIPE` for what has no position: pread(2) says so before `EBADF` for the wrong access mode.
    pub fn check_seekable(&self) -> Result<(), Errno> {
        if self.is_stream { Err(Errno::ESPIPE) } else { Ok(()) }
    }

    fn check_not_directory(&self) -> Result<(), Errno> {
        if self.kind == FileKind::Directory { Err(Errno::EISDIR) } else { Ok(()) }
    }

    fn after_read(&self, result: &Result<Try<usize>, Errno>) {
        if let Ok(Try::Done(_)) = result {
            self.touch();
            if notify::is_watched() {
                notify::event(&self.place.dentry, Event::ACCESS);
            }
        }
    }

    /// It was read or looked through: the access time may move.
    pub fn touch(&self) {
        if self.status.load(Ordering::Relaxed) & OpenFlags::NOATIME.bits() != 0 {
            return;
        }
        let policy = self.place.mount.access_time(self.kind);
        if policy != AccessTime::Never {
            self.inode().touch(policy);
        }
    }

    /// write(2).
    pub fn write(
        &self,
        source: &mut dyn Source,
        options: &WriteOptions,
    ) -> Result<Try<usize>, Errno> {
        self.check_writable()?;
        if self.is_stream || self.seeks_itself {
            let result = self.ops.write_at(source, AT_POSITION);
            self.after_write(&result, options)?;
            return result;
        }
        let mut offset = self.offset.lock();
        let is_append = self.appends(options);
        let result = self.write_behind(source, *offset, is_append, options);
        if let Ok(Try::Done((_, end))) = result {
            self.move_to(&mut offset, end);
        }
        drop(offset);
        let result = result.map(|done| done.map(|(count, _)| count));
        self.after_write(&result, options)?;
        result
    }

    /// pwrite(2). With `O_APPEND` it appends, as Linux does against POSIX.
    pub fn pwrite(
        &self,
        source: &mut dyn Source,
        offset: u64,
        options: &WriteOptions,
    ) -> Result<Try<usize>, Errno> {
        self.check_seekable()?;
        self.check_writable()?;
        let result = self
            .write_behind(source, offset, self.appends(options), options)
            .map(|done| done.map(|(count, _)| count));
        self.after_write(&result, options)?;
        result
    }

    fn appends(&self, options: &WriteOptions) -> bool {
        let by_flag = self.status.load(Ordering::Relaxed) & OpenFlags::APPEND.bits() != 0;
        options.append.unwrap_or(by_flag)
    }

    /// Writes and returns the bytes and the position behind them. `generic_write_checks()` first.
    fn write_behind(
        &self,
        source: &mut dyn Source,
        offset: u64,
        is_append: bool,
        options: &WriteOptions,
    ) -> Result<Try<(usize, u64)>, Errno> {
        if source.remaining() == 0 && self.kind == FileKind::Regular {
            return Ok(Try::Done((0, offset)));
        }
        if self.kind != FileKind::Regular {
            let result = self.ops.write_at(source, offset)?;
            return Ok(result.map(|count| (count, offset.saturating_add(widen(count)))));
        }
        let limit = options.limit.min(MAX_OFFSET);
        let begin = if is_append && limit < MAX_OFFSET { self.attributes()?.size } else { offset };
        if begin >= limit {
            return Err(Errno::EFBIG);
        }
        self.inode().strip_privileges(options.keeps_set_id);
        let mut source = LimitedSource::new(source, limit - begin);
        if is_append {
            return self.ops.append(&mut source);
        }
        let result = self.ops.write_at(&mut source, offset)?;
        Ok(result.map(|count| (count, offset.saturating_add(widen(count)))))
    }

    fn after_write(
        &self,
        result: &Result<Try<usize>, Errno>,
        options: &WriteOptions,
    ) -> Result<(), Errno> {
        let Ok(Try::Done(count)) = result else { return Ok(()) };
        if *count == 0 {
            return Ok(());
        }
        let flags = self.status.load(Ordering::Relaxed);
        if self.kind == FileKind::Regular && (options.sync || flags & OpenFlags::DSYNC.bits() != 0)
        {
            self.ops.sync(flags & OpenFlags::SYNC.bits() != OpenFlags::SYNC.bits())?;
        }
        self.modified();
        Ok(())
    }

    /// Its contents have changed: watchers hear of it.
    pub fn modified(&self) {
        if notify::is_watched() {
            notify::event(&self.place.dentry, Event::MODIFY);
        }
    }

    /// lseek(2).
    pub fn seek(&self, from: SeekFrom) -> Result<u64, Errno> {
        if self.is_stream && self.ops.ignores_seeks() {
            return Ok(0);
        }
        self.check_seekable()?;
        let mut offset = self.offset.lock();
        let new = if self.seeks_itself {
            self.ops.seek(from, *offset)?
        } else {
            self.seek_generic(from, *offset)?
        };
        self.move_to(&mut offset, new);
        Ok(new)
    }

    fn seek_generic(&self, from: SeekFrom, current: u64) -> Result<u64, Errno> {
        let (base, by) = match from {
            SeekFrom::Start(by) => (0, by),
            SeekFrom::Current(by) => (current, by),
            SeekFrom::End(by) => (self.attributes()?.size, by),
            SeekFrom::Data(at) | SeekFrom::Hole(at) => {
                match self.ops.seek(from, current) {
                    Err(Errno::EINVAL) => {}
                    answered => return answered,
                }
                // No holes known: all is data, up to the virtual hole at the end.
                let size = self.attributes()?.size;
                let at = u64::try_from(at).ok().filter(|at| *at < size).ok_or(Errno::ENXIO)?;
                return Ok(if matches!(from, SeekFrom::Data(_)) { at } else { size });
            }
        };
        base.checked_add_signed(by).filter(|new| *new <= MAX_OFFSET).ok_or(Errno::EINVAL)
    }

    /// Offers directory entries from the position on: `.` and `..` from here, the rest from the file
    /// system. `ENOENT` for a directory that was removed.
    pub fn read_entries(&self, to: &mut dyn super::DirSink) -> Result<(), Errno> {
        if self.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let mut offset = self.offset.lock();
        if self.place.dentry.is_gone() {
            return Err(Errno::ENOENT);
        }
        if *offset == 0 {
            let own = self.attributes()?.inode;
            if !to.entry(b".", own, FileKind::Directory, 1) {
                return Ok(());
            }
            self.move_to(&mut offset, 1);
        }
        if *offset == 1 {
            let up = match self.place.dentry.parent() {
                Some(parent) => parent.inode().attributes()?.inode,
                None => self.attributes()?.inode,
            };
            if !to.entry(b"..", up, FileKind::Directory, 2) {
                return Ok(());
            }
            self.move_to(&mut offset, 2);
        }
        let next = self.ops.read_entries(*offset, to)?;
        self.move_to(&mut offset, next);
        drop(offset);
        self.touch();
        Ok(())
    }

    /// One descriptor that meant this file was closed by `owner` (Linux's `filp_close`): the file
    /// system hears of it, and the owner's POSIX locks on the file go, whoever took them through
    /// whichever descriptor.
    pub fn closed_by(&self, owner: LockOwner) -> Result<(), Errno> {
        if self.is_path {
            return Ok(());
        }
        if let Some(locks) = self.inode().common().existing_locks() {
            locks.release_posix(owner);
        }
        self.signal.forget_watch(owner);
        self.ops.flush()
    }

    /// Whether programs may be run and mapped executable through it.
    pub fn is_exec_allowed(&self) -> bool {
        !self.place.mount.options().contains(MountOptions::NOEXEC)
    }
}

/// `usize` is 64 bits wide on every machine that the sentry runs on.
fn widen(count: usize) -> u64 {
    count as u64
}

impl Drop for FileDescription {
    fn drop(&mut self) {
        if self.is_path {
            return;
        }
        let inode = self.place.inode();
        if let Some(locks) = inode.common().existing_locks() {
            locks.release_description(self.id);
        }
        if self.holds_write {
            inode.common().put_write_access();
            self.place.mount.uncount_writer();
        }
        if notify::is_watched() {
            let event = match self.is_writable {
                true => Event::CLOSE_WRITE,
                false => Event::CLOSE_NOWRITE,
            };
            notify::event(&self.place.dentry, event);
        }
    }
}

impl fmt::Debug for SignalOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignalOwner({:?} {:?})", self.kind, self.id)
    }
}

impl fmt::Debug for FileDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileDescription").field("id", &self.id).field("ops", &self.ops).finish()
    }
}
