// SPDX-License-Identifier: Apache-2.0
//! ptrace(2): who traces whom, and the stops in which a tracee waits for orders.
//!
//! * **The types to know.** A [`Trace`] is a tracee's side, held by its [`Task`]; a [`TraceStop`] is the
//!   stop it stands in; an [`Errand`] is work that the tracer wants done on the tracee's registers and
//!   memory.
//! * **Invariants.** Only a task's own thread changes its registers: so a tracee that stands in a stop
//!   does its tracer's errands itself. Ties are made and cut under `TaskSet`; stops begin and end under
//!   the group's lock, whose condition variable wakes those who stand in one. A fatal signal ends every
//!   stop, and whoever waits for an errand then learns that there is nobody left to do it.
//! * **Where.** `stop` is what tracees do, `tracer` what tracers ask, `ties` how ties begin and end,
//!   `registers` what `struct user` shows.

mod access;
mod registers;
mod stop;
mod ties;
mod tracer;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Weak, atomic::Ordering},
};

use abi::{SigInfo, ptrace::PtraceOptions};

pub use registers::{DEBUG_REGISTERS, RegisterSet};
pub(crate) use stop::Entry;
pub(crate) use ties::event_of_clone;
pub use tracer::{Resume, have_done};

use super::{Current, Task};
use crate::sync::{Mutex, levels};

/// `PTRACE_EVENTMSG_SYSCALL_ENTRY`, `PTRACE_EVENTMSG_SYSCALL_EXIT`.
pub const AT_CALL_ENTRY: u64 = 1;
/// See [`AT_CALL_ENTRY`].
pub const AT_CALL_EXIT: u64 = 2;

/// What is reported of a tracee's system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Calls {
    /// Nothing.
    #[default]
    Untold,
    /// Entry and exit (`PTRACE_SYSCALL`).
    Told,
    /// Entry alone, for the tracer carries them out (`PTRACE_SYSEMU`).
    Emulated,
}

/// Work that a tracee in a stop does for its tracer. Dropped undone if the stop ends first.
pub(crate) struct Errand(Box<dyn FnOnce(&mut Current) + Send>);

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Errand")
    }
}

/// The stop that a tracee stands in.
#[derive(Debug, Clone)]
pub struct TraceStop {
    /// What wait(2) tells above the low byte: a signal, with an event behind it.
    pub code: i32,
    /// The signal that it is about (`last_siginfo`); group stops have none.
    pub info: Option<SigInfo>,
    /// `PTRACE_GETEVENTMSG`.
    pub message: u64,
    /// Whether wait(2) has told.
    pub(crate) is_told: bool,
}

/// How a task is traced. What outlives the tracer is what the task still needs to go on.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    tracer: Option<Weak<Task>>,
    is_seized: bool,
    pub(crate) options: PtraceOptions,
    pub(crate) calls: Calls,
    /// After each instruction (`PTRACE_SINGLESTEP`).
    pub(crate) steps: bool,
    pub(crate) stop: Option<TraceStop>,
    /// The order to go on, with this signal.
    order: Option<i32>,
    errands: VecDeque<Errand>,
    /// A trap is due: `PTRACE_INTERRUPT`, a group stop, an attachment to what is stopped.
    trap_stop: bool,
    /// A trap is due because the group's state has changed (`JOBCTL_TRAP_NOTIFY`).
    trap_notify: bool,
    /// `PTRACE_LISTEN`.
    is_listening: bool,
    /// The last order to stop that this task has followed, and the last that has counted it.
    pub(crate) followed: u64,
    pub(crate) counted: u64,
    /// It is dead, but its tracer has not been told by wait(2): its own wait status.
    pub(crate) ghost: Option<i32>,
    /// Addresses for `DR0` to `DR3`: stored only.
    pub(crate) debug_addresses: [u64; 4],
}

impl Trace {
    pub(crate) fn tracer(&self) -> Option<Arc<Task>> {
        self.tracer.as_ref().and_then(Weak::upgrade)
    }

    pub(crate) fn is_traced(&self) -> bool {
        self.tracer.is_some()
    }

    /// Whether a trap is due.
    pub(crate) fn has_trap(&self) -> bool {
        self.is_traced() && (self.trap_stop || self.trap_notify)
    }

    /// A group stop is a trap for a tracee.
    pub(crate) fn order_trap(&mut self) {
        self.trap_stop = true;
    }

    /// Something about its group has changed: whoever seized it wants to know.
    pub(crate) fn note_change(&mut self) -> bool {
        let wants = self.is_traced() && self.is_seized;
        self.trap_notify |= wants;
        wants
    }

    /// The stop, as far as wait(2) may tell of it.
    pub(crate) fn untold_stop(&mut self) -> Option<&mut TraceStop> {
        let is_listening = self.is_listening;
        self.stop.as_mut().filter(|stop| !stop.is_told && !is_listening)
    }
}

/// A tracee's trace, and the tracees of a tracer.
#[derive(Debug, Default)]
pub(crate) struct Ties {
    pub(crate) trace: Mutex<Trace, levels::Leaf>,
    /// Whom this task traces.
    pub(crate) tracees: Mutex<Vec<Arc<Task>>, levels::Leaf>,
}

impl Task {
    /// Who traces it.
    pub fn tracer(&self) -> Option<Arc<Task>> {
        if self.is_traced() { self.ties.trace.lock().tracer() } else { None }
    }

    /// Whether somebody traces it.
    pub fn is_traced(&self) -> bool {
        self.is_traced.load(Ordering::Relaxed)
    }

    /// How it is traced.
    pub(crate) fn trace(&self) -> &Mutex<Trace, levels::Leaf> {
        &self.ties.trace
    }

    /// Whether it stands in a stop for its tracer.
    pub(crate) fn is_in_trace_stop(&self) -> bool {
        self.is_traced() && self.ties.trace.lock().stop.is_some()
    }
}
