// SPDX-License-Identifier: Apache-2.0
//! `runsc list`: the containers of `--root`.

use super::{Failure, Request, print};
use crate::state::{
    record::{Record, Status, owner_name},
    store::Store,
};

/// Prints them: a table, JSON, or the ids alone.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let records = Store::new(&request.config.root).list()?;
    if request.flags.is_on("quiet") {
        return Ok(print(&records.iter().map(|it| format!("{}\n", it.id)).collect::<String>()));
    }
    if request.flags.text("format") == "json" {
        let list: Vec<_> = records.iter().map(Record::to_json).collect();
        // As runc, and what engines parse: no containers are null.
        let text = if list.is_empty() { "null".into() } else { serde_json::to_string(&list)? };
        return Ok(print(&text));
    }
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from)];
    rows.extend(records.iter().map(row));
    Ok(print(&table(&rows)))
}

fn row(record: &Record) -> [String; 6] {
    let status = record.status_now();
    let pid = record.monitor.filter(|_| status != Status::Stopped).map_or(0, |it| it.pid);
    [
        record.id.clone(),
        pid.to_string(),
        status.name().into(),
        record.bundle.display().to_string(),
        record.created.clone(),
        owner_name(record.owner),
    ]
}

/// Columns as runc's: at least twelve wide, three apart.
fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| {
        let widest =
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count() + 3);
        widest.max().unwrap_or(0).max(12)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            let width = widths.get(index).copied().unwrap_or(0);
            text.push_str(&format!("{cell:<width$}"));
        }
        text.push('\n');
    }
    text
}
