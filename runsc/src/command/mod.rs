// SPDX-License-Identifier: Apache-2.0
//! The commands, a file each: each reads its flags, calls what does the work, and prints.

pub(crate) mod boot;
pub(crate) mod completion;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod do_;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod features;
pub(crate) mod gofer;
mod held;
pub(crate) mod help;
pub(crate) mod install;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod pause;
pub(crate) mod ps;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod update;
pub(crate) mod wait;

use std::{
    error::Error,
    ffi::OsString,
    fmt::Write as _,
    io::{self, Write as _},
};

use crate::{
    cli::{Invocation, Values, help as texts, parse},
    config::Config,
    container::files,
    log, sys,
};

/// What a command was asked.
#[derive(Debug)]
pub(crate) struct Request {
    /// The global flags.
    pub(crate) config: Config,
    /// The command's own flags.
    pub(crate) flags: Values,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
}

impl Request {
    /// The first argument, which names a container.
    pub(crate) fn id(&self) -> String {
        self.args.first().map_or_else(String::new, |id| id.to_string_lossy().into_owned())
    }
}

/// Why a command failed.
pub(crate) type Failure = Box<dyn Error>;

/// What a command does: its exit code.
pub(crate) type Run = fn(Request) -> Result<u8, Failure>;

/// A failure with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Coded {
    /// The exit code.
    pub(crate) code: u8,
    /// What is printed.
    pub(crate) message: String,
}

/// Runs a command line (without the program's name).
pub(crate) fn main(args: Vec<OsString>) -> u8 {
    let (command, globals, flags, args) = match parse::parse(args) {
        Ok(Invocation::Command { command, globals, flags, args }) => {
            (command, globals, flags, args)
        }
        Ok(Invocation::Help(command)) => return print(&texts::text(command)),
        Ok(Invocation::Version) => return print(&texts::version()),
        Err(error) => return fail(&error, 128),
    };
    if command.help.is_empty() {
        // A process of a sandbox: its log comes with its plan.
        return (command.run)(Request { config: Config::default(), flags, args }).unwrap_or(128);
    }
    sys::close_from(files::FIRST + files::handed_on(&flags));
    let config = match Config::new(&globals) {
        Ok(config) => config,
        Err(error) => return fail(&error, command.failure),
    };
    let id = args.first().map(|id| id.to_string_lossy()).unwrap_or_default();
    match config.open_logs(command.name, &id.replace('/', "_")) {
        Ok(sinks) => log::install(sinks),
        Err(error) => return fail(&error, command.failure),
    }
    for (flag, why) in globals.ignored().chain(flags.ignored()) {
        tracing::debug!("flag --{flag} does nothing: {why}");
    }
    match (command.run)(Request { config, flags, args }) {
        Ok(code) => code,
        Err(error) => {
            let code = error.downcast_ref::<Coded>().map_or(command.failure, |coded| coded.code);
            fail(&*error, code)
        }
    }
}

/// Writes to standard output. A reader that has gone away is no mistake of ours.
pub(crate) fn print(text: &str) -> u8 {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&error, 1),
        _ => 0,
    }
}

/// The host's errors as engines look for them: in lower case, without a number.
fn as_runc_says(mut text: String) -> String {
    const MARK: &str = " (os error ";
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(MARK)) {
        let (start, end) = (from + at, from + at + MARK.len());
        let digits = text.get(end..).and_then(|rest| rest.split(')').next()).unwrap_or_default();
        from = end;
        let Ok(number) = digits.parse::<i32>() else { continue };
        let full = io::Error::from_raw_os_error(number).to_string();
        let words = full.strip_suffix(&format!("{MARK}{number})")).unwrap_or_default();
        if !words.is_empty() && text.get(..start).is_some_and(|before| before.ends_with(words)) {
            let plain = words.to_lowercase();
            from = start - words.len() + plain.len();
            text.replace_range(start - words.len()..end + digits.len() + 1, &plain);
        }
    }
    text
}

/// Says why, once: on standard error, and in the log that an engine reads.
fn fail(error: &dyn Error, code: u8) -> u8 {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        // Transparent wrappers repeat what they wrap.
        if !text.ends_with(&next_text) {
            let _ = write!(text, ": {next_text}");
        }
        cause = next.source();
    }
    let text = as_runc_says(text);
    let text: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    tracing::error!("{text}");
    // Standard error may be closed.
    let _ = writeln!(io::stderr(), "runsc: {text}");
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_host_are_said_as_runc_says_them() {
        for (text, said) in [
            (
                "open /x: No such file or directory (os error 2)",
                "open /x: no such file or directory",
            ),
            (
                "a (os error 2): Permission denied (os error 13): b",
                "a (os error 2): permission denied: b",
            ),
            ("x (os error 99999): (os error 2", "x (os error 99999): (os error 2"),
            ("ü (os error ü)", "ü (os error ü)"),
        ] {
            assert_eq!(as_runc_says(text.into()), said);
        }
    }
}
