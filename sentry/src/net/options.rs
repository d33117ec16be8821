// SPDX-License-Identifier: Apache-2.0
//! The options of `SOL_SOCKET`, which all families share: socket(7).

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use abi::{
    Errno,
    cred::Capabilities,
    socket::{self as so, Ucred},
};

use super::Socket;
use crate::{
    creds::Credentials,
    sync::{Mutex, levels},
};

/// `net.core.wmem_max` and `rmem_max`.
const BUFFER_MAX: u32 = 212_992;
const SEND_BUFFER_MIN: u32 = 4608;
const RECEIVE_BUFFER_MIN: u32 = 2304;

/// The options that are only stored and given back, or read where they act.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "socket(7) explains each")]
pub struct Values {
    pub debug: bool,
    pub reuse_address: bool,
    pub reuse_port: bool,
    pub keep_alive: bool,
    pub broadcast: bool,
    pub dont_route: bool,
    pub oob_inline: bool,
    pub pass_credentials: bool,
    pub pass_pidfd: bool,
    pub pass_security: bool,
    pub timestamp: bool,
    pub timestamp_ns: bool,
    pub linger: Option<u32>,
    pub send_buffer: u32,
    pub receive_buffer: u32,
    pub receive_low_water: u32,
    pub priority: u32,
    pub mark: u32,
    pub no_check: bool,
    pub busy_poll: u32,
    /// Where `MSG_PEEK` looks; `None`: at the beginning, always.
    pub peek_offset: Option<u32>,
    /// `None`: no deadline.
    pub receive_timeout: Option<Duration>,
    pub send_timeout: Option<Duration>,
}

impl Default for Values {
    fn default() -> Self {
        Values {
            debug: false,
            reuse_address: false,
            reuse_port: false,
            keep_alive: false,
            broadcast: false,
            dont_route: false,
            oob_inline: false,
            pass_credentials: false,
            pass_pidfd: false,
            pass_security: false,
            timestamp: false,
            timestamp_ns: false,
            linger: None,
            send_buffer: BUFFER_MAX,
            receive_buffer: BUFFER_MAX,
            receive_low_water: 1,
            priority: 0,
            mark: 0,
            no_check: false,
            busy_poll: 0,
            peek_offset: None,
            receive_timeout: None,
            send_timeout: None,
        }
    }
}

/// A socket's options of `SOL_SOCKET`.
#[derive(Debug)]
pub struct Options {
    values: Mutex<Values, levels::Leaf>,
    cookie: u64,
}

impl Default for Options {
    fn default() -> Self {
        static NEXT_COOKIE: AtomicU64 = AtomicU64::new(1);
        Options { values: Mutex::default(), cookie: NEXT_COOKIE.fetch_add(1, Ordering::Relaxed) }
    }
}

fn boolean(value: &[u8]) -> Result<bool, Errno> {
    Ok(integer(value)? != 0)
}

fn integer(value: &[u8]) -> Result<i32, Errno> {
    let bytes = value.first_chunk().ok_or(Errno::EINVAL)?;
    Ok(i32::from_ne_bytes(*bytes))
}

/// `sock_set_timeout()`: no deadline for zero, no waiting at all for less.
fn timeout(value: &[u8]) -> Result<Option<Duration>, Errno> {
    let (seconds, rest) = value.split_first_chunk().ok_or(Errno::EINVAL)?;
    let seconds = i64::from_ne_bytes(*seconds);
    let micros = i64::from_ne_bytes(*rest.first_chunk().ok_or(Errno::EINVAL)?);
    let micros = u64::try_from(micros).ok().filter(|micros| *micros < 1_000_000);
    let micros = micros.ok_or(Errno::EDOM)?;
    let Ok(seconds) = u64::try_from(seconds) else { return Ok(Some(Duration::ZERO)) };
    if seconds == 0 && micros == 0 {
        return Ok(None);
    }
    // Linux stops counting where its ticks overflow; a deadline that far away is none.
    if seconds > u64::from(u32::MAX) {
        return Ok(None);
    }
    Ok(Some(Duration::from_secs(seconds) + Duration::from_micros(micros)))
}

fn timeval(timeout: Option<Duration>) -> Vec<u8> {
    let timeout = timeout.unwrap_or_default();
    let mut bytes = timeout.as_secs().to_ne_bytes().to_vec();
    bytes.extend_from_slice(&u64::from(timeout.subsec_micros()).to_ne_bytes());
    bytes
}

impl Options {
    /// All values now.
    pub fn values(&self) -> Values {
        self.values.lock().clone()
    }

    /// Reads some of the values.
    pub fn with<T>(&self, read: impl FnOnce(&Values) -> T) -> T {
        read(&self.values.lock())
    }

    /// Changes some of the values.
    pub fn change(&self, change: impl FnOnce(&mut Values)) {
        change(&mut self.values.lock());
    }

    /// setsockopt(2) with `SOL_SOCKET` (`net/core/sock.c: sk_setsockopt`).
    pub fn set(&self, creds: &Credentials, name: i32, value: &[u8]) -> Result<(), Errno> {
        let number = integer(value)?;
        let positive = u32::try_from(number).unwrap_or(0);
        let is_admin = creds.has(Capabilities::NET_ADMIN);
        let mut values = self.values.lock();
        match name {
            so::SO_DEBUG if number != 0 && !is_admin => return Err(Errno::EACCES),
            so::SO_DEBUG => values.debug = boolean(value)?,
            so::SO_REUSEADDR => values.reuse_address = boolean(value)?,
            so::SO_REUSEPORT => values.reuse_port = boolean(value)?,
            so::SO_KEEPALIVE => values.keep_alive = boolean(value)?,
            so::SO_BROADCAST => values.broadcast = boolean(value)?,
            so::SO_DONTROUTE => values.dont_route = boolean(value)?,
            so::SO_OOBINLINE => values.oob_inline = boolean(value)?,
            so::SO_NO_CHECK => values.no_check = boolean(value)?,
            so::SO_PASSCRED => values.pass_credentials = boolean(value)?,
            so::SO_PASSPIDFD => values.pass_pidfd = boolean(value)?,
            so::SO_PASSSEC => values.pass_security = boolean(value)?,
            so::SO_TIMESTAMP | so::SO_TIMESTAMP_NEW => values.timestamp = boolean(value)?,
            so::SO_TIMESTAMPNS | so::SO_TIMESTAMPNS_NEW => values.timestamp_ns = boolean(value)?,
            so::SO_SNDBUF => values.send_buffer = send_buffer(positive.min(BUFFER_MAX)),
            so::SO_RCVBUF => values.receive_buffer = receive_buffer(positive.min(BUFFER_MAX)),
            so::SO_SNDBUFFORCE if !is_admin => return Err(Errno::EPERM),
            so::SO_SNDBUFFORCE => values.send_buffer = send_buffer(positive.min(FORCED_MAX)),
            so::SO_RCVBUFFORCE if !is_admin => return Err(Errno::EPERM),
            so::SO_RCVBUFFORCE => values.receive_buffer = receive_buffer(positive.min(FORCED_MAX)),
            so::SO_RCVLOWAT => {
                values.receive_low_water = match number {
                    0 => 1,
                    _ => u32::try_from(number).unwrap_or(i32::MAX.unsigned_abs()),
                };
            }
            so::SO_SNDLOWAT => return Err(Errno::ENOPROTOOPT),
            so::SO_RCVTIMEO | so::SO_RCVTIMEO_NEW => values.receive_timeout = timeout(value)?,
            so::SO_SNDTIMEO | so::SO_SNDTIMEO_NEW => values.send_timeout = timeout(value)?,
            so::SO_LINGER => {
                let seconds = integer(value.get(4..).unwrap_or_default())?;
                let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
                values.linger = (number != 0).then_some(seconds);
            }
            so::SO_PRIORITY if !(0..=6).contains(&number) && !is_admin => {
                return Err(Errno::EPERM);
            }
            so::SO_PRIORITY => values.priority = u32::from_ne_bytes(number.to_ne_bytes()),
            so::SO_MARK if !is_admin && !creds.has(Capabilities::NET_RAW) => {
                return Err(Errno::EPERM);
            }
            so::SO_MARK => values.mark = u32::from_ne_bytes(number.to_ne_bytes()),
            so::SO_BUSY_POLL if number < 0 => return Err(Errno::EINVAL),
            so::SO_BUSY_POLL => values.busy_poll = positive,
            so::SO_PEEK_OFF => values.peek_offset = u32::try_from(number).ok(),
            so::SO_TYPE | so::SO_PROTOCOL | so::SO_DOMAIN | so::SO_ERROR | so::SO_ACCEPTCONN => {
                return Err(Errno::ENOPROTOOPT);
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }
}

/// `SO_SNDBUFFORCE`'s bound: what is buffered is the sandbox's memory.
const FORCED_MAX: u32 = 64 << 20;

fn send_buffer(asked: u32) -> u32 {
    (asked * 2).max(SEND_BUFFER_MIN)
}

fn receive_buffer(asked: u32) -> u32 {
    (asked * 2).max(RECEIVE_BUFFER_MIN)
}

/// getsockopt(2) with `SOL_SOCKET` (`net/core/sock.c: sk_getsockopt`); the caller cuts the value to
/// the room there is. `SO_PEERPIDFD` is the caller's, who has a table to put it in.
pub fn get(socket: &dyn Socket, name: i32) -> Result<Vec<u8>, Errno> {
    let number = |number: u32| Ok(number.to_ne_bytes().to_vec());
    let signed = |number: i32| Ok(number.to_ne_bytes().to_vec());
    let flag = |flag: bool| Ok(i32::from(flag).to_ne_bytes().to_vec());
    let values = socket.options().values();
    match name {
        so::SO_DEBUG => flag(values.debug),
        so::SO_REUSEADDR => flag(values.reuse_address),
        so::SO_REUSEPORT => flag(values.reuse_port),
        so::SO_KEEPALIVE => flag(values.keep_alive),
        so::SO_BROADCAST => flag(values.broadcast),
        so::SO_DONTROUTE => flag(values.dont_route),
        so::SO_OOBINLINE => flag(values.oob_inline),
        so::SO_NO_CHECK => flag(values.no_check),
        so::SO_PASSCRED => flag(values.pass_credentials),
        so::SO_PASSPIDFD => flag(values.pass_pidfd),
        so::SO_PASSSEC => flag(values.pass_security),
        so::SO_TIMESTAMP | so::SO_TIMESTAMP_NEW => flag(values.timestamp),
        so::SO_TIMESTAMPNS | so::SO_TIMESTAMPNS_NEW => flag(values.timestamp_ns),
        so::SO_SNDBUF => number(values.send_buffer),
        so::SO_RCVBUF => number(values.receive_buffer),
        so::SO_RCVLOWAT => number(values.receive_low_water),
        so::SO_SNDLOWAT => signed(1),
        so::SO_RCVTIMEO | so::SO_RCVTIMEO_NEW => Ok(timeval(values.receive_timeout)),
        so::SO_SNDTIMEO | so::SO_SNDTIMEO_NEW => Ok(timeval(values.send_timeout)),
        so::SO_LINGER => {
            let mut bytes = i32::from(values.linger.is_some()).to_ne_bytes().to_vec();
            bytes.extend_from_slice(&values.linger.unwrap_or(0).to_ne_bytes());
            Ok(bytes)
        }
        so::SO_PRIORITY => number(values.priority),
        so::SO_MARK => number(values.mark),
        so::SO_BUSY_POLL => number(values.busy_poll),
        so::SO_PEEK_OFF => {
            signed(values.peek_offset.map_or(-1, |at| i32::try_from(at).unwrap_or(i32::MAX)))
        }
        so::SO_TYPE => signed(socket.kind()),
        so::SO_DOMAIN => signed(i32::from(socket.family())),
        so::SO_PROTOCOL => signed(socket.protocol()),
        so::SO_ERROR => signed(socket.take_error().map_or(0, Errno::raw)),
        so::SO_ACCEPTCONN => flag(socket.is_listening()),
        so::SO_PEERCRED => {
            let nobody = Ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
            let peer = socket.peer_credentials().map_or(nobody, |(peer, _)| peer);
            Ok(zerocopy::IntoBytes::as_bytes(&peer).to_vec())
        }
        so::SO_PEERGROUPS => {
            let (_, groups) = socket.peer_credentials().ok_or(Errno::ENODATA)?;
            Ok(groups.iter().flat_map(|group| group.to_ne_bytes()).collect())
        }
        so::SO_PEERNAME => socket.peer_address(),
        so::SO_COOKIE => Ok(socket.options().cookie.to_ne_bytes().to_vec()),
        so::SO_NETNS_COOKIE => Ok(1_u64.to_ne_bytes().to_vec()),
        so::SO_BPF_EXTENSIONS => signed(64),
        so::SO_INCOMING_CPU => signed(-1),
        so::SO_RXQ_OVFL | so::SO_WIFI_STATUS | so::SO_NOFCS | so::SO_LOCK_FILTER => signed(0),
        so::SO_SELECT_ERR_QUEUE | so::SO_ZEROCOPY | so::SO_TXTIME | so::SO_BUF_LOCK => signed(0),
        so::SO_MEMINFO => {
            let in_flight = u32::try_from(socket.unsent()).unwrap_or(u32::MAX);
            let words = [0, values.receive_buffer, in_flight, values.send_buffer, 0, 0, 0, 0, 0];
            Ok(words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect())
        }
        _ => Err(Errno::ENOPROTOOPT),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use abi::{Errno, cred::Capabilities, socket as so};

    use super::Options;
    use crate::creds::Credentials;

    #[test]
    fn values_are_checked_as_linux_does() {
        let (options, user) = (Options::default(), Credentials::user(1000, 1000));
        let root = Credentials::root(Capabilities::all());
        let set = |name, number: i32| options.set(&user, name, &number.to_ne_bytes());
        assert_eq!(options.set(&user, so::SO_REUSEADDR, &[1, 0]), Err(Errno::EINVAL));
        assert_eq!(set(so::SO_SNDBUF, 1), Ok(()));
        assert_eq!(options.values().send_buffer, 4608);
        assert_eq!(set(so::SO_RCVBUF, i32::MAX), Ok(()));
        assert_eq!(options.values().receive_buffer, 425_984);
        assert_eq!(set(so::SO_RCVBUFFORCE, 1 << 20), Err(Errno::EPERM));
        assert_eq!(set(so::SO_PRIORITY, 7), Err(Errno::EPERM));
        assert_eq!(options.set(&root, so::SO_PRIORITY, &7_i32.to_ne_bytes()), Ok(()));
        assert_eq!(set(so::SO_TYPE, 1), Err(Errno::ENOPROTOOPT));
    }

    #[test]
    fn timeouts() {
        let (options, user) = (Options::default(), Credentials::user(1000, 1000));
        let set = |seconds: i64, micros: i64| {
            let mut bytes = seconds.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&micros.to_ne_bytes());
            options.set(&user, so::SO_RCVTIMEO, &bytes)
        };
        assert_eq!(set(1, 1_000_000), Err(Errno::EDOM));
        assert_eq!(set(1, 500_000), Ok(()));
        assert_eq!(options.values().receive_timeout, Some(Duration::from_millis(1500)));
        assert_eq!(set(-5, 0), Ok(()));
        assert_eq!(options.values().receive_timeout, Some(Duration::ZERO));
        assert_eq!(set(0, 0), Ok(()));
        assert_eq!(options.values().receive_timeout, None);
    }
}
