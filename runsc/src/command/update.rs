// SPDX-License-Identifier: Apache-2.0
//! `runsc update`: other limits for a container that is there.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{Failure, Request};
use crate::{
    cli::Values,
    sandbox::{cgroup::Resources, control},
    state::{record::Status, store::Store},
};

/// More is no list of limits.
const LIMIT: u64 = 1 << 20;

/// Changes the limits that are named; the others stay.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let id = request.id();
    let change = wanted(&request.flags)?;
    change.check()?;
    let store = Store::new(&request.config.root);
    let entry = store.open(&id)?;
    let mut record = entry.load()?.ok_or("container not running")?;
    if matches!(record.status_now(), Status::Creating | Status::Stopped) {
        return Err("container not running".into());
    }
    let Some(cgroup) = &record.cgroup else {
        return Err(format!("container {id} was made with --ignore-cgroups").into());
    };
    let mut resources = record.resources.clone();
    resources.merge(&change);
    resources.check()?;
    cgroup.change(&record.resources, &resources)?;
    let limits = cgroup.limits(&resources).as_seen(&request.config);
    record.resources = resources;
    entry.save(&record)?;
    store.connect(&id)?.ask(&control::Request::Limits(Box::new(limits)))?;
    Ok(0)
}

/// What the flags ask for. As runc has it, a list of resources makes all other flags void.
fn wanted(flags: &Values) -> Result<Resources, Failure> {
    if let Some(path) = flags.path("resources") {
        return Ok(serde_json::from_slice(&read(&path)?)?);
    }
    for flag in ["l3-cache-schema", "mem-bw-schema"] {
        if flags.is_given(flag) {
            return Err(format!("--{flag}: Intel RDT is not supported").into());
        }
    }
    let mut wanted = Resources::default();
    let memory = &mut wanted.memory;
    memory.limit = size(flags, "memory")?;
    memory.reservation = size(flags, "memory-reservation")?;
    memory.swap = size(flags, "memory-swap")?;
    let cpu = &mut wanted.cpu;
    cpu.shares = number(flags, "cpu-share")?;
    cpu.quota = number(flags, "cpu-quota")?;
    cpu.period = number(flags, "cpu-period")?;
    cpu.burst = number(flags, "cpu-burst")?;
    cpu.idle = number(flags, "cpu-idle")?;
    cpu.realtime_period = number(flags, "cpu-rt-period")?;
    cpu.realtime_runtime = number(flags, "cpu-rt-runtime")?;
    let text = |flag| Some(flags.text(flag)).filter(|text: &String| !text.is_empty());
    cpu.cpus = text("cpuset-cpus");
    cpu.mems = text("cpuset-mems");
    wanted.pids.limit = number(flags, "pids-limit")?;
    wanted.block_io.weight = number(flags, "blkio-weight")?;
    Ok(wanted)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().take(LIMIT + 1).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut text))
    };
    let fail = |error: io::Error| format!("--resources {}: {error}", path.display());
    read.map_err(fail)?;
    if text.len() as u64 > LIMIT {
        return Err(fail(io::ErrorKind::FileTooLarge.into()).into());
    }
    Ok(text)
}

/// A whole number.
fn number<T: std::str::FromStr>(flags: &Values, flag: &str) -> Result<Option<T>, Failure> {
    let text = flags.text(flag);
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse().map_err(|_| format!("invalid value for {flag}: {text:?}"))?;
    Ok(Some(number))
}

/// Bytes, with docker's suffixes; -1 is no limit.
fn size(flags: &Values, flag: &str) -> Result<Option<i64>, Failure> {
    let text = flags.text(flag);
    if text.is_empty() {
        return Ok(None);
    }
    let size = parse_size(&text);
    let size = size.ok_or_else(|| format!("invalid value for {flag}: invalid size: '{text}'"))?;
    Ok(Some(size))
}

/// `32M`, `1.5GiB`, `4096`: always powers of 1024.
fn parse_size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = unit.trim_start_matches(' ').to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.parse::<i64>().ok()?.checked_mul(1 << shift)?;
    // As many digits as make a difference.
    let part = part.get(..part.len().min(6)).unwrap_or_default();
    let scale = 10_i64.pow(u32::try_from(part.len()).ok()?);
    let part = if part.is_empty() { 0 } else { part.parse::<i64>().ok()? };
    let part = i128::from(part) * (1 << shift) / i128::from(scale);
    whole.checked_add(i64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_are_dockers() {
        for (text, want) in [
            ("4096", 4096),
            ("32M", 32 << 20),
            ("32mb", 32 << 20),
            ("1GiB", 1 << 30),
            ("1.5k", 1536),
            ("7 b", 7),
            ("-1", -1),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Some(want), "{text}");
        }
        for bad in ["abc", "", "-2", "1x", "9999999999g", "1.2.3", ".", "-1k"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
