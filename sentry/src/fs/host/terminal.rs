// SPDX-License-Identifier: Apache-2.0
//! What the guest may ask of a host terminal.
//!
//! Settings and size are the host's: they are read from it and written to it. Session and foreground
//! group are the guest's own and are kept here, for the host knows none of the guest's processes.

use abi::{
    Errno, UserAddr,
    ioctl::{self, Termios, Winsize},
};
use platform::hostio::{self, TerminalAction, When};
use zerocopy::{FromBytes, IntoBytes};

use super::Shared;
use crate::{
    sync::{Mutex, levels},
    vfs::Caller,
};

#[derive(Default)]
struct Job {
    session: Option<i32>,
    foreground: Option<i32>,
}

/// Whose terminal it is, inside.
#[derive(Default)]
pub(super) struct TerminalState {
    job: Mutex<Job, levels::Terminal>,
}

impl TerminalState {
    /// The foreground group; the first to ask is taken for the owner.
    fn foreground(&self, caller: &dyn Caller) -> i32 {
        let own = caller.job();
        let mut job = self.job.lock();
        job.session.get_or_insert(own.session);
        *job.foreground.get_or_insert(own.group)
    }
}

impl Shared {
    /// The process group that the terminal's signals go to, if anybody has claimed it.
    pub fn foreground_group(&self) -> Option<i32> {
        self.terminal.as_ref().and_then(|terminal| terminal.job.lock().foreground)
    }

    pub(super) fn host_ioctl(
        &self,
        caller: &mut dyn Caller,
        command: u32,
        argument: u64,
    ) -> Result<u64, Errno> {
        let address = UserAddr(argument);
        if command == ioctl::FIONREAD && self.is_stream_file() {
            let pending = hostio::pending(self.host())?;
            caller.write_memory(address, pending.as_bytes())?;
            return Ok(0);
        }
        let Some(terminal) = &self.terminal else { return Err(Errno::ENOTTY) };
        match command {
            ioctl::TCGETS => {
                let termios = hostio::termios(self.host())?;
                caller.write_memory(address, termios.as_bytes())?;
            }
            ioctl::TCSETS => self.change(caller, address, When::Now)?,
            ioctl::TCSETSW => self.change(caller, address, When::Drained)?,
            ioctl::TCSETSF => self.change(caller, address, When::Flushed)?,
            ioctl::TIOCGWINSZ => {
                let size = hostio::window_size(self.host())?;
                caller.write_memory(address, size.as_bytes())?;
            }
            ioctl::TIOCSWINSZ => {
                let mut bytes = [0; size_of::<Winsize>()];
                caller.read_memory(address, &mut bytes)?;
                let size = Winsize::read_from_bytes(&bytes).map_err(|_| Errno::EINVAL)?;
                hostio::set_window_size(self.host(), &size)?;
            }
            ioctl::TCSBRK => self.act(TerminalAction::Break, argument)?,
            ioctl::TCXONC => self.act(TerminalAction::Flow, argument)?,
            ioctl::TCFLSH => self.act(TerminalAction::Flush, argument)?,
            ioctl::TIOCGPGRP => {
                let group = terminal.foreground(caller);
                caller.write_memory(address, group.as_bytes())?;
            }
            ioctl::TIOCGSID => {
                terminal.foreground(caller);
                let session = terminal.job.lock().session.unwrap_or(0);
                caller.write_memory(address, session.as_bytes())?;
            }
            ioctl::TIOCSPGRP => {
                let mut bytes = [0; 4];
                caller.read_memory(address, &mut bytes)?;
                let group = i32::from_ne_bytes(bytes);
                if group < 0 {
                    return Err(Errno::EINVAL);
                }
                if caller.session_of_group(group)? != caller.job().session {
                    return Err(Errno::EPERM);
                }
                terminal.job.lock().foreground = Some(group);
            }
            ioctl::TIOCSCTTY => {
                let own = caller.job();
                if !own.is_session_leader {
                    return Err(Errno::EPERM);
                }
                let mut job = terminal.job.lock();
                job.session = Some(own.session);
                job.foreground = Some(own.group);
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    fn change(&self, caller: &mut dyn Caller, address: UserAddr, when: When) -> Result<(), Errno> {
        let mut bytes = [0; size_of::<Termios>()];
        caller.read_memory(address, &mut bytes)?;
        let termios = Termios::read_from_bytes(&bytes).map_err(|_| Errno::EINVAL)?;
        hostio::set_termios(self.host(), when, &termios)
    }

    fn act(&self, action: TerminalAction, argument: u64) -> Result<(), Errno> {
        let argument = i32::try_from(argument).map_err(|_| Errno::EINVAL)?;
        hostio::terminal_action(self.host(), action, argument)
    }
}
