// SPDX-License-Identifier: Apache-2.0
//! The sentry's side of the conversation with runsc.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use abi::Errno;
use nix::libc;
use sentry::vfs::trust;
use tracing::debug;

use crate::{
    sandbox::{
        cgroup::Limits,
        control::{Channel, Event, Request, Target},
    },
    sys,
};

/// What runsc may ask of a running guest.
pub(super) trait Guest: Send + Sync {
    /// Sends a signal.
    fn signal(&self, signal: i32, target: Target) -> Result<(), Errno>;

    /// Stops every process, unseen by them, and returns once they stand still.
    fn pause(&self) -> Result<(), Errno>;

    /// Lets them go on.
    fn resume(&self) -> Result<(), Errno>;

    /// Sets what they may use from now on.
    fn limit(&self, limits: &Limits);

    /// How many tasks there are, as the limit counts them.
    fn count_tasks(&self) -> u64;

    /// Adds a process; what that needs has come along.
    fn exec(&self, files: Vec<OwnedFd>) -> Result<(), Errno>;
}

/// Tells once that the guest may run.
#[derive(Debug)]
pub(super) struct Start(Receiver<()>);

impl Start {
    /// Waits for it.
    pub(super) fn wait(&self) {
        // Without a sender the sandbox is ending.
        let _ = self.0.recv();
    }
}

/// Answers every request, each with one `Done`, for as long as runsc is there. Its end is ours: nobody
/// else would clean up.
pub(super) fn serve(control: Arc<Channel>, guest: impl Guest + 'static) -> std::io::Result<Start> {
    let (sender, receiver) = sync_channel(1);
    let serve = move || {
        let mut start = Some(sender);
        loop {
            match control.receive_files() {
                Ok((request, files)) => {
                    // Whoever asks may have changed files before, and expects them to be seen.
                    trust::doubt();
                    let said = if matches!(request, Request::CountTasks) {
                        Event::Tasks { count: guest.count_tasks() }
                    } else {
                        let done = answer(&guest, &mut start, request, files);
                        Event::Done { errno: done.err().map_or(0, Errno::raw) }
                    };
                    if control.send(&said).is_err() {
                        break;
                    }
                }
                Err(error) => {
                    debug!("runsc: {error}");
                    break;
                }
            }
        }
        // As process 1 of its namespace the sentry takes every stub with it.
        sys::exit_now(1)
    };
    std::thread::Builder::new().name("control".into()).spawn(serve)?;
    Ok(Start(receiver))
}

fn answer(
    guest: &impl Guest,
    start: &mut Option<SyncSender<()>>,
    request: Request,
    files: Vec<OwnedFd>,
) -> Result<(), Errno> {
    match request {
        Request::Exec => guest.exec(files),
        Request::Start => {
            let sender = start.take().ok_or(Errno::EALREADY)?;
            sender.send(()).map_err(|_| Errno::ESRCH)
        }
        Request::Signal { signal, target } => {
            if !(0..=64).contains(&signal) {
                return Err(Errno::EINVAL);
            }
            guest.signal(signal, target)?;
            // A process that was killed before its start begins only to end.
            if signal == libc::SIGKILL
                && let Some(sender) = start.take()
            {
                sender.send(()).map_err(|_| Errno::ESRCH)?;
            }
            Ok(())
        }
        Request::Pause => guest.pause(),
        Request::Resume => guest.resume(),
        Request::Limits(limits) => {
            guest.limit(&limits);
            Ok(())
        }
        // The monitor keeps those who wait.
        Request::Wait | Request::AwaitStart | Request::CountTasks => Err(Errno::EINVAL),
    }
}
