// SPDX-License-Identifier: Apache-2.0
//! Cgroups that systemd makes: a scope unit for each container.
//!
//! A scope begins with a process in it and goes with its last one: the container's monitor asks for it, in
//! its own name, before it starts anything. What is asked of systemd is what runc asks for. The unit's
//! description has the container's token, so that none is ever taken for another's.

mod annotations;
mod bus;
mod limits;
mod wire;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub(crate) use bus::BusError;
use bus::{Bus, Whose};
use wire::{Body, Call, Message, Property, Value};

use super::{CgroupError, Version, write::Write};

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Why systemd does not have the unit as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemdError {
    /// There is no systemd to be asked.
    #[error("systemd not running on this host, cannot use systemd cgroups manager")]
    Missing,
    /// It refuses, or cannot be asked.
    #[error("systemd: {step} {unit}: {source}")]
    Asked {
        /// What for.
        step: &'static str,
        /// Which unit.
        unit: String,
        /// What came of it.
        source: BusError,
    },
    /// It tried, and failed.
    #[error("systemd: {step} {unit}: the job's result is {result:?}")]
    Job {
        /// What for.
        step: &'static str,
        /// Which unit.
        unit: String,
        /// Its own word for it.
        result: String,
    },
}

/// A container's unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unit {
    name: String,
    slice: String,
    /// The user's manager makes it, not the host's.
    is_users: bool,
    /// What annotations ask for.
    properties: Vec<Property>,
}

impl Unit {
    /// The unit that config.json asks for with `slice:prefix:name`; of the container `id` if it does not.
    pub(super) fn of(
        path: Option<&Path>,
        id: &str,
        annotations: &BTreeMap<String, String>,
        is_users: bool,
    ) -> Result<Unit, CgroupError> {
        let default = format!(":runsc:{id}");
        let text = path.map(|path| path.to_string_lossy().into_owned()).filter(|it| !it.is_empty());
        let text = text.unwrap_or(default);
        let refuse = |why: String| CgroupError::Field { field: "linux.cgroupsPath".into(), why };
        let parts: Vec<&str> = text.split(':').collect();
        let &[slice, prefix, name] = &*parts else {
            return Err(refuse(format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, \
                 got {text:?} instead"
            )));
        };
        if name.ends_with(".slice") {
            return Err(refuse(format!("{name} is a slice, which holds no processes")));
        }
        let slice = match slice {
            "" if is_users => "user.slice",
            "" => "system.slice",
            slice => slice,
        };
        let name = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        let is_known = |it: char| it.is_ascii_alphanumeric() || ":-_.\\@".contains(it);
        if name.len() > 255 || name.starts_with('.') || !name.chars().all(is_known) {
            return Err(refuse(format!("{name:?} is no name of a unit")));
        }
        if expand(slice)
            .is_none_or(|it| !it.to_string_lossy().chars().all(|c| c == '/' || is_known(c)))
        {
            return Err(refuse(format!("invalid slice name: {slice}")));
        }
        let properties = annotations::properties(annotations)?;
        Ok(Unit { name, slice: slice.into(), is_users, properties })
    }

    /// Where its cgroup is, beneath the manager's own.
    pub(super) fn directory(&self) -> PathBuf {
        expand(&self.slice).unwrap_or_default().join(&self.name)
    }

    /// Where the manager's own is, beneath the root.
    pub(super) fn root(&self) -> Result<PathBuf, SystemdError> {
        if !Path::new("/run/systemd/system").is_dir() {
            return Err(SystemdError::Missing);
        }
        let mut manager = self.manager("ask for the cgroup of")?;
        let root = manager.property(MANAGER_PATH, MANAGER, "ControlGroup");
        let root = root.map_err(self.asked("ask for the cgroup of"))?;
        Ok(PathBuf::from(root.trim_start_matches('/')))
    }

    /// Starts it with this process in it, and what `writes` say as its limits.
    pub(super) fn start(
        &self,
        token: &str,
        version: Version,
        writes: &[Write],
    ) -> Result<(), SystemdError> {
        const STEP: &str = "start";
        let mut manager = self.manager(STEP)?;
        let release = manager.release().map_err(self.asked(STEP))?;
        let mut all = vec![
            Property::new("Description", Value::Text(format!("runsc container {token}"))),
            Property::new("Slice", Value::Text(self.slice.clone())),
            Property::new("Delegate", Value::Bool(true)),
            Property::new("PIDs", Value::Array("u".into(), vec![Value::U32(std::process::id())])),
            Property::new("DefaultDependencies", Value::Bool(false)),
        ];
        let io = match version {
            Version::V1 => "BlockIOAccounting",
            Version::V2 => "IOAccounting",
        };
        for name in ["MemoryAccounting", "CPUAccounting", "TasksAccounting", io] {
            all.push(Property::new(name, Value::Bool(true)));
        }
        all.extend(limits::properties(version, writes, release));
        all.extend(self.properties.iter().cloned());
        let start = |manager: &mut Manager| {
            let body = Body::default().text(&self.name).text("replace").properties(&all).nothing();
            manager.job("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
        };
        let result = match start(&mut manager) {
            // One of the name that has failed stays until somebody has seen it.
            Err(BusError::Refused { name, .. }) if name == UNIT_EXISTS => {
                manager.reset(&self.name).map_err(self.asked(STEP))?;
                start(&mut manager)
            }
            other => other,
        };
        self.finished(STEP, result.map_err(self.asked(STEP))?)
    }

    /// Has systemd keep to what `writes` say.
    pub(super) fn set(&self, version: Version, writes: &[Write]) -> Result<(), SystemdError> {
        const STEP: &str = "set the limits of";
        let mut manager = self.manager(STEP)?;
        let release = manager.release().map_err(self.asked(STEP))?;
        let all = limits::properties(version, writes, release);
        if all.is_empty() {
            return Ok(());
        }
        // Not for longer than the unit lives.
        let body = Body::default().text(&self.name).truth(true).properties(&all);
        let set = manager.call("SetUnitProperties", "sba(sv)", body);
        set.map(drop).map_err(self.asked(STEP))
    }

    /// Ends it, after `clear` has ended its processes: nothing of it stays, not even that it has failed.
    /// `false` if it is another's, of which nothing is touched.
    pub(super) fn stop(&self, token: &str, clear: impl FnOnce()) -> Result<bool, SystemdError> {
        const STEP: &str = "stop";
        let mut manager = self.manager(STEP)?;
        match manager.description(&self.name).map_err(self.asked(STEP))? {
            Some(text) if text.split(' ').any(|word| word == token) => {}
            Some(text) => {
                tracing::debug!("{} is another's: {text}", self.name);
                return Ok(false);
            }
            None => return Ok(true),
        }
        clear();
        let body = Body::default().text(&self.name).text("replace");
        match manager.job("StopUnit", "ss", body) {
            Ok(result) => self.finished(STEP, result)?,
            Err(BusError::Refused { name, .. }) if name == NO_SUCH_UNIT => {}
            Err(error) => return Err(self.asked(STEP)(error)),
        }
        manager.reset(&self.name).map_err(self.asked(STEP))?;
        Ok(true)
    }

    fn manager(&self, step: &'static str) -> Result<Manager, SystemdError> {
        let whose = if self.is_users { Whose::User } else { Whose::System };
        Manager::connect(whose).map_err(self.asked(step))
    }

    fn asked(&self, step: &'static str) -> impl Fn(BusError) -> SystemdError {
        move |source| SystemdError::Asked { step, unit: self.name.clone(), source }
    }

    fn finished(&self, step: &'static str, result: String) -> Result<(), SystemdError> {
        if result == "done" {
            return Ok(());
        }
        Err(SystemdError::Job { step, unit: self.name.clone(), result })
    }
}

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// systemd's manager.
struct Manager {
    bus: Bus,
}

impl Manager {
    fn connect(whose: Whose) -> Result<Manager, BusError> {
        let bus = Bus::connect(whose)?;
        Ok(Manager { bus })
    }

    /// Calls a method of the manager.
    fn call(&mut self, member: &str, signature: &str, body: Body) -> Result<Message, BusError> {
        self.call_at(MANAGER_PATH, MANAGER, member, signature, body)
    }

    fn call_at(
        &mut self,
        path: &str,
        interface: &str,
        member: &str,
        signature: &str,
        body: Body,
    ) -> Result<Message, BusError> {
        let destination = (!self.bus.is_direct).then_some(SERVICE);
        self.bus.call(&Call { destination, path, interface, member, signature, body })
    }

    /// Calls a method that begins a job, and waits for its end: its result.
    fn job(&mut self, member: &str, signature: &str, body: Body) -> Result<String, BusError> {
        if !self.bus.is_direct {
            let rule = format!(
                "type='signal',sender='{SERVICE}',path='{MANAGER_PATH}',interface='{MANAGER}',\
                 member='JobRemoved'"
            );
            self.bus.call_bus("AddMatch", "s", Body::default().text(&rule))?;
        }
        self.call("Subscribe", "", Body::default())?;
        let job = one_text(&self.call(member, signature, body)?)?;
        self.bus.signal(|message| {
            let texts = (message.member == "JobRemoved").then(|| message.texts().ok())??;
            match &*texts {
                [ended, _, result] if *ended == job => Some(result.clone()),
                _ => None,
            }
        })
    }

    /// A property that is a string.
    fn property(&mut self, path: &str, interface: &str, name: &str) -> Result<String, BusError> {
        let body = Body::default().text(interface).text(name);
        let reply = self.call_at(path, "org.freedesktop.DBus.Properties", "Get", "ss", body)?;
        one_text(&reply)
    }

    /// systemd's release.
    fn release(&mut self) -> Result<u32, BusError> {
        let text = self.property(MANAGER_PATH, MANAGER, "Version")?;
        let text = text.trim_start_matches(|it: char| !it.is_ascii_digit());
        let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
        Ok(text.get(..end).and_then(|it| it.parse().ok()).unwrap_or(0))
    }

    /// The description of a unit that is there.
    fn description(&mut self, unit: &str) -> Result<Option<String>, BusError> {
        let path = match self.call("GetUnit", "s", Body::default().text(unit)) {
            Ok(reply) => one_text(&reply)?,
            Err(BusError::Refused { name, .. }) if name == NO_SUCH_UNIT => return Ok(None),
            Err(error) => return Err(error),
        };
        self.property(&path, "org.freedesktop.systemd1.Unit", "Description").map(Some)
    }

    /// Forgets that a unit has failed.
    fn reset(&mut self, unit: &str) -> Result<(), BusError> {
        match self.call("ResetFailedUnit", "s", Body::default().text(unit)) {
            Err(BusError::Refused { name, .. }) if name == NO_SUCH_UNIT => Ok(()),
            other => other.map(drop),
        }
    }
}

fn one_text(message: &Message) -> Result<String, BusError> {
    Ok(message.texts()?.into_iter().next().unwrap_or_default())
}

/// `a-b.slice` is in `a.slice`: its path beneath the root, if it is a slice.
fn expand(slice: &str) -> Option<PathBuf> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(PathBuf::new());
    }
    let mut path = PathBuf::new();
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() || part.contains('/') || part.starts_with('.') {
            return None;
        }
        prefix.push_str(part);
        path.push(format!("{prefix}.slice"));
        prefix.push('-');
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str, is_users: bool) -> Result<Unit, String> {
        Unit::of(Some(Path::new(path)), "web", &BTreeMap::new(), is_users)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn units_are_where_runc_has_them() {
        for (path, want) in [
            ("", "system.slice/runsc-web.scope"),
            ("system.slice:docker:0a", "system.slice/docker-0a.scope"),
            (":libpod:0a", "system.slice/libpod-0a.scope"),
            ("a-b-c.slice:cri:0a", "a.slice/a-b.slice/a-b-c.slice/cri-0a.scope"),
            ("-.slice::x", "x.scope"),
        ] {
            assert_eq!(unit(path, false).unwrap().directory(), Path::new(want), "{path}");
        }
        let users = unit("", true).unwrap();
        assert_eq!(users.directory(), Path::new("user.slice/runsc-web.scope"));
    }

    #[test]
    fn what_is_no_unit_is_refused() {
        for (path, says) in [
            ("/a/b", "of format \"slice:prefix:name\""),
            ("a:b:c:d", "of format"),
            ("a.slice:b:c/../d", "is no name of a unit"),
            ("a.slice:b:c\n", "is no name of a unit"),
            ("a.slice::.x", "is no name of a unit"),
            ("a:b:c", "invalid slice name: a"),
            ("a--b.slice:b:c", "invalid slice name"),
            ("../x.slice:b:c", "invalid slice name"),
            ("a-..-b.slice:b:c", "invalid slice name"),
            (".slice:b:c", "invalid slice name"),
            ("a b.slice:b:c", "invalid slice name"),
            ("a.slice::b.slice", "is a slice"),
        ] {
            let error = unit(path, false).unwrap_err();
            assert!(error.starts_with("linux.cgroupsPath: ") && error.contains(says), "{error}");
        }
    }
}
