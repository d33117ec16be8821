// SPDX-License-Identifier: Apache-2.0
//! `runsc ps`: the host's processes that stand for those of a container.

use std::process::Command;

use super::{Failure, Request, print};
use crate::state::{record::Status, store::Store};

/// Prints them: lines of the host's ps(1), or numbers as JSON.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let id = request.id();
    let store = Store::new(&request.config.root);
    let record = store.read(&id)?;
    let mut pids: Vec<i32> = Vec::new();
    if record.status_now() != Status::Stopped {
        pids.extend(record.monitor.map(|monitor| monitor.pid));
        pids.extend(store.execs(&id)?.iter().map(|process| process.pid));
    }
    if request.flags.text("format") == "json" {
        // As runc: none are null.
        let text = if pids.is_empty() { "null".into() } else { serde_json::to_string(&pids)? };
        return Ok(print(&format!("{text}\n")));
    }
    let options = request.args.get(1..).unwrap_or_default();
    let mut ps = Command::new("ps");
    if options.is_empty() {
        ps.arg("-ef")
    } else {
        ps.args(options)
    };
    let output = ps.output().map_err(|error| format!("run ps: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("ps: {}: {}", output.status, why.trim_end()).into());
    }
    Ok(print(&filter(&String::from_utf8_lossy(&output.stdout), &pids)?))
}

/// The heading, and the lines of these processes.
fn filter(table: &str, pids: &[i32]) -> Result<String, String> {
    let mut lines = table.lines();
    let heading = lines.next().unwrap_or_default();
    let column = heading.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or("couldn't find PID field in ps output")?;
    let is_ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|field| field.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let mut text = format!("{heading}\n");
    for line in lines.filter(is_ours) {
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_their_number() {
        let table = "UID PID PPID CMD\nroot 1 0 init 7\nroot 7 1 sleep 1\nroot 17 7 ps\n";
        assert_eq!(filter(table, &[7]).unwrap(), "UID PID PPID CMD\nroot 7 1 sleep 1\n");
        assert_eq!(filter(table, &[]).unwrap(), "UID PID PPID CMD\n");
        assert!(filter("CMD\nx\n", &[7]).is_err());
    }
}
