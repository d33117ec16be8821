// SPDX-License-Identifier: Apache-2.0
//! How far each call is supported: the levels, what happens to calls nobody handles, the docs page.

use std::fmt::Write;

use abi::Errno;
use sentry::task::Current;

use crate::table::{Sysno, with_table};

/// How far a call is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// As Linux does it.
    Full,
    /// With the exceptions named.
    Partial(&'static str),
    /// Not yet: `ENOSYS`.
    Planned,
    /// Never, for the reason named: always this errno.
    Refused(Errno, &'static str),
}

/// A row of the table, as text.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The number on x86-64.
    pub number: u32,
    /// The number on arm64, or `-`.
    pub arm64: &'static str,
    /// The name.
    pub name: &'static str,
    /// The module that handles it.
    pub family: &'static str,
    /// The arguments with their types.
    pub signature: &'static str,
    /// How far it goes.
    pub support: Support,
}

macro_rules! level {
    (Full) => {
        Support::Full
    };
    (Partial $note:literal) => {
        Support::Partial($note)
    };
    (Planned) => {
        Support::Planned
    };
}

macro_rules! rows {
    (
        handled { $(
            [$number:literal / $arm:tt] $name:ident in $module:ident
            ($($arg:ident: $type:ty),*) $status:ident $(($note:literal))?;
        )* }
        refused { $([$refused:literal / $refused_arm:tt] $refused_name:ident $errno:ident $reason:literal;)* }
    ) => {
        /// Every row, handled ones first.
        pub const ROWS: &[Row] = &[
            $(Row {
                number: $number,
                arm64: stringify!($arm),
                name: stringify!($name),
                family: stringify!($module),
                signature: stringify!($($arg: $type),*),
                support: level!($status $($note)?),
            },)*
            $(Row {
                number: $refused,
                arm64: stringify!($refused_arm),
                name: stringify!($refused_name),
                family: "refused",
                signature: "",
                support: Support::Refused(Errno::$errno, $reason),
            },)*
        ];
    };
}

with_table!(rows);

/// The name of call `number`.
pub fn name(number: u64) -> Option<&'static str> {
    Sysno::from_number(number).map(Sysno::name)
}

/// A call that nobody handles yet: `ENOSYS`, logged once a number and counted by the kernel.
pub(crate) fn planned(cx: &Current, number: u64) -> Errno {
    if cx.kernel().note_unimplemented(number) {
        let name = name(number).unwrap_or("a number Linux does not have");
        tracing::warn!(number, name, "system call not supported");
    }
    Errno::ENOSYS
}

/// A call that is refused: its errno; logged and counted likewise.
pub(crate) fn refused(cx: &Current, number: u64, errno: Errno) -> Errno {
    if cx.kernel().note_unimplemented(number) {
        tracing::info!(number, name = name(number), ?errno, "system call refused");
    }
    errno
}

/// The text of `docs/syscalls.md`.
pub fn page() -> String {
    let mut rows: Vec<&Row> = ROWS.iter().collect();
    rows.sort_by_key(|row| row.number);
    let number = |wanted: fn(&Support) -> bool| rows.iter().filter(|r| wanted(&r.support)).count();
    let mut page = String::from(
        "# System calls\n\n\
         Made from `syscalls/src/table.rs` by `REGENERATE=1 cargo test -p syscalls docs_page`.\n\n",
    );
    let _ = writeln!(
        page,
        "{} calls: {} full, {} partial, {} planned (`ENOSYS` until then), {} refused.\n",
        rows.len(),
        number(|s| matches!(s, Support::Full)),
        number(|s| matches!(s, Support::Partial(_))),
        number(|s| matches!(s, Support::Planned)),
        number(|s| matches!(s, Support::Refused(..))),
    );
    page.push_str("| x86-64 | arm64 | call | family | support |\n|---|---|---|---|---|\n");
    for row in rows {
        let support = match row.support {
            Support::Full => "full".to_owned(),
            Support::Partial(note) => format!("partial: {note}"),
            Support::Planned => "planned".to_owned(),
            Support::Refused(errno, reason) => format!("refused with {errno:?}: {reason}"),
        };
        let Row { number, arm64, name, family, .. } = row;
        let _ = writeln!(page, "| {number} | {arm64} | `{name}` | {family} | {support} |");
    }
    page
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_number_of_linux_has_one_row_under_its_name() {
        let mut seen = BTreeSet::new();
        for row in ROWS {
            assert!(seen.insert(row.number), "{} twice", row.number);
            let linux = abi::num::Number(u64::from(row.number)).name();
            assert_eq!(linux, Some(&*format!("NR_{}", row.name.to_uppercase())), "{}", row.number);
        }
        let linux: BTreeSet<u32> =
            (0..2000).filter(|n| abi::num::Number(u64::from(*n)).name().is_some()).collect();
        assert_eq!(seen, linux);
        assert!((0..=334).chain(424..=469).all(|number| seen.contains(&number)));
    }

    #[test]
    fn docs_page() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/syscalls.md");
        if std::env::var_os("REGENERATE").is_some() {
            fs::create_dir_all(path.parent().expect("has a parent")).expect("docs/ can be made");
            fs::write(&path, page()).expect("docs/syscalls.md can be written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == page(), "run REGENERATE=1 cargo test -p syscalls docs_page");
    }
}
