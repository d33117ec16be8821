// SPDX-License-Identifier: Apache-2.0
//! The parser over the flag table, with the rules of Go's flag package.
//!
//! `-flag`, `--flag`, `--flag=value` and `--flag value` are the same; a boolean takes its value only
//! after `=`; `--` ends the flags. Commands whose arguments are no program's also take flags after
//! their arguments, as runc does.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use super::flags::{COMMANDS, Command, Effect, Flag, GLOBAL, Kind, Order};

/// What was typed wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum UsageError {
    /// No such flag.
    #[error("flag provided but not defined: -{0}")]
    UnknownFlag(String),
    /// Three dashes, or nothing behind them.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// The value is missing.
    #[error("flag needs an argument: -{0}")]
    NeedsValue(&'static str),
    /// The value is not one of its kind.
    #[error("invalid value {value:?} for flag -{flag}: {why}")]
    BadValue {
        /// Which flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// No such command.
    #[error("unknown command {0:?}: see runsc help")]
    UnknownCommand(String),
    /// Nothing to do.
    #[error("no command given: see runsc help")]
    NoCommand,
    /// Too few or too many arguments.
    #[error("{command}: {found} arguments where it takes {args:?}")]
    Arity {
        /// Which command.
        command: &'static str,
        /// What its help says.
        args: &'static str,
        /// How many there were.
        found: usize,
    },
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Run a command.
    Command {
        /// Which.
        command: &'static Command,
        /// Flags before it.
        globals: Values,
        /// Flags after it.
        flags: Values,
        /// Arguments.
        args: Vec<OsString>,
    },
    /// Print help about this, or about everything.
    Help(Option<&'static Command>),
    /// Print the version.
    Version,
}

/// The flags that were given, over the defaults of their table.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    table: &'static [Flag],
    given: Vec<(&'static Flag, OsString)>,
}

impl Values {
    /// Nothing given.
    pub(crate) fn defaults(table: &'static [Flag]) -> Values {
        Values { table, given: Vec::new() }
    }

    /// The last value given, or the default. Empty for a flag that is not in the table.
    pub(crate) fn get(&self, name: &str) -> &OsStr {
        match self.given.iter().rev().find(|(flag, _)| flag.name == name) {
            Some((_, value)) => value,
            None => {
                let flag = self.table.iter().find(|flag| flag.name == name);
                debug_assert!(flag.is_some(), "no flag {name} in this table");
                OsStr::new(flag.map_or("", |flag| flag.default))
            }
        }
    }

    /// Whether the command has such a flag.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.iter().any(|flag| flag.name == name)
    }

    /// As [`Values::get`], as text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.get(name).to_string_lossy().into_owned()
    }

    /// As [`Values::get`], where empty means "not given".
    pub(crate) fn path(&self, name: &str) -> Option<std::path::PathBuf> {
        let value = self.get(name);
        (!value.is_empty()).then(|| value.into())
    }

    /// Whether a boolean is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).to_str().and_then(parse_bool).unwrap_or(false)
    }

    /// A number; the parser has checked that it is one.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.get(name).to_str().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Every value given to a repeatable flag.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a OsStr> {
        self.given.iter().filter(move |(flag, _)| flag.name == name).map(|(_, value)| &**value)
    }

    /// Whether the flag was given at all.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The flags that were given and do nothing here, with the reason.
    pub(crate) fn ignored(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.given.iter().filter_map(|(flag, _)| match flag.effect {
            Effect::Ignored(why) => Some((flag.name, why)),
            Effect::Acts => None,
        })
    }
}

/// Reads a whole command line without the program's name.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Invocation, UsageError> {
    let mut args = args.into_iter();
    let globals = match parse_flags(GLOBAL, &mut args, Order::FlagsFirst)? {
        Parsed::Help => return Ok(Invocation::Help(None)),
        Parsed::Version => return Ok(Invocation::Version),
        Parsed::Flags(values, first) => {
            let Some(name) = first.into_iter().next() else { return Err(UsageError::NoCommand) };
            (values, name)
        }
    };
    let (globals, name) = globals;
    let unknown = || UsageError::UnknownCommand(name.to_string_lossy().into_owned());
    let command = COMMANDS.iter().find(|command| name == command.name).ok_or_else(unknown)?;
    match parse_flags(command.flags, &mut args, command.order)? {
        Parsed::Help => Ok(Invocation::Help(Some(command))),
        Parsed::Version => Err(UsageError::UnknownFlag("version".into())),
        Parsed::Flags(flags, mut positional) => {
            positional.extend(args);
            let found = positional.len();
            if found < command.arity.0 || found > command.arity.1 {
                let (command, args) = (command.name, command.args);
                return Err(UsageError::Arity { command, args, found });
            }
            Ok(Invocation::Command { command, globals, flags, args: positional })
        }
    }
}

enum Parsed {
    Help,
    Version,
    Flags(Values, Vec<OsString>),
}

/// Reads flags of `table`. With [`Order::FlagsFirst`] it stops behind the first argument.
fn parse_flags(
    table: &'static [Flag],
    args: &mut std::vec::IntoIter<OsString>,
    order: Order,
) -> Result<Parsed, UsageError> {
    let mut values = Values::defaults(table);
    let mut positional = Vec::new();
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            positional.extend(args);
            break;
        }
        if bytes.len() < 2 || bytes.first() != Some(&b'-') {
            positional.push(arg);
            match order {
                Order::FlagsFirst => break,
                Order::Mixed => continue,
            }
        }
        let body = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-")).unwrap_or(bytes);
        if body.is_empty() || body.starts_with(b"-") || body.starts_with(b"=") {
            return Err(UsageError::Syntax(arg.to_string_lossy().into_owned()));
        }
        let mut halves = body.splitn(2, |byte| *byte == b'=');
        let name = String::from_utf8_lossy(halves.next().unwrap_or(body)).into_owned();
        let inline = halves.next().map(|value| OsString::from_vec(value.to_vec()));
        let Some(flag) = table.iter().find(|flag| flag.name == name || flag.short == Some(&name))
        else {
            return match &*name {
                "h" | "help" => Ok(Parsed::Help),
                "v" | "version" => Ok(Parsed::Version),
                _ => Err(UsageError::UnknownFlag(name)),
            };
        };
        let value = match (flag.kind, inline) {
            (_, Some(value)) => value,
            (Kind::Bool, None) => OsString::from("true"),
            (_, None) => args.next().ok_or(UsageError::NeedsValue(flag.name))?,
        };
        check(flag, &value)?;
        values.given.push((flag, value));
    }
    Ok(Parsed::Flags(values, positional))
}

fn check(flag: &'static Flag, value: &OsStr) -> Result<(), UsageError> {
    let text = value.to_string_lossy();
    let why = match flag.kind {
        Kind::Text(_) => return Ok(()),
        // runc's --rootless also takes "auto".
        Kind::Bool
            if parse_bool(&text).is_some() || (flag.name == "rootless" && text == "auto") =>
        {
            return Ok(());
        }
        Kind::Bool => "not a boolean".to_string(),
        Kind::Number if text.parse::<i64>().is_ok() => return Ok(()),
        Kind::Number => "not a whole number".to_string(),
        Kind::Choice(words) if words.contains(&&*text) => return Ok(()),
        Kind::Choice(words) => format!("not one of {}", words.join(", ")),
    };
    Err(UsageError::BadValue { flag: flag.name, value: text.into_owned(), why })
}

/// The words that Go's strconv.ParseBool takes.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Invocation, UsageError> {
        parse(text.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect())
    }

    fn command(text: &str) -> (&'static str, Values, Values, Vec<String>) {
        match line(text).unwrap() {
            Invocation::Command { command, globals, flags, args } => {
                let args = args.into_iter().map(|arg| arg.into_string().unwrap()).collect();
                (command.name, globals, flags, args)
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn four_spellings_are_one() {
        for text in ["-root /r", "--root /r", "-root=/r", "--root=/r"] {
            let (_, globals, _, _) = command(&format!("{text} list"));
            assert_eq!(globals.get("root"), "/r", "{text}");
        }
    }

    #[test]
    fn a_boolean_takes_its_value_only_after_equals() {
        let (name, globals, ..) = command("--debug list");
        assert_eq!((name, globals.is_on("debug")), ("list", true));
        assert!(!command("--debug=false list").1.is_on("debug"));
        assert!(matches!(line("--debug=x list"), Err(UsageError::BadValue { flag: "debug", .. })));
    }

    #[test]
    fn the_last_one_wins_and_defaults_hold() {
        let (_, globals, ..) = command("--platform=ptrace --platform systrap list");
        assert_eq!(globals.get("platform"), "systrap");
        assert_eq!(command("list").1.get("file-access"), "timed");
    }

    #[test]
    fn a_program_keeps_its_own_flags() {
        let (_, _, flags, args) = command("do --quiet ls -l --root x");
        assert!(flags.is_on("quiet"));
        assert_eq!(args, ["ls", "-l", "--root", "x"]);
        assert_eq!(command("do -- -x").3, ["-x"]);
        assert_eq!(command("do sh -- -x").3, ["sh", "--", "-x"]);
    }

    #[test]
    fn oci_commands_take_flags_behind_the_id() {
        let (_, _, flags, args) = command("kill c1 9 --all");
        assert!(flags.is_on("all"));
        assert_eq!(args, ["c1", "9"]);
        assert_eq!(command("run -b /x c1").2.get("bundle"), "/x");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            ("--nope list", "flag provided but not defined: -nope"),
            ("list --nope", "flag provided but not defined: -nope"),
            ("---x list", "bad flag syntax: ---x"),
            ("--root", "flag needs an argument: -root"),
            (
                "--platform=kvm list",
                "invalid value \"kvm\" for flag -platform: not one of systrap, ptrace",
            ),
            ("frob", "unknown command \"frob\": see runsc help"),
            ("", "no command given: see runsc help"),
            ("--debug", "no command given: see runsc help"),
            ("state", "state: 0 arguments where it takes \"<container-id>\""),
        ] {
            assert_eq!(line(text).unwrap_err().to_string(), want, "{text}");
        }
    }

    #[test]
    fn the_table_is_sound() {
        for table in COMMANDS.iter().map(|command| command.flags).chain([GLOBAL]) {
            for (index, flag) in table.iter().enumerate() {
                let twice = table.iter().skip(index + 1).any(|other| {
                    other.name == flag.name || (flag.short.is_some() && other.short == flag.short)
                });
                assert!(!twice, "{} stands twice", flag.name);
                if flag.effect == Effect::Acts {
                    assert!(!flag.help.is_empty(), "{} has no help", flag.name);
                    if !flag.default.is_empty() {
                        check(flag, OsStr::new(flag.default)).unwrap();
                    }
                }
            }
        }
    }
}
