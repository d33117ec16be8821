// SPDX-License-Identifier: Apache-2.0
//! What a tracee does: it stops where its tracer wants to look, does errands, and goes on by order.

use std::sync::{Arc, atomic::Ordering};

use abi::{
    SigInfo, Signal,
    ptrace::{PTRACE_EVENT_STOP, PtraceOptions},
    signal::{CLD_STOPPED, CLD_TRAPPED, SI_USER},
    signal_codes,
};

use super::{AT_CALL_ENTRY, AT_CALL_EXIT, Calls, Trace, TraceStop};
use crate::{
    sync::MutexGuard,
    task::{
        Current, Sender, Task, exit,
        thread_group::{GroupSignals, JobState},
    },
    time::Clock,
};

/// Why a tracee stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// A signal, a call or an event.
    Trapped,
    /// As part of a group stop, or by `PTRACE_INTERRUPT`.
    Stopped,
    /// It is about to exit: a fatal signal has done its work already.
    Exiting,
}

/// What is to become of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is carried out.
    Go,
    /// The tracer has done so, or the task is about to die.
    Skip,
}

type Group<'a> = MutexGuard<'a, GroupSignals, crate::sync::levels::SignalHandlers>;

impl Current {
    /// Stands still until the tracer says how to go on (`ptrace_stop`). The signal that it gives, and what
    /// it has made of the information.
    fn trace_stop(&mut self, stop: TraceStop, why: Why) -> (i32, Option<SigInfo>) {
        let task = Arc::clone(&self.task);
        let code = stop.code;
        let mut group = task.group().lock();
        if why != Why::Exiting && self.is_dying(&group) {
            return (0, stop.info);
        }
        let tracer = {
            let mut trace = task.trace().lock();
            let Some(tracer) = trace.tracer() else { return (code & 0x7f, stop.info) };
            trace.trap_stop = false;
            if code >> 8 == PTRACE_EVENT_STOP {
                trace.trap_notify = false;
            }
            (trace.is_listening, trace.order) = (false, None);
            trace.stop = Some(stop);
            tracer
        };
        let is_last = why == Why::Stopped && group.arrive(&task);
        let dying = (group.kills, group.exit.is_some());
        drop(group);
        // Whoever attached to what had stopped waits for this.
        task.group().changed.notify_all();
        let cause = if why == Why::Stopped { CLD_STOPPED } else { CLD_TRAPPED };
        exit::tell_tracer(&task, &tracer, cause, code & 0x7f);
        if let Some(signal) = is_last.then(|| Signal::from_raw(code & 0x7f)).flatten() {
            exit::notify_stopped_beside(&self.kernel, task.pid(), signal, tracer.pid());
        }
        drop(tracer);
        let began = Clock::Monotonic.now();
        let ended = self.obey(why, dying);
        let stood = Clock::Monotonic.now().saturating_sub(began);
        self.slept_ns = self.slept_ns.saturating_add(stood);
        ended
    }

    /// Waits in a stop; `dying` is how its group died when it began. Whatever ends it, an errand that nobody has begun is dropped.
    fn obey(&mut self, why: Why, dying: (u64, bool)) -> (i32, Option<SigInfo>) {
        let task = Arc::clone(&self.task);
        let mut group = task.group().lock();
        loop {
            let mut trace = task.trace().lock();
            let code = trace.stop.as_ref().map_or(0, |stop| stop.code & 0x7f);
            let order = trace.order.take();
            let is_retrapped = trace.is_listening && trace.has_trap();
            if order.is_some() || !trace.is_traced() || is_retrapped {
                let signal = if is_retrapped { 0 } else { order.unwrap_or(code) };
                return (signal, self.leave_stop(&mut trace));
            }
            if let Some(errand) = trace.errands.pop_front() {
                drop(trace);
                drop(group);
                (errand.0)(self);
                group = task.group().lock();
                continue;
            }
            let is_fatal = match why {
                Why::Exiting => (group.kills, group.exit.is_some()) != dying,
                Why::Trapped | Why::Stopped => self.is_dying(&group),
            };
            if is_fatal {
                return (0, self.leave_stop(&mut trace));
            }
            drop(trace);
            task.group().changed.wait(&mut group);
        }
    }

    fn leave_stop(&mut self, trace: &mut Trace) -> Option<SigInfo> {
        trace.is_listening = false;
        // Signals have come in the meantime, perhaps.
        self.task.look_first();
        // Whoever waits for one is told by the drop.
        trace.errands.clear();
        self.steps = trace.is_traced() && trace.steps;
        trace.stop.take().and_then(|stop| stop.info)
    }

    fn is_dying(&self, group: &Group<'_>) -> bool {
        group.exit.is_some() || self.task.must_die.load(Ordering::SeqCst)
    }

    /// Stops with information made up for the tracer (`ptrace_do_notify`). The signal it gives.
    fn notify_tracer(&mut self, signal: i32, code: i32, message: u64, why: Why) -> i32 {
        let (me, uid) = (self.task.tid(), self.creds().ruid);
        let mut info = SigInfo::user(Signal::SIGTRAP, code, me, uid);
        info.si_signo = signal;
        self.trace_stop(TraceStop { code, info: Some(info), message, is_told: false }, why).0
    }

    /// The trap that is due: a group stop, or a change that whoever seized this task wants to see
    /// (`do_jobctl_trap`).
    pub(crate) fn trap(&mut self, stop_signal: Option<Signal>) {
        let is_seized = self.task.trace().lock().is_seized;
        if is_seized {
            let signal = stop_signal.unwrap_or(Signal::SIGTRAP).raw();
            self.notify_tracer(signal, signal | PTRACE_EVENT_STOP << 8, 0, Why::Stopped);
        } else {
            let code = stop_signal.unwrap_or(Signal::SIGSTOP).raw();
            let stop = TraceStop { code, info: None, message: 0, is_told: false };
            self.trace_stop(stop, Why::Stopped);
        }
    }

    /// A signal is about to be delivered: the tracer may take it away or give another one
    /// (`ptrace_signal`).
    pub(crate) fn show_signal(&mut self, info: SigInfo) -> Option<SigInfo> {
        let stop = TraceStop { code: info.si_signo, info: Some(info), message: 0, is_told: false };
        let (number, left) = self.trace_stop(stop, Why::Trapped);
        let signal = Signal::from_raw(number)?;
        let mut info = left.unwrap_or(info);
        if info.si_signo != number {
            let tracer = self.task.tracer();
            let (pid, uid) = tracer.map_or((0, 0), |tracer| (tracer.tid(), tracer.creds().ruid));
            info = SigInfo::user(signal, SI_USER, pid, uid);
        }
        // The new signal may be blocked: then it waits.
        let mut signals = self.task.signals().lock();
        if signals.mask.contains(signal) {
            signals.pending.push(signal, info, true);
            return None;
        }
        Some(info)
    }

    /// Reports an event if its option is set. Linux's `ptrace_event`.
    pub(crate) fn trace_event(&mut self, event: i32, message: u64) -> bool {
        if !self.task.is_traced() || !self.traces(event) {
            return false;
        }
        let code = Signal::SIGTRAP.raw() | event << 8;
        self.notify_tracer(Signal::SIGTRAP.raw(), code, message, Why::Trapped);
        true
    }

    /// Reports its end, if the tracer wants to look first.
    pub(crate) fn trace_exit(&mut self, status: i32) {
        use abi::ptrace::PTRACE_EVENT_EXIT;
        if self.task.is_traced() && self.traces(PTRACE_EVENT_EXIT) {
            let code = Signal::SIGTRAP.raw() | PTRACE_EVENT_EXIT << 8;
            let message = u64::from(status.cast_unsigned());
            self.notify_tracer(Signal::SIGTRAP.raw(), code, message, Why::Exiting);
        }
    }

    /// Whether the tracer wants to hear of `event` (`PT_EVENT_FLAG`).
    pub(crate) fn traces(&self, event: i32) -> bool {
        let trace = self.task.trace().lock();
        let bit = u32::try_from(event).ok().and_then(|event| 1_u32.checked_shl(event));
        trace.is_traced() && bit.is_some_and(|bit| trace.options.bits() & bit != 0)
    }

    /// The program is another one: the event, or what there was before there were events.
    pub(crate) fn trace_exec(&mut self, old_tid: i32) {
        use abi::ptrace::PTRACE_EVENT_EXEC;
        if !self.task.is_traced()
            || self.trace_event(PTRACE_EVENT_EXEC, u64::from(old_tid.cast_unsigned()))
        {
            return;
        }
        let is_seized = self.task.trace().lock().is_seized;
        if !is_seized {
            self.send_self(Signal::SIGTRAP);
        }
    }

    /// A call is about to be carried out. The tracer may change its number and arguments.
    pub(crate) fn trace_call_entry(&mut self) -> Entry {
        let calls = self.task.trace().lock().calls;
        if calls == Calls::Untold {
            return Entry::Go;
        }
        self.report_call(AT_CALL_ENTRY);
        let is_dying = self.is_dying(&self.group().lock());
        if calls == Calls::Emulated || is_dying { Entry::Skip } else { Entry::Go }
    }

    /// A call has been carried out, and its result stands in the registers.
    pub(crate) fn trace_call_exit(&mut self) {
        let calls = self.task.trace().lock().calls;
        if self.steps && calls != Calls::Emulated {
            let rip = self.registers.rip;
            self.force(SigInfo::fault(Signal::SIGTRAP, signal_codes::TRAP_BRKPT, rip), false);
        } else if calls == Calls::Told {
            self.report_call(AT_CALL_EXIT);
        }
    }

    fn report_call(&mut self, message: u64) {
        let is_marked = self.task.trace().lock().options.contains(PtraceOptions::TRACESYSGOOD);
        let code = Signal::SIGTRAP.raw() | if is_marked { 0x80 } else { 0 };
        let given = self.notify_tracer(Signal::SIGTRAP.raw(), code, message, Why::Trapped);
        if let Some(signal) = Signal::from_raw(given) {
            // A signal that does not queue always has room.
            let _ = self.task.send(SigInfo::kernel(signal), Sender::Host);
        }
    }

    /// A handler is about to run while the task steps: its first instruction is a step too.
    pub(crate) fn trace_handler(&mut self) {
        if self.steps {
            let trap = Signal::SIGTRAP.raw();
            self.notify_tracer(trap, trap, 0, Why::Trapped);
        }
    }
}

impl GroupSignals {
    /// Counts `task` among those that have followed the order to stop. `true`: it was the last.
    pub(crate) fn arrive(&mut self, task: &Task) -> bool {
        let order = self.stop_order;
        let is_counted = std::mem::replace(&mut task.trace().lock().counted, order) == order;
        if let JobState::Stopping { signal, arrived } = self.job
            && !is_counted
        {
            self.job = JobState::Stopping { signal, arrived: arrived + 1 };
            return self.complete_stop();
        }
        false
    }
}
