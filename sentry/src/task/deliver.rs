// SPDX-License-Identifier: Apache-2.0
//! What a task does before its guest code runs again: end, stop, handle signals (Linux's `get_signal`).

use std::sync::{Arc, atomic::Ordering};

use abi::{
    Errno, SigInfo, SigSet, Signal,
    num::NR_RESTART_SYSCALL,
    signal::{SIG_DFL, SIG_IGN, SaFlags, SigAction, SsFlags},
    wait,
};
use platform::Fault;

use super::{
    Current, Task, exit,
    thread_group::{GroupSignals, JobState, Report},
};
use crate::{
    kernel::Restart,
    signal::{
        Default, default_of,
        frame::x86_64::{self as frame, Delivery, Trap},
    },
    sync::{MutexGuard, levels},
};

/// Bytes of the `syscall` instruction.
const SYSCALL_LEN: u64 = 2;

/// What is to be done next.
enum Event {
    /// Nothing: the guest may run.
    Nothing,
    /// The task ends with this wait status.
    End(i32),
    /// The state has changed: look again.
    Again,
    /// A handler is to run.
    Handle(SigInfo, SigAction),
    /// The process is to stop by default, unless SIGCONT has come since the count was this.
    Stop(Signal, u64),
    /// The tracer is to see a group stop by this signal, or another change.
    Trap(Option<Signal>),
    /// The tracer is to see a signal before it is delivered.
    Show(SigInfo),
}

type Group<'a> = MutexGuard<'a, GroupSignals, levels::SignalHandlers>;

impl Current {
    /// Deals with everything that waits for this task. Returns its wait status if it is to end.
    pub(crate) fn settle(&mut self) -> Option<i32> {
        while self.task.attention.swap(false, Ordering::SeqCst) {
            self.task.sleeper.clear_interrupt();
            loop {
                match self.next_event() {
                    Event::Nothing => break,
                    Event::End(status) => return Some(status),
                    Event::Again => {}
                    Event::Handle(info, action) => self.handle(&info, action),
                    Event::Stop(signal, conts) => self.stop_by(signal, conts),
                    Event::Trap(signal) => self.trap(signal),
                    Event::Show(info) => self.deliver_shown(info),
                }
            }
        }
        // No handler ran: the call goes on, and its temporary mask ends with it.
        self.restart_without_handler();
        if std::mem::take(&mut self.has_temporary_mask) {
            let saved = self.task.signals.lock().saved_mask.take();
            if let Some(mask) = saved {
                self.set_signal_mask(mask);
                return self.settle();
            }
        }
        None
    }

    /// Looks for work if a signal is pending that the mask, which has just changed, lets through.
    pub(crate) fn recheck_signals(&self) -> bool {
        let is_open = {
            let group = self.group().lock();
            let signals = self.task.signals.lock();
            let pending = signals.pending.set().union(group.pending.set());
            !pending.difference(signals.mask).is_empty()
        };
        if is_open {
            self.task.interrupt();
        }
        is_open
    }

    fn next_event(&mut self) -> Event {
        let task = Arc::clone(&self.task);
        let mut group = task.group().lock();
        if let Some(status) = group.exit {
            return Event::End(status);
        }
        if task.must_die.load(Ordering::SeqCst) {
            return Event::End(0);
        }
        if let Some(event) = self.follow_orders(&group) {
            drop(group);
            if matches!(event, Event::Again) {
                self.stop_here();
            }
            return event;
        }
        let mask = task.signals.lock().mask;
        let own = task.signals.lock().pending.take(mask);
        let taken = own.or_else(|| group.pending.take(mask));
        let Some(mut info) = taken else { return Event::Nothing };
        task.group().posix_timers.lock().delivered(&mut info);
        if task.is_traced() {
            return Event::Show(info);
        }
        self.decide(&mut group, info)
    }

    /// What an order to stop, or a trap that is due, asks for first. `Again`: to stop.
    fn follow_orders(&self, group: &GroupSignals) -> Option<Event> {
        let mut trace = self.task.trace().lock();
        let signal = match group.job {
            JobState::Running => None,
            JobState::Stopping { signal, .. } | JobState::Stopped { signal } => Some(signal),
        };
        if signal.is_some() && trace.followed != group.stop_order {
            if !trace.is_traced() {
                return Some(Event::Again);
            }
            trace.followed = group.stop_order;
            trace.order_trap();
        }
        trace.has_trap().then_some(Event::Trap(signal))
    }

    /// What is done about a signal that nobody has taken away.
    fn decide(&self, group: &mut Group<'_>, info: SigInfo) -> Event {
        let task = &self.task;
        let Some(signal) = info.signal() else { return Event::Again };
        let actions = task.group().actions();
        let mut actions = actions.lock();
        let action = actions.get(signal);
        match action.sa_handler {
            SIG_IGN => Event::Again,
            SIG_DFL => {
                drop(actions);
                self.by_default(group, signal)
            }
            _ => {
                let flags = SaFlags::from_bits_retain(action.sa_flags);
                if flags.contains(SaFlags::RESETHAND) {
                    actions.set(signal, SigAction { sa_handler: SIG_DFL, ..action });
                }
                Event::Handle(info, action)
            }
        }
    }

    fn by_default(&self, group: &mut Group<'_>, signal: Signal) -> Event {
        if group.is_unkillable && !SigSet::UNBLOCKABLE.contains(signal) {
            return Event::Again;
        }
        match default_of(signal) {
            Default::Ignore | Default::Continue => Event::Again,
            Default::Stop if group.is_unkillable => Event::Again,
            Default::Stop => Event::Stop(signal, group.conts),
            Default::Terminate | Default::Core => {
                // DIFFERS: no core is ever written, so the status never says that one was.
                self.group().end(group, wait::killed(signal.raw(), false));
                Event::Again
            }
        }
    }

    /// Shows a signal to the tracer, and does about what comes of it what is to be done.
    fn deliver_shown(&mut self, info: SigInfo) {
        let conts = self.group().lock().conts;
        let Some(info) = self.show_signal(info) else { return };
        let task = Arc::clone(&self.task);
        let mut group = task.group().lock();
        if group.exit.is_some() || task.must_die.load(Ordering::SeqCst) {
            return;
        }
        let event = self.decide(&mut group, info);
        drop(group);
        match event {
            Event::Handle(info, action) => self.handle(&info, action),
            Event::Stop(signal, _) => self.stop_by(signal, conts),
            Event::Nothing | Event::End(_) | Event::Again | Event::Trap(_) | Event::Show(_) => {}
        }
    }

    /// Orders the process to stop, unless nobody could continue it.
    fn stop_by(&mut self, signal: Signal, conts: u64) {
        if signal != Signal::SIGSTOP {
            let tasks = self.kernel.tasks();
            let id = tasks.process(self.task.pid()).map(|process| process.process_group);
            if id.is_none_or(|id| tasks.is_orphaned(id, None)) {
                return;
            }
        }
        let mut group = self.group().lock();
        if group.exit.is_some() || group.conts != conts {
            return;
        }
        // Tracees may run, and be told to stop, while their group is stopped.
        if group.job == JobState::Running {
            group.job = JobState::Stopping { signal, arrived: 0 };
        }
        group.stop_order += 1;
        for task in &group.threads {
            // The order itself is what they will see; this one looks again by itself.
            if !Arc::ptr_eq(task, &self.task) {
                task.trace().lock().note_change();
                task.kick();
            }
        }
    }

    /// Stands still until the process is continued or is to end. The last thread to arrive tells the
    /// parent.
    fn stop_here(&self) {
        let mut group = self.task.group().lock();
        let epoch = group.job_epoch;
        // Before the parent hears of it: it may attach at once, to what has stopped.
        self.task.trace().lock().followed = group.stop_order;
        if let JobState::Stopping { signal, .. } = group.job
            && group.arrive(&self.task)
        {
            drop(group);
            exit::notify_stopped(&self.kernel, self.task.pid(), signal);
            group = self.task.group().lock();
        }
        self.task.is_stopped.store(true, Ordering::SeqCst);
        while group.job_epoch == epoch
            && group.job != JobState::Running
            && group.exit.is_none()
            && !self.task.must_die.load(Ordering::SeqCst)
            && !self.task.trace().lock().has_trap()
        {
            self.task.group().changed.wait(&mut group);
        }
        // Stopped once more in between: that order is followed as well.
        if group.job != JobState::Running && group.job_epoch == epoch {
            self.task.trace().lock().followed = group.stop_order;
        }
        self.task.is_stopped.store(false, Ordering::SeqCst);
    }

    /// Arranges for a handler to run next.
    fn handle(&mut self, info: &SigInfo, action: SigAction) {
        let Some(signal) = info.signal() else { return };
        let flags = SaFlags::from_bits_retain(action.sa_flags);
        if let Some(restart) = self.restart() {
            let again = match restart {
                Restart::Always => true,
                Restart::IfSaRestart => flags.contains(SaFlags::RESTART),
                Restart::IfNoHandler | Restart::WithBlock | Restart::Never => false,
            };
            if again { self.rewind(None) } else { self.fail_with(Errno::EINTR) }
        }
        // Once a handler has run, restart_syscall(2) has nothing to go on with.
        self.restart_block = None;
        let mask = {
            let mut signals = self.task.signals.lock();
            let mask = signals.mask;
            signals.saved_mask.take().unwrap_or(mask)
        };
        let delivery = Delivery {
            action,
            info,
            mask,
            stack: self.alt_stack,
            trap: std::mem::take(&mut self.trap),
        };
        let mut registers = self.registers;
        if frame::push(&mut *self.context, &mut registers, &delivery).is_err() {
            // No room for the frame: SIGSEGV, and if that is the very signal, by default.
            self.task.signals.lock().saved_mask = None;
            self.force(SigInfo::kernel(Signal::SIGSEGV), signal == Signal::SIGSEGV);
            return;
        }
        self.registers = registers;
        if self.alt_stack.ss_flags & SsFlags::AUTODISARM.bits() != 0 {
            self.alt_stack = Current::no_alt_stack();
        }
        let mut signals = self.task.signals.lock();
        let mut blocked = signals.mask.union(action.sa_mask);
        if !flags.contains(SaFlags::NODEFER) {
            blocked.insert(signal);
        }
        signals.mask = blocked.difference(SigSet::UNBLOCKABLE);
        drop(signals);
        self.trace_handler();
    }

    /// How the call that these registers come from goes on, if it was cut short. As on Linux the
    /// registers alone say so: a tracer that changes them changes that too.
    fn restart(&self) -> Option<Restart> {
        let came_from_call = self.registers.orig_rax.cast_signed() >= 0;
        came_from_call.then(|| Restart::of_register(self.registers.rax)).flatten()
    }

    fn restart_without_handler(&mut self) {
        match self.restart() {
            None => {}
            Some(Restart::Never) => self.fail_with(Errno::EINTR),
            Some(Restart::WithBlock) => self.rewind(Some(NR_RESTART_SYSCALL)),
            Some(Restart::IfSaRestart | Restart::Always | Restart::IfNoHandler) => {
                self.rewind(None);
            }
        }
    }

    /// Points the program back at its `syscall` instruction, with this number or the old one.
    fn rewind(&mut self, number: Option<u64>) {
        self.registers.rax = number.unwrap_or(self.registers.orig_rax);
        self.registers.rip = self.registers.rip.wrapping_sub(SYSCALL_LEN);
    }

    fn fail_with(&mut self, errno: Errno) {
        self.registers.rax = errno.to_register();
    }

    /// A signal that cannot be refused: blocked or ignored, it ends the process (`force_sig_info`).
    /// `by_default` takes its handler away in any case.
    pub(crate) fn force(&mut self, info: SigInfo, by_default: bool) {
        let Some(signal) = info.signal() else { return };
        {
            let mut group = self.group().lock();
            let actions = self.group().actions();
            let mut signals = self.task.signals.lock();
            let mut actions = actions.lock();
            let action = actions.get(signal);
            let is_blocked = signals.mask.contains(signal);
            if is_blocked || action.sa_handler == SIG_IGN || by_default {
                actions.set(signal, SigAction { sa_handler: SIG_DFL, ..action });
                signals.mask.remove(signal);
            }
            if actions.get(signal).sa_handler == SIG_DFL && !self.task.is_traced() {
                group.is_unkillable = false;
            }
            signals.pending.push(signal, info, true);
        }
        self.task.interrupt();
    }

    /// A hardware exception of guest code.
    pub(crate) fn fault(&mut self, fault: Fault) {
        let limits = self.memory_limits();
        let addr = abi::UserAddr(fault.addr);
        let is_segv = fault.signal == Signal::SIGSEGV.raw();
        if is_segv && self.resources.mm.grow_stack(&mut *self.context, &limits, addr) {
            return;
        }
        let fault = self.resources.mm.as_seen(fault);
        let Some(signal) = Signal::from_raw(fault.signal) else { return };
        let is_memory = matches!(signal, Signal::SIGSEGV | Signal::SIGBUS);
        self.trap = Trap {
            number: fault.trap_no,
            error_code: fault.error_code,
            address: if is_memory { fault.addr } else { 0 },
        };
        self.force(SigInfo::fault(signal, fault.code, fault.addr), false);
    }

    /// rt_sigreturn(2): back to what the handler interrupted. Without a sound frame the task gets
    /// SIGSEGV.
    pub fn return_from_signal(&mut self) {
        let mut registers = self.registers;
        match frame::pop(&mut *self.context, &mut registers) {
            Ok(restored) => {
                self.registers = registers;
                self.set_signal_mask(restored.mask);
                let stack = restored.stack;
                // Errors are not told: `restore_altstack` ignores them, too.
                let _ = self.change_alt_stack(stack, registers.rsp);
            }
            Err(_) => self.force(SigInfo::kernel(Signal::SIGSEGV), false),
        }
    }

    /// sigaltstack(2) with the stack pointer at `sp`, after reading its argument.
    pub fn change_alt_stack(&mut self, new: abi::signal::StackT, sp: u64) -> Result<(), Errno> {
        if frame::is_on_stack(&self.alt_stack, sp) {
            return Err(Errno::EPERM);
        }
        let mode = new.ss_flags & !SsFlags::AUTODISARM.bits();
        if mode != 0 && mode != SsFlags::DISABLE.bits() && mode != SsFlags::ONSTACK.bits() {
            return Err(Errno::EINVAL);
        }
        if mode == SsFlags::DISABLE.bits() {
            self.alt_stack = abi::signal::StackT { ss_sp: 0, ss_size: 0, ..new };
            return Ok(());
        }
        if new.ss_size < abi::signal::MINSIGSTKSZ {
            return Err(Errno::ENOMEM);
        }
        self.alt_stack = new;
        Ok(())
    }

    /// rt_sigprocmask(2): sets what is blocked.
    pub fn set_signal_mask(&mut self, mask: SigSet) {
        let mask = mask.difference(SigSet::UNBLOCKABLE);
        let old = std::mem::replace(&mut self.task.signals.lock().mask, mask);
        if !old.difference(mask).is_empty() {
            self.recheck_signals();
        }
    }

    /// Sends this very task a signal that an operation of its own caused: SIGPIPE, SIGXFSZ.
    pub fn send_self(&mut self, signal: Signal) {
        let info = SigInfo::user(signal, abi::signal::SI_USER, self.task.pid(), self.creds().ruid);
        // A signal that does not queue always has room.
        let _ = self.task.send(info, super::send::Sender::Guest);
    }
}

impl GroupSignals {
    /// Whether every thread has followed the order to stop; then it is carried out.
    pub(crate) fn complete_stop(&mut self) -> bool {
        let JobState::Stopping { signal, arrived } = self.job else { return false };
        if arrived < self.threads.len() {
            return false;
        }
        self.job = JobState::Stopped { signal };
        self.report = Some(Report::Stopped(signal.raw()));
        true
    }
}

impl Task {
    /// It is to look before its first step: something may have happened while it was born.
    pub(crate) fn look_first(&self) {
        self.attention.store(true, Ordering::SeqCst);
    }
}
