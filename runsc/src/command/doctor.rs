// SPDX-License-Identifier: Apache-2.0
//! `runsc doctor`: what this host can do for sandboxes, and how to mend what it cannot.

use serde_json::json;

use super::{Failure, Request, print};
use crate::doctor::{self, Finding, Health};

/// Prints the findings. Exit code 1 if no platform works.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let platforms = doctor::platforms();
    let works = platforms.iter().any(|finding| finding.health == Health::Ok);
    let findings: Vec<Finding> = platforms.into_iter().chain(doctor::host()).collect();
    let text = if request.flags.text("format") == "json" {
        let all: Vec<_> = findings.iter().map(to_json).collect();
        format!("{:#}\n", json!({ "works": works, "findings": all }))
    } else {
        findings.iter().map(to_text).collect()
    };
    let code = print(&text);
    Ok(if works { code } else { 1 })
}

fn to_json(finding: &Finding) -> serde_json::Value {
    json!({
        "subject": finding.subject,
        "health": finding.health.word(),
        "found": finding.found,
        "fix": finding.fix,
    })
}

fn to_text(finding: &Finding) -> String {
    let mut text =
        format!("{:<5} {:<24} {}\n", finding.health.word(), finding.subject, finding.found);
    if let Some(fix) = &finding.fix {
        text.push_str(&format!("{:<30} fix: {fix}\n", ""));
    }
    text
}
