// SPDX-License-Identifier: Apache-2.0
//! seccomp(2): which calls a task may still make, decided by programs of its own.
//!
//! A task's [`Seccomp`] is immutable; a further filter makes a new one. It is inherited by clone(2), kept
//! over execve(2), and never taken away. Who changes it holds the thread group's lock, so that a thread
//! that is being born gets either the old or the new one, never none (Linux's `siglock`).

mod program;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use abi::{
    Errno, SigInfo, Signal,
    cred::Capabilities,
    num,
    ptrace::PTRACE_EVENT_SECCOMP,
    seccomp::{
        AUDIT_ARCH_X86_64, SECCOMP_MODE_DISABLED, SECCOMP_MODE_FILTER, SECCOMP_MODE_STRICT,
        SECCOMP_RET_ACTION_FULL, SECCOMP_RET_ALLOW, SECCOMP_RET_DATA, SECCOMP_RET_ERRNO,
        SECCOMP_RET_KILL_THREAD, SECCOMP_RET_LOG, SECCOMP_RET_TRACE, SECCOMP_RET_TRAP,
        SECCOMP_RET_USER_NOTIF, SockFilter,
    },
    wait,
};
use arc_swap::ArcSwapOption;
use program::{Allowed, DATA_WORDS, Program, cost};

use super::{Current, Task};
use crate::creds::Credentials;

/// Whether the tracer has been asked about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    First,
    AfterTracer,
}

/// The architecture that filters are told.
const ARCH: u32 = AUDIT_ARCH_X86_64;

/// What all filters of a task may cost together (`MAX_INSNS_PER_PATH`).
const LIMIT: u64 = (1 << 18) / 8;

/// A filter, and whether what it does not allow is logged.
#[derive(Debug)]
struct Filter {
    program: Program,
    is_logged: bool,
}

/// What a task is bound to.
#[derive(Debug)]
enum Seccomp {
    /// read(2), write(2), exit(2), rt_sigreturn(2).
    Strict,
    /// Filters, the oldest first.
    Filters { list: Vec<Arc<Filter>>, always_allowed: Allowed },
}

impl Seccomp {
    fn filters(&self) -> &[Arc<Filter>] {
        match self {
            Seccomp::Strict => &[],
            Seccomp::Filters { list, .. } => list,
        }
    }
}

/// A task's place for its [`Seccomp`].
#[derive(Default)]
pub(super) struct State {
    /// `SECCOMP_MODE_…`: what every call looks at.
    mode: AtomicU32,
    bound: ArcSwapOption<Seccomp>,
}

impl State {
    fn set(&self, seccomp: Option<Arc<Seccomp>>) {
        let mode = match seccomp.as_deref() {
            None => SECCOMP_MODE_DISABLED,
            Some(Seccomp::Strict) => SECCOMP_MODE_STRICT,
            Some(Seccomp::Filters { .. }) => SECCOMP_MODE_FILTER,
        };
        self.bound.store(seccomp);
        self.mode.store(mode, Ordering::Release);
    }

    /// Takes over what `other` has: a child does.
    pub(super) fn inherit(&self, other: &State) {
        self.set(other.bound.load_full());
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bound.load().fmt(f)
    }
}

/// What becomes of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is made.
    Allow,
    /// It is not made; the register holds what it seems to have returned.
    Skip,
    /// The task ends with this wait status.
    End(i32),
}

impl Task {
    /// Whether no filter wants to see calls with this number.
    pub(super) fn seccomp_always_allows(&self, number: u64) -> bool {
        if self.seccomp.mode.load(Ordering::Acquire) == SECCOMP_MODE_DISABLED {
            return true;
        }
        matches!(
            self.seccomp.bound.load().as_deref(),
            Some(Seccomp::Filters { always_allowed, .. }) if always_allowed.contains(number)
        )
    }

    /// `SECCOMP_MODE_…`, and how many filters there are.
    pub fn seccomp_mode(&self) -> (u32, u32) {
        let count = self.seccomp.bound.load().as_deref().map_or(0, |it| it.filters().len());
        (self.seccomp.mode.load(Ordering::Acquire), u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Whether filters of `self` are where those of `other` began (`is_ancestor`).
    fn may_follow(&self, other: &[Arc<Filter>]) -> bool {
        match self.seccomp.bound.load().as_deref() {
            None => true,
            Some(Seccomp::Strict) => false,
            Some(Seccomp::Filters { list, .. }) => {
                list.len() <= other.len()
                    && list.iter().zip(other).all(|(mine, its)| Arc::ptr_eq(mine, its))
            }
        }
    }
}

/// How a filter is added: seccomp(2)'s flags.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attach {
    /// For all threads of the process.
    pub synchronizes: bool,
    /// What it does not allow is logged.
    pub is_logged: bool,
}

impl Current {
    /// Whether filters may be added: only by who cannot gain rights, or has them.
    pub fn may_filter(&self) -> Result<(), Errno> {
        let creds = self.creds();
        if creds.no_new_privs || creds.has(Capabilities::SYS_ADMIN) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// `SECCOMP_SET_MODE_STRICT`.
    pub fn set_seccomp_strict(&mut self) -> Result<(), Errno> {
        let task = Arc::clone(self.task());
        let _group = task.group().lock();
        if task.seccomp_mode().0 == SECCOMP_MODE_FILTER {
            return Err(Errno::EINVAL);
        }
        task.seccomp.set(Some(Arc::new(Seccomp::Strict)));
        Ok(())
    }

    /// `SECCOMP_SET_MODE_FILTER`, once the program has been read: `Some` is the thread that could not be
    /// brought in line.
    pub fn add_seccomp_filter(
        &mut self,
        code: &[SockFilter],
        how: Attach,
    ) -> Result<Option<i32>, Errno> {
        let filter = new_filter(code, how.is_logged)?;
        let task = Arc::clone(self.task());
        let group = task.group().lock();
        if task.seccomp_mode().0 == SECCOMP_MODE_STRICT {
            return Err(Errno::EINVAL);
        }
        let old = task.seccomp.bound.load_full();
        let seccomp = Arc::new(with(old.as_deref(), filter)?);
        let others = || group.threads.iter().filter(|thread| !Arc::ptr_eq(thread, &task));
        if how.synchronizes {
            let mine = old.as_deref().map_or(&[][..], Seccomp::filters);
            if let Some(thread) = others().find(|thread| !thread.may_follow(mine)) {
                return Ok(Some(thread.tid()));
            }
        }
        task.seccomp.set(Some(Arc::clone(&seccomp)));
        if how.synchronizes {
            let is_bound = task.creds().no_new_privs;
            for thread in others() {
                if is_bound {
                    let creds = thread.creds();
                    let creds = Credentials { no_new_privs: true, ..(*creds).clone() };
                    thread.creds.store(Arc::new(creds));
                }
                thread.seccomp.set(Some(Arc::clone(&seccomp)));
                // Its stub may be answering calls that the filter is to see.
                thread.leave_guest();
            }
        }
        Ok(None)
    }

    /// Asks the filters about the call that is about to be made. No way to a handler leads past this: a
    /// call that is answered elsewhere than by [`crate::kernel::syscall`] must ask first whether there
    /// are filters.
    pub(crate) fn ask_seccomp(&mut self, number: u64, args: [u64; 6]) -> Verdict {
        if self.task.seccomp.mode.load(Ordering::Acquire) == SECCOMP_MODE_DISABLED {
            return Verdict::Allow;
        }
        let Some(seccomp) = self.task.seccomp.bound.load_full() else { return Verdict::Allow };
        match &*seccomp {
            Seccomp::Strict => self.ask_strict(number),
            Seccomp::Filters { always_allowed, .. } if always_allowed.contains(number) => {
                Verdict::Allow
            }
            Seccomp::Filters { list, .. } => self.ask_filters(list, number, args, Look::First),
        }
    }

    fn ask_strict(&mut self, number: u64) -> Verdict {
        if matches!(number, num::NR_READ | num::NR_WRITE | num::NR_EXIT | num::NR_RT_SIGRETURN) {
            return Verdict::Allow;
        }
        log(self, number, Signal::SIGKILL.raw(), SECCOMP_RET_KILL_THREAD);
        Verdict::End(wait::killed(Signal::SIGKILL.raw(), false))
    }

    fn ask_filters(
        &mut self,
        list: &[Arc<Filter>],
        number: u64,
        args: [u64; 6],
        look: Look,
    ) -> Verdict {
        let data = data(number, self.registers.rip, args);
        let mut said = SECCOMP_RET_ALLOW;
        let mut is_logged = false;
        for filter in list.iter().rev() {
            let answer = filter.program.run(&data);
            if rank(answer) < rank(said) {
                said = answer;
                is_logged = filter.is_logged;
            }
        }
        let value = said & SECCOMP_RET_DATA;
        let action = said & SECCOMP_RET_ACTION_FULL;
        if is_logged || action == SECCOMP_RET_LOG {
            log(self, number, 0, action);
        }
        match action {
            SECCOMP_RET_ALLOW | SECCOMP_RET_LOG => Verdict::Allow,
            SECCOMP_RET_ERRNO => {
                const MAX_ERRNO: u64 = 4095;
                self.registers.rax = u64::from(value).min(MAX_ERRNO).wrapping_neg();
                Verdict::Skip
            }
            SECCOMP_RET_TRAP => {
                self.registers.rax = self.registers.orig_rax;
                self.force(self.violation(number, value), false);
                Verdict::Skip
            }
            SECCOMP_RET_TRACE if look == Look::AfterTracer => Verdict::Allow,
            SECCOMP_RET_TRACE => self.ask_tracer(list, value),
            // Without a listener, as Linux answers: ENOSYS, which the register holds already.
            SECCOMP_RET_USER_NOTIF => Verdict::Skip,
            other => self.kill(number, other),
        }
    }

    /// Shows the call to the tracer, who may change it: then the filters look again, but do not ask again.
    fn ask_tracer(&mut self, list: &[Arc<Filter>], value: u32) -> Verdict {
        /// A tracer's word for: not at all.
        const NO_CALL: u64 = 0xffff_ffff;
        // Without a tracer who wants to know, ENOSYS, which the register holds already.
        if !self.trace_event(PTRACE_EVENT_SECCOMP, u64::from(value)) || self.is_doomed() {
            return Verdict::Skip;
        }
        let number = self.registers.syscall_number() & 0xffff_ffff;
        if number == NO_CALL {
            return Verdict::Skip;
        }
        self.ask_filters(list, number, self.registers.syscall_args(), Look::AfterTracer)
    }

    fn violation(&self, number: u64, value: u32) -> SigInfo {
        let low = u32::try_from(number & 0xffff_ffff).unwrap_or(0);
        SigInfo::sys(self.registers.rip, low.cast_signed(), ARCH, value.cast_signed())
    }

    /// The whole process, or this thread if there are others and it alone is meant.
    fn kill(&mut self, number: u64, action: u32) -> Verdict {
        let status = wait::killed(Signal::SIGSYS.raw(), false);
        log(self, number, Signal::SIGSYS.raw(), action);
        let mut group = self.group().lock();
        if action == SECCOMP_RET_KILL_THREAD && group.threads.len() > 1 {
            return Verdict::End(status);
        }
        self.group().end(&mut group, status);
        Verdict::End(group.exit.unwrap_or(status))
    }
}

/// As Linux compares actions: the number with its sign; the smallest wins.
fn rank(answer: u32) -> i32 {
    (answer & SECCOMP_RET_ACTION_FULL).cast_signed()
}

fn data(number: u64, rip: u64, args: [u64; 6]) -> [u32; DATA_WORDS] {
    let halves = |value: u64| {
        let half = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(0);
        [half(value), half(value >> 32)]
    };
    let [number, _] = halves(number);
    let mut data = [0; DATA_WORDS];
    let words = [number, ARCH].into_iter().chain(halves(rip));
    for (to, from) in data.iter_mut().zip(words.chain(args.into_iter().flat_map(halves))) {
        *to = from;
    }
    data
}

fn new_filter(code: &[SockFilter], is_logged: bool) -> Result<Filter, Errno> {
    Ok(Filter { program: Program::new(code)?, is_logged })
}

/// `old` with one filter more.
fn with(old: Option<&Seccomp>, filter: Filter) -> Result<Seccomp, Errno> {
    let allowed = filter.program.always_allowed(ARCH, SECCOMP_RET_ALLOW);
    let (mut list, allowed) = match old {
        Some(Seccomp::Filters { list, always_allowed }) => {
            (list.clone(), allowed.and(always_allowed))
        }
        _ => (Vec::new(), allowed),
    };
    // DIFFERS: Linux counts the instructions of the program that it makes of this one.
    let total: u64 = list.iter().map(|filter| cost(&filter.program)).sum();
    if total.saturating_add(num::to_u64(filter.program.len())) > LIMIT {
        return Err(Errno::ENOMEM);
    }
    list.push(Arc::new(filter));
    Ok(Seccomp::Filters { list, always_allowed: allowed })
}

/// Filters that a task is born with: those of config.json.
#[derive(Debug, Clone)]
pub struct Inherited(Arc<Seccomp>);

impl Inherited {
    /// Checks a program from outside.
    pub fn new(code: &[SockFilter], is_logged: bool) -> Result<Inherited, Errno> {
        Ok(Inherited(Arc::new(with(None, new_filter(code, is_logged)?)?)))
    }

    /// `SECCOMP_RET_…` for a call.
    pub fn answer(&self, number: u64, args: [u64; 6]) -> u32 {
        let data = data(number, 0, args);
        let answers = self.0.filters().iter().map(|filter| filter.program.run(&data));
        answers.min_by_key(|answer| rank(*answer)).unwrap_or(SECCOMP_RET_ALLOW)
    }
}

impl Task {
    /// Binds a task that has not run yet.
    pub(super) fn bind(&self, inherited: &Inherited) {
        self.seccomp.set(Some(Arc::clone(&inherited.0)));
    }
}

/// What Linux writes to its audit log. At the level of debugging: a guest could fill any other.
fn log(cx: &Current, number: u64, signal: i32, action: u32) {
    tracing::debug!(
        pid = cx.task.pid(),
        tid = cx.task.tid(),
        syscall = number,
        signal,
        action = format_args!("{action:#x}"),
        "seccomp"
    );
}
