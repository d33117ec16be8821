// SPDX-License-Identifier: Apache-2.0
//! What is done about a signal.

use abi::{
    SigSet, Signal,
    signal::{SIG_DFL, SIG_IGN, SaFlags, SigAction},
};

/// What happens by default (signal(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "signal(7)'s own words")]
pub enum Default {
    Terminate,
    Core,
    Stop,
    Continue,
    Ignore,
}

/// The default action of `signal`.
pub const fn default_of(signal: Signal) -> Default {
    match signal {
        Signal::SIGCHLD | Signal::SIGURG | Signal::SIGWINCH => Default::Ignore,
        Signal::SIGCONT => Default::Continue,
        Signal::SIGSTOP | Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU => Default::Stop,
        Signal::SIGQUIT
        | Signal::SIGILL
        | Signal::SIGTRAP
        | Signal::SIGABRT
        | Signal::SIGBUS
        | Signal::SIGFPE
        | Signal::SIGSEGV
        | Signal::SIGXCPU
        | Signal::SIGXFSZ
        | Signal::SIGSYS => Default::Core,
        _ => Default::Terminate,
    }
}

/// The table of sigaction(2).
#[derive(Debug, Clone)]
pub struct Actions([SigAction; 64]);

impl Actions {
    /// Everything by default.
    pub fn new() -> Actions {
        Actions([SigAction::default(); 64])
    }

    /// What is done about `signal`.
    pub fn get(&self, signal: Signal) -> SigAction {
        self.0.get(signal.index()).copied().unwrap_or_default()
    }

    /// Sets it; returns what was done so far.
    pub fn set(&mut self, signal: Signal, action: SigAction) -> SigAction {
        let slot = self.0.get_mut(signal.index()).expect("a signal's index is below 64");
        std::mem::replace(slot, action)
    }

    /// Whether `signal` is thrown away when it comes unblocked.
    pub fn ignores(&self, signal: Signal) -> bool {
        match self.get(signal).sa_handler {
            SIG_IGN => true,
            SIG_DFL => matches!(default_of(signal), Default::Ignore),
            _ => false,
        }
    }

    /// Whether a handler catches `signal`.
    pub fn catches(&self, signal: Signal) -> bool {
        !matches!(self.get(signal).sa_handler, SIG_DFL | SIG_IGN)
    }

    /// `SA_*` of `signal`.
    pub fn flags(&self, signal: Signal) -> SaFlags {
        SaFlags::from_bits_retain(self.get(signal).sa_flags)
    }

    /// What execve(2) leaves: caught signals go back to the default, ignored ones stay ignored.
    pub fn reset_caught(&mut self) {
        for action in &mut self.0 {
            let handler = if action.sa_handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *action = SigAction { sa_handler: handler, ..SigAction::default() };
        }
    }

    /// `CLONE_CLEAR_SIGHAND`.
    pub fn clear_caught(&mut self) {
        for action in self.0.iter_mut().filter(|action| action.sa_handler != SIG_IGN) {
            *action = SigAction::default();
        }
    }

    /// The signals that are ignored, and those that are caught: for `/proc/<pid>/status`.
    pub fn ignored_and_caught(&self) -> (SigSet, SigSet) {
        let (mut ignored, mut caught) = (SigSet::EMPTY, SigSet::EMPTY);
        for signal in Signal::all() {
            match self.get(signal).sa_handler {
                SIG_DFL => {}
                SIG_IGN => ignored.insert(signal),
                _ => caught.insert(signal),
            }
        }
        (ignored, caught)
    }
}

impl std::default::Default for Actions {
    fn default() -> Self {
        Actions::new()
    }
}
