// SPDX-License-Identifier: Apache-2.0
//! Shell completions, made from the flag table.

use std::fmt::Write as _;

use super::flags::{COMMANDS, Effect, Flag, GLOBAL, Kind};

/// The script for this shell, if we know it.
pub(crate) fn script(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => {
            Some(format!("#compdef runsc\nautoload -U +X bashcompinit && bashcompinit\n{}", bash()))
        }
        "fish" => Some(fish()),
        _ => None,
    }
}

fn acting(table: &'static [Flag]) -> impl Iterator<Item = &'static Flag> {
    table.iter().filter(|flag| flag.effect == Effect::Acts)
}

fn words(table: &'static [Flag]) -> String {
    acting(table).map(|flag| format!("--{}", flag.name)).collect::<Vec<_>>().join(" ")
}

fn bash() -> String {
    let names: Vec<_> =
        COMMANDS.iter().filter(|it| !it.help.is_empty()).map(|it| it.name).collect();
    let mut text = format!(
        "_runsc() {{\n  local word=${{COMP_WORDS[COMP_CWORD]}} verb= each\n  \
         for each in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do\n    case $each in\n    {}) verb=$each; break ;;\n    esac\n  done\n  case $verb in\n",
        names.join("|")
    );
    for command in COMMANDS.iter().filter(|it| !it.help.is_empty()) {
        let _ = writeln!(
            text,
            "  {}) COMPREPLY=($(compgen -f -W '{}' -- \"$word\")) ;;",
            command.name,
            words(command.flags)
        );
    }
    let _ = writeln!(
        text,
        "  *) COMPREPLY=($(compgen -W '{} {}' -- \"$word\")) ;;\n  esac\n}}\ncomplete -F _runsc runsc",
        names.join(" "),
        words(GLOBAL)
    );
    text
}

fn fish() -> String {
    let mut text = String::from("complete -c runsc -f\n");
    let flags = |condition: &str, table: &'static [Flag]| {
        let mut text = String::new();
        for flag in acting(table) {
            let value = match flag.kind {
                Kind::Bool => String::new(),
                Kind::Choice(words) => format!(" -x -a '{}'", words.join(" ")),
                Kind::Text(_) | Kind::Number => " -r -F".into(),
            };
            let help = flag.help.replace('\'', "\\'");
            let _ = writeln!(
                text,
                "complete -c runsc -n '{condition}' -l {}{value} -d '{help}'",
                flag.name
            );
        }
        text
    };
    text.push_str(&flags("__fish_use_subcommand", GLOBAL));
    for command in COMMANDS.iter().filter(|it| !it.help.is_empty()) {
        let help = command.help.replace('\'', "\\'");
        let _ = writeln!(
            text,
            "complete -c runsc -n __fish_use_subcommand -a {} -d '{help}'",
            command.name
        );
        text.push_str(&flags(
            &format!("__fish_seen_subcommand_from {}", command.name),
            command.flags,
        ));
    }
    text
}
