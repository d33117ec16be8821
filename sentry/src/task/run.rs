// SPDX-License-Identifier: Apache-2.0
//! The run loop: guest code, and every way back from it.

use std::sync::{Arc, atomic::Ordering};

use abi::{Signal, num, wait};
use platform::Exit;

use super::{Current, calling, exit};
use crate::{fs::signalfd, kernel::syscall, sync::assert_none_held, time::Clock};

/// In the flags register: a trap after each instruction.
const TRAP_FLAG: u64 = 0x100;

/// Runs a task to its end, on its own thread.
pub(crate) fn run(mut cx: Current) {
    calling::set(Some(Arc::clone(&cx.task)));
    signalfd::set_reader(Some(Arc::clone(&cx.task) as Arc<dyn signalfd::Reader>));
    cx.watch_stub();
    let status = loop {
        if let Some(status) = cx.settle() {
            break status;
        }
        assert_none_held();
        match cx.enter_guest() {
            Ok(Exit::Syscall) => {
                if let Some(status) = syscall::enter(&mut cx) {
                    break status;
                }
            }
            Ok(Exit::Fault(fault)) => cx.fault(fault),
            Ok(Exit::Interrupted) => {}
            Ok(Exit::Died(status)) => break cx.lose_stub(&format!("wait status {status:#x}")),
            Err(error) => break cx.lose_stub(&error.to_string()),
        }
    };
    signalfd::set_reader(None);
    exit::leave(cx, status);
    calling::set(None);
}

impl Current {
    /// Runs guest code until it needs the kernel.
    fn enter_guest(&mut self) -> Result<Exit, platform::Error> {
        let task = &self.task;
        task.in_guest.store(true, Ordering::SeqCst);
        // Whoever sets it from here on sees that the guest runs, and interrupts the switch.
        if task.attention.load(Ordering::SeqCst) {
            task.in_guest.store(false, Ordering::SeqCst);
            return Ok(Exit::Interrupted);
        }
        if self.kernel.is_paused() {
            task.in_guest.store(false, Ordering::SeqCst);
            self.kernel.stand_still(task);
            return Ok(Exit::Interrupted);
        }
        let entered = Clock::Monotonic.now();
        let slept = std::mem::take(&mut self.slept_ns);
        let worked = entered.saturating_sub(self.left_guest).saturating_sub(slept);
        task.system_ns.fetch_add(worked, Ordering::Relaxed);
        task.guest_since.store(entered, Ordering::Relaxed);
        let steps = self.steps && self.registers.eflags & TRAP_FLAG == 0;
        if steps {
            self.registers.eflags |= TRAP_FLAG;
        }
        let may_answer = self.kernel.config().trace.is_none()
            && !task.is_traced()
            && task.seccomp_always_allows(num::NR_FUTEX);
        self.context.answer_futexes(may_answer);
        let exit = self.context.switch(&mut self.registers);
        if steps {
            // It is the tracer's, and not for the program to see.
            self.registers.eflags &= !TRAP_FLAG;
        }
        self.left_guest = Clock::Monotonic.now();
        task.guest_since.store(0, Ordering::Relaxed);
        let ran = self.left_guest.saturating_sub(entered);
        let ran = ran.saturating_sub(self.context.waited(ran));
        task.user_ns.fetch_add(ran, Ordering::Relaxed);
        task.in_guest.store(false, Ordering::SeqCst);
        exit
    }

    /// Has the process end when its stub is lost, also while no thread of it runs guest code.
    pub(super) fn watch_stub(&self) {
        let (tid, pid) = (self.task.tid(), self.task.pid());
        if tid != pid {
            // The leader has seen to it.
            return;
        }
        let (task, stub) = (Arc::downgrade(&self.task), self.context.space().host_pid());
        self.context.space().watch(Box::new(move || {
            // Since then it may have become another program, with a stub of its own.
            if let Some(task) = task.upgrade()
                && task.mm().is_none_or(|mm| mm.space().host_pid() == stub)
            {
                tracing::warn!(pid, stub, "a stub was killed");
                task.group().kill();
            }
        }));
    }

    /// The stub is gone: so is the process, as if the out-of-memory killer had come.
    fn lose_stub(&mut self, why: &str) -> i32 {
        let status = wait::killed(Signal::SIGKILL.raw(), false);
        let mut group = self.group().lock();
        if group.exit.is_none() {
            tracing::warn!(pid = self.task.pid(), tid = self.task.tid(), why, "a stub died");
        }
        self.group().end(&mut group, status);
        group.exit.unwrap_or(status)
    }
}

impl Current {
    /// A call was cut short: it goes on, or fails, as its signals decide.
    pub(crate) fn interrupted_with(&mut self, restart: crate::kernel::Restart) {
        self.registers.rax = restart.to_register();
        self.task.look_first();
    }
}
