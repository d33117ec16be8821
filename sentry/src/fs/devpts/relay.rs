// SPDX-License-Identifier: Apache-2.0
//! A terminal of the host as the far end of one of ours.
//!
//! The guest gets a pseudo-terminal of the sandbox, with its own line discipline and job control; what
//! the person types on the host's terminal (which runsc has made raw) is typed on ours, and what ours
//! shows is shown there. So `tty`, `/dev/tty`, `^C` and `^Z` are as on Linux.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use super::Master;
use crate::{
    io::{SliceSink, SliceSource},
    vfs::FileOps,
    wait::{Ready, Sleeper, Try},
};

/// Bytes moved at once.
const CHUNK: usize = 4096;

/// Moves bytes between `host` and `master` on two threads until either side ends. The second thread
/// holds the master: when the guest's side is closed and drained, it goes, and `on_drained` is called.
pub fn relay(
    host: OwnedFd,
    master: Arc<Master>,
    on_drained: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let host = Arc::new(host);
    let (typing, typed_on) = (Arc::clone(&host), Arc::downgrade(&master));
    let spawn = |name: &str| std::thread::Builder::new().name(name.into()).stack_size(128 * 1024);
    spawn("terminal-out").spawn(move || {
        show(&host, &master);
        on_drained();
    })?;
    spawn("terminal-in").spawn(move || {
        let mut bytes = [0; CHUNK];
        // A host terminal that ended or failed types nothing more.
        while let Ok(count @ 1..) = nix::unistd::read(typing.as_fd(), &mut bytes) {
            let Some(master) = typed_on.upgrade() else { return };
            if !type_all(&master, bytes.get(..count).unwrap_or_default()) {
                return;
            }
        }
    })?;
    Ok(())
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

fn show(host: &OwnedFd, master: &Arc<Master>) {
    let sleeper = Sleeper::new();
    let Some(queue) = master.wait_queue() else { return };
    let mut room = [0; CHUNK];
    loop {
        let got = sleeper.until(&[&queue], Ready::IN, None, || {
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
