// SPDX-License-Identifier: Apache-2.0
//! What no compiler checks: layers, unsafe budget, file lengths, heads, words, table ↔ docs ↔ cases.
//!
//! `REGENERATE=1 cargo tidy` rewrites the two ratchets, `tidy/unsafe.toml` and `tidy/uncovered.toml`; what
//! changed there is for the reviewer to see. Exceptions with their reasons stand in `tidy/allow.toml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// The crates, with what each may depend on of ours.
const CRATES: [(&str, &[&str]); 8] = [
    ("runsc", &["syscalls", "sentry", "gofer", "platform", "abi"]),
    ("syscalls", &["sentry", "abi"]),
    ("sentry", &["platform", "gofer", "abi"]),
    ("gofer", &["abi"]),
    ("platform", &["abi"]),
    ("syscalls/abi", &[]),
    ("tests", &["abi"]),
    ("bench", &["abi"]),
];

/// The sentry's layers, from below: a module imports from its own line and from those above it.
const LAYERS: [&[&str]; 6] = [
    &["sync", "time", "wait", "random"],
    &["io", "creds", "signal", "mm"],
    &["vfs"],
    &["fs", "net", "ipc", "futex"],
    // The kernel owns the tasks and each task knows its kernel: one line.
    &["task", "loader", "kernel"],
    &["control", "metrics", "watchdog"],
];

const MAX_LINES: usize = 800;

/// `tidy/allow.toml`: exceptions, each with its reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow {
    /// Files that may be longer.
    length: BTreeMap<String, String>,
    /// `"sentry/src/x.rs -> module"`: imports against the layers.
    layer: BTreeMap<String, String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the workspace").to_owned()
}

fn tidy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tidy").join(name)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn allow() -> Allow {
    toml::from_str(&read(&tidy("allow.toml"))).expect("allow.toml has its two tables")
}

/// Every Rust file of the project: its path from the root, and its text.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, _) in CRATES {
        if name != "syscalls/abi" {
            collect(&root().join(name), &mut found);
        }
    }
    assert!(found.len() > 50, "the sources were not found");
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("a directory can be read").path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).expect("it lies there").display().to_string();
            found.push((name, read(&path)));
        }
    }
}

/// The text with comments, strings and character literals blanked out.
fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = rest.find('"').expect("raw_string saw it") + 1;
            rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len())
        } else if first == '"' {
            string_end(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            rest[2..].find('\'').map_or(1, |at| at + 3)
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.push(' ');
        rest = &rest[skip..];
    }
    out
}

/// The number of hashes, if a raw string starts here.
fn raw_string(text: &str) -> Option<usize> {
    let tail = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    tail[hashes..].starts_with('"').then_some(hashes)
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[track_caller]
fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn files_start_with_licence_and_purpose() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        let mut lines = text.lines();
        if lines.next() != Some("// SPDX-License-Identifier: Apache-2.0") {
            problems.push(format!("{name}: the first line is not the SPDX line"));
        }
        match lines.next().and_then(|line| line.strip_prefix("//! ")) {
            Some(head) if !head.trim().is_empty() => {}
            _ => problems.push(format!("{name}: the second line does not say what the file is")),
        }
    }
    none(problems);
}

#[test]
fn files_are_short_or_say_why() {
    let allow = allow();
    let mut problems = Vec::new();
    let mut long = BTreeSet::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > MAX_LINES {
            if !allow.length.contains_key(&name) {
                problems.push(format!("{name}: {lines} lines; split it, or say why in allow.toml"));
            }
            long.insert(name);
        }
    }
    for name in allow.length.keys().filter(|name| !long.contains(*name)) {
        problems.push(format!("allow.toml: {name} is not too long"));
    }
    none(problems);
}

#[test]
fn nothing_is_left_for_later_without_a_name() {
    // Spelt so that this file does not find itself.
    let forbidden = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut problems = Vec::new();
    let (mut differs, mut stubs) = (0, 0);
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if words(line).any(|word| forbidden.contains(&word)) {
                problems.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
            let listed = !name.starts_with("tests/");
            if listed && line.contains("DIFFERS:") {
                differs += 1;
                println!("{name}:{}: {}", number + 1, line.trim());
            }
            if listed && line.contains(concat!("stub", "!(")) && !line.contains("macro_rules") {
                stubs += 1;
                println!("{name}:{}: {}", number + 1, line.trim());
            }
        }
    }
    println!("{differs} named differences from Linux, {stubs} stubs");
    none(problems);
}

#[test]
fn unsafe_code_stays_within_its_budget() {
    let mut found = BTreeMap::new();
    for (name, text) in sources() {
        if name.starts_with("tests/") || name.starts_with("bench/") {
            continue;
        }
        let code = code_only(&text);
        let count = words(&code).filter(|word| *word == "unsafe").count();
        if count > 0 {
            found.insert(name, count);
        }
    }
    let head = "# How often each file says `unsafe`. It may neither grow nor shrink unseen:\n\
                # `REGENERATE=1 cargo tidy` rewrites this file.\n";
    let text = found.iter().fold(head.to_owned(), |mut text, (name, count)| {
        let _ = writeln!(text, "{name:?} = {count}");
        text
    });
    ratchet("unsafe.toml", &text);
}

/// Holds a generated file against what it should be.
fn ratchet(name: &str, text: &str) {
    let path = tidy(name);
    if std::env::var_os("REGENERATE").is_some() {
        fs::write(&path, text).expect("the ratchet can be written");
    }
    let old = fs::read_to_string(&path).unwrap_or_default();
    let (before, now): (BTreeSet<&str>, BTreeSet<&str>) =
        (old.lines().collect(), text.lines().collect());
    let gone = before.difference(&now).map(|line| format!("- {line}"));
    let new = now.difference(&before).map(|line| format!("+ {line}"));
    let changes: Vec<String> = gone.chain(new).collect();
    assert!(
        changes.is_empty(),
        "\ntests/tidy/{name} is out of date (REGENERATE=1 cargo tidy rewrites it):\n{}",
        changes.join("\n")
    );
}

#[test]
fn crates_depend_downwards_only() {
    #[derive(Deserialize)]
    struct Manifest {
        #[serde(default)]
        dependencies: BTreeMap<String, toml::Value>,
    }
    let ours = ["runsc", "syscalls", "sentry", "gofer", "platform", "abi"];
    let mut problems = Vec::new();
    for (name, allowed) in CRATES {
        let text = read(&root().join(name).join("Cargo.toml"));
        let manifest: Manifest = toml::from_str(&text).expect("cargo has read it");
        for edge in manifest.dependencies.keys() {
            if ours.contains(&edge.as_str()) && !allowed.contains(&edge.as_str()) {
                problems.push(format!("{name} may not depend on {edge}"));
            }
        }
    }
    // The gofer's serving half is for runsc alone.
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("sentry/")) {
        if code_only(text).contains("gofer::server") {
            problems.push(format!("{name}: the sentry may not name gofer::server"));
        }
    }
    none(problems);
}

#[test]
fn sentry_modules_import_downwards_only() {
    let allow = allow();
    let layer = |module: &str| LAYERS.iter().position(|line| line.contains(&module));
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    for (name, text) in sources() {
        let Some(path) = name.strip_prefix("sentry/src/") else { continue };
        let own = path.split(['/', '.']).next().expect("split gives one piece");
        if own == "lib" {
            continue;
        }
        let Some(own_layer) = layer(own) else {
            problems.push(format!("{name}: module {own} stands in no layer; see LAYERS"));
            continue;
        };
        for module in imports(&code_only(&text)) {
            let edge = format!("{name} -> {module}");
            let against = match layer(&module) {
                Some(other) => other > own_layer,
                None => false,
            };
            // One file system may not name another, save overlay and proc.
            if against && !allow.layer.contains_key(&edge) {
                problems.push(format!("{edge}: against the layers"));
            } else if against {
                used.insert(edge);
            }
        }
    }
    for edge in allow.layer.keys().filter(|edge| !used.contains(*edge)) {
        problems.push(format!("allow.toml: {edge} is no longer imported"));
    }
    none(problems);
}

/// The modules of the crate's first level that `code` names: `crate::a::…` and `crate::{a::…, b}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for piece in code.split("crate::").skip(1) {
        let Some(group) = piece.strip_prefix('{') else {
            found.extend(words(piece).next().map(str::to_owned));
            continue;
        };
        let mut depth = 0;
        let mut at_name = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_name = true,
                c if at_name && (c.is_alphabetic() || c == '_') => {
                    found.extend(words(&group[at..]).next().map(str::to_owned));
                    at_name = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// The table's rows as its source has them: name → status.
fn table() -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for line in read(&root().join("syscalls/src/table.rs")).lines() {
        let Some((numbers, row)) = line.trim().strip_prefix('[').and_then(|l| l.split_once("] "))
        else {
            continue;
        };
        if !numbers.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let name = words(row).next().expect("a row has a name").to_owned();
        let status = match row.rsplit_once(") ").map_or("", |(_, status)| status) {
            "Full;" => "full",
            "Planned;" => "planned",
            _ if row.contains(") Partial(") => "partial",
            _ => "refused",
        };
        rows.insert(name, status.to_owned());
    }
    assert!(rows.len() > 380, "the table was not understood");
    rows
}

#[test]
fn docs_agree_with_the_table() {
    let page = read(&root().join("docs/syscalls.md"));
    let mut shown = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let support = words(cells[5]).next().expect("a row has a level");
        shown.insert(cells[3].trim_matches('`').to_owned(), support.to_owned());
    }
    let table = table();
    let wrong: Vec<String> = table
        .iter()
        .filter(|(name, status)| shown.get(*name) != Some(status))
        .map(|(name, status)| {
            format!("{name} is {status}: REGENERATE=1 cargo test -p syscalls docs")
        })
        .collect();
    none(wrong);
    assert_eq!(table.len(), shown.len());
}

/// The calls that conformance cases say they cover, by the line `//! Covers: a, b.`.
fn covered() -> BTreeSet<String> {
    let mut covered = BTreeSet::new();
    for (name, text) in sources() {
        if name.starts_with("tests/conformance/guest/") {
            let lists = text.lines().filter_map(|line| line.strip_prefix("//! Covers: "));
            covered.extend(lists.flat_map(words).map(str::to_owned));
        }
    }
    covered
}

#[test]
fn every_handled_call_has_a_case() {
    let (table, covered) = (table(), covered());
    none(
        covered
            .iter()
            .filter(|name| !table.contains_key(*name))
            .map(|name| format!("a case covers {name}, which is no call"))
            .collect(),
    );
    let head = "# Handled calls that no conformance case covers. May only become shorter:\n\
                # write `tests/conformance/guest/<family>/<call>.rs` with `//! Covers: <call>.`.\n\
                calls = [\n";
    let handled = |status: &str| status == "full" || status == "partial";
    let mut text = head.to_owned();
    for (name, _) in table.iter().filter(|(name, s)| handled(s) && !covered.contains(*name)) {
        let _ = writeln!(text, "    {name:?},");
    }
    text.push_str("]\n");
    ratchet("uncovered.toml", &text);
}

#[test]
fn code_only_leaves_code() {
    let text = "let a = \"unsafe \\\" x\"; // unsafe\nunsafe { '\"' } r#\"unsafe\"# 'a: loop {}";
    let code = code_only(text);
    assert_eq!(words(&code).filter(|word| *word == "unsafe").count(), 1, "{code}");
    let found = imports("use crate::{a::{b, c}, d, e::f}; crate::g::h()");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "d", "e", "g"]);
}
