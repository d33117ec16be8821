// SPDX-License-Identifier: Apache-2.0
//! Manual pages, made from the flag table.

use std::fmt::Write as _;

use super::flags::{COMMANDS, Command, Effect, Flag, GLOBAL, Kind};

/// The page of the whole program, or of one command, in roff.
pub(crate) fn page(command: Option<&Command>) -> String {
    match command {
        Some(command) => of_command(command),
        None => of_program(),
    }
}

fn head(name: &str, what: &str) -> String {
    let upper = name.to_uppercase();
    format!(
        ".TH \"{}\" 8 \"\" \"runsc {}\" \"System administration\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
        escape(&upper),
        env!("CARGO_PKG_VERSION"),
        escape(name),
        escape(what)
    )
}

fn of_program() -> String {
    let mut page = head("runsc", "run containers and programs on a kernel in user space");
    page.push_str(".B runsc\n[flags] command [flags] [arguments]\n.SH COMMANDS\n");
    for command in COMMANDS.iter().filter(|command| !command.help.is_empty()) {
        let (name, help) = (escape(command.name), escape(command.help));
        let _ = writeln!(page, ".TP\n\\fBrunsc\\-{name}\\fR(8)\n{help}.");
    }
    page.push_str(".SH FLAGS\n");
    flags(&mut page, GLOBAL);
    page.push_str(".SH ACCEPTED WITHOUT EFFECT\n");
    for flag in GLOBAL {
        if let Effect::Ignored(why) = flag.effect {
            let _ = writeln!(page, ".TP\n\\fB\\-\\-{}\\fR\n{}.", escape(flag.name), escape(why));
        }
    }
    page
}

fn of_command(command: &Command) -> String {
    let mut page = head(&format!("runsc-{}", command.name), command.help);
    let _ = writeln!(
        page,
        ".B runsc\n[flags]\n.B {}\n[flags] {}",
        escape(command.name),
        escape(command.args)
    );
    if !command.flags.is_empty() {
        page.push_str(".SH FLAGS\n");
        flags(&mut page, command.flags);
    }
    page.push_str(".SH SEE ALSO\n\\fBrunsc\\fR(8)\n");
    page
}

fn flags(page: &mut String, table: &[Flag]) {
    for flag in table.iter().filter(|flag| flag.effect == Effect::Acts) {
        let value = match flag.kind {
            Kind::Bool => String::new(),
            Kind::Text(name) => format!(" \\fI{}\\fR", escape(name)),
            Kind::Number => " \\fIN\\fR".into(),
            Kind::Choice(words) => format!(" {{{}}}", escape(&words.join(","))),
        };
        let short = flag.short.map_or_else(String::new, |it| format!("\\fB\\-{it}\\fR, "));
        let (name, help) = (escape(flag.name), escape(flag.help));
        let _ = write!(page, ".TP\n{short}\\fB\\-\\-{name}\\fR{value}\n{help}");
        if !flag.default.is_empty() && flag.default != "false" {
            let _ = write!(page, " (default {})", escape(flag.default));
        }
        page.push_str(".\n");
    }
}

/// Text as roff has it: no dash becomes a hyphen, no line becomes a request.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
