// SPDX-License-Identifier: Apache-2.0
//! Guests traced with `PTRACE_SYSEMU`: slow, and works where seccomp filters cannot be installed.
//!
//! * **What it is.** Stub processes are made by the same zygote and have the same memory as under
//!   [`crate::systrap`]; but a guest's thread is traced by the sentry's thread that drives it, which
//!   sees every call before it happens, and no call of a guest ever happens.
//! * **The types to know.** [`Ptrace`], the platform; [`context::PtraceContext`], one stub thread;
//!   [`tracee::Stopped`] and [`tracee::Running`], what may be done with it when.
//! * **Invariants.** A host call in a stub is made by the tracer alone: registers set, a `syscall`
//!   instruction in the stub's own code run, registers read. Nothing in memory that the guest could
//!   write decides which call it is. A thread that nobody traces is parked in the stub's code, which
//!   touches no memory. Where the host can, the stub's filter is on as well.
//! * **What it deliberately does not do.** Say what the hardware said about a fault beyond
//!   siginfo_t: `trap_no` and `error_code` are inferred ([`context`]).

pub(crate) mod context;
pub(crate) mod inject;
pub(crate) mod tracee;

use std::sync::Arc;

use abi::UserRange;

use crate::{
    AddressSpace, Context, Error, Platform, Vdso,
    systrap::pool::{Kind, Pool},
};

/// The platform whose guests are traced.
#[derive(Debug)]
pub struct Ptrace {
    pool: Arc<Pool>,
}

impl Ptrace {
    /// Starts the zygote. When to call it: as [`crate::systrap::Systrap::new`].
    #[allow(clippy::new_ret_no_self, reason = "callers want the trait, not the type")]
    pub fn new() -> Result<Arc<dyn Platform>, Error> {
        let pool = Pool::start(Kind::Ptrace)?;
        let platform = Ptrace { pool };
        platform.check()?;
        Ok(Arc::new(platform))
    }

    /// Yama may forbid to trace even one's own children.
    fn check(&self) -> Result<(), Error> {
        let (process, thread, state) = self.pool.take_parts()?;
        let mut first = context::PtraceContext::first(process, &thread, &state);
        first.extended_state().map(drop).map_err(|error| match error {
            Error::Host { source, .. } if source.raw_os_error() == Some(libc::EPERM) => {
                Error::Unsupported {
                    feature: "permission to trace",
                    hint: "see /proc/sys/kernel/yama/ptrace_scope (3 forbids it to everybody)",
                }
            }
            other => other,
        })
    }
}

impl Platform for Ptrace {
    fn name(&self) -> &'static str {
        "ptrace"
    }

    fn new_address_space(&self) -> Result<(Arc<dyn AddressSpace>, Box<dyn Context>), Error> {
        let (process, thread, state) = self.pool.take_parts()?;
        let context = context::PtraceContext::first(process, &thread, &state);
        Ok((Arc::clone(context.space()), Box::new(context)))
    }

    fn user_range(&self) -> UserRange {
        self.pool.layout().user
    }

    fn vdso(&self) -> Option<Vdso> {
        self.pool.layout().vdso
    }
}
