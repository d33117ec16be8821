// SPDX-License-Identifier: Apache-2.0
//! The line discipline against the host's: the same keys on a real pty and on ours must show and give
//! the same.

use std::{os::fd::AsRawFd, time::Duration};

use abi::ioctl::{InputModes, LocalModes, OutputModes, Termios, VMIN};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    pty::openpty,
    sys::termios::{InputFlags, LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr},
};

use super::line::{Effect, Input, LineDiscipline, new_terminal};

struct Script {
    name: &'static str,
    local_off: LocalModes,
    input_on: InputModes,
    output_off: OutputModes,
    keys: &'static [u8],
    /// How much each read of the slave asks for.
    reads: &'static [usize],
}

const PLAIN: Script = Script {
    name: "",
    local_off: LocalModes::empty(),
    input_on: InputModes::empty(),
    output_off: OutputModes::empty(),
    keys: b"",
    reads: &[100],
};

const SCRIPTS: &[Script] = &[
    Script { name: "line", keys: b"hello\n", ..PLAIN },
    Script { name: "carriage return", keys: b"a\rb\n", reads: &[100, 100], ..PLAIN },
    Script { name: "erase", keys: b"helo\x7flo\n", ..PLAIN },
    Script { name: "erase too much", keys: b"ab\x7f\x7f\x7fc\n", ..PLAIN },
    Script { name: "erase control", keys: b"a\x01\x7fb\n", ..PLAIN },
    Script { name: "erase tab", keys: b"ab\t\x7fc\n", ..PLAIN },
    Script { name: "erase second tab", keys: b"\tx\t\x7f\x7fc\n", ..PLAIN },
    Script { name: "word erase", keys: b"one two  \x17x\n", ..PLAIN },
    Script { name: "word erase punctuation", keys: b"a.b/c\x17\x17x\n", ..PLAIN },
    Script { name: "kill", keys: b"some text\x15new\n", ..PLAIN },
    Script {
        name: "kill without ECHOKE",
        keys: b"some\x15new\n",
        local_off: LocalModes::ECHOKE,
        ..PLAIN
    },
    Script {
        name: "erase without ECHOE",
        keys: b"ab\x7fc\n",
        local_off: LocalModes::ECHOE,
        ..PLAIN
    },
    Script { name: "literal next", keys: b"a\x16\x03b\x16\x7fc\n", ..PLAIN },
    Script { name: "reprint", keys: b"abc\x12d\n", ..PLAIN },
    Script { name: "end of file", keys: b"abc\x04", ..PLAIN },
    Script { name: "end of file alone", keys: b"\x04x\n", reads: &[100, 100], ..PLAIN },
    Script {
        name: "end of file behind a full read",
        keys: b"abc\x04de\n",
        reads: &[3, 10],
        ..PLAIN
    },
    Script { name: "short reads", keys: b"abcdef\ngh\n", reads: &[2, 3, 100, 100], ..PLAIN },
    Script { name: "no echo", keys: b"secret\n", local_off: LocalModes::ECHO, ..PLAIN },
    Script { name: "no ECHOCTL", keys: b"a\x01\x02b\n", local_off: LocalModes::ECHOCTL, ..PLAIN },
    Script { name: "no ISIG", keys: b"a\x03b\n", local_off: LocalModes::ISIG, ..PLAIN },
    Script { name: "raw", keys: b"a\x03\x7f\x04\r", local_off: LocalModes::all(), ..PLAIN },
    Script {
        name: "no OPOST",
        keys: b"a\nb\n",
        output_off: OutputModes::OPOST,
        reads: &[9, 9],
        ..PLAIN
    },
    Script { name: "IGNCR", keys: b"a\rb\n", input_on: InputModes::IGNCR, ..PLAIN },
    Script { name: "INLCR", keys: b"a\nb\x04", input_on: InputModes::INLCR, ..PLAIN },
    Script { name: "ISTRIP", keys: b"\xe1\xe2\n", input_on: InputModes::ISTRIP, ..PLAIN },
    Script {
        name: "UTF-8", keys: "aäö\u{7f}b\n".as_bytes(), input_on: InputModes::IUTF8, ..PLAIN
    },
    Script { name: "bytes without IUTF8", keys: "aä\u{7f}b\n".as_bytes(), ..PLAIN },
];

fn settings(script: &Script) -> Termios {
    let mut termios = new_terminal();
    termios.c_lflag &= !script.local_off.bits();
    termios.c_iflag |= script.input_on.bits();
    termios.c_oflag &= !script.output_off.bits();
    termios.c_cc[VMIN] = 1;
    termios
}

type Seen = (Vec<u8>, Vec<Vec<u8>>);

fn ours(script: &Script) -> Seen {
    let mut line = LineDiscipline::new();
    line.set_termios(settings(script));
    let mut effects = Vec::new();
    assert_eq!(line.receive(script.keys, &mut effects), script.keys.len());
    let shown = line.take_output(usize::MAX);
    let reads = script
        .reads
        .iter()
        .map(|max| {
            let mut got = Vec::new();
            match line.read(*max, &mut got) {
                Input::None => b"<none>".to_vec(),
                Input::Bytes(_) => got,
            }
        })
        .collect();
    (shown, reads)
}

/// `patience`: how long the host's kernel thread has to work off its flip buffer.
fn on_the_host(script: &Script, patience: Duration) -> Seen {
    let pty = openpty(None, None).expect("the host has ptys");
    let wanted = settings(script);
    let mut termios = tcgetattr(&pty.slave).expect("it is a terminal");
    termios.input_flags = InputFlags::from_bits_retain(wanted.c_iflag);
    termios.output_flags = OutputFlags::from_bits_retain(wanted.c_oflag);
    termios.local_flags = LocalFlags::from_bits_retain(wanted.c_lflag);
    tcsetattr(&pty.slave, SetArg::TCSANOW, &termios).expect("settings are taken");
    for fd in [&pty.master, &pty.slave] {
        fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("fcntl");
    }
    nix::unistd::write(&pty.master, script.keys).expect("keys are taken");
    std::thread::sleep(patience);
    let read = |fd: &std::os::fd::OwnedFd, max: usize| {
        let mut buffer = vec![0; max];
        match nix::unistd::read(fd, &mut buffer) {
            Ok(count) => buffer[..count].to_vec(),
            Err(_) => b"<none>".to_vec(),
        }
    };
    let mut shown = Vec::new();
    loop {
        let more = read(&pty.master, 4096);
        if more == b"<none>" {
            break;
        }
        shown.extend(more);
    }
    let reads = script.reads.iter().map(|max| read(&pty.slave, *max)).collect();
    assert!(pty.master.as_raw_fd() >= 0);
    (shown, reads)
}

/// What the host does, if it is another thing than `mine` however much time it gets.
fn different(script: &Script, mine: &Seen) -> Option<Seen> {
    let mut host = None;
    for patience in [30, 300, 3000].map(Duration::from_millis) {
        let seen = on_the_host(script, patience);
        if seen == *mine {
            return None;
        }
        host = Some(seen);
    }
    host
}

#[test]
fn scripts_show_and_give_what_the_hosts_pty_does() {
    let wrong: Vec<String> = SCRIPTS
        .iter()
        .filter_map(|script| {
            let mine = ours(script);
            different(script, &mine).map(|host| {
                let show = |seen: &Seen| {
                    format!(
                        "{} {:?}",
                        seen.0.escape_ascii(),
                        seen.1.iter().map(|r| r.escape_ascii().to_string()).collect::<Vec<_>>()
                    )
                };
                format!("{}:\n  host {}\n  ours {}", script.name, show(&host), show(&mine))
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn keys_send_signals_and_flush() {
    let mut line = LineDiscipline::new();
    let mut effects = Vec::new();
    line.receive(b"typed\x03", &mut effects);
    assert!(effects.contains(&Effect::Signal(abi::signal::Signal::SIGINT)));
    assert_eq!(line.readable(), Input::None);
    assert_eq!(line.take_output(99), b"^C");
}

#[test]
fn a_long_line_keeps_room_for_its_end() {
    let mut line = LineDiscipline::new();
    let mut effects = Vec::new();
    assert_eq!(line.receive(&[b'x'; 10_000], &mut effects), 10_000);
    line.receive(b"\n", &mut effects);
    let mut got = Vec::new();
    assert_eq!(line.read(10_000, &mut got), Input::Bytes(4095));
    assert_eq!(got.last(), Some(&b'\n'));
}

#[test]
fn raw_bytes_become_a_line_when_canonical_mode_comes_back() {
    let mut line = LineDiscipline::new();
    let canonical = line.termios();
    let mut raw = canonical;
    raw.c_lflag &= !LocalModes::ICANON.bits();
    line.set_termios(raw);
    line.receive(b"abc", &mut Vec::new());
    line.set_termios(canonical);
    let mut got = Vec::new();
    assert_eq!(line.read(100, &mut got), Input::Bytes(3));
}

#[test]
fn stopped_output_waits() {
    let mut line = LineDiscipline::new();
    let mut effects = Vec::new();
    line.receive(b"\x13", &mut effects);
    assert_eq!((line.write(b"x"), line.pending_output()), (0, 0));
    line.receive(b"\x11", &mut effects);
    assert_eq!(line.write(b"x"), 1);
    assert_eq!(effects, [Effect::Stopped, Effect::Started]);
}
