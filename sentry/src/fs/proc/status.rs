// SPDX-License-Identifier: Apache-2.0
//! `/proc/<pid>/{stat,statm,status}` and their kin.

use std::fmt::Write;

use abi::cred::Capabilities;

use super::view::{MemoryPlaces, MemorySizes, TaskTimes, TaskView};

const NS_PER_TICK: u64 = 10_000_000;
/// `RLIM_INFINITY`.
const UNLIMITED: u64 = u64::MAX;

/// A name as `stat` and `status` show it: escapes for what would break the line.
fn escaped(name: &[u8]) -> String {
    let mut text = String::new();
    for byte in name {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\\' => text.push_str("\\\\"),
            byte => text.push(char::from(*byte)),
        }
    }
    text
}

fn state_word(state: char) -> &'static str {
    match state {
        'R' => "R (running)",
        'D' => "D (disk sleep)",
        'T' => "T (stopped)",
        't' => "t (tracing stop)",
        'Z' => "Z (zombie)",
        'X' => "X (dead)",
        _ => "S (sleeping)",
    }
}

/// `stat`: of the whole process where `is_process`, else of one task.
pub(super) fn stat(task: &dyn TaskView, is_process: bool) -> String {
    let (numbers, details) = (task.numbers(), task.details());
    let times: TaskTimes = if is_process { task.process_times() } else { task.times() };
    let memory = task.memory();
    let sizes = memory.as_ref().map_or_else(MemorySizes::default, |memory| memory.sizes());
    let places = memory.as_ref().map_or_else(MemoryPlaces::default, |memory| memory.places());
    let signals = task.signals();
    let priority = match details.realtime_priority {
        0 => i64::from(20 + details.nice),
        realtime => -1 - i64::from(realtime),
    };
    let limit = task.limits().get(5).map_or(UNLIMITED, |(soft, _)| *soft);
    let mut text = format!(
        "{} ({}) {} {} {} {} {} {} 0 0 0 0 0 {} {} {} {} {} {} {} 0 {} {} {} {}",
        if is_process { numbers.process } else { numbers.task },
        escaped(&task.name()),
        details.state,
        numbers.parent,
        numbers.group,
        numbers.session,
        numbers.terminal,
        numbers.terminal_group,
        times.user / NS_PER_TICK,
        times.system / NS_PER_TICK,
        times.children_user / NS_PER_TICK,
        times.children_system / NS_PER_TICK,
        priority,
        details.nice,
        task.threads().len(),
        times.start / NS_PER_TICK,
        sizes.size,
        sizes.resident / 4096,
        limit,
    );
    let low = |set: abi::signal::SigSet| set.0 & 0x7fff_ffff;
    let _ = writeln!(
        text,
        " {} {} {} 0 0 {} {} {} {} 0 0 0 {} {} {} {} 0 0 0 {} {} {} {} {} {} {} {}",
        places.start_code,
        places.end_code,
        places.start_stack,
        low(signals.pending),
        low(signals.blocked),
        low(signals.ignored),
        low(signals.caught),
        details.exit_signal,
        details.processor,
        details.realtime_priority,
        details.policy,
        places.start_data,
        places.end_data,
        places.start_brk,
        places.arguments.0,
        places.arguments.1,
        places.environment.0,
        places.environment.1,
        details.exit_status,
    );
    text
}

/// `statm`, in pages.
pub(super) fn statm(task: &dyn TaskView) -> String {
    let sizes = task.memory().map_or_else(MemorySizes::default, |memory| memory.sizes());
    let pages = |bytes: u64| bytes / 4096;
    format!(
        "{} {} {} {} 0 {} 0\n",
        pages(sizes.size),
        pages(sizes.resident),
        pages(sizes.resident_shared),
        pages(sizes.text),
        pages(sizes.data + sizes.stack),
    )
}

/// `status`.
pub(super) fn status(task: &dyn TaskView, cpus: usize) -> String {
    let (numbers, details, creds) = (task.numbers(), task.details(), task.credentials());
    let signals = task.signals();
    let mut text = format!("Name:\t{}\n", escaped(&task.name()));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name}:\t{value}");
    };
    if task.memory().is_some() {
        line("Umask", format!("{:04o}", details.umask));
    }
    line("State", state_word(details.state).to_owned());
    line("Tgid", numbers.process.to_string());
    line("Ngid", "0".to_owned());
    line("Pid", numbers.task.to_string());
    line("PPid", numbers.parent.to_string());
    line("TracerPid", numbers.tracer.to_string());
    line("Uid", format!("{}\t{}\t{}\t{}", creds.ruid, creds.euid, creds.suid, creds.fsuid));
    line("Gid", format!("{}\t{}\t{}\t{}", creds.rgid, creds.egid, creds.sgid, creds.fsgid));
    line("FDSize", details.fd_table_size.to_string());
    // Each number with a blank before it but the first, and a blank behind them all.
    let groups: Vec<String> = creds.groups.iter().map(u32::to_string).collect();
    line("Groups", groups.join(" ") + " ");
    line("NStgid", numbers.process.to_string());
    line("NSpid", numbers.task.to_string());
    line("NSpgid", numbers.group.to_string());
    line("NSsid", numbers.session.to_string());
    line("Kthread", "0".to_owned());
    if let Some(memory) = task.memory() {
        let sizes = memory.sizes();
        let anonymous = sizes.resident.saturating_sub(sizes.resident_shared);
        let rows = [
            ("VmPeak", sizes.peak.max(sizes.size)),
            ("VmSize", sizes.size),
            ("VmLck", sizes.locked),
            ("VmPin", 0),
            ("VmHWM", sizes.resident),
            ("VmRSS", sizes.resident),
            ("RssAnon", anonymous),
            ("RssFile", sizes.resident_shared),
            ("RssShmem", 0),
            ("VmData", sizes.data),
            ("VmStk", sizes.stack),
            ("VmExe", sizes.text),
            ("VmLib", sizes.libraries),
            ("VmPTE", 0),
            ("VmSwap", 0),
            ("HugetlbPages", 0),
        ];
        for (name, bytes) in rows {
            line(name, format!("{:>8} kB", bytes / 1024));
        }
        line("CoreDumping", "0".to_owned());
        line("THP_enabled", "1".to_owned());
        line("untag_mask", "0xffffffffffffffff".to_owned());
    }
    line("Threads", task.threads().len().to_string());
    line("SigQ", format!("{}/{}", signals.queued, signals.queue_limit));
    for (name, set) in [
        ("SigPnd", signals.pending),
        ("ShdPnd", signals.shared_pending),
        ("SigBlk", signals.blocked),
        ("SigIgn", signals.ignored),
        ("SigCgt", signals.caught),
    ] {
        line(name, format!("{:016x}", set.0));
    }
    let capabilities: [(&str, Capabilities); 5] = [
        ("CapInh", creds.inheritable),
        ("CapPrm", creds.permitted),
        ("CapEff", creds.effective),
        ("CapBnd", creds.bounding),
        ("CapAmb", creds.ambient),
    ];
    for (name, set) in capabilities {
        line(name, format!("{:016x}", set.bits()));
    }
    line("NoNewPrivs", u32::from(details.no_new_privs).to_string());
    line("Seccomp", details.seccomp.0.to_string());
    line("Seccomp_filters", details.seccomp.1.to_string());
    line("Speculation_Store_Bypass", "vulnerable".to_owned());
    line("SpeculationIndirectBranch", "always enabled".to_owned());
    line("Cpus_allowed", format!("{:x}", details.affinity));
    line("Cpus_allowed_list", cpu_list(details.affinity, cpus));
    line("Mems_allowed", "1".to_owned());
    line("Mems_allowed_list", "0".to_owned());
    line("voluntary_ctxt_switches", "0".to_owned());
    line("nonvoluntary_ctxt_switches", "0".to_owned());
    text
}

/// `0-3,5`.
pub(super) fn cpu_list(mask: u64, cpus: usize) -> String {
    let is_in = |cpu: usize| cpu < 64 && mask >> cpu & 1 == 1;
    let mut parts: Vec<String> = Vec::new();
    let mut cpu = 0;
    while cpu < cpus.min(64) {
        if !is_in(cpu) {
            cpu += 1;
            continue;
        }
        let first = cpu;
        while cpu + 1 < cpus.min(64) && is_in(cpu + 1) {
            cpu += 1;
        }
        parts.push(if first == cpu { first.to_string() } else { format!("{first}-{cpu}") });
        cpu += 1;
    }
    parts.join(",")
}

/// `limits`.
pub(super) fn limits(task: &dyn TaskView) -> String {
    const ROWS: [(&str, &str); 16] = [
        ("Max cpu time", "seconds"),
        ("Max file size", "bytes"),
        ("Max data size", "bytes"),
        ("Max stack size", "bytes"),
        ("Max core file size", "bytes"),
        ("Max resident set", "bytes"),
        ("Max processes", "processes"),
        ("Max open files", "files"),
        ("Max locked memory", "bytes"),
        ("Max address space", "bytes"),
        ("Max file locks", "locks"),
        ("Max pending signals", "signals"),
        ("Max msgqueue size", "bytes"),
        ("Max nice priority", ""),
        ("Max realtime priority", ""),
        ("Max realtime timeout", "us"),
    ];
    let show = |value: u64| {
        if value == UNLIMITED { "unlimited".to_owned() } else { value.to_string() }
    };
    let mut text =
        format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for ((name, unit), (soft, hard)) in ROWS.iter().zip(task.limits()) {
        let _ = write!(text, "{name:<25} {:<20} {:<20} ", show(soft), show(hard));
        let _ = if unit.is_empty() { writeln!(text) } else { writeln!(text, "{unit:<10}") };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{cpu_list, escaped};

    #[test]
    fn masks_become_lists() {
        assert_eq!(cpu_list(0b1111, 4), "0-3");
        assert_eq!(cpu_list(0b10_1101, 6), "0,2-3,5");
        assert_eq!(cpu_list(u64::MAX, 1), "0");
    }

    #[test]
    fn names_cannot_break_lines() {
        assert_eq!(escaped(b"a\nb\\"), "a\\nb\\\\");
    }
}
