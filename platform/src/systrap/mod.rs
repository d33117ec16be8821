// SPDX-License-Identifier: Apache-2.0
//! Guests trapped by a seccomp filter: SIGSYS, a handler in the stub, a channel to the sentry.
//!
//! * **What it is.** A guest's `syscall` instruction meets the stub's filter ([`filter`]) and raises
//!   SIGSYS; the stub's handler ([`stub`]) leaves all registers in its channel ([`shared`]) and hands
//!   over ([`wake`]); the sentry's thread reads them, answers, hands back. Faults come the same way.
//! * **The types to know.** [`Systrap`], the platform; [`subprocess::Subprocess`], one stub process;
//!   [`thread::Thread`], one of its threads; [`context::SystrapContext`], the right to drive one.
//! * **Invariants.** A stub holds one socket and no other descriptor between operations. Only the
//!   zygote is ever forked from the sentry, before any guest ran; it never runs guest code.
//! * **Locks.** [`subprocess::Subprocess`]'s operations before its life; both are leaves.
//! * **Answered in the stub:** calls about private futexes ([`futex`]), for they concern nothing but the
//!   stub's own memory and threads.
//! * **What it deliberately does not do.** Patch guest code: not yet.

pub(crate) mod birth;
pub(crate) mod context;
pub(crate) mod filter;
pub(crate) mod frame;
pub(crate) mod futex;
pub(crate) mod gate;
pub(crate) mod pool;
pub(crate) mod registry;
#[allow(unreachable_pub, reason = "the file is also a module of the stub's")]
pub(crate) mod shared;
pub(crate) mod spares;
pub(crate) mod stub;
pub(crate) mod subprocess;
pub(crate) mod thread;
pub(crate) mod wake;

use std::sync::Arc;

use abi::UserRange;

use crate::{AddressSpace, Context, Error, Platform, Vdso};

/// The platform whose guests trap by seccomp.
#[derive(Debug)]
pub struct Systrap {
    pool: Arc<pool::Pool>,
}

impl Systrap {
    /// Starts the zygote. To be called *after* the sentry took the user, capabilities and root that
    /// it will keep (it must stay allowed to read its stubs' memory, and the platform has a thread of
    /// its own from here on, which keeps what it has now), and *before* the sentry installs its
    /// filter, which must then be for all threads.
    // An `Arc` because every context and space refers to its platform.
    #[allow(clippy::new_ret_no_self, reason = "callers want the trait, not the type")]
    pub fn new() -> Result<Arc<dyn Platform>, Error> {
        Ok(Arc::new(Systrap { pool: pool::Pool::start(pool::Kind::Systrap)? }))
    }
}

impl Platform for Systrap {
    fn name(&self) -> &'static str {
        "systrap"
    }

    fn new_address_space(&self) -> Result<(Arc<dyn AddressSpace>, Box<dyn Context>), Error> {
        let context = self.pool.take()?;
        let space = Arc::clone(context.space());
        Ok((space, Box::new(context)))
    }

    fn user_range(&self) -> UserRange {
        self.pool.layout().user
    }

    fn vdso(&self) -> Option<Vdso> {
        self.pool.layout().vdso
    }
}
