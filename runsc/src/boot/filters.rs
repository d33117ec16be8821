// SPDX-License-Identifier: Apache-2.0
//! The sentry's own seccomp filter: the host calls it is left with, by who needs them.
//!
//! What is not listed kills the sandbox. The sentry can never open a file, connect a socket or execute
//! a program; it cannot make memory executable, and it cannot make a process, only threads. Every list
//! but the first two comes from the module that makes the calls.

use std::collections::{BTreeMap, BTreeSet};

use nix::libc;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompFilter, SeccompRule, TargetArch,
};
use tracing::debug;

/// One host call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// Its number.
    pub(super) number: i64,
    /// When it is allowed.
    pub(super) when: When,
}

/// What the arguments of a call must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    /// Anything.
    Always,
    /// This argument has none of these bits.
    Without(u8, u64),
    /// This argument has all of these bits.
    With(u8, u64),
    /// This argument is one of these.
    OneOf(u8, &'static [u64]),
}

/// Why the filter is not in place.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    /// A list makes no sense.
    #[error("build the seccomp filter: {0}")]
    Build(#[from] seccompiler::BackendError),
    /// The host refused it.
    #[error("install the seccomp filter: {0}")]
    Install(#[from] seccompiler::Error),
}

/// A call with any arguments.
pub(super) const fn call(number: i64) -> Call {
    Call { number, when: When::Always }
}

const fn when(number: i64, when: When) -> Call {
    Call { number, when }
}

const EXECUTABLE: When = When::Without(2, libc::PROT_EXEC as u64);
const A_THREAD: When =
    When::With(0, (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND) as u64);

/// What Rust's and the C library's runtime need: memory, threads, clocks, an end.
const RUNTIME: &[Call] = &[
    when(libc::SYS_mmap, EXECUTABLE),
    when(libc::SYS_mprotect, EXECUTABLE),
    call(libc::SYS_munmap),
    call(libc::SYS_mremap),
    call(libc::SYS_madvise),
    call(libc::SYS_brk),
    call(libc::SYS_futex),
    when(libc::SYS_clone, A_THREAD),
    // REFUSED: both are answered with ENOSYS by the second filter. So the C library falls back to clone, whose
    // flags can be checked; and its allocator, which would look at a setting under /proc before it first
    // gives memory back, goes on without.
    call(libc::SYS_clone3),
    call(libc::SYS_openat),
    call(libc::SYS_set_robust_list),
    call(libc::SYS_rseq),
    call(libc::SYS_rt_sigprocmask),
    call(libc::SYS_rt_sigaction),
    call(libc::SYS_rt_sigreturn),
    call(libc::SYS_sigaltstack),
    call(libc::SYS_sched_yield),
    call(libc::SYS_sched_getaffinity),
    call(libc::SYS_gettid),
    call(libc::SYS_getpid),
    call(libc::SYS_getrandom),
    call(libc::SYS_clock_gettime),
    call(libc::SYS_clock_nanosleep),
    call(libc::SYS_restart_syscall),
    when(libc::SYS_prctl, When::OneOf(0, &[libc::PR_SET_NAME as u64, PR_SET_VMA])),
    call(libc::SYS_exit),
    call(libc::SYS_exit_group),
];

/// Calls that do not kill, but never do anything.
const REFUSED: [i64; 2] = [libc::SYS_clone3, libc::SYS_openat];

/// Naming a range of memory: the allocator does so.
const PR_SET_VMA: u64 = 0x5356_4d41;

/// What this crate's own conversation with runsc and the log need.
const CONVERSATION: &[Call] = &[
    call(libc::SYS_sendto),
    call(libc::SYS_recvfrom),
    call(libc::SYS_recvmsg),
    call(libc::SYS_write),
    call(libc::SYS_close),
    when(
        libc::SYS_fcntl,
        When::OneOf(
            1,
            &[
                libc::F_GETFD as u64,
                libc::F_SETFD as u64,
                libc::F_GETFL as u64,
                libc::F_SETFL as u64,
                libc::F_DUPFD_CLOEXEC as u64,
                libc::F_ADD_SEALS as u64,
                libc::F_GET_SEALS as u64,
                libc::F_GETLK as u64,
                libc::F_SETLK as u64,
                libc::F_OFD_SETLK as u64,
                libc::F_OFD_GETLK as u64,
            ],
        ),
    ),
];

/// What the sentry asks the host that no other list names: how much memory there is.
const QUESTIONS: &[Call] = &[call(libc::SYS_sysinfo)];

/// The calls of a sentry whose other modules need `further`.
pub(super) fn calls(further: impl IntoIterator<Item = Call>) -> Vec<Call> {
    RUNTIME.iter().chain(CONVERSATION).chain(QUESTIONS).copied().chain(further).collect()
}

/// The host calls that have an effect, by name.
pub(super) fn names(calls: &[Call]) -> Vec<String> {
    let numbers: BTreeSet<i64> = calls.iter().map(|call| call.number).collect();
    numbers.iter().filter(|number| !REFUSED.contains(number)).map(|number| name(*number)).collect()
}

/// Installs the filter for every thread of this process.
pub(super) fn install(calls: &[Call]) -> Result<(), FilterError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in calls {
        let conditions = conditions(call.when)?;
        match (rules.get_mut(&call.number), conditions.is_empty()) {
            // Any arguments will do, whatever another list said.
            (_, true) => drop(rules.insert(call.number, Vec::new())),
            (Some(present), false) if present.is_empty() => {}
            (Some(present), false) => present.extend(conditions),
            (None, false) => drop(rules.insert(call.number, conditions)),
        }
    }
    let names = names(calls);
    debug!("the sentry's filter allows {} host calls: {}", names.len(), names.join(" "));
    let arch = TargetArch::x86_64;
    let deny = SeccompAction::KillProcess;
    let allow = SeccompFilter::new(rules, deny, SeccompAction::Allow, arch)?;
    let refused = REFUSED.iter().map(|number| (*number, Vec::new())).collect();
    let refusal = SeccompAction::Errno(libc::ENOSYS as u32);
    let refuse = SeccompFilter::new(refused, SeccompAction::Allow, refusal, arch)?;
    // The second first: installing a filter is not among the calls that the list leaves.
    for filter in [refuse, allow] {
        let program: seccompiler::BpfProgram = filter.try_into()?;
        seccompiler::apply_filter_all_threads(&program)?;
    }
    Ok(())
}

/// One rule for each way in which the arguments may be right; none if anything is.
fn conditions(when: When) -> Result<Vec<SeccompRule>, FilterError> {
    let rule = |index, op, value| -> Result<SeccompRule, FilterError> {
        let condition = Condition::new(index, Len::Qword, op, value)?;
        Ok(SeccompRule::new(vec![condition])?)
    };
    match when {
        When::Always => Ok(Vec::new()),
        When::Without(index, bits) => Ok(vec![rule(index, Op::MaskedEq(bits), 0)?]),
        When::With(index, bits) => Ok(vec![rule(index, Op::MaskedEq(bits), bits)?]),
        When::OneOf(index, values) => values
            .iter()
            .map(|value| {
                let condition = Condition::new(index, Len::Dword, Op::Eq, *value)?;
                Ok(SeccompRule::new(vec![condition])?)
            })
            .collect(),
    }
}

fn name(number: i64) -> String {
    let known = u64::try_from(number).ok().and_then(syscalls::support::name);
    known.map_or_else(|| number.to_string(), str::to_string)
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        os::unix::process::ExitStatusExt as _,
        process::{Command, ExitStatus, Stdio},
        thread,
    };

    use super::*;
    use crate::sys;

    const ACTION: &str = "RUNSC_TEST_UNDER_FILTER";

    /// What is tried under the filter: an exit code.
    const ACTIONS: [(&str, fn() -> i32); 5] = [
        ("thread", || {
            i32::from(thread::spawn(|| vec![1; 1 << 20].len()).join().unwrap() == 1 << 20)
        }),
        ("open", || i32::from(std::fs::File::open("/").is_ok())),
        ("other call", || nix::unistd::getppid().as_raw()),
        ("socket", || i32::from(std::os::unix::net::UnixDatagram::unbound().is_ok())),
        ("program", || i32::from(Command::new("/bin/true").status().is_ok())),
    ];

    /// In a process of its own, which is this test again: a copy of one with other threads in it could wait
    /// for their locks for good.
    fn under_filter(action: &str) -> ExitStatus {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "boot::filters::tests::the_runtime_works_and_nothing_else_does"])
            .env(ACTION, action)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    }

    #[test]
    fn the_runtime_works_and_nothing_else_does() {
        if let Ok(wanted) = env::var(ACTION) {
            let (_, action) = ACTIONS.iter().find(|(name, _)| *name == wanted).unwrap();
            nix::sys::prctl::set_no_new_privs().unwrap();
            install(&calls([])).unwrap();
            sys::exit_now(action());
        }
        assert_eq!(under_filter("thread").code(), Some(1));
        // The one refusal that is survived: there is still no file.
        assert_eq!(under_filter("open").code(), Some(0));
        for action in ["other call", "socket", "program"] {
            assert_eq!(under_filter(action).signal(), Some(libc::SIGSYS), "{action}");
        }
    }
}
