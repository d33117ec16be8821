// SPDX-License-Identifier: Apache-2.0
//! The kernel: its version, the calls it has, what it lets processes do.

use std::fs;

use nix::{libc, sys::utsname::uname};

use super::{Finding, NAMESPACES, fail, ok, try_namespaces, warn};
use crate::sys;

/// The oldest kernel that has all that sandboxes cannot do without.
const OLDEST: (u32, u32) = (5, 15);

pub(super) fn findings() -> Vec<Finding> {
    let mut all = vec![version()];
    all.extend(calls());
    all.extend(seccomp());
    all.extend(namespaces());
    all.push(user_namespaces());
    all
}

/// One line of a small file; nothing if there is none.
pub(super) fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}

/// A number in a file.
pub(super) fn number(path: &str) -> Option<u64> {
    line(path)?.parse().ok()
}

fn version() -> Finding {
    let release =
        uname().map_or_else(|_| String::new(), |it| it.release().to_string_lossy().into());
    let (major, minor) = OLDEST;
    match parse_version(&release) {
        Some(version) if version >= OLDEST => ok("kernel", release),
        _ => fail("kernel", release, &format!("run Linux {major}.{minor} or newer")),
    }
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|it: char| !it.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What a call is for, and whether sandboxes need it.
struct Call {
    name: &'static str,
    number: i64,
    need: Need,
}

enum Need {
    /// Nothing works without.
    Must,
    /// Since this release, and for this.
    May(&'static str),
}

fn calls() -> Vec<Finding> {
    let call = |name, number, need| Call { name, number, need };
    let all = [
        call("clone3", libc::SYS_clone3, Need::Must),
        call("pidfd_open", libc::SYS_pidfd_open, Need::Must),
        call("pidfd_send_signal", libc::SYS_pidfd_send_signal, Need::Must),
        call("close_range", libc::SYS_close_range, Need::Must),
        call("openat2", libc::SYS_openat2, Need::Must),
        call("memfd_create", libc::SYS_memfd_create, Need::Must),
        call("process_vm_readv", libc::SYS_process_vm_readv, Need::Must),
        call("open_tree", libc::SYS_open_tree, Need::Must),
        call(
            "mount_setattr",
            libc::SYS_mount_setattr,
            Need::May("5.12, for read-only bind mounts"),
        ),
        call(
            "futex_waitv",
            libc::SYS_futex_waitv,
            Need::May("5.16, so that a guest's threads wait for each other without the sentry"),
        ),
        call(
            "mseal",
            libc::SYS_mseal,
            Need::May("6.10, so that the stub's own pages stay its own"),
        ),
    ];
    let has = |call: &Call| sys::has_call(call.number);
    let (there, missing): (Vec<Call>, Vec<Call>) = all.into_iter().partition(has);
    let names: Vec<&str> = there.iter().map(|call| call.name).collect();
    let mut findings = vec![ok("kernel calls", names.join(" "))];
    for call in missing {
        let subject = format!("kernel call {}", call.name);
        findings.push(match call.need {
            Need::Must => fail(
                &subject,
                "missing",
                "a newer kernel, or an outer seccomp filter that allows it",
            ),
            Need::May(since) => warn(&subject, "missing", &format!("Linux {since}")),
        });
    }
    findings
}

fn seccomp() -> Vec<Finding> {
    let Some(actions) = line("/proc/sys/kernel/seccomp/actions_avail") else {
        let fix = "a kernel with CONFIG_SECCOMP_FILTER, and /proc/sys";
        return vec![fail("seccomp", "not there", fix)];
    };
    let has = |wanted: &str| actions.split_whitespace().any(|word| word == wanted);
    let mut all = Vec::new();
    let missing: Vec<&str> =
        ["kill_process", "trap", "errno", "allow"].into_iter().filter(|it| !has(it)).collect();
    all.push(if missing.is_empty() {
        ok("seccomp", &*actions)
    } else {
        fail("seccomp", format!("no action {}", missing.join(", ")), "a newer kernel")
    });
    if !has("user_notif") {
        all.push(warn("seccomp user-notify", "missing", "Linux 5.0 with user notification"));
    }
    all
}

fn namespaces() -> Vec<Finding> {
    let mut refused = Vec::new();
    for (name, flag) in NAMESPACES {
        if let Err(error) = try_namespaces(flag)
            && try_namespaces(flag | libc::CLONE_NEWUSER).is_err()
        {
            refused.push(format!("{name} ({error})"));
        }
    }
    if refused.is_empty() {
        return vec![ok("namespaces", NAMESPACES.map(|(name, _)| name).join(" "))];
    }
    let fix = "run as root with CAP_SYS_ADMIN, or allow user namespaces; without them a sandbox has one wall less";
    vec![warn("namespaces", format!("refused: {}", refused.join(", ")), fix)]
}

fn user_namespaces() -> Finding {
    let subject = "user namespaces";
    let Err(error) = try_namespaces(libc::CLONE_NEWUSER) else {
        return ok(subject, "can be made");
    };
    let knobs = [
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns,`",
        ),
    ];
    let culprit = knobs.iter().find(|(path, bad, _)| line(path).as_deref() == Some(*bad));
    let fix = culprit.map_or("allow user namespaces: ordinary users need them", |(.., fix)| *fix);
    warn(subject, format!("refused: {error}"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared() {
        for (release, want) in
            [("6.18.44-fc", (6, 18)), ("5.15.0", (5, 15)), ("5.4", (5, 4)), ("10.0.1+", (10, 0))]
        {
            assert_eq!(parse_version(release), Some(want), "{release}");
        }
        assert_eq!(parse_version("x"), None);
    }

    #[test]
    fn a_call_that_nobody_has_is_missed() {
        assert!(sys::has_call(libc::SYS_pidfd_open));
        assert!(!sys::has_call(9_999));
    }
}
