// SPDX-License-Identifier: Apache-2.0
//! Where log lines go, and their shapes: text, runc's JSON, and Kubernetes' JSON.
//!
//! Three kinds of place: the file of `--log`, which engines read for the last error; the file of
//! `--debug-log`; and standard error. Lines are appended with one write(2) each, so that the several
//! processes of a sandbox may share a file. Control bytes are escaped: parts of a message may come
//! from the guest.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::Write as _,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    sync::atomic::{AtomicI32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tracing::{Event, Level, Subscriber, field::Field, field::Visit, level_filters::LevelFilter};
use tracing_subscriber::{Layer, Registry, layer::Context, layer::SubscriberExt};

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    /// `time="…" level=… msg="…"`.
    Text,
    /// `{"level":…,"msg":…,"time":…}`.
    Json,
    /// `{"time":…,"severity":…,"message":…}`.
    JsonK8s,
}

impl Format {
    /// The format of this name; the flag table has checked it.
    pub(crate) fn named(name: &str) -> Format {
        match name {
            "json" => Format::Json,
            "json-k8s" => Format::JsonK8s,
            _ => Format::Text,
        }
    }
}

/// One place that lines go to.
#[derive(Debug)]
pub(crate) struct Sink {
    /// Opened for appending.
    pub(crate) file: File,
    /// What to do with it.
    pub(crate) rule: Rule,
    /// Whether it is a copy of standard error, which a process in the background does not keep.
    pub(crate) is_stderr: bool,
}

/// The number of the copy of standard error that this process logs to, if it does.
static STDERR: AtomicI32 = AtomicI32::new(-1);

/// The descriptor by which this process logs to standard error, if it does.
pub(crate) fn stderr_copy() -> Option<RawFd> {
    Some(STDERR.load(Ordering::Relaxed)).filter(|number| *number >= 0)
}

/// Which lines a place wants, in which shape. Travels into the sandbox with the open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    /// The shape.
    pub(crate) format: Format,
    /// 1 (errors) to 5 (every call).
    pub(crate) verbosity: u8,
    /// Whether `--strace` lines belong here.
    pub(crate) wants_strace: bool,
}

impl Sink {
    /// A sink on a descriptor.
    pub(crate) fn new(fd: OwnedFd, rule: Rule) -> Sink {
        Sink { file: fd.into(), rule, is_stderr: false }
    }
}

/// The target of `--strace` lines.
pub(crate) const STRACE: &str = "strace";

/// Sends this process's log to `sinks`. The first call wins.
pub(crate) fn install(sinks: Vec<Sink>) {
    if let Some(sink) = sinks.iter().find(|sink| sink.is_stderr) {
        STDERR.store(sink.file.as_raw_fd(), Ordering::Relaxed);
    }
    let level = sinks.iter().map(|sink| sink.rule.verbosity).max().unwrap_or(0);
    let strace = sinks.iter().any(|sink| sink.rule.wants_strace);
    let filter = match level {
        0 if !strace => return,
        0 | 1 if !strace => LevelFilter::ERROR,
        2 if !strace => LevelFilter::WARN,
        0..=3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let subscriber = Registry::default().with(Lines { sinks }.with_filter(filter));
    // A second installation would only come from a test that runs twice in one process.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Lines {
    sinks: Vec<Sink>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let strace = event.metadata().target() == STRACE;
        let mut message = Message(String::new());
        let mut shown = None;
        for sink in &self.sinks {
            let wanted =
                if strace { sink.rule.wants_strace } else { number(level) <= sink.rule.verbosity };
            if !wanted {
                continue;
            }
            if shown.is_none() {
                event.record(&mut message);
                shown = Some(Timestamp::now());
            }
            let Some(time) = shown else { continue };
            let line = render(sink.rule.format, level, &message.0, time);
            // A full disk must not end the sandbox, and there is nowhere to say so.
            let _ = (&sink.file).write_all(line.as_bytes());
        }
    }
}

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let rest = std::mem::take(&mut self.0);
            let _ = write!(self.0, "{value:?}{rest}");
        } else {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.insert_str(0, value);
        } else {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }
}

/// One line with its newline.
fn render(format: Format, level: Level, message: &str, time: Timestamp) -> String {
    let name = match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    };
    match format {
        Format::Text => format!("time=\"{time}\" level={name} msg={}\n", Quoted(message)),
        Format::Json => {
            format!("{{\"level\":\"{name}\",\"msg\":{},\"time\":\"{time}\"}}\n", Quoted(message))
        }
        Format::JsonK8s => format!(
            "{{\"time\":\"{time}\",\"severity\":\"{}\",\"message\":{}}}\n",
            name.to_uppercase(),
            Quoted(message)
        ),
    }
}

/// A JSON string.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                _ if character.is_control() => write!(f, "\\u{:04x}", u32::from(character))?,
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}

/// A moment, shown in RFC 3339 in UTC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timestamp {
    seconds: u64,
    nanos: u32,
}

impl Timestamp {
    /// Now.
    pub(crate) fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp { seconds: since.as_secs(), nanos: since.subsec_nanos() }
    }

    /// `20260131-235959.123456`, for file names.
    pub(crate) fn compact(self) -> String {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.clock();
        let micros = self.nanos / 1000;
        format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}.{micros:06}")
    }

    fn clock(self) -> (u64, u64, u64) {
        let second = self.seconds % 86_400;
        (second / 3600, second / 60 % 60, second % 60)
    }

    /// The proleptic Gregorian date: years start in March, so that the leap day is the last.
    fn date(self) -> (u64, u64, u64) {
        let days = self.seconds / 86_400 + 719_468;
        let era = days / 146_097;
        let of_era = days % 146_097;
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        (year + era * 400 + u64::from(month <= 2), month, day)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.clock();
        let nanos = self.nanos;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        for (seconds, want) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000000000Z"),
        ] {
            assert_eq!(Timestamp { seconds, nanos: 0 }.to_string(), want);
        }
    }

    #[test]
    fn a_line_is_one_line_and_valid_json() {
        let time = Timestamp { seconds: 0, nanos: 0 };
        let line = render(Format::Json, Level::ERROR, "a\"b\n\u{1b}[31m\u{7f}\u{9b}c", time);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\u{1b}') && !line.contains('\u{9b}'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "a\"b\n\u{1b}[31m\u{7f}\u{9b}c");
    }
}
