// SPDX-License-Identifier: Apache-2.0
//! The conversation with systemd's manager: over a bus of D-Bus, or straight over the manager's own socket.
//!
//! It is one thread's and blocks, but for so long only. Who we are, the other end learns from the socket
//! (`EXTERNAL` with nothing said): in a user namespace our number would be another's.

use std::{
    env,
    ffi::OsString,
    io::{self, Read as _, Write as _},
    os::unix::{ffi::OsStringExt as _, net::UnixStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::{
    socket::{
        AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket,
        sockopt::SendTimeout,
    },
    time::{TimeVal, TimeValLike as _},
};

use super::wire::{Body, Call, FIXED, Malformed, Message};

/// How long all of a conversation may take. systemd gives a job of its own 90 s, runc 30 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// No more signals are kept that nobody has asked for yet.
const MOST_SIGNALS: usize = 4096;

/// Why the manager did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    /// There is nobody at the other end.
    #[error("connect to {address}: {source}")]
    Connect {
        /// Where.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The environment names no place.
    #[error(
        "there is no bus to be found: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"
    )]
    Nowhere,
    /// The bus does not let us in.
    #[error("the bus does not let us in: {0:?}")]
    Access(String),
    /// The conversation broke off.
    #[error("speak to systemd: {0}")]
    Host(#[from] io::Error),
    /// The other end does not speak D-Bus.
    #[error("speak to systemd: {0}")]
    Malformed(#[from] Malformed),
    /// It refuses.
    #[error("{text} ({name})")]
    Refused {
        /// The error's name.
        name: String,
        /// Its text.
        text: String,
    },
}

/// Whose manager is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The host's.
    System,
    /// The user's.
    User,
}

/// A place where a manager may be spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    is_abstract: bool,
    /// It is the manager's own socket, which only the manager's user may use.
    is_direct: bool,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    deadline: Instant,
    serial: u32,
    signals: Vec<Message>,
    /// No bus is between us and the manager.
    pub(super) is_direct: bool,
}

impl Bus {
    /// Connects to the manager.
    pub(super) fn connect(whose: Whose) -> Result<Bus, BusError> {
        let mut failure = BusError::Nowhere;
        for place in places(whose, |name| env::var_os(name)) {
            match Bus::open(&place) {
                Ok(bus) => return Ok(bus),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn open(place: &Place) -> Result<Bus, BusError> {
        let fail = |source| BusError::Connect { address: place.path.display().to_string(), source };
        let stream = open_stream(place).map_err(fail)?;
        let deadline = Instant::now() + PATIENCE;
        let is_direct = place.is_direct;
        let mut bus = Bus { stream, deadline, serial: 0, signals: Vec::new(), is_direct };
        bus.authenticate()?;
        if !is_direct {
            bus.call_bus("Hello", "", Body::default())?;
        }
        Ok(bus)
    }

    fn authenticate(&mut self) -> Result<(), BusError> {
        // All at once, as sd-bus does it: systemd's own socket would not see a message that comes together
        // with the last line alone.
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        for want in ["DATA", "OK "] {
            let line = self.line()?;
            if !line.starts_with(want) {
                return Err(BusError::Access(line));
            }
        }
        Ok(())
    }

    /// Calls a method of the bus itself.
    pub(super) fn call_bus(
        &mut self,
        member: &str,
        signature: &str,
        body: Body,
    ) -> Result<Message, BusError> {
        let destination = Some("org.freedesktop.DBus");
        let (path, interface) = ("/org/freedesktop/DBus", "org.freedesktop.DBus");
        self.call(&Call { destination, path, interface, member, signature, body })
    }

    /// Calls a method and waits for its answer.
    pub(super) fn call(&mut self, call: &Call<'_>) -> Result<Message, BusError> {
        self.serial += 1;
        let serial = self.serial;
        self.send(&call.encode(serial))?;
        loop {
            let message = self.receive()?;
            if message.is_signal() {
                self.signals.push(message);
                // Of so many the oldest is hardly what is waited for.
                if self.signals.len() > MOST_SIGNALS {
                    self.signals.remove(0);
                }
            } else if message.reply_to == Some(serial) {
                return if message.is_error() { Err(refusal(message)) } else { Ok(message) };
            }
        }
    }

    /// Waits for a signal that `wanted` takes.
    pub(super) fn signal<T>(
        &mut self,
        mut wanted: impl FnMut(&Message) -> Option<T>,
    ) -> Result<T, BusError> {
        for message in std::mem::take(&mut self.signals) {
            if let Some(found) = wanted(&message) {
                return Ok(found);
            }
        }
        loop {
            let message = self.receive()?;
            if message.is_signal()
                && let Some(found) = wanted(&message)
            {
                return Ok(found);
            }
        }
    }

    fn receive(&mut self) -> Result<Message, BusError> {
        let mut fixed = [0; FIXED];
        self.read(&mut fixed)?;
        let mut bytes = vec![0; Message::length(&fixed)?];
        let (head, rest) = bytes.split_at_mut(FIXED);
        head.copy_from_slice(&fixed);
        self.read(rest)?;
        Ok(Message::decode(&bytes)?)
    }

    /// A line of the conversation before the messages.
    fn line(&mut self) -> Result<String, BusError> {
        const LONGEST: usize = 256;
        let mut line = Vec::new();
        while line.len() < LONGEST {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.extend(byte);
            if let Some(text) = line.strip_suffix(b"\r\n") {
                return Ok(String::from_utf8_lossy(text).into_owned());
            }
        }
        Err(BusError::Access(String::from_utf8_lossy(&line).into_owned()))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BusError> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(bytes).map_err(too_late)
    }

    fn read(&mut self, mut into: &mut [u8]) -> Result<(), BusError> {
        while !into.is_empty() {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(into) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => into = into.get_mut(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(too_late(error)),
            }
        }
        Ok(())
    }

    fn left(&self) -> Result<Duration, BusError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut).into()) } else { Ok(left) }
    }
}

fn too_late(error: io::Error) -> BusError {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::from(io::ErrorKind::TimedOut).into(),
        _ => error.into(),
    }
}

fn refusal(message: Message) -> BusError {
    let texts = message.texts().unwrap_or_default();
    let text = texts.into_iter().next().unwrap_or_default();
    BusError::Refused { name: message.error, text: one_line(&text) }
}

fn one_line(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

/// A full backlog would hold a plain connect(2) for good.
fn open_stream(place: &Place) -> io::Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let seconds = i64::try_from(PATIENCE.as_secs()).unwrap_or(i64::MAX);
    setsockopt(&fd, SendTimeout, &TimeVal::seconds(seconds))?;
    let path = place.path.as_os_str().as_encoded_bytes();
    let address =
        if place.is_abstract { UnixAddr::new_abstract(path)? } else { UnixAddr::new(path)? };
    connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address)?;
    Ok(UnixStream::from(fd))
}

/// Where a manager may be, the best first.
fn places(whose: Whose, variable: impl Fn(&str) -> Option<OsString>) -> Vec<Place> {
    let direct = |path: PathBuf| Place { path, is_abstract: false, is_direct: true };
    let bus = |path: PathBuf| Place { path, is_abstract: false, is_direct: false };
    let text = |name| variable(name).filter(|it| !it.is_empty());
    let (name, run) = match whose {
        Whose::System => ("DBUS_SYSTEM_BUS_ADDRESS", Some(PathBuf::from("/run"))),
        Whose::User => ("DBUS_SESSION_BUS_ADDRESS", text("XDG_RUNTIME_DIR").map(PathBuf::from)),
    };
    let mut all: Vec<Place> = match text(name) {
        Some(addresses) => addresses.to_string_lossy().split(';').filter_map(address).collect(),
        None => {
            let socket = match whose {
                Whose::System => "dbus/system_bus_socket",
                Whose::User => "bus",
            };
            run.iter().map(|run| bus(run.join(socket))).collect()
        }
    };
    all.extend(run.map(|run| direct(run.join("systemd/private"))));
    all
}

/// `unix:path=/a/b,guid=…`, with `%2f` for what an address may not have.
fn address(text: &str) -> Option<Place> {
    let mut keys = text.strip_prefix("unix:")?.split(',').filter_map(|it| it.split_once('='));
    keys.find_map(|(key, value)| {
        let path = PathBuf::from(OsString::from_vec(unescape(value)?));
        match key {
            "path" => Some(Place { path, is_abstract: false, is_direct: false }),
            "abstract" => Some(Place { path, is_abstract: true, is_direct: false }),
            _ => None,
        }
    })
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::net::UnixListener, thread};

    use super::*;

    fn found(whose: Whose, variables: &[(&str, &str)]) -> Vec<String> {
        let all: BTreeMap<&str, &str> = variables.iter().copied().collect();
        let places = places(whose, |name| all.get(name).map(OsString::from));
        places
            .iter()
            .map(|it| {
                let sort = if it.is_direct { "direct " } else { "" };
                format!("{sort}{}{}", if it.is_abstract { "@" } else { "" }, it.path.display())
            })
            .collect()
    }

    #[test]
    fn managers_are_where_they_are_said_to_be() {
        let system = ["/run/dbus/system_bus_socket", "direct /run/systemd/private"];
        assert_eq!(found(Whose::System, &[]), system);
        let addresses = "tcp:host=x;unix:guid=1,path=/a%2cb;unix:abstract=c;unix:path=/%zz";
        assert_eq!(
            found(Whose::System, &[("DBUS_SYSTEM_BUS_ADDRESS", addresses)]),
            ["/a,b", "@c", "direct /run/systemd/private"]
        );
        assert_eq!(
            found(Whose::User, &[("XDG_RUNTIME_DIR", "/run/user/7")]),
            ["/run/user/7/bus", "direct /run/user/7/systemd/private"]
        );
        assert!(found(Whose::User, &[("XDG_RUNTIME_DIR", "")]).is_empty());
    }

    /// What comes of a conversation with one who says just this.
    fn with(says: &'static [u8]) -> BusError {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        let other = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(says).unwrap();
            // All that it is told, or whatever comes before it hangs up.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let place = Place { path, is_abstract: false, is_direct: false };
        let error = Bus::open(&place).unwrap_err();
        other.join().unwrap();
        error
    }

    #[test]
    fn whoever_answers_wrongly_is_left() {
        assert!(
            matches!(with(b"REJECTED EXTERNAL\r\n"), BusError::Access(it) if it == "REJECTED EXTERNAL")
        );
        assert!(matches!(with(&[b'x'; 300]), BusError::Access(_)));
        assert!(matches!(with(b""), BusError::Host(_)));
        assert!(matches!(with(b"DATA\r\nOK 1\r\nB234567890123456"), BusError::Malformed(_)));
        assert!(matches!(with(b"DATA\r\nOK 1\r\nl2"), BusError::Host(_)));
    }
}
