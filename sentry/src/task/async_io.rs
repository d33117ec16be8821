// SPDX-License-Identifier: Apache-2.0
//! Signals that open files send: `O_ASYNC` on pipes, sockets and terminals, and fcntl(2)'s `F_NOTIFY`.
//!
//! Who gets them, and which, the description says ([`crate::vfs::SignalOwner`]). What listens is kept by the
//! description, too, and ends with it.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU32, Ordering},
};

use abi::{
    Errno, SigInfo, Signal,
    fcntl::{DnotifyMask, F_OWNER_PGRP, F_OWNER_PID, OpenFlags},
    poll::PollEvents,
    signal_codes::{POLL_IN, POLL_MSG, POLL_OUT},
};

use super::{Current, Sender};
use crate::{
    kernel::Kernel,
    vfs::{
        FileDescription, FileKind, Inode,
        notify::{Event, Watcher},
    },
    wait::{Ready, Wake},
};

/// `send_sigio()`: tells the owner what happened to the file, which it knows as `fd`.
fn tell(kernel: &Kernel, file: &FileDescription, fd: i32, code: i32, band: PollEvents) {
    let owner = file.signal_owner();
    let number = owner.signal.load(Ordering::Relaxed);
    let info = match Signal::from_raw(number) {
        Some(signal) => SigInfo::poll(signal, code, i64::from(band.bits()), fd),
        None => SigInfo::kernel(Signal::SIGIO),
    };
    let (kind, id) = (owner.kind.load(Ordering::Relaxed), owner.id.load(Ordering::Relaxed));
    let tasks = kernel.tasks();
    let (mut groups, mut thread) = (Vec::new(), None);
    match kind {
        F_OWNER_PGRP => {
            let members = tasks.process_group(id).into_iter().flatten();
            groups.extend(members.filter_map(|pid| Some(tasks.process(*pid)?.group.clone())));
        }
        F_OWNER_PID => groups.extend(tasks.process(id).map(|process| process.group.clone())),
        _ => thread = tasks.task(id),
    }
    drop(tasks);
    // A full queue loses the signal, as it may on Linux once the plain one is pending, too.
    let plain = SigInfo::kernel(Signal::SIGIO);
    for group in groups {
        let is_allowed = group.threads().first().is_some_and(|it| owner.may_signal(&it.creds()));
        if is_allowed && group.send(info, Sender::Guest).is_err() {
            let _ = group.send(plain, Sender::Guest);
        }
    }
    if let Some(task) = thread.filter(|task| owner.may_signal(&task.creds()))
        && task.send(info, Sender::Guest).is_err()
    {
        let _ = task.send(plain, Sender::Guest);
    }
}

/// Hears of a file's readiness for who set `O_ASYNC`.
struct Readiness {
    kernel: Weak<Kernel>,
    file: Weak<FileDescription>,
    fd: i32,
}

impl Wake for Readiness {
    fn wake(&self, ready: Ready) {
        let (Some(kernel), Some(file)) = (self.kernel.upgrade(), self.file.upgrade()) else {
            return;
        };
        if ready.contains(Ready::READABLE) {
            let band = PollEvents::IN | PollEvents::RDNORM;
            tell(&kernel, &file, self.fd, POLL_IN, band);
        } else if ready.contains(Ready::WRITABLE) {
            let band = PollEvents::OUT | PollEvents::WRNORM | PollEvents::WRBAND;
            tell(&kernel, &file, self.fd, POLL_OUT, band);
        }
    }
}

/// Hears of what happens in a directory (`struct dnotify_mark`).
struct DirectoryWatch {
    kernel: Weak<Kernel>,
    file: Weak<FileDescription>,
    fd: i32,
    inode: Arc<dyn Inode>,
    me: Weak<DirectoryWatch>,
    mask: AtomicU32,
    /// The cookie of the last name that was moved from here.
    leaving: AtomicU32,
}

impl DirectoryWatch {
    /// Takes the wish for `event`, for good unless it is `DN_MULTISHOT`; whether there was one.
    fn take(&self, event: DnotifyMask) -> bool {
        let mask = DnotifyMask::from_bits_retain(self.mask.load(Ordering::Acquire));
        if !mask.intersects(event) {
            return false;
        }
        mask.contains(DnotifyMask::MULTISHOT) || self.mask.swap(0, Ordering::AcqRel) != 0
    }
}

impl Watcher for DirectoryWatch {
    fn event(&self, _watch: u32, event: Event, cookie: u32, _name: Option<&[u8]>) {
        let mut happened = wanted_by(event);
        // `DN_RENAME` is of renames within: both halves come by here.
        if event.contains(Event::MOVED_FROM) {
            self.leaving.store(cookie, Ordering::Release);
        } else if event.contains(Event::MOVED_TO) && self.leaving.load(Ordering::Acquire) == cookie
        {
            happened |= DnotifyMask::RENAME;
        }
        if !self.take(happened) {
            return;
        }
        let (Some(kernel), Some(file)) = (self.kernel.upgrade(), self.file.upgrade()) else {
            return;
        };
        tell(
            &kernel,
            &file,
            self.fd,
            POLL_MSG,
            PollEvents::IN | PollEvents::RDNORM | PollEvents::MSG,
        );
    }
}

impl Drop for DirectoryWatch {
    fn drop(&mut self) {
        let watcher = Weak::clone(&self.me) as Weak<dyn Watcher>;
        self.inode.common().watchers().remove(&watcher, 0);
    }
}

/// Which of dnotify's events an event is.
fn wanted_by(event: Event) -> DnotifyMask {
    let pairs = [
        (Event::ACCESS, DnotifyMask::ACCESS),
        (Event::MODIFY, DnotifyMask::MODIFY),
        (Event::ATTRIB, DnotifyMask::ATTRIB),
        (Event::CREATE | Event::MOVED_TO, DnotifyMask::CREATE),
        (Event::DELETE | Event::MOVED_FROM, DnotifyMask::DELETE),
    ];
    let happened = pairs.iter().filter(|(events, _)| event.intersects(*events));
    happened.fold(DnotifyMask::empty(), |sum, (_, one)| sum | *one)
}

impl Current {
    /// `O_ASYNC` was set or cleared: begins or stops to signal. Only pipes, sockets and terminals do.
    pub fn change_async(&self, file: &Arc<FileDescription>, fd: i32) {
        let is_async = file.status().contains(OpenFlags::ASYNC);
        let may = matches!(file.kind(), FileKind::Fifo | FileKind::Socket | FileKind::CharDevice);
        let queue = file.ops().wait_queue().filter(|_| is_async && may);
        let registration = queue.map(|queue| {
            let wake = Readiness { kernel: self.kernel().weak(), file: Arc::downgrade(file), fd };
            // The ends of a pipe have one queue: each hears of its own side.
            let mut interest = Ready::empty();
            interest.set(Ready::READABLE, file.is_readable());
            interest.set(Ready::WRITABLE, file.is_writable());
            // Whoever polls hears of every write (`pipe_poll()`), and so does who is signalled.
            file.ready();
            queue.register(Arc::new(wake), interest)
        });
        file.signal_owner().set_registration(registration);
    }

    /// `F_NOTIFY`: signals for what happens in the directory; no events end that. `ENOTDIR` for others.
    pub fn watch_directory(
        &self,
        file: &Arc<FileDescription>,
        fd: i32,
        mask: DnotifyMask,
    ) -> Result<(), Errno> {
        let owner = file.signal_owner();
        let table = self.fd_table().owner();
        if (mask - DnotifyMask::MULTISHOT).is_empty() {
            owner.forget_watch(table);
            return Ok(());
        }
        if file.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        if owner.id.load(Ordering::Relaxed) == 0 {
            owner.set(F_OWNER_PID, self.task().pid(), &self.creds());
        }
        let inode = Arc::clone(file.inode());
        // Wishes through the same descriptor add up.
        let old = owner.watch_of(table).and_then(|watch| watch.downcast::<DirectoryWatch>().ok());
        let old = old.map_or(0, |old| old.mask.load(Ordering::Acquire));
        let watch = Arc::new_cyclic(|me| DirectoryWatch {
            kernel: self.kernel().weak(),
            file: Arc::downgrade(file),
            fd,
            inode: Arc::clone(&inode),
            me: Weak::clone(me),
            mask: AtomicU32::new(old | mask.bits()),
            leaving: AtomicU32::new(0),
        });
        let events = Event::ACCESS
            | Event::MODIFY
            | Event::ATTRIB
            | Event::CREATE
            | Event::DELETE
            | Event::MOVED_FROM
            | Event::MOVED_TO;
        let watcher = Arc::clone(&watch) as Arc<dyn Watcher>;
        inode.common().watchers().add(&watcher, 0, events);
        owner.keep_watch(table, watch);
        Ok(())
    }
}
