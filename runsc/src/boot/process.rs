// SPDX-License-Identifier: Apache-2.0
//! The first process, from the plan to what the kernel starts.

use std::{collections::HashMap, sync::Arc};

use abi::{Fd, cred::Capabilities, resource::Rlimit64};
use sentry::{
    creds::Credentials,
    kernel::ProcessSpec,
    task::TaskFacts,
    vfs::{FileDescription, MountNamespace, Place},
};

use super::users::Users;
use crate::sandbox::plan::{Bytes, Process, Scheduling};

/// Who the process is. As runc has it, a user other than root keeps only what is ambient.
pub(super) fn credentials(process: &Process) -> Credentials {
    let sets = &process.capabilities;
    let set = Capabilities::from_bits_truncate;
    let is_root = process.uid == 0;
    let keep = |bits: u64| set(if is_root { bits } else { bits & sets.ambient });
    Credentials {
        groups: process.groups.clone().into(),
        permitted: keep(sets.permitted),
        effective: keep(sets.effective),
        inheritable: set(sets.inheritable),
        bounding: set(sets.bounding),
        ambient: set(sets.ambient & sets.permitted & sets.inheritable),
        no_new_privs: process.no_new_privileges,
        ..Credentials::user(process.uid, process.gid)
    }
}

/// What runc makes of an environment: of several values of a name the last is its value, and who has no
/// home gets that of its user.
pub(super) fn complete(process: &mut Process, tree: &Arc<MountNamespace>) {
    process.env = distinct(std::mem::take(&mut process.env));
    if !process.env.iter().any(|entry| entry.0.starts_with(b"HOME=")) {
        let home = Users::of(tree);
        process.env.push(Bytes([b"HOME=", home.home(process.uid)].concat()));
    }
}

fn distinct(entries: Vec<Bytes>) -> Vec<Bytes> {
    let name = |entry: &Bytes| entry.0.split(|byte| *byte == b'=').next().unwrap_or(&[]).to_vec();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut distinct: Vec<Bytes> = Vec::new();
    for entry in entries {
        let place = *places.entry(name(&entry)).or_insert(distinct.len());
        match distinct.get_mut(place) {
            Some(known) => *known = entry,
            None => distinct.push(entry),
        }
    }
    distinct
}

/// What the kernel is to start.
pub(super) fn spec(
    process: &Process,
    mounts: &Arc<MountNamespace>,
    cwd: Place,
    files: Vec<(Fd, Arc<FileDescription>)>,
    terminal: Option<u64>,
) -> ProcessSpec {
    let list = |list: &[Bytes]| list.iter().map(|bytes| bytes.0.clone()).collect::<Vec<_>>();
    let limit = |(number, current, maximum): &(u32, u64, u64)| {
        (*number, Rlimit64 { rlim_cur: *current, rlim_max: *maximum })
    };
    ProcessSpec {
        executable: process.args.first().map(|name| name.0.clone()).unwrap_or_default(),
        arguments: list(&process.args),
        environment: list(&process.env),
        mounts: Arc::clone(mounts),
        root: mounts.root(),
        cwd,
        umask: process.umask,
        creds: credentials(process),
        rlimits: process.rlimits.iter().map(limit).collect(),
        files,
        is_protected: !process.is_ordinary,
        seccomp: None,
        facts: facts(&process.scheduling),
        oom_score_adj: process.oom_score_adj.unwrap_or(0),
        personality: 0,
        terminal,
    }
}

fn facts(scheduling: &Scheduling) -> TaskFacts {
    TaskFacts {
        nice: scheduling.nice,
        policy: scheduling.policy,
        priority: scheduling.priority,
        resets_on_fork: scheduling.resets_on_fork,
        io_priority: scheduling.io_priority,
        ..TaskFacts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::plan;

    fn process(uid: u32, capabilities: plan::Capabilities) -> Process {
        Process {
            args: vec![Bytes::from("x")],
            env: Vec::new(),
            cwd: Bytes::from("/"),
            uid,
            gid: 0,
            groups: vec![7],
            umask: 0o22,
            capabilities,
            rlimits: Vec::new(),
            no_new_privileges: true,
            terminal: false,
            oom_score_adj: None,
            scheduling: Scheduling::default(),
            is_ordinary: false,
        }
    }

    #[test]
    fn the_last_value_of_a_name_counts() {
        let entries = ["A=1", "B=2", "A=3", "C", "A=4=5", "=x"].map(Bytes::from);
        let wanted = ["A=4=5", "B=2", "C", "=x"].map(Bytes::from);
        assert_eq!(distinct(entries.into()), wanted);
    }

    #[test]
    fn only_ambient_capabilities_survive_a_change_of_user() {
        let sets = plan::Capabilities {
            bounding: 0b111,
            effective: 0b011,
            permitted: 0b011,
            inheritable: 0b001,
            ambient: 0b101,
        };
        let root = credentials(&process(0, sets));
        assert_eq!(root.effective.bits(), 0b011);
        assert_eq!(root.ambient.bits(), 0b001);
        let user = credentials(&process(1000, sets));
        assert_eq!((user.effective.bits(), user.permitted.bits()), (0b001, 0b001));
        assert_eq!((user.bounding.bits(), user.euid, user.no_new_privs), (0b111, 1000, true));
        assert!(user.in_group(7));
    }
}
