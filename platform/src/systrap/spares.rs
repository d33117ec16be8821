// SPDX-License-Identifier: Apache-2.0
//! Channels and sockets made ahead of need, and a thread that makes them.
//!
//! A fork waits for its channel and its socket pair, some ten host calls, and whoever ends a process
//! takes them apart again. Both can be done beforehand and afterwards, by a thread that most often has a
//! CPU to itself. No channel serves twice: a stub may have kept it mapped.

use std::{os::fd::OwnedFd, sync::Arc, thread, time::Duration};

use parking_lot::{Condvar, Mutex};

use super::{subprocess::Subprocess, thread::Thread};
use crate::{Error, memory::range::Layout, sys};

/// How many of each are made.
const STOCK: usize = 6;
/// With so few left, more are made: a wake-up costs, so not for each.
const LOW: usize = 3;
/// So much waste is worth a wake-up.
const HEAP: usize = 4;
/// After so long without a wake-up all is put in order: idle sandboxes look alike.
const QUIET: Duration = Duration::from_millis(100);
/// How long its keeper sleeps after work: where much is taken it need not be woken each time.
const BREATH: Duration = Duration::from_millis(1);

/// A stub's socket: the sentry's end and the stub's.
pub(crate) type Sockets = (OwnedFd, OwnedFd);
/// What is left of a stub thread.
type Waste = (Arc<Thread>, Arc<Subprocess>);

/// The store.
#[derive(Debug)]
pub(crate) struct Spares {
    layout: Layout,
    features: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    threads: Vec<Thread>,
    sockets: Vec<Sockets>,
    waste: Vec<Waste>,
    /// Somebody fills the store.
    is_kept: bool,
    /// Who does will look by itself before long.
    is_watched: bool,
}

impl State {
    fn lacks(&self, count: usize) -> bool {
        self.is_kept && (self.threads.len() < count || self.sockets.len() < count)
    }
}

impl Spares {
    /// An empty store, which nobody fills.
    pub(crate) fn new(layout: Layout, features: u32) -> Arc<Spares> {
        let (state, changed) = Default::default();
        Arc::new(Spares { layout, features, state, changed })
    }

    /// Starts the thread that fills it.
    pub(crate) fn keep(self: &Arc<Self>) -> std::io::Result<()> {
        self.state.lock().is_kept = true;
        let store = Arc::clone(self);
        let keeper = thread::Builder::new().name("keeper".into()).spawn(move || store.serve());
        keeper.map(drop).inspect_err(|_| self.state.lock().is_kept = false)
    }

    /// Ends that thread, and empties the store.
    pub(crate) fn close(&self) {
        let old = std::mem::take(&mut *self.state.lock());
        self.changed.notify_one();
        drop(old);
    }

    /// A channel for a new stub thread.
    pub(crate) fn thread(&self) -> Result<Thread, Error> {
        let spare = self.take(|state| state.threads.pop());
        spare.map_or_else(|| Thread::new(&self.layout, self.features), Ok)
    }

    /// A socket for a new stub.
    pub(crate) fn sockets(&self) -> Result<Sockets, Error> {
        self.take(|state| state.sockets.pop()).map_or_else(make_sockets, Ok)
    }

    /// Lets go of `thread` and its `process`, some time.
    pub(crate) fn discard(&self, thread: Arc<Thread>, process: Arc<Subprocess>) {
        let mut state = self.state.lock();
        if !state.is_kept {
            return;
        }
        state.waste.push((thread, process));
        let is_urgent = state.waste.len() == HEAP || !state.is_watched;
        drop(state);
        if is_urgent {
            self.changed.notify_one();
        }
    }

    fn take<T>(&self, take: impl FnOnce(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.state.lock();
        let taken = take(&mut state);
        let is_urgent = state.is_kept && (state.lacks(LOW) || !state.is_watched);
        drop(state);
        if is_urgent {
            self.changed.notify_one();
        }
        taken
    }

    fn serve(&self) {
        let mut state = self.state.lock();
        let mut is_in_order = false;
        let mut has_worked = false;
        while state.is_kept {
            let waste = std::mem::take(&mut state.waste);
            if !waste.is_empty() || state.lacks(STOCK) {
                has_worked = true;
                let lacks = (state.threads.len() < STOCK, state.sockets.len() < STOCK);
                drop(state);
                drop(waste);
                let made = self.make(lacks);
                state = self.state.lock();
                match made {
                    // Meanwhile the store may have been closed.
                    Ok((thread, sockets)) if state.is_kept => {
                        state.threads.extend(thread);
                        state.sockets.extend(sockets);
                        continue;
                    }
                    Ok(_) => return,
                    // Who needs one makes it and sees why it cannot be had.
                    Err(error) => tracing::debug!(%error, "no spare parts for stubs"),
                }
            }
            state.is_watched = !is_in_order;
            if std::mem::take(&mut has_worked) {
                drop(state);
                thread::sleep(BREATH);
                state = self.state.lock();
            } else if is_in_order {
                self.changed.wait(&mut state);
                is_in_order = false;
            } else {
                is_in_order = self.changed.wait_for(&mut state, QUIET).timed_out();
            }
        }
    }

    fn make(&self, lacks: (bool, bool)) -> Result<(Option<Thread>, Option<Sockets>), Error> {
        let thread = match lacks.0 {
            true => {
                let thread = Thread::new(&self.layout, self.features)?;
                thread.channel.warm();
                Some(thread)
            }
            false => None,
        };
        Ok((thread, if lacks.1 { Some(make_sockets()?) } else { None }))
    }
}

fn make_sockets() -> Result<Sockets, Error> {
    use std::os::fd::AsFd;
    let host = |call| move |source| Error::Host { call, source };
    let (ours, theirs) = sys::socket_pair().map_err(host("make a stub's socket"))?;
    sys::pass_credentials(ours.as_fd()).map_err(host("set up a stub's socket"))?;
    Ok((ours, theirs))
}
