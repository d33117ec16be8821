// SPDX-License-Identifier: Apache-2.0
//! `runsc events`: what a container uses, and when it ran out of memory, a line of JSON each.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use super::{Failure, Request, print};
use crate::{
    sandbox::cgroup::{Cgroup, OutOfMemory},
    state::{
        record::{Record, Status},
        store::Store,
    },
};

/// Prints the events: once with `--stats`, else for as long as the container is there.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let interval = parse_duration(&request.flags.text("interval"))
        .ok_or_else(|| format!("invalid value for interval: {}", request.flags.text("interval")))?;
    if interval.is_zero() {
        return Err("duration interval must be greater than 0".into());
    }
    let store = Store::new(&request.config.root);
    let record = store.read(&request.id())?;
    if matches!(record.status_now(), Status::Creating | Status::Stopped) {
        return Err(format!("container with id {} is not running", record.id).into());
    }
    let Some(cgroup) = &record.cgroup else {
        return Err(format!("container {} was made with --ignore-cgroups", record.id).into());
    };
    if request.flags.is_on("stats") {
        return Ok(print(&stats(&store, &record, cgroup)));
    }
    let Some(monitor) = record.monitor.and_then(|monitor| monitor.open()) else { return Ok(0) };
    follow(&store, &record, cgroup, &monitor, interval)
}

fn follow(
    store: &Store,
    record: &Record,
    cgroup: &Cgroup,
    monitor: &OwnedFd,
    interval: Duration,
) -> Result<u8, Failure> {
    let mut memory = OutOfMemory::watch(cgroup)?;
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            if print(&stats(store, record, cgroup)) != 0 {
                return Ok(0);
            }
            next += interval;
        }
        let left = next.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
        fds.extend(memory.as_ref().map(OutOfMemory::poll_fd));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let has_ended = fds.first().and_then(|fd| fd.any()).unwrap_or(false);
        let is_told = fds.get(1).and_then(|fd| fd.any()).unwrap_or(false);
        if is_told && memory.as_mut().is_some_and(|memory| memory.happened(cgroup)) {
            print(&line("oom", &record.id, None));
        }
        if has_ended {
            return Ok(0);
        }
    }
}

fn stats(store: &Store, record: &Record, cgroup: &Cgroup) -> String {
    // Only the sentry knows the guest's tasks; one that is ending has none.
    let asked = store.connect(&record.id).ok().and_then(|channel| channel.count_tasks().ok());
    // Limits may have changed since we began.
    let resources =
        store.read(&record.id).map_or_else(|_| record.resources.clone(), |it| it.resources);
    let data = cgroup.stats(asked, resources.task_limit());
    line("stats", &record.id, Some(data))
}

fn line(kind: &str, id: &str, data: Option<Value>) -> String {
    let mut event = json!({ "type": kind, "id": id });
    if let (Some(data), Some(event)) = (data, event.as_object_mut()) {
        event.insert("data".into(), data);
    }
    format!("{event}\n")
}

/// Go's durations: `5s`, `1m30s`, `1.5h`.
fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|it: char| it.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()?;
        total = total.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, want) in [
            ("5s", 5000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("0.5s", 500),
            ("0", 0),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(want)), "{text}");
        }
        for bad in ["", "5", "s", "-5s", "5x", "5s3", "1.2.3s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(line("oom", "c1", None), "{\"type\":\"oom\",\"id\":\"c1\"}\n");
    }
}
