// SPDX-License-Identifier: Apache-2.0
//! The content of a container's `state.json`.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::process::ProcessId;
use crate::{
    oci::{SPEC_VERSION, affinity::Affinity, hooks::HostHooks, state},
    sandbox::cgroup::{Cgroup, Resources},
};

/// What has been asked of a container. Whether it lives is read off its processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It is being made.
    Creating,
    /// It waits for its start.
    Created,
    /// Its first process was started.
    Running,
    /// Its processes stand still.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl Status {
    /// As `runsc state` prints it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// One container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its name.
    pub(crate) id: String,
    /// The directory of its config.json.
    pub(crate) bundle: PathBuf,
    /// Its root file system on the host.
    pub(crate) rootfs: PathBuf,
    /// When it was made, in RFC 3339.
    pub(crate) created: String,
    /// The annotations of its config.json.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Who made it.
    pub(crate) owner: u32,
    /// The last thing that was asked of it.
    pub(crate) status: Status,
    /// What it was when it was paused.
    #[serde(default)]
    pub(crate) before_pause: Option<Status>,
    /// The host's cgroup of it, written down before it is made.
    #[serde(default)]
    pub(crate) cgroup: Option<Cgroup>,
    /// What is asked of that cgroup.
    #[serde(default)]
    pub(crate) resources: Resources,
    /// How its processes are judged by the host's out-of-memory killer, if that is said.
    #[serde(default)]
    pub(crate) oom_score_adj: Option<i32>,
    /// Where further processes of it are to run.
    #[serde(default)]
    pub(crate) exec_affinity: Affinity,
    /// What is run on the host at certain moments of its life.
    #[serde(default)]
    pub(crate) hooks: HostHooks,
    /// The host process that stands for it and ends as it ends.
    pub(crate) monitor: Option<ProcessId>,
    /// Its sentry.
    pub(crate) sentry: Option<ProcessId>,
    /// Its gofer.
    pub(crate) gofer: Option<ProcessId>,
}

impl Record {
    /// What it is now: a container whose monitor has ended has stopped. A monitor does not outlive its
    /// sandbox, but knows first how that ended.
    pub(crate) fn status_now(&self) -> Status {
        let lives = self.monitor.is_some_and(ProcessId::is_alive);
        match self.status {
            Status::Creating if self.monitor.is_none() => Status::Creating,
            status if lives => status,
            _ => Status::Stopped,
        }
    }

    /// Every host process of it.
    pub(crate) fn processes(&self) -> impl Iterator<Item = ProcessId> {
        [self.sentry, self.gofer, self.monitor].into_iter().flatten()
    }

    /// As a hook finds it on its standard input when the container is this.
    pub(crate) fn hook_state(&self, status: Status) -> String {
        let pid = self.monitor.filter(|_| status != Status::Stopped).map(|it| it.pid);
        state::value(&self.id, status.name(), pid, &self.bundle, &self.annotations).to_string()
    }

    /// As `runsc state` and `runsc list --format json` print it.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let status = self.status_now();
        let pid = self.monitor.filter(|_| status != Status::Stopped).map_or(0, |it| it.pid);
        let mut value = json!({
            "ociVersion": SPEC_VERSION,
            "id": self.id,
            "pid": pid,
            "status": status.name(),
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "created": self.created,
        });
        if let Some(fields) = value.as_object_mut() {
            if !self.annotations.is_empty() {
                fields.insert("annotations".into(), json!(self.annotations));
            }
            fields.insert("owner".into(), json!(owner_name(self.owner)));
        }
        value
    }
}

/// The name of a user; empty if it has none, as runc has it.
pub(crate) fn owner_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(&*uid)).then(|| name.to_string())
    });
    name.unwrap_or_default()
}
