// SPDX-License-Identifier: Apache-2.0
//! A terminal of the host as the far end of one of ours.
//!
//! The guest gets a pseudo-terminal of the sandbox, with its own line discipline and job control; what
//! the person types on the host's terminal (which runsc has made raw) is typed on ours, and what ours
//! shows is shown there. So `tty`, `/dev/tty`, `^C` and `^Z` are as on Linux.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use abi::Errno;

use super::Master;
use crate::{
    io::{SliceSink, SliceSource},
    vfs::{AT_POSITION, FileOps},
    wait::{Ready, Sleeper, Try, WaitQueue},
};

/// Bytes moved at once.
const CHUNK: usize = 4096;

/// Two threads between a terminal of the host and one of ours. They end with it, or with either side.
#[derive(Debug)]
pub struct Relay {
    stop: Arc<Stop>,
}

#[derive(Debug, Default)]
struct Stop {
    is_set: AtomicBool,
    queue: WaitQueue,
}

impl Stop {
    /// `EINTR` once it is time to go.
    fn check(&self) -> Result<(), Errno> {
        if self.is_set.load(Ordering::Acquire) { Err(Errno::EINTR) } else { Ok(()) }
    }
}

impl Relay {
    /// Begins to move bytes between `host`, which is `typing` too, and `master`. One thread holds the
    /// master: when the guest's side is closed and drained, it goes, and `on_drained` is called.
    pub fn start(
        host: OwnedFd,
        typing: Box<dyn FileOps>,
        master: Arc<Master>,
        on_drained: impl FnOnce() + Send + 'static,
    ) -> io::Result<Relay> {
        let typed_on = Arc::downgrade(&master);
        let stop = Arc::new(Stop::default());
        let spawn =
            |name: &str| std::thread::Builder::new().name(name.into()).stack_size(128 * 1024);
        let showing = Arc::clone(&stop);
        spawn("terminal-out").spawn(move || {
            show(&host, &master, &showing);
            on_drained();
        })?;
        let relay = Relay { stop: Arc::clone(&stop) };
        spawn("terminal-in").spawn(move || hear(&*typing, &typed_on, &stop))?;
        Ok(relay)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.is_set.store(true, Ordering::Release);
        self.stop.queue.notify(Ready::IN);
    }
}

/// Takes what is typed, and nothing that is typed after the end.
fn hear(host: &dyn FileOps, master: &Weak<Master>, stop: &Stop) {
    let sleeper = Sleeper::new();
    let Some(queue) = host.wait_queue() else { return };
    let mut bytes = [0; CHUNK];
    loop {
        let got = sleeper.until(&[&queue, &stop.queue], Ready::IN, None, || {
            stop.check()?;
            host.read_at(&mut SliceSink::new(&mut bytes), AT_POSITION)
        });
        // A host terminal that ended or failed types nothing more.
        let Ok(count @ 1..) = got else { return };
        let Some(master) = master.upgrade() else { return };
        if !type_all(&master, bytes.get(..count).unwrap_or_default()) {
            return;
        }
    }
}

fn type_all(master: &Arc<Master>, bytes: &[u8]) -> bool {
    let sleeper = Sleeper::new();
    let Some(queue) = master.wait_queue() else { return false };
    let mut source = SliceSource::new(bytes);
    while crate::io::Source::remaining(&source) > 0 {
        let wrote = sleeper.until(&[&queue], Ready::OUT, None, || master.write_at(&mut source, 0));
        if wrote.is_err() {
            return false;
        }
    }
    true
}

fn show(host: &OwnedFd, master: &Arc<Master>, stop: &Stop) {
    let sleeper = Sleeper::new();
    let Some(queue) = master.wait_queue() else { return };
    let mut room = [0; CHUNK];
    loop {
        let got = sleeper.until(&[&queue, &stop.queue], Ready::IN, None, || {
            stop.check()?;
            let read = master.read_at(&mut SliceSink::new(&mut room), 0)?;
            Ok(match read {
                Try::Done(count) => Try::Done(count),
                Try::WouldBlock => Try::WouldBlock,
            })
        });
        // EIO: the last slave closed, and everything has been shown.
        let Ok(count) = got else { return };
        let mut rest = room.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            match nix::unistd::write(host, rest) {
                Ok(wrote) => rest = rest.get(wrote..).unwrap_or_default(),
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => std::thread::yield_now(),
                Err(_) => return,
            }
        }
    }
}
