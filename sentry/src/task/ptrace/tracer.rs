// SPDX-License-Identifier: Apache-2.0
//! What a tracer asks: to begin, to look, to let go on, to end.

use std::sync::{Arc, mpsc};

use abi::{
    Errno, SigInfo, SigSet, Signal,
    ptrace::{PTRACE_EVENT_STOP, PtraceOptions},
};

use super::{Calls, Errand, TraceStop};
use crate::{
    sync::assert_none_held,
    task::{Current, Sender, Task, thread_group::JobState},
};

/// How a tracee goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "ptrace(2)'s own words")]
pub enum Resume {
    Continue,
    ToCall,
    Emulating,
    Step,
    EmulatingStep,
}

/// The options that there are.
const OPTIONS: PtraceOptions = PtraceOptions::all();

/// Whether `PTRACE_SETOPTIONS` takes these bits (`check_ptrace_options`).
fn check_options(bits: u64) -> Result<PtraceOptions, Errno> {
    let options = u32::try_from(bits).ok().and_then(PtraceOptions::from_bits);
    let options = options.filter(|options| OPTIONS.contains(*options)).ok_or(Errno::EINVAL)?;
    // As on a kernel without checkpoints: nobody may suspend filters.
    if options.contains(PtraceOptions::SUSPEND_SECCOMP) { Err(Errno::EINVAL) } else { Ok(options) }
}

impl Current {
    /// `PTRACE_TRACEME`: the parent traces it from now on.
    pub fn trace_me(&mut self) -> Result<(), Errno> {
        let tasks = self.kernel.tasks();
        let process = tasks.process(self.task.pid()).ok_or(Errno::ESRCH)?;
        let parent = tasks.task(process.parent_tid).or_else(|| {
            tasks.process(process.parent).and_then(|parent| parent.group.threads().first().cloned())
        });
        if self.task.is_traced() {
            return Err(Errno::EPERM);
        }
        // Whose parent is outside or gone is not traced, and not told so either.
        if let Some(parent) = parent {
            self.task.tie_to(&parent, false, PtraceOptions::empty());
        }
        Ok(())
    }

    /// `PTRACE_ATTACH`.
    pub fn attach(&mut self, tid: i32) -> Result<(), Errno> {
        let (target, was_stopped) = self.begin(tid, false, PtraceOptions::empty())?;
        let stop = SigInfo::kernel(Signal::SIGSTOP);
        // A signal that does not queue always has room.
        let _ = target.send(stop, Sender::Host);
        target.kick();
        if was_stopped {
            target.await_transition();
        }
        Ok(())
    }

    /// `PTRACE_SEIZE`.
    pub fn seize(&mut self, tid: i32, addr: u64, options: u64) -> Result<(), Errno> {
        if addr != 0 {
            return Err(Errno::EIO);
        }
        let known = u32::try_from(options).ok().and_then(PtraceOptions::from_bits);
        known.ok_or(Errno::EIO)?;
        let options = check_options(options)?;
        let (target, was_stopped) = self.begin(tid, true, options)?;
        target.kick();
        if was_stopped {
            target.await_transition();
        }
        Ok(())
    }

    fn begin(
        &mut self,
        tid: i32,
        is_seized: bool,
        options: PtraceOptions,
    ) -> Result<(Arc<Task>, bool), Errno> {
        // Under the lock that a program with more rights is begun under.
        let tasks = self.kernel.tasks();
        let target = tasks.task(tid).ok_or(Errno::ESRCH)?;
        if target.pid() == self.task.pid() {
            return Err(Errno::EPERM);
        }
        target.check_access(&self.creds())?;
        let is_dead = target.resources().is_none();
        if is_dead || target.is_traced() {
            return Err(Errno::EPERM);
        }
        target.tie_to(&self.task, is_seized, options);
        // What has stopped already goes over to its tracer.
        let group = target.group().lock();
        let mut trace = target.trace().lock();
        let was_stopped =
            matches!(group.job, JobState::Stopped { .. }) && trace.followed == group.stop_order;
        if was_stopped {
            trace.order_trap();
        }
        drop(trace);
        drop(group);
        Ok((target, was_stopped))
    }

    /// The tracee with this id, if it stands in a stop for this very thread (`ptrace_check_attach`).
    pub fn tracee(&self, tid: i32) -> Result<Arc<Task>, Errno> {
        let target = self.kernel.tasks().task(tid).ok_or(Errno::ESRCH)?;
        let trace = target.trace().lock();
        let is_mine = trace.tracer().is_some_and(|tracer| Arc::ptr_eq(&tracer, &self.task));
        if !is_mine || trace.stop.is_none() || trace.is_listening || trace.order.is_some() {
            return Err(Errno::ESRCH);
        }
        drop(trace);
        Ok(target)
    }

    /// The tracee with this id, whatever it does.
    pub fn running_tracee(&self, tid: i32) -> Result<Arc<Task>, Errno> {
        let target = self.kernel.tasks().task(tid).ok_or(Errno::ESRCH)?;
        let tracer = target.tracer();
        let is_mine = tracer.is_some_and(|tracer| Arc::ptr_eq(&tracer, &self.task));
        if is_mine { Ok(target) } else { Err(Errno::ESRCH) }
    }

    /// `PTRACE_LISTEN`: stays stopped, but for what happens to its group.
    pub fn listen(&self, tracee: &Task) -> Result<(), Errno> {
        let _group = tracee.group().lock();
        let mut trace = tracee.trace().lock();
        let is_event = |stop: &TraceStop| stop.code >> 8 == PTRACE_EVENT_STOP;
        if !trace.is_seized || !trace.stop.as_ref().is_some_and(is_event) {
            return Err(Errno::EIO);
        }
        trace.is_listening = true;
        drop(trace);
        tracee.group().changed.notify_all();
        Ok(())
    }
}

/// Has a tracee in a stop do `work` and waits for it, which is not for long: the tracee has nothing else
/// to do, and drops the errand when its stop ends.
pub fn have_done<T: Send + 'static>(
    tracee: &Task,
    work: impl FnOnce(&mut Current) -> Result<T, Errno> + Send + 'static,
) -> Result<T, Errno> {
    let (give, take) = mpsc::sync_channel(1);
    let errand = Errand(Box::new(move |cx| {
        // Nobody waits for the result if the tracer has died.
        let _ = give.send(work(cx));
    }));
    {
        let _group = tracee.group().lock();
        let mut trace = tracee.trace().lock();
        if trace.stop.is_none() {
            return Err(Errno::ESRCH);
        }
        trace.errands.push_back(errand);
    }
    tracee.group().changed.notify_all();
    assert_none_held();
    take.recv().unwrap_or(Err(Errno::ESRCH))
}

impl Task {
    /// Waits until what had stopped stands in a stop for its tracer, who may ask at once
    /// (`JOBCTL_TRAPPING`). It is on its way, or about to die.
    fn await_transition(&self) {
        let mut group = self.group().lock();
        loop {
            let is_there = {
                let trace = self.trace().lock();
                trace.stop.is_some() || !trace.is_traced()
            };
            if is_there || group.exit.is_some() || group.threads.is_empty() {
                return;
            }
            self.group().changed.wait(&mut group);
        }
    }

    /// Lets a tracee go on with `signal`, which is 0 or a signal's number.
    pub fn resume(&self, how: Resume, signal: u64) -> Result<(), Errno> {
        let signal = signal_or_none(signal)?;
        let group = self.group().lock();
        let mut trace = self.trace().lock();
        trace.calls = match how {
            Resume::ToCall => Calls::Told,
            Resume::Emulating | Resume::EmulatingStep => Calls::Emulated,
            Resume::Continue | Resume::Step => Calls::Untold,
        };
        trace.steps = matches!(how, Resume::Step | Resume::EmulatingStep);
        trace.order = Some(signal);
        drop(trace);
        drop(group);
        self.group().changed.notify_all();
        Ok(())
    }

    /// `PTRACE_DETACH`: it goes on with `signal` as if nobody had ever traced it.
    pub fn detach(self: &Arc<Self>, tracer: &Task, signal: u64) -> Result<(), Errno> {
        let signal = signal_or_none(signal)?;
        let kernel = self.kernel().ok_or(Errno::ESRCH)?;
        let tasks = kernel.tasks();
        self.trace().lock().order = Some(signal);
        tracer.ties.tracees.lock().retain(|other| !Arc::ptr_eq(other, self));
        self.untie();
        drop(tasks);
        self.kick();
        Ok(())
    }

    /// `PTRACE_INTERRUPT`.
    pub fn trap_soon(&self) -> Result<(), Errno> {
        let group = self.group().lock();
        let mut trace = self.trace().lock();
        if !trace.is_seized {
            return Err(Errno::EIO);
        }
        trace.order_trap();
        drop(trace);
        drop(group);
        self.kick();
        Ok(())
    }

    /// Makes it look at its trace, wherever it is.
    pub(crate) fn kick(&self) {
        self.group().changed.notify_all();
        self.interrupt();
    }

    /// `PTRACE_SETOPTIONS`.
    pub fn set_trace_options(&self, bits: u64) -> Result<(), Errno> {
        let options = check_options(bits)?;
        self.trace().lock().options = options;
        Ok(())
    }

    /// The stop that it stands in.
    pub fn trace_stop(&self) -> Result<TraceStop, Errno> {
        self.trace().lock().stop.clone().ok_or(Errno::ESRCH)
    }

    /// `PTRACE_SETSIGINFO`.
    pub fn set_stop_info(&self, info: SigInfo) -> Result<(), Errno> {
        let mut trace = self.trace().lock();
        let stop = trace.stop.as_mut().ok_or(Errno::ESRCH)?;
        let slot = stop.info.as_mut().ok_or(Errno::EINVAL)?;
        *slot = info;
        Ok(())
    }

    /// `PTRACE_PEEKSIGINFO`: pending signals, its own or its process's, from the `skip`th on.
    pub fn pending_infos(&self, of_process: bool, skip: u64, most: usize) -> Vec<SigInfo> {
        let group = self.group().lock();
        let list =
            if of_process { group.pending.infos() } else { self.signals().lock().pending.infos() };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        list.into_iter().skip(skip).take(most).collect()
    }

    /// `PTRACE_GETSIGMASK`: what will be blocked once the call is over.
    pub fn lasting_mask(&self) -> SigSet {
        let signals = self.signals().lock();
        signals.saved_mask.unwrap_or(signals.mask)
    }
}

/// A signal's number or 0; `EIO` for anything else.
fn signal_or_none(signal: u64) -> Result<i32, Errno> {
    match i32::try_from(signal) {
        Ok(0) => Ok(0),
        Ok(number) => Signal::from_raw(number).map(Signal::raw).ok_or(Errno::EIO),
        Err(_) => Err(Errno::EIO),
    }
}
