// SPDX-License-Identifier: Apache-2.0
//! The line discipline: what happens to bytes between a terminal and its programs (termios(3)).
//!
//! Pure: bytes and settings in, bytes and [`Effect`]s out. It follows Linux's `drivers/tty/n_tty.c` in
//! what a program can see: echo, erasing with columns, end of file, `VMIN`, line marks that survive a
//! change of mode.

use std::collections::VecDeque;

use abi::ioctl::{
    ControlModes, InputModes, LocalModes, OutputModes, Termios, VEOF, VEOL, VEOL2, VERASE, VINTR,
    VKILL, VLNEXT, VMIN, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP, VTIME, VWERASE,
};
use abi::signal::Signal;

/// What a line can hold (`N_TTY_BUF_SIZE`).
const INPUT_MAX: usize = 4096;
/// What a slave can have written ahead of the master's reader (`pty.c`: `tty_buffer_set_limit`).
const OUTPUT_MAX: usize = 8192;
/// `_POSIX_VDISABLE`.
const DISABLED: u8 = 0;

/// What the terminal must do besides moving bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Send this to the foreground process group.
    Signal(Signal),
    /// Input was thrown away.
    FlushedInput,
    /// Output was thrown away.
    FlushedOutput,
    /// Output stopped (`VSTOP`, `TCOOFF`).
    Stopped,
    /// Output goes on.
    Started,
}

/// How a character ends a line, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    /// The line's last character.
    Line,
    /// End of file: a place, not a character.
    EndOfFile,
}

/// What a read of the slave finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// This many bytes; 0 is the end of file.
    Bytes(usize),
    /// Nothing (or not enough for `VMIN`) yet.
    None,
}

/// The state between a terminal and its programs.
#[derive(Debug)]
pub struct LineDiscipline {
    termios: Termios,
    /// Typed and not yet read; the first `committed` may be read in canonical mode.
    input: VecDeque<(u8, Mark)>,
    committed: usize,
    /// Written or echoed, and not yet read by the master.
    output: VecDeque<u8>,
    /// How much of it was there before the bytes that are being received now. Their echo is given out
    /// when the last has been looked at, so that a signal's flush finds it (`echo_buf`).
    shown: usize,
    column: usize,
    /// The column in which the line being typed began.
    line_column: usize,
    is_literal_next: bool,
    is_stopped: bool,
}

/// The settings of a new terminal (`tty_std_termios`).
pub(super) fn new_terminal() -> Termios {
    let mut termios = Termios {
        c_iflag: (InputModes::ICRNL | InputModes::IXON).bits(),
        c_oflag: (OutputModes::OPOST | OutputModes::ONLCR).bits(),
        c_cflag: abi::ioctl::B38400 | (ControlModes::CS8 | ControlModes::CREAD).bits(),
        c_lflag: (LocalModes::ISIG
            | LocalModes::ICANON
            | LocalModes::ECHO
            | LocalModes::ECHOE
            | LocalModes::ECHOK
            | LocalModes::ECHOCTL
            | LocalModes::ECHOKE
            | LocalModes::IEXTEN)
            .bits(),
        c_line: 0,
        c_cc: [0; abi::ioctl::NCCS],
    };
    let keys = [
        (VINTR, 3),
        (VQUIT, 28),
        (VERASE, 127),
        (VKILL, 21),
        (VEOF, 4),
        (VMIN, 1),
        (VSTART, 17),
        (VSTOP, 19),
        (VSUSP, 26),
        (VREPRINT, 18),
        (abi::ioctl::VDISCARD, 15),
        (VWERASE, 23),
        (VLNEXT, 22),
    ];
    for (key, byte) in keys {
        if let Some(slot) = termios.c_cc.get_mut(key) {
            *slot = byte;
        }
    }
    termios
}

impl LineDiscipline {
    /// A line with the settings of a new terminal.
    pub fn new() -> LineDiscipline {
        LineDiscipline {
            termios: new_terminal(),
            input: VecDeque::new(),
            committed: 0,
            output: VecDeque::new(),
            shown: 0,
            column: 0,
            line_column: 0,
            is_literal_next: false,
            is_stopped: false,
        }
    }

    /// The settings.
    pub fn termios(&self) -> Termios {
        self.termios
    }

    /// Changes the settings. Unread input survives a change of mode as Linux has it
    /// (`n_tty_set_termios`): what was typed raw becomes one line.
    pub fn set_termios(&mut self, termios: Termios) {
        let was_canonical = self.has_local(LocalModes::ICANON);
        self.termios = termios;
        let is_canonical = self.has_local(LocalModes::ICANON);
        if was_canonical != is_canonical {
            for (_, mark) in &mut self.input {
                *mark = Mark::None;
            }
            self.committed = if is_canonical { self.input.len() } else { 0 };
            self.is_literal_next = false;
        }
        if self.is_stopped && !self.has_input(InputModes::IXON) {
            self.is_stopped = false;
        }
    }

    /// A settings' key; `_POSIX_VDISABLE` matches nothing.
    fn is_key(&self, byte: u8, key: usize) -> bool {
        byte != DISABLED && self.key(key) == byte
    }

    fn key(&self, key: usize) -> u8 {
        self.termios.c_cc.get(key).copied().unwrap_or(DISABLED)
    }

    fn has_local(&self, flag: LocalModes) -> bool {
        LocalModes::from_bits_retain(self.termios.c_lflag).contains(flag)
    }

    fn has_input(&self, flag: InputModes) -> bool {
        InputModes::from_bits_retain(self.termios.c_iflag).contains(flag)
    }

    fn has_output(&self, flag: OutputModes) -> bool {
        OutputModes::from_bits_retain(self.termios.c_oflag).contains(flag)
    }

    fn is_raw_input(&self) -> bool {
        self.has_local(LocalModes::EXTPROC)
    }

    // ---- From the terminal to the program.

    /// Takes typed bytes; returns how many. Fewer than all when the program must read first.
    pub fn receive(&mut self, bytes: &[u8], effects: &mut Vec<Effect>) -> usize {
        self.shown = self.output.len();
        for (taken, &byte) in bytes.iter().enumerate() {
            if self.input.len() >= INPUT_MAX - 1 && !self.may_overflow() {
                return taken;
            }
            self.receive_byte(byte, effects);
        }
        bytes.len()
    }

    /// A line too long for the buffer loses characters but keeps room for its end.
    fn may_overflow(&self) -> bool {
        self.has_local(LocalModes::ICANON) && self.committed == 0
    }

    fn receive_byte(&mut self, byte: u8, effects: &mut Vec<Effect>) {
        let mut byte = byte;
        if self.has_input(InputModes::ISTRIP) {
            byte &= 0x7f;
        }
        if self.has_input(InputModes::IUCLC) && self.has_local(LocalModes::IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if self.is_literal_next {
            self.is_literal_next = false;
            self.receive_ordinary(byte);
            return;
        }
        if self.is_raw_input() {
            self.push(byte, Mark::None);
            return;
        }
        if self.has_input(InputModes::IXON) {
            if self.is_key(byte, VSTART) {
                self.start(effects);
                return;
            }
            if self.is_key(byte, VSTOP) {
                self.stop(effects);
                return;
            }
        }
        if self.is_stopped
            && self.has_input(InputModes::IXON)
            && self.has_input(InputModes::IXANY)
            && ![VINTR, VQUIT, VSUSP].iter().any(|key| self.is_key(byte, *key))
        {
            self.start(effects);
        }
        if self.has_local(LocalModes::ISIG) {
            let keys =
                [(VINTR, Signal::SIGINT), (VQUIT, Signal::SIGQUIT), (VSUSP, Signal::SIGTSTP)];
            if let Some((_, signal)) = keys.iter().find(|(key, _)| self.is_key(byte, *key)) {
                self.receive_signal(byte, *signal, effects);
                return;
            }
        }
        match byte {
            b'\r' if self.has_input(InputModes::IGNCR) => return,
            b'\r' if self.has_input(InputModes::ICRNL) => byte = b'\n',
            b'\n' if self.has_input(InputModes::INLCR) => byte = b'\r',
            _ => {}
        }
        if self.has_local(LocalModes::ICANON) && self.receive_editing(byte) {
            return;
        }
        self.receive_ordinary(byte);
    }

    fn receive_signal(&mut self, byte: u8, signal: Signal, effects: &mut Vec<Effect>) {
        effects.push(Effect::Signal(signal));
        if !self.has_local(LocalModes::NOFLSH) {
            self.output.truncate(self.shown);
            self.flush_input(effects);
            self.flush_output(effects);
        }
        if self.has_input(InputModes::IXON) {
            self.start(effects);
        }
        if self.has_local(LocalModes::ECHO) {
            self.echo(byte);
        }
    }

    /// Canonical mode's special characters; whether `byte` was one.
    fn receive_editing(&mut self, byte: u8) -> bool {
        let extended = self.has_local(LocalModes::IEXTEN);
        let echo = self.has_local(LocalModes::ECHO);
        if self.is_key(byte, VERASE)
            || self.is_key(byte, VKILL)
            || (extended && self.is_key(byte, VWERASE))
        {
            self.erase(byte);
        } else if extended && self.is_key(byte, VLNEXT) {
            self.is_literal_next = true;
            if echo && self.has_local(LocalModes::ECHOCTL) {
                self.put_raw(b'^');
                self.put_raw(b'\x08');
            }
        } else if extended && echo && self.is_key(byte, VREPRINT) {
            self.echo(byte);
            self.put_processed(b'\n');
            let typed: Vec<u8> = self.input.iter().skip(self.committed).map(|(b, _)| *b).collect();
            for byte in typed {
                self.echo(byte);
            }
        } else if byte == b'\n' {
            if echo || self.has_local(LocalModes::ECHONL) {
                self.put_processed(b'\n');
            }
            self.commit(byte, Mark::Line);
        } else if self.is_key(byte, VEOF) {
            self.commit(DISABLED, Mark::EndOfFile);
        } else if self.is_key(byte, VEOL) || (extended && self.is_key(byte, VEOL2)) {
            if echo {
                self.note_line_start();
                self.echo(byte);
            }
            self.commit(byte, Mark::Line);
        } else {
            return false;
        }
        true
    }

    fn receive_ordinary(&mut self, byte: u8) {
        if self.has_local(LocalModes::ECHO) {
            self.note_line_start();
            if byte == b'\n' {
                self.put_processed(b'\n');
            } else {
                self.echo(byte);
            }
        }
        if byte == 0xff && self.has_input(InputModes::PARMRK) {
            self.push(byte, Mark::None);
        }
        self.push(byte, Mark::None);
    }

    fn note_line_start(&mut self) {
        if self.committed == self.input.len() {
            self.line_column = self.column;
        }
    }

    fn push(&mut self, byte: u8, mark: Mark) {
        if self.input.len() >= INPUT_MAX - 1 {
            self.input.pop_back();
        }
        self.input.push_back((byte, mark));
    }

    fn commit(&mut self, byte: u8, mark: Mark) {
        self.push(byte, mark);
        self.committed = self.input.len();
    }

    /// Whether `byte` continues a UTF-8 character.
    fn is_continuation(&self, byte: u8) -> bool {
        self.has_input(InputModes::IUTF8) && byte & 0xc0 == 0x80
    }

    /// `eraser()`: takes a character, a word or the line back, on the screen too.
    fn erase(&mut self, key: u8) {
        if self.input.len() == self.committed {
            return;
        }
        let (is_kill, is_word) = (self.is_key(key, VKILL), self.is_key(key, VWERASE));
        let is_char = self.is_key(key, VERASE);
        let echo = self.has_local(LocalModes::ECHO);
        if is_kill && !is_char {
            if !echo {
                self.input.truncate(self.committed);
                return;
            }
            let erases = [LocalModes::ECHOK, LocalModes::ECHOKE, LocalModes::ECHOE];
            if !erases.iter().all(|flag| self.has_local(*flag)) {
                self.input.truncate(self.committed);
                self.echo(self.key(VKILL));
                if self.has_local(LocalModes::ECHOK) {
                    self.put_processed(b'\n');
                }
                return;
            }
        }
        let mut has_seen_word = false;
        while self.input.len() > self.committed {
            let mut head = self.input.len();
            let mut byte;
            loop {
                head -= 1;
                byte = self.input.get(head).map_or(DISABLED, |(byte, _)| *byte);
                if !self.is_continuation(byte) || head == self.committed {
                    break;
                }
            }
            if self.is_continuation(byte) {
                break;
            }
            if is_word && !is_char {
                if byte.is_ascii_alphanumeric() || byte == b'_' {
                    has_seen_word = true;
                } else if has_seen_word {
                    break;
                }
            }
            self.input.truncate(head);
            if echo {
                self.erase_on_screen(byte, is_char);
            }
            if is_char {
                break;
            }
        }
    }

    fn erase_on_screen(&mut self, byte: u8, is_char: bool) {
        let shows_controls = self.has_local(LocalModes::ECHOCTL);
        if is_char && !self.has_local(LocalModes::ECHOE) {
            self.echo(self.key(VERASE));
        } else if byte == b'\t' {
            self.erase_tab();
        } else {
            if byte.is_ascii_control() && shows_controls {
                self.put_erase();
            }
            if !byte.is_ascii_control() || shows_controls {
                self.put_erase();
            }
        }
    }

    /// Goes back over a tab: as far as the characters before it on the line say.
    fn erase_tab(&mut self) {
        let mut columns = 0;
        let mut is_after_tab = false;
        for (byte, _) in self.input.iter().skip(self.committed).rev() {
            if *byte == b'\t' {
                is_after_tab = true;
                break;
            } else if byte.is_ascii_control() {
                if self.has_local(LocalModes::ECHOCTL) {
                    columns += 2;
                }
            } else if !self.is_continuation(*byte) {
                columns += 1;
            }
        }
        if !is_after_tab {
            columns += self.line_column;
        }
        for _ in 0..8 - (columns & 7) {
            self.put_raw(b'\x08');
            self.column = self.column.saturating_sub(1);
        }
    }

    fn put_erase(&mut self) {
        for byte in *b"\x08 \x08" {
            self.put_raw(byte);
        }
        self.column = self.column.saturating_sub(1);
    }

    /// `echo_char()`: control characters as `^X`.
    fn echo(&mut self, byte: u8) {
        if self.has_local(LocalModes::ECHOCTL) && byte.is_ascii_control() && byte != b'\t' {
            self.put_raw(b'^');
            self.put_raw(byte ^ 0x40);
            self.column += 2;
        } else {
            self.put_processed(byte);
        }
    }

    /// What a program may read now.
    pub fn readable(&self) -> Input {
        if self.has_local(LocalModes::ICANON) && !self.is_raw_input() {
            return if self.committed > 0 { Input::Bytes(self.committed) } else { Input::None };
        }
        let least = match (self.key(VMIN), self.key(VTIME)) {
            (min, 0) if min > 0 => usize::from(min),
            _ => 1,
        };
        if self.input.len() >= least { Input::Bytes(self.input.len()) } else { Input::None }
    }

    /// How a read in raw mode waits: the bytes it wants at least, and tenths of a second.
    pub fn raw_wait(&self) -> Option<(u8, u8)> {
        let raw = !self.has_local(LocalModes::ICANON) || self.is_raw_input();
        raw.then(|| (self.key(VMIN), self.key(VTIME)))
    }

    /// Bytes that `FIONREAD` (and a canonical read) would find.
    pub fn available(&self) -> usize {
        let bytes =
            if self.has_local(LocalModes::ICANON) { self.committed } else { self.input.len() };
        self.input.iter().take(bytes).filter(|(_, mark)| *mark != Mark::EndOfFile).count()
    }

    /// Takes up to `max` bytes for a program, in canonical mode at most one line.
    pub fn read(&mut self, max: usize, to: &mut Vec<u8>) -> Input {
        if !self.has_local(LocalModes::ICANON) || self.is_raw_input() {
            if self.input.is_empty() {
                return Input::None;
            }
            let count = max.min(self.input.len());
            to.extend(self.input.drain(..count).map(|(byte, _)| byte));
            self.committed = self.committed.saturating_sub(count);
            return Input::Bytes(count);
        }
        if self.committed == 0 {
            return Input::None;
        }
        let mut count = 0;
        while self.committed > 0 {
            let Some(&(byte, mark)) = self.input.front() else { break };
            // An end-of-file mark right behind the last byte that fits goes with it.
            if count == max && mark != Mark::EndOfFile {
                break;
            }
            self.input.pop_front();
            self.committed -= 1;
            if mark == Mark::EndOfFile {
                break;
            }
            to.push(byte);
            count += 1;
            if mark == Mark::Line {
                break;
            }
        }
        Input::Bytes(count)
    }

    // ---- From the program to the terminal.

    /// Takes bytes that a program writes; returns how many fit.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        if self.is_stopped {
            return 0;
        }
        for (taken, &byte) in bytes.iter().enumerate() {
            if self.output.len() + 8 > OUTPUT_MAX {
                return taken;
            }
            self.put_processed(byte);
        }
        bytes.len()
    }

    /// Whether a program may write.
    pub fn has_room(&self) -> bool {
        !self.is_stopped && self.output.len() + 8 <= OUTPUT_MAX
    }

    /// `do_output_char()`.
    fn put_processed(&mut self, byte: u8) {
        if !self.has_output(OutputModes::OPOST) {
            self.put_raw(byte);
            return;
        }
        match byte {
            b'\n' => {
                if self.has_output(OutputModes::ONLCR) {
                    self.put_raw(b'\r');
                    self.column = 0;
                } else if self.has_output(OutputModes::ONLRET) {
                    self.column = 0;
                }
                self.line_column = self.column;
                self.put_raw(b'\n');
            }
            b'\r' if self.has_output(OutputModes::ONOCR) && self.column == 0 => {}
            b'\r' if self.has_output(OutputModes::OCRNL) => {
                if self.has_output(OutputModes::ONLRET) {
                    self.column = 0;
                }
                self.put_raw(b'\n');
            }
            b'\r' => {
                self.column = 0;
                self.line_column = 0;
                self.put_raw(b'\r');
            }
            b'\t' => {
                let spaces = 8 - (self.column & 7);
                self.column += spaces;
                if self.has_output(OutputModes::TABDLY) {
                    for _ in 0..spaces {
                        self.put_raw(b' ');
                    }
                } else {
                    self.put_raw(b'\t');
                }
            }
            b'\x08' => {
                self.column = self.column.saturating_sub(1);
                self.put_raw(byte);
            }
            _ => {
                let shown = if self.has_output(OutputModes::OLCUC) {
                    byte.to_ascii_uppercase()
                } else {
                    byte
                };
                if !byte.is_ascii_control() && !self.is_continuation(byte) {
                    self.column += 1;
                }
                self.put_raw(shown);
            }
        }
    }

    /// Echo that finds no room is lost, as on Linux when nobody reads the master.
    fn put_raw(&mut self, byte: u8) {
        if self.output.len() < OUTPUT_MAX {
            self.output.push_back(byte);
        }
    }

    /// Bytes for the terminal's reader.
    pub fn pending_output(&self) -> usize {
        if self.is_stopped { 0 } else { self.output.len() }
    }

    /// Takes up to `max` bytes for the terminal's reader.
    pub fn take_output(&mut self, max: usize) -> Vec<u8> {
        let count = self.pending_output().min(max);
        self.output.drain(..count).collect()
    }

    /// Gives back the last of what [`LineDiscipline::take_output`] took: it could not be delivered.
    pub fn untake_output(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().rev() {
            self.output.push_front(*byte);
        }
    }

    // ---- Flow and flushing.

    /// Stops output.
    pub fn stop(&mut self, effects: &mut Vec<Effect>) {
        if !self.is_stopped {
            self.is_stopped = true;
            effects.push(Effect::Stopped);
        }
    }

    /// Lets output go on.
    pub fn start(&mut self, effects: &mut Vec<Effect>) {
        if self.is_stopped {
            self.is_stopped = false;
            effects.push(Effect::Started);
        }
    }

    /// Throws unread input away.
    pub fn flush_input(&mut self, effects: &mut Vec<Effect>) {
        self.input.clear();
        self.committed = 0;
        self.is_literal_next = false;
        effects.push(Effect::FlushedInput);
    }

    /// Throws away the output that is still on its way (`pty_flush_buffer()`): what the master's own
    /// line has taken in already can be read.
    pub fn flush_output(&mut self, effects: &mut Vec<Effect>) {
        self.output.truncate(INPUT_MAX - 1);
        effects.push(Effect::FlushedOutput);
    }
}

impl Default for LineDiscipline {
    fn default() -> Self {
        LineDiscipline::new()
    }
}
