// SPDX-License-Identifier: Apache-2.0
//! What terminals do to processes.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use abi::{SigInfo, Signal};

use super::Kernel;
use crate::{
    fs::devpts::{self, JobControl, Leaving},
    sync::{Mutex, levels},
    task::Sender,
    time::{Clock, Setting, Timer},
};

/// The kernel as terminals see it.
#[derive(Debug)]
pub(super) struct Jobs(pub(super) Weak<Kernel>);

impl Kernel {
    /// The process `pid` ends. If it leads a session, its terminal is free again, and whoever was in the
    /// foreground is told (`disassociate_ctty()`).
    pub(crate) fn leave_terminal(self: &Arc<Self>, pid: i32) {
        let (terminal, hung_up_group) = {
            let mut tasks = self.tasks();
            let leads = tasks.process(pid).is_some_and(|process| process.session == pid);
            let Some(session) = tasks.session_mut(pid).filter(|_| leads) else { return };
            (session.terminal, std::mem::take(&mut session.hung_up_group))
        };
        if let Some(terminal) = terminal.and_then(devpts::find) {
            terminal.leave_session(pid, Leaving::Exit);
        } else if hung_up_group > 0 {
            let jobs = Jobs(self.weak());
            jobs.signal_group(hung_up_group, Signal::SIGHUP);
            jobs.signal_group(hung_up_group, Signal::SIGCONT);
        }
    }
}

/// What is to be done once, and the timer that will do it.
type Pending = Mutex<(Option<Box<dyn FnOnce() + Send>>, Option<Arc<Timer>>), levels::Leaf>;

impl JobControl for Jobs {
    fn signal_group(&self, group: i32, signal: Signal) {
        let Some(kernel) = self.0.upgrade() else { return };
        let groups: Vec<_> = {
            let tasks = kernel.tasks();
            let Some(members) = tasks.process_group(group) else { return };
            let processes = members.iter().filter_map(|pid| tasks.process(*pid));
            processes.map(|process| Arc::clone(&process.group)).collect()
        };
        for group in groups {
            // Each gets what it can take; one that is gone needs none.
            let _ = group.send(SigInfo::kernel(signal), Sender::Host);
        }
    }

    fn take_away(&self, session: i32, terminal: u64) {
        let Some(kernel) = self.0.upgrade() else { return };
        let mut tasks = kernel.tasks();
        if let Some(left) = tasks.session_mut(session).filter(|s| s.terminal == Some(terminal)) {
            left.terminal = None;
        }
    }

    fn hang_up(&self, session: i32, terminal: u64, foreground: i32) {
        let Some(kernel) = self.0.upgrade() else { return };
        let leader = {
            let mut tasks = kernel.tasks();
            let Some(left) = tasks.session_mut(session) else { return };
            if left.terminal != Some(terminal) {
                return;
            }
            left.terminal = None;
            left.hung_up_group = foreground;
            tasks.process(session).map(|process| Arc::clone(&process.group))
        };
        if let Some(leader) = leader {
            for signal in [Signal::SIGHUP, Signal::SIGCONT] {
                // A leader that is gone already needs no signal.
                let _ = leader.send(SigInfo::kernel(signal), Sender::Host);
            }
        }
    }

    fn call_at(&self, at: Instant, action: Box<dyn FnOnce() + Send>) {
        let Some(kernel) = self.0.upgrade() else { return };
        let wait = at.saturating_duration_since(Instant::now());
        let value = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX).max(1);
        let pending: Arc<Pending> = Arc::new(Mutex::new((Some(action), None)));
        let mine = Arc::clone(&pending);
        let timer = Arc::new(Timer::new(kernel.timers(), Clock::Monotonic, move |_| {
            let (action, timer) = {
                let mut pending = mine.lock();
                (pending.0.take(), pending.1.take())
            };
            if let Some(action) = action {
                action();
            }
            // Until now the timer was kept by what it was to do.
            drop(timer);
        }));
        // Kept before it is armed: it may go off at once, and must find itself there.
        pending.lock().1 = Some(Arc::clone(&timer));
        timer.set(Setting { value, interval: 0 }, false);
    }
}
