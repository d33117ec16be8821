// SPDX-License-Identifier: Apache-2.0
//! Faults that the host could not serve.

use abi::{Signal, UserAddr, UserRange, signal_codes};
use platform::{Backing, Context, Fault, MapOptions, Protection};

use super::{Limits, MemoryManager, TASK_SIZE, VmaFlags, vma_set::STACK_GUARD};

/// A stack grows by at least so much at a time: each growth costs a trip to the sentry.
const STEP: u64 = 1 << 20;

impl MemoryManager {
    /// Lets a stack grow down to `addr` if that is what a fault there asks for. `true`: try again.
    ///
    /// The host serves a stack as far as it was mapped at exec; this is for programs that raise
    /// `RLIMIT_STACK` later or map with `MAP_GROWSDOWN`.
    pub fn grow_stack(&self, cx: &mut dyn Context, limits: &Limits, addr: UserAddr) -> bool {
        let page = addr.page_floor();
        let mut mappings = self.mappings.lock();
        let Some((stack, vma)) = mappings.set.at_or_above(page) else { return false };
        if !vma.flags.contains(VmaFlags::GROWS_DOWN) || stack.contains(page) {
            return false;
        }
        let lowest = stack.end.raw().saturating_sub(limits.stack).max(self.layout.user.start.raw());
        let below = mappings.set.below(stack.start).map_or(0, |(below, vma)| {
            // A neighbour that nobody may use is no danger: no gap is kept from it.
            let is_open = !vma.protection.is_empty() && !vma.flags.contains(VmaFlags::GROWS_DOWN);
            below.end.raw() + if is_open { STACK_GUARD } else { 0 }
        });
        let floor = lowest.max(below);
        if page.raw() < floor {
            return false;
        }
        let generous = stack.start.raw().saturating_sub(STEP).max(floor);
        let start = UserAddr(page.raw().min(generous)).page_floor();
        let range = UserRange { start, end: stack.start };
        let mut vma = vma.clone();
        let (protection, is_data) = (vma.protection, false);
        if mappings.may_expand(limits, range.len(), is_data).is_err()
            || (vma.flags.contains(VmaFlags::LOCKED)
                && mappings.may_lock(limits, range.len()).is_err())
        {
            return false;
        }
        let options = MapOptions::NORESERVE;
        if let Err(error) = cx.map(range, protection, Backing::Anonymous, options) {
            tracing::debug!(%error, "a stack did not grow");
            return false;
        }
        vma.content = None;
        mappings.set.insert(range, vma);
        true
    }

    /// The fault as the guest's own kernel would have reported it: the stub and what lies around it are
    /// not there for the guest.
    pub fn as_seen(&self, mut fault: Fault) -> Fault {
        /// Bit 0 of the error code: the page was there.
        const PRESENT: u64 = 1;
        if fault.signal != Signal::SIGSEGV.raw() {
            return fault;
        }
        let addr = UserAddr(fault.addr);
        let is_vdso =
            self.vdso.is_some_and(|vdso| vdso.code.contains(addr) || vdso.data.contains(addr));
        if addr >= self.layout.user.end && addr.raw() < TASK_SIZE && !is_vdso {
            fault.code = signal_codes::SEGV_MAPERR;
            fault.error_code &= !PRESENT;
        }
        fault
    }

    /// The protection of the page at `addr` as planned; `None` where nothing is mapped.
    pub fn protection_at(&self, addr: UserAddr) -> Option<Protection> {
        self.mappings.lock().set.find(addr).map(|(_, vma)| vma.protection)
    }
}
