// SPDX-License-Identifier: Apache-2.0
//! Readiness of host files, brought to our wait queues by one thread.
//!
//! The thread is born with the first file that anybody has to wait for, and sleeps in epoll_wait(2)
//! without a timeout. Files are watched edge-triggered: a quiet host file costs nothing.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    sync::{Arc, OnceLock},
};

use abi::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustc_hash::FxHashMap;

use crate::{
    sync::{Mutex, levels},
    wait::{Ready, WaitQueue},
};

#[derive(Default)]
struct Watched {
    next_token: u64,
    queues: FxHashMap<u64, WaitQueue>,
}

struct Notifier {
    epoll: Epoll,
    watched: Mutex<Watched, levels::Leaf>,
}

/// Events taken from the host at once.
const BATCH: usize = 64;

impl Notifier {
    fn get() -> Result<Arc<Notifier>, Errno> {
        static NOTIFIER: OnceLock<Result<Arc<Notifier>, Errno>> = OnceLock::new();
        NOTIFIER.get_or_init(|| Notifier::start().map_err(|_| Errno::ENOMEM)).clone()
    }

    fn start() -> io::Result<Arc<Notifier>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let notifier = Arc::new(Notifier { epoll, watched: Mutex::default() });
        let running = Arc::clone(&notifier);
        std::thread::Builder::new().name("host-files".into()).stack_size(128 * 1024).spawn(
            move || {
                platform::run_anywhere();
                running.run();
            },
        )?;
        Ok(notifier)
    }

    fn run(&self) {
        let mut events = [EpollEvent::empty(); BATCH];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(errno) => {
                    tracing::error!(%errno, "the readiness of host files cannot be had any more");
                    return;
                }
            };
            for event in events.iter().take(count) {
                let queue = self.watched.lock().queues.get(&event.data()).cloned();
                if let Some(queue) = queue {
                    let bits = u32::from_ne_bytes(event.events().bits().to_ne_bytes());
                    queue.notify(from_host(bits));
                }
            }
        }
    }
}

/// poll(2)'s bits from the host as ours, with the doubles that Linux always sets together.
pub(super) fn from_host(bits: u32) -> Ready {
    let mut ready = Ready::from_bits_truncate(bits);
    if ready.contains(Ready::IN) {
        ready |= Ready::READABLE;
    }
    if ready.contains(Ready::OUT) {
        ready |= Ready::WRITABLE;
    }
    ready
}

/// A host file whose readiness reaches a queue. Ends when dropped.
pub(crate) struct Watch {
    notifier: Arc<Notifier>,
    token: u64,
    file: Arc<OwnedFd>,
}

impl Watch {
    /// Begins to watch. What is ready already is told as well, so nothing is lost in between.
    /// `EPERM` for files that are always ready.
    pub(crate) fn new(file: &Arc<OwnedFd>, queue: WaitQueue) -> Result<Watch, Errno> {
        let notifier = Notifier::get()?;
        let token = {
            let mut watched = notifier.watched.lock();
            let token = watched.next_token;
            watched.next_token += 1;
            watched.queues.insert(token, queue);
            token
        };
        let flags = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLPRI
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        // Two guest files may share one host description, but not one host number: each is added.
        let added = notifier.epoll.add(&**file, EpollEvent::new(flags, token));
        if let Err(errno) = added {
            notifier.watched.lock().queues.remove(&token);
            return Err(Errno::from_raw(errno as i32).unwrap_or(Errno::EIO));
        }
        Ok(Watch { notifier, token, file: Arc::clone(file) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It was added and is still open: this cannot fail in a way that matters.
        if let Err(errno) = self.notifier.epoll.delete(&*self.file) {
            tracing::warn!(%errno, "a host file could not be left alone");
        }
        let queue = self.notifier.watched.lock().queues.remove(&self.token);
        drop(queue);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
