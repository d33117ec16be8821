// SPDX-License-Identifier: Apache-2.0
//! ioctl(2) on a terminal (ioctl_tty(2)), and job control.
//!
//! A master's settings are its slave's, as on Linux (`real_tty`).

use std::sync::Arc;

use abi::{
    Errno, UserAddr,
    cred::Capabilities,
    ioctl::{self, LocalModes, Termio, Termios, Termios2, Winsize},
    signal::Signal,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::terminal::{Leaving, Terminal};
use crate::{
    vfs::{Caller, Direction},
    wait::Cut,
};

pub(super) fn master(
    terminal: &Arc<Terminal>,
    caller: &mut dyn Caller,
    command: u32,
    argument: u64,
) -> Result<u64, Errno> {
    let address = UserAddr(argument);
    match command {
        ioctl::TIOCGPTN => put(caller, address, &terminal.index)?,
        ioctl::TIOCSPTLCK => terminal.lock().is_locked = get::<i32>(caller, address)? != 0,
        ioctl::TIOCGPTLCK => {
            let locked = i32::from(terminal.lock().is_locked);
            put(caller, address, &locked)?;
        }
        ioctl::TIOCPKT => {
            let on = get::<i32>(caller, address)? != 0;
            let mut state = terminal.lock();
            state.packet = on.then(|| state.packet.unwrap_or(0));
        }
        ioctl::TIOCGPKT => {
            let on = i32::from(terminal.lock().packet.is_some());
            put(caller, address, &on)?;
        }
        ioctl::TIOCSIG => {
            let number = i32::try_from(argument).map_err(|_| Errno::EINVAL)?;
            let signal = Signal::from_raw(number).ok_or(Errno::EINVAL)?;
            if ![Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP].contains(&signal) {
                return Err(Errno::EINVAL);
            }
            let foreground = terminal.lock().foreground;
            if foreground > 0 {
                terminal.jobs().signal_group(foreground, signal);
            }
        }
        ioctl::FIONREAD => {
            let pending = count(terminal.lock().line.pending_output());
            put(caller, address, &pending)?;
        }
        ioctl::TIOCSCTTY | ioctl::TIOCNOTTY => return Err(Errno::ENOTTY),
        ioctl::TIOCGPGRP => {
            let foreground = terminal.lock().foreground;
            put(caller, address, &foreground)?;
        }
        ioctl::TIOCGSID => {
            let session = terminal.lock().session.ok_or(Errno::ENOTTY)?;
            put(caller, address, &session)?;
        }
        _ => return common(terminal, caller, command, address, argument),
    }
    Ok(0)
}

pub(super) fn slave(
    terminal: &Arc<Terminal>,
    caller: &mut dyn Caller,
    command: u32,
    argument: u64,
) -> Result<u64, Errno> {
    let address = UserAddr(argument);
    if terminal.lock().is_hung_up {
        return Err(if command == ioctl::TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO });
    }
    let changes = [
        ioctl::TIOCSPGRP,
        ioctl::TCSETS,
        ioctl::TCSETSW,
        ioctl::TCSETSF,
        ioctl::TCSETS2,
        ioctl::TCSETSW2,
        ioctl::TCSETSF2,
        ioctl::TCSETA,
        ioctl::TCSETAW,
        ioctl::TCSETAF,
        ioctl::TCSBRK,
        ioctl::TCSBRKP,
        ioctl::TCXONC,
        ioctl::TCFLSH,
    ];
    if changes.contains(&command) {
        check_change(terminal, caller, Signal::SIGTTOU)?;
    }
    match command {
        ioctl::TIOCSCTTY => take_session(terminal, caller, argument)?,
        ioctl::TIOCNOTTY => give_up(terminal, caller)?,
        ioctl::TIOCGPGRP => {
            own_terminal(terminal, caller)?;
            let foreground = terminal.lock().foreground;
            put(caller, address, &foreground)?;
        }
        ioctl::TIOCSPGRP => {
            own_terminal(terminal, caller)?;
            let group = get::<i32>(caller, address)?;
            if group < 0 {
                return Err(Errno::EINVAL);
            }
            if caller.session_of_group(group)? != caller.job().session {
                return Err(Errno::EPERM);
            }
            terminal.lock().foreground = group;
        }
        ioctl::TIOCGSID => {
            own_terminal(terminal, caller)?;
            let session = terminal.lock().session.ok_or(Errno::ENOTTY)?;
            put(caller, address, &session)?;
        }
        ioctl::FIONREAD => {
            let available = count(terminal.lock().line.available());
            put(caller, address, &available)?;
        }
        _ => return common(terminal, caller, command, address, argument),
    }
    Ok(0)
}

/// What both ends answer alike.
fn common(
    terminal: &Arc<Terminal>,
    caller: &mut dyn Caller,
    command: u32,
    address: UserAddr,
    argument: u64,
) -> Result<u64, Errno> {
    match command {
        ioctl::TCGETS => {
            let termios = terminal.lock().line.termios();
            put(caller, address, &termios)?;
        }
        ioctl::TCGETS2 => {
            let termios = terminal.lock().line.termios();
            put(caller, address, &to_termios2(&termios))?;
        }
        ioctl::TCGETA => {
            let termios = terminal.lock().line.termios();
            put(caller, address, &to_termio(&termios))?;
        }
        ioctl::TCSETS | ioctl::TCSETSW => {
            let termios = get(caller, address)?;
            terminal.set_termios(termios, false);
        }
        ioctl::TCSETSF => {
            let termios = get(caller, address)?;
            terminal.set_termios(termios, true);
        }
        ioctl::TCSETS2 | ioctl::TCSETSW2 => {
            let termios = from_termios2(&get(caller, address)?);
            terminal.set_termios(termios, false);
        }
        ioctl::TCSETSF2 => {
            let termios = from_termios2(&get(caller, address)?);
            terminal.set_termios(termios, true);
        }
        ioctl::TCSETA | ioctl::TCSETAW | ioctl::TCSETAF => {
            let termio: Termio = get(caller, address)?;
            let now = terminal.lock().line.termios();
            terminal.set_termios(from_termio(&termio, now), command == ioctl::TCSETAF);
        }
        ioctl::TIOCGWINSZ => {
            let size = terminal.lock().size;
            put(caller, address, &size)?;
        }
        ioctl::TIOCSWINSZ => {
            let size: Winsize = get(caller, address)?;
            terminal.set_size(size);
        }
        // Output is handed over at once: there is nothing to drain, and no line to break.
        ioctl::TCSBRK | ioctl::TCSBRKP | ioctl::TIOCSBRK | ioctl::TIOCCBRK => {}
        ioctl::TCXONC => match i32::try_from(argument) {
            Ok(ioctl::TCOOFF) => terminal.change(|line, effects| line.stop(effects)),
            Ok(ioctl::TCOON) => terminal.change(|line, effects| line.start(effects)),
            Ok(ioctl::TCIOFF | ioctl::TCION) => {}
            _ => return Err(Errno::EINVAL),
        },
        ioctl::TCFLSH => match i32::try_from(argument) {
            Ok(ioctl::TCIFLUSH) => terminal.change(|line, effects| line.flush_input(effects)),
            Ok(ioctl::TCOFLUSH) => terminal.change(|line, effects| line.flush_output(effects)),
            Ok(ioctl::TCIOFLUSH) => terminal.change(|line, effects| {
                line.flush_input(effects);
                line.flush_output(effects);
            }),
            _ => return Err(Errno::EINVAL),
        },
        ioctl::TIOCOUTQ => {
            let pending = count(terminal.lock().line.pending_output());
            put(caller, address, &pending)?;
        }
        ioctl::TIOCEXCL => terminal.lock().is_exclusive = true,
        ioctl::TIOCNXCL => terminal.lock().is_exclusive = false,
        ioctl::TIOCGEXCL => {
            let on = i32::from(terminal.lock().is_exclusive);
            put(caller, address, &on)?;
        }
        ioctl::TIOCGETD => put(caller, address, &ioctl::N_TTY)?,
        ioctl::TIOCSETD => {
            if get::<i32>(caller, address)? != ioctl::N_TTY {
                return Err(Errno::EINVAL);
            }
        }
        ioctl::TIOCGDEV => {
            let device = u32::try_from(terminal.device()).map_err(|_| Errno::EINVAL)?;
            put(caller, address, &device)?;
        }
        // `dev.tty.legacy_tiocsti` is 0 in the kernels we are like.
        ioctl::TIOCSTI => return Err(Errno::EIO),
        _ => return Err(Errno::ENOTTY),
    }
    Ok(0)
}

/// `tty_check_change()`: a background process that changes its terminal is stopped.
fn check_change(
    terminal: &Arc<Terminal>,
    caller: &mut dyn Caller,
    signal: Signal,
) -> Result<(), Errno> {
    let job = caller.job();
    if caller.controlling_terminal() != Some(terminal.identity()) {
        return Ok(());
    }
    let foreground = terminal.lock().foreground;
    if foreground == 0 || foreground == job.group {
        return Ok(());
    }
    if caller.is_signal_ignored(signal.raw()) {
        return if signal == Signal::SIGTTIN { Err(Errno::EIO) } else { Ok(()) };
    }
    if caller.is_group_orphaned() {
        return Err(Errno::EIO);
    }
    caller.signal_group(job.group, signal.raw())?;
    // The signal is on its way to the caller too; the call is made again after it.
    Err(Errno::EINTR)
}

/// Whether the caller may read or write now.
pub(super) fn admit(
    terminal: &Arc<Terminal>,
    caller: &mut dyn Caller,
    direction: Direction,
) -> Result<(), Cut> {
    let signal = match direction {
        Direction::Read => Signal::SIGTTIN,
        Direction::Write => {
            let local = LocalModes::from_bits_retain(terminal.lock().line.termios().c_lflag);
            if !local.contains(LocalModes::TOSTOP) {
                return Ok(());
            }
            Signal::SIGTTOU
        }
    };
    if terminal.lock().is_hung_up {
        return Ok(());
    }
    check_change(terminal, caller, signal).map_err(|errno| match errno {
        Errno::EINTR => Cut::Interrupted,
        errno => Cut::Failed(errno),
    })
}

/// A session leader without a terminal that opens one gets it (`tty_open_proc_set_tty()`).
pub(super) fn adopt(terminal: &Arc<Terminal>, caller: &mut dyn Caller) {
    let job = caller.job();
    if !job.is_session_leader || caller.controlling_terminal().is_some() {
        return;
    }
    let mut state = terminal.lock();
    if state.session.is_some() || state.is_hung_up {
        return;
    }
    state.session = Some(job.session);
    state.foreground = job.group;
    drop(state);
    if let Err(errno) = caller.set_controlling_terminal(terminal.identity()) {
        tracing::debug!(%errno, "a session leader could not take its terminal");
        terminal.lock().session = None;
    }
}

/// `TIOCSCTTY`.
fn take_session(
    terminal: &Arc<Terminal>,
    caller: &mut dyn Caller,
    argument: u64,
) -> Result<(), Errno> {
    let job = caller.job();
    let own = caller.controlling_terminal();
    if job.is_session_leader && own == Some(terminal.identity()) {
        return Ok(());
    }
    if !job.is_session_leader || own.is_some() {
        return Err(Errno::EPERM);
    }
    let previous = terminal.lock().session;
    if let Some(previous) = previous {
        let may_steal = caller.credentials().has(Capabilities::SYS_ADMIN);
        if argument != 1 || !may_steal {
            return Err(Errno::EPERM);
        }
        terminal.jobs().take_away(previous, terminal.identity());
    }
    {
        let mut state = terminal.lock();
        state.session = Some(job.session);
        state.foreground = job.group;
    }
    caller.set_controlling_terminal(terminal.identity())
}

/// `TIOCNOTTY`.
fn give_up(terminal: &Arc<Terminal>, caller: &mut dyn Caller) -> Result<(), Errno> {
    own_terminal(terminal, caller)?;
    let job = caller.job();
    if job.is_session_leader {
        terminal.leave_session(job.session, Leaving::GivingUp);
    } else {
        caller.give_controlling_terminal_up();
    }
    Ok(())
}

/// `ENOTTY` unless it is the caller's controlling terminal.
fn own_terminal(terminal: &Arc<Terminal>, caller: &dyn Caller) -> Result<(), Errno> {
    if caller.controlling_terminal() == Some(terminal.identity()) {
        Ok(())
    } else {
        Err(Errno::ENOTTY)
    }
}

fn get<T: FromBytes + IntoBytes + Default>(
    caller: &mut dyn Caller,
    address: UserAddr,
) -> Result<T, Errno> {
    let mut value = T::default();
    caller.read_memory(address, value.as_mut_bytes())?;
    Ok(value)
}

fn put<T: IntoBytes + Immutable>(
    caller: &mut dyn Caller,
    address: UserAddr,
    value: &T,
) -> Result<(), Errno> {
    caller.write_memory(address, value.as_bytes())
}

fn count(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn to_termios2(termios: &Termios) -> Termios2 {
    Termios2 {
        c_iflag: termios.c_iflag,
        c_oflag: termios.c_oflag,
        c_cflag: termios.c_cflag,
        c_lflag: termios.c_lflag,
        c_line: termios.c_line,
        c_cc: termios.c_cc,
        c_ispeed: 38_400,
        c_ospeed: 38_400,
    }
}

fn from_termios2(termios: &Termios2) -> Termios {
    Termios {
        c_iflag: termios.c_iflag,
        c_oflag: termios.c_oflag,
        c_cflag: termios.c_cflag,
        c_lflag: termios.c_lflag,
        c_line: termios.c_line,
        c_cc: termios.c_cc,
    }
}

/// The old structure has the low halves, and eight of the keys.
fn to_termio(termios: &Termios) -> Termio {
    let low = |word: u32| u16::try_from(word & 0xffff).unwrap_or_default();
    let mut keys = [0; 8];
    keys.iter_mut().zip(termios.c_cc).for_each(|(to, from)| *to = from);
    Termio {
        c_iflag: low(termios.c_iflag),
        c_oflag: low(termios.c_oflag),
        c_cflag: low(termios.c_cflag),
        c_lflag: low(termios.c_lflag),
        c_line: termios.c_line,
        c_cc: keys,
        pad: 0,
    }
}

fn from_termio(termio: &Termio, now: Termios) -> Termios {
    let merge = |old: u32, new: u16| (old & 0xffff_0000) | u32::from(new);
    let mut keys = now.c_cc;
    keys.iter_mut().zip(termio.c_cc).for_each(|(to, from)| *to = from);
    Termios {
        c_iflag: merge(now.c_iflag, termio.c_iflag),
        c_oflag: merge(now.c_oflag, termio.c_oflag),
        c_cflag: merge(now.c_cflag, termio.c_cflag),
        c_lflag: merge(now.c_lflag, termio.c_lflag),
        c_line: termio.c_line,
        c_cc: keys,
    }
}
