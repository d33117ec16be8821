// SPDX-License-Identifier: Apache-2.0
//! Help texts, made from the flag table.

use std::fmt::Write as _;

use super::flags::{COMMANDS, Command, Effect, Flag, GLOBAL, Kind};

/// What `runsc --version` prints: the lines that engines look for.
pub(crate) fn version() -> String {
    format!(
        "runsc version {}\ncommit: {}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        option_env!("RUNSC_COMMIT").unwrap_or("unknown"),
        crate::oci::SPEC_VERSION,
    )
}

/// The whole program, or one command.
pub(crate) fn text(command: Option<&Command>) -> String {
    match command {
        Some(command) => of_command(command),
        None => of_program(),
    }
}

fn of_program() -> String {
    let mut text = String::from(
        "runsc runs containers and programs on a kernel of its own, in user space.\n\n\
         Usage: runsc [flags] <command> [flags] [arguments]\n\n\
         \u{20} runsc do ls -l /                 a program over this machine's files, writes thrown away\n\
         \u{20} runsc run --bundle DIR ID        an OCI bundle\n\nCommands:\n",
    );
    for command in COMMANDS.iter().filter(|command| !command.help.is_empty()) {
        let _ = writeln!(text, "  {:<11} {}", command.name, command.help);
    }
    text.push_str("\nFlags before the command:\n");
    flags(&mut text, GLOBAL);
    let accepted = GLOBAL.iter().filter(|flag| flag.effect != Effect::Acts).count();
    let _ = writeln!(
        text,
        "\n{accepted} further flags of gVisor's and runc's are accepted and do nothing here; --debug says why."
    );
    text
}

fn of_command(command: &Command) -> String {
    let mut text =
        format!("runsc {}: {}\n\nUsage: runsc [global flags] {0}", command.name, command.help);
    if !command.flags.is_empty() {
        text.push_str(" [flags]");
    }
    let _ = writeln!(text, " {}", command.args);
    if !command.flags.is_empty() {
        text.push_str("\nFlags:\n");
        flags(&mut text, command.flags);
    }
    text
}

fn flags(text: &mut String, table: &[Flag]) {
    for flag in table.iter().filter(|flag| flag.effect == Effect::Acts) {
        let value = match flag.kind {
            Kind::Bool => String::new(),
            Kind::Text(name) => format!(" {name}"),
            Kind::Number => " N".into(),
            Kind::Choice(words) => format!(" {{{}}}", words.join(",")),
        };
        let short = flag.short.map_or_else(String::new, |short| format!("-{short}, "));
        let _ = write!(text, "  {short}--{}{value}\n        {}", flag.name, flag.help);
        if !flag.default.is_empty() && flag.default != "false" {
            let _ = write!(text, " (default {})", flag.default);
        }
        text.push('\n');
    }
}
