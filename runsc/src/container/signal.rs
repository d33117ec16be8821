// SPDX-License-Identifier: Apache-2.0
//! Names of signals, as `kill` takes them.

use std::str::FromStr;

use nix::sys::signal::Signal;

/// The number of a signal: a number, or a name in any case, with or without `SIG`.
pub(crate) fn parse(text: &str) -> Result<i32, String> {
    let unknown = || format!("unknown signal {text:?}");
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return real_time(34, offset).ok_or_else(unknown);
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return real_time(64, offset).ok_or_else(unknown);
    }
    let name = match name {
        "CLD" => "CHLD",
        "POLL" => "IO",
        "IOT" => "ABRT",
        name => name,
    };
    Signal::from_str(&format!("SIG{name}")).map(|signal| signal as i32).map_err(|_| unknown())
}

/// glibc's numbers: the first two real-time signals are its own.
fn real_time(base: i32, offset: &str) -> Option<i32> {
    let number = if offset.is_empty() { base } else { base.checked_add(offset.parse().ok()?)? };
    (34..=64).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, want) in [
            ("9", 9),
            ("0", 0),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGUSR1", 10),
            ("cld", 17),
            ("RTMIN+1", 35),
            ("SIGRTMAX-1", 63),
            ("rtmin", 34),
        ] {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
        for bad in ["", "NOSUCH", "65", "-1", "RTMIN-1", "RTMAX+1", "SIG"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("x").unwrap_err(), "unknown signal \"x\"");
    }
}
