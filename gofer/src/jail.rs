// SPDX-License-Identifier: Apache-2.0
//! The gofer process's own filter: the last door of its jail.
//!
//! The namespaces, the empty root and the capabilities are closed by whoever starts the process (they
//! are the same for sentry and gofer); what calls the gofer is left with is its own knowledge.
//!
//! What is not listed kills the process. Executable memory, processes, and sockets other than unix ones
//! are refused by their arguments.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op,
    SeccompCondition as Condition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::{
    server::{HostCall, When},
    sys,
};

/// Why the filter is not in place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list makes no sense.
    #[error("build the gofer's seccomp filter: {0}")]
    Build(#[from] seccompiler::BackendError),
    /// The host refused it.
    #[error("install the gofer's seccomp filter: {0}")]
    Install(#[from] seccompiler::Error),
}

/// Leaves every thread of this process with `calls` alone. Sets no_new_privs.
pub fn apply_filter(calls: &[HostCall]) -> Result<(), Error> {
    sys::limit_arenas();
    let mut rules = BTreeMap::new();
    for call in calls {
        rules.insert(call.number, conditions(call.when)?);
    }
    let arch = TargetArch::x86_64;
    let allow = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?;
    let refused = [(libc::SYS_clone3, Vec::new())].into();
    let not_there = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let refuse = SeccompFilter::new(refused, SeccompAction::Allow, not_there, arch)?;
    // The refusal first: installing a filter is not among the calls that the list leaves.
    for filter in [refuse, allow] {
        let program: BpfProgram = filter.try_into()?;
        seccompiler::apply_filter_all_threads(&program)?;
    }
    Ok(())
}

/// One rule for each way in which the arguments may be right; none if anything is.
fn conditions(when: When) -> Result<Vec<SeccompRule>, Error> {
    let rule = |index, len, op, value| -> Result<SeccompRule, Error> {
        Ok(SeccompRule::new(vec![Condition::new(index, len, op, value)?])?)
    };
    match when {
        When::Always => Ok(Vec::new()),
        When::Without(index, bits) => Ok(vec![rule(index, Len::Qword, Op::MaskedEq(bits), 0)?]),
        When::With(index, bits) => Ok(vec![rule(index, Len::Qword, Op::MaskedEq(bits), bits)?]),
        When::OneOf(index, values) => {
            values.iter().map(|value| rule(index, Len::Dword, Op::Eq, *value)).collect()
        }
    }
}
