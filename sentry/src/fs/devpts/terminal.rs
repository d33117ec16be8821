// SPDX-License-Identifier: Apache-2.0
//! A pseudo-terminal pair: the line between its two ends, whose it is, and who waits for it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use abi::{
    Errno,
    ioctl::{self, LocalModes, Termios, Winsize},
    signal::Signal,
};

use super::line::{Effect, Input, LineDiscipline};
use crate::{
    io::{Sink, Source},
    sync::{Mutex, MutexGuard, levels},
    wait::{Ready, Try, WaitQueue},
};

/// What the master may have written ahead of what the line takes.
const BACKLOG_MAX: usize = 64 * 1024;

/// What a terminal does to the processes whose terminal it is. The kernel implements it.
pub trait JobControl: Send + Sync + fmt::Debug {
    /// Sends `signal` to process group `group`; nobody there is fine.
    fn signal_group(&self, group: i32, signal: Signal);

    /// No task of `session` has a controlling terminal any more.
    fn take_away(&self, session: i32, terminal: u64);

    /// As [`take_away`](JobControl::take_away), for the terminal is gone: the session's leader gets
    /// `SIGHUP` and `SIGCONT`, and the group in the foreground when the leader ends.
    fn hang_up(&self, session: i32, terminal: u64, foreground: i32);

    /// Calls `action` at about `at`, once. It must not block.
    fn call_at(&self, at: Instant, action: Box<dyn FnOnce() + Send>);
}

/// How a session's leader leaves its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// It ends.
    Exit,
    /// It gives the terminal up (`TIOCNOTTY`).
    GivingUp,
}

pub(super) struct State {
    pub(super) line: LineDiscipline,
    pub(super) size: Winsize,
    pub(super) session: Option<i32>,
    pub(super) foreground: i32,
    pub(super) slaves: u32,
    /// The last slave has closed, and none has opened since.
    is_slave_gone: bool,
    /// The master has closed: nothing works any more.
    pub(super) is_hung_up: bool,
    pub(super) is_locked: bool,
    pub(super) is_exclusive: bool,
    /// Packet mode, with the events that the master has not seen.
    pub(super) packet: Option<u8>,
    backlog: VecDeque<u8>,
    /// When the read that waits now (`VTIME`) gives up.
    read_deadline: Option<Instant>,
}

/// A pair of ends.
pub struct Terminal {
    /// The number in `/dev/pts`.
    pub index: u32,
    identity: u64,
    jobs: Arc<dyn JobControl>,
    state: Mutex<State, levels::Terminal>,
    master_queue: WaitQueue,
    slave_queue: WaitQueue,
}

impl Terminal {
    /// A new pair, locked, with nobody at the slave's end.
    pub fn new(index: u32, jobs: Arc<dyn JobControl>) -> Arc<Terminal> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Terminal {
            index,
            identity: NEXT.fetch_add(1, Ordering::Relaxed),
            jobs,
            state: Mutex::new(State {
                line: LineDiscipline::new(),
                size: Winsize::default(),
                session: None,
                foreground: 0,
                slaves: 0,
                is_slave_gone: false,
                is_hung_up: false,
                is_locked: true,
                is_exclusive: false,
                packet: None,
                backlog: VecDeque::new(),
                read_deadline: None,
            }),
            master_queue: WaitQueue::new(),
            slave_queue: WaitQueue::new(),
        })
    }

    /// What tasks remember their controlling terminal by. Two instances of devpts have the same
    /// indices and device numbers.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// The slave's device number, which is never 0.
    pub fn device(&self) -> u64 {
        super::slave_device(self.index)
    }

    /// Its foreground process group; 0 for none.
    pub fn foreground(&self) -> i32 {
        self.lock().foreground
    }

    /// Lets its slave be opened: its master is ours, and no program has to ask for that.
    pub fn unlock(&self) {
        self.lock().is_locked = false;
    }

    /// Makes it the terminal of a session that comes from outside, with the leader's group in front.
    pub fn give_to(&self, session: i32) {
        let mut state = self.lock();
        state.session = Some(session);
        state.foreground = session;
    }

    /// Whether the guest's side still has something to show.
    pub fn has_output(&self) -> bool {
        let state = self.lock();
        state.line.pending_output() > 0
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State, levels::Terminal> {
        self.state.lock()
    }

    pub(super) fn master_queue(&self) -> WaitQueue {
        self.master_queue.clone()
    }

    pub(super) fn slave_queue(&self) -> WaitQueue {
        self.slave_queue.clone()
    }

    pub(super) fn jobs(&self) -> &Arc<dyn JobControl> {
        &self.jobs
    }

    // ---- The ends come and go.

    pub(super) fn open_slave(&self, may_override: bool) -> Result<(), Errno> {
        let mut state = self.lock();
        if state.is_hung_up || state.is_locked {
            return Err(Errno::EIO);
        }
        if state.is_exclusive && !may_override {
            return Err(Errno::EBUSY);
        }
        state.slaves += 1;
        state.is_slave_gone = false;
        Ok(())
    }

    pub(super) fn close_slave(&self) {
        let mut state = self.lock();
        state.slaves = state.slaves.saturating_sub(1);
        if state.slaves == 0 {
            state.is_slave_gone = true;
            state.is_exclusive = false;
            drop(state);
            self.master_queue.notify(Ready::READABLE | Ready::HUP);
        }
    }

    /// The master closed: `tty_vhangup()` on the slave.
    pub(super) fn close_master(&self) {
        let (session, foreground) = {
            let mut state = self.lock();
            state.is_hung_up = true;
            (state.session.take(), std::mem::take(&mut state.foreground))
        };
        if let Some(session) = session {
            self.jobs.hang_up(session, self.identity(), foreground);
        }
        self.slave_queue.notify(Ready::all());
    }

    /// The session's leader has exited or given the terminal up.
    pub fn leave_session(&self, session: i32, how: Leaving) {
        let foreground = {
            let mut state = self.lock();
            if state.session != Some(session) {
                return;
            }
            state.session = None;
            std::mem::take(&mut state.foreground)
        };
        if foreground > 0 {
            self.jobs.signal_group(foreground, Signal::SIGHUP);
            if how == Leaving::GivingUp {
                self.jobs.signal_group(foreground, Signal::SIGCONT);
            }
        }
        self.jobs.take_away(session, self.identity());
    }

    // ---- The master's side.

    /// What is typed.
    pub(super) fn write_master(&self, source: &mut dyn Source) -> Result<Try<usize>, Errno> {
        let mut effects = Vec::new();
        let mut state = self.lock();
        let room = BACKLOG_MAX.saturating_sub(state.backlog.len());
        if room == 0 && source.remaining() > 0 {
            return Ok(Try::WouldBlock);
        }
        let mut bytes = vec![0; source.remaining().min(room)];
        let got = source.read(&mut bytes)?;
        state.backlog.extend(bytes.get(..got).unwrap_or_default());
        state.work_off(&mut effects);
        self.finish(state, &effects);
        Ok(Try::Done(got))
    }

    pub(super) fn read_master(&self, sink: &mut dyn Sink) -> Result<Try<usize>, Errno> {
        let mut state = self.lock();
        if sink.remaining() == 0 {
            return Ok(Try::Done(0));
        }
        let mut prefix = None;
        if let Some(events) = state.packet.as_mut() {
            if *events != 0 {
                let event = std::mem::take(events);
                drop(state);
                return Ok(Try::Done(sink.write(&[event])?));
            }
            prefix = Some(ioctl::TIOCPKT_DATA);
        }
        if state.line.pending_output() == 0 {
            return if state.is_slave_gone { Err(Errno::EIO) } else { Ok(Try::WouldBlock) };
        }
        let room = sink.remaining().saturating_sub(usize::from(prefix.is_some()));
        let bytes = state.line.take_output(room.min(crate::io::CHUNK));
        let mut done = 0;
        if let Some(prefix) = prefix {
            done += sink.write(&[prefix])?;
        }
        let wrote = match sink.write(&bytes) {
            Ok(wrote) => wrote,
            Err(errno) => {
                state.line.untake_output(&bytes);
                return Err(errno);
            }
        };
        state.line.untake_output(bytes.get(wrote..).unwrap_or_default());
        self.finish(state, &[]);
        self.slave_queue.notify(Ready::WRITABLE);
        Ok(Try::Done(done + wrote))
    }

    pub(super) fn master_ready(&self) -> Ready {
        let state = self.lock();
        let mut ready = Ready::empty();
        if state.line.pending_output() > 0 {
            ready |= Ready::READABLE;
        }
        if state.packet.is_some_and(|events| events != 0) {
            ready |= Ready::READABLE | Ready::PRI;
        }
        if state.is_slave_gone {
            ready |= Ready::HUP | Ready::READABLE;
        }
        if state.backlog.len() < BACKLOG_MAX {
            ready |= Ready::WRITABLE;
        }
        ready
    }

    // ---- The slave's side.

    pub(super) fn read_slave(self: &Arc<Self>, sink: &mut dyn Sink) -> Result<Try<usize>, Errno> {
        let mut state = self.lock();
        if state.is_hung_up {
            return Ok(Try::Done(0));
        }
        if sink.remaining() == 0 {
            return Ok(Try::Done(0));
        }
        let max = sink.remaining().min(crate::io::CHUNK);
        let mut bytes = Vec::new();
        if let Some((min, tenths)) = state.line.raw_wait()
            && !state.may_read_raw(min, tenths, max)
        {
            self.arm_deadline(&mut state, tenths);
            return Ok(Try::WouldBlock);
        }
        state.read_deadline = None;
        let taken = state.line.read(max, &mut bytes);
        if taken == Input::None && state.line.raw_wait().is_none() {
            return Ok(Try::WouldBlock);
        }
        let mut effects = Vec::new();
        state.work_off(&mut effects);
        self.finish(state, &effects);
        self.master_queue.notify(Ready::WRITABLE);
        let mut wrote = 0;
        while let Some(rest) = bytes.get(wrote..).filter(|rest| !rest.is_empty()) {
            wrote += sink.write(rest)?;
        }
        Ok(Try::Done(wrote))
    }

    /// Makes a read that waits for `VTIME` be tried again when the time is over.
    fn arm_deadline(self: &Arc<Self>, state: &mut State, tenths: u8) {
        let has_bytes = state.line.available() > 0;
        let (min, _) = state.line.raw_wait().unwrap_or((1, 0));
        // With VMIN, the clock starts at the first byte.
        if tenths == 0 || state.read_deadline.is_some() || (min > 0 && !has_bytes) {
            return;
        }
        let at = Instant::now() + Duration::from_millis(100 * u64::from(tenths));
        state.read_deadline = Some(at);
        let queue = self.slave_queue();
        self.jobs.call_at(at, Box::new(move || queue.notify(Ready::READABLE)));
    }

    pub(super) fn write_slave(&self, source: &mut dyn Source) -> Result<Try<usize>, Errno> {
        let mut state = self.lock();
        if state.is_hung_up {
            return Err(Errno::EIO);
        }
        if source.remaining() == 0 {
            return Ok(Try::Done(0));
        }
        if !state.line.has_room() {
            return Ok(Try::WouldBlock);
        }
        let mut done = 0;
        let mut chunk = [0; 2048];
        while source.remaining() > 0 {
            let got = match source.read(&mut chunk) {
                Ok(got) => got,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            let took = state.line.write(chunk.get(..got).unwrap_or_default());
            done += took;
            if took < got {
                source.unread(got - took);
                break;
            }
        }
        drop(state);
        self.master_queue.notify(Ready::READABLE);
        if done == 0 { Ok(Try::WouldBlock) } else { Ok(Try::Done(done)) }
    }

    pub(super) fn slave_ready(&self) -> Ready {
        let state = self.lock();
        if state.is_hung_up {
            return Ready::READABLE | Ready::WRITABLE | Ready::ERR | Ready::HUP;
        }
        let mut ready = Ready::empty();
        if state.line.readable() != Input::None {
            ready |= Ready::READABLE;
        }
        if state.line.has_room() {
            ready |= Ready::WRITABLE;
        }
        ready
    }

    // ---- Settings.

    pub(super) fn set_termios(&self, termios: Termios, flush_input: bool) {
        let mut effects = Vec::new();
        let mut state = self.lock();
        let was_external = has_local(&state.line.termios(), LocalModes::EXTPROC);
        if flush_input {
            state.line.flush_input(&mut effects);
        }
        state.line.set_termios(termios);
        let is_external = has_local(&termios, LocalModes::EXTPROC);
        if (was_external || is_external)
            && let Some(events) = state.packet.as_mut()
        {
            *events |= ioctl::TIOCPKT_IOCTL;
        }
        state.work_off(&mut effects);
        self.finish(state, &effects);
        self.slave_queue.notify(Ready::READABLE | Ready::WRITABLE);
    }

    /// Another window: the foreground group hears of it (`SIGWINCH`).
    pub fn set_size(&self, size: Winsize) {
        let foreground = {
            let mut state = self.lock();
            if state.size == size {
                return;
            }
            state.size = size;
            state.foreground
        };
        if foreground > 0 {
            self.jobs.signal_group(foreground, Signal::SIGWINCH);
        }
    }

    /// Changes flow or throws data away, and carries the consequences out.
    pub(super) fn change(&self, action: impl FnOnce(&mut LineDiscipline, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        let mut state = self.lock();
        action(&mut state.line, &mut effects);
        state.work_off(&mut effects);
        self.finish(state, &effects);
        self.slave_queue.notify(Ready::WRITABLE);
    }

    /// Gives the lock back, then tells everybody what happened under it.
    fn finish(&self, mut state: MutexGuard<'_, State, levels::Terminal>, effects: &[Effect]) {
        for effect in effects {
            let event = match effect {
                Effect::FlushedInput => ioctl::TIOCPKT_FLUSHREAD,
                Effect::FlushedOutput => ioctl::TIOCPKT_FLUSHWRITE,
                Effect::Stopped => ioctl::TIOCPKT_STOP,
                Effect::Started => ioctl::TIOCPKT_START,
                Effect::Signal(_) => continue,
            };
            if let Some(events) = state.packet.as_mut() {
                *events |= event;
            }
        }
        let foreground = state.foreground;
        let is_readable = state.line.readable() != Input::None;
        let has_output =
            state.line.pending_output() > 0 || state.packet.is_some_and(|events| events != 0);
        drop(state);
        for effect in effects {
            match effect {
                Effect::Signal(signal) if foreground > 0 => {
                    self.jobs.signal_group(foreground, *signal);
                }
                Effect::Started => self.slave_queue.notify(Ready::WRITABLE),
                _ => {}
            }
        }
        if is_readable {
            self.slave_queue.notify(Ready::READABLE);
        }
        if has_output {
            self.master_queue.notify(Ready::READABLE | Ready::PRI);
        }
    }
}

impl State {
    /// Lets the line have what the master wrote, as far as it takes it.
    fn work_off(&mut self, effects: &mut Vec<Effect>) {
        while !self.backlog.is_empty() {
            let (head, _) = self.backlog.as_slices();
            let head = head.to_vec();
            let took = self.line.receive(&head, effects);
            self.backlog.drain(..took);
            if took < head.len() {
                break;
            }
        }
    }

    /// Whether a raw read may end: termios(3)'s four cases of MIN and TIME.
    fn may_read_raw(&self, min: u8, tenths: u8, max: usize) -> bool {
        let available = self.line.available();
        let is_over = self.read_deadline.is_some_and(|at| Instant::now() >= at);
        match (min, tenths) {
            (0, 0) => true,
            (0, _) => available > 0 || is_over,
            (min, 0) => available >= usize::from(min).min(max),
            (min, _) => available >= usize::from(min).min(max) || (available > 0 && is_over),
        }
    }
}

fn has_local(termios: &Termios, flag: LocalModes) -> bool {
    LocalModes::from_bits_retain(termios.c_lflag).contains(flag)
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Terminal({})", self.index)
    }
}
