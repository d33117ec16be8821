// SPDX-License-Identifier: Apache-2.0
//! From config.json to a plan: every field is used, named as ignored, or refused by name.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use oci_spec::runtime::{self as oci, LinuxPersonalityDomain, Spec};
use tracing::debug;

use super::{
    bundle::{Bundle, BundleError},
    devices, hooks, ids, mount_options, mounts, namespaces, process, seccomp, state,
};
use crate::{
    config::{Config, Overlay},
    sandbox::plan::{
        BootPlan, Bytes, Extras, GoferPlan, GoferRoot, IdMaps, Isolation, Mount, MountKind, Root,
    },
};

fn refuse<T>(field: &str, why: impl Into<String>) -> Result<T, BundleError> {
    Err(BundleError::field(field, why))
}

/// The plan for the container `id` of this bundle.
pub(crate) fn plan(
    id: &str,
    bundle: &Bundle,
    config: &Config,
) -> Result<(BootPlan, GoferPlan), BundleError> {
    let spec = &bundle.spec;
    name_ignored(spec);
    let Some(process) = spec.process() else { return refuse("process", "is missing") };
    let process = process::convert(process)?;
    namespaces::check(spec)?;
    hooks::check(spec)?;
    let ids = ids::check(spec, &process)?;
    let root = spec.root().as_ref();
    let is_readonly = root.and_then(oci::Root::readonly).unwrap_or(false);
    let has_overlay = config.overlay != Overlay::Off;
    let mut roots = vec![GoferRoot {
        path: bundle.rootfs.clone(),
        is_readonly: is_readonly || has_overlay,
        ids: ids.clone(),
        ..GoferRoot::default()
    }];
    let guest_mounts = mounts::convert(bundle, config, &ids, &mut roots)?;
    if !has_overlay {
        let points = mount_points(&guest_mounts, &roots, is_readonly);
        if let Some(root) = roots.first_mut() {
            root.mount_points = points;
        }
    }
    let names = namespaces::names(spec)?;
    let linux = spec.linux().as_ref();
    let isolation = Isolation { has_namespaces: false, has_user_namespace: false };
    let boot = BootPlan {
        cpu_description: crate::sandbox::plan::cpu_description(),
        limits: Default::default(),
        has_memory_usage: false,
        id: id.into(),
        hostname: name("hostname", spec.hostname())?.unwrap_or(names.host),
        domainname: name("domainname", spec.domainname())?.unwrap_or(names.domain),
        platform: config.platform,
        may_patch: config.may_patch,
        network: config.network,
        isolation,
        is_foreground: true,
        waits_for_start: false,
        waits_for_terminal: false,
        process,
        root: Root { is_readonly, has_overlay, access: config.root_access },
        mounts: guest_mounts,
        masked_paths: paths("linux.maskedPaths", linux.and_then(|it| it.masked_paths().as_ref()))?,
        readonly_paths: paths(
            "linux.readonlyPaths",
            linux.and_then(|it| it.readonly_paths().as_ref()),
        )?,
        extras: extras(id, bundle, ids)?,
        strace: config.strace.clone(),
        report: false,
        allow_suid: config.allow_suid,
        logs: Vec::new(),
        preserved: 0,
    };
    let gofer = GoferPlan {
        roots,
        isolation,
        host_uds: config.host_uds.clone(),
        host_fifo: config.host_fifo,
        logs: Vec::new(),
    };
    Ok((boot, gofer))
}

fn extras(id: &str, bundle: &Bundle, ids: IdMaps) -> Result<Extras, BundleError> {
    let spec = &bundle.spec;
    let annotations = spec.annotations().iter().flatten();
    // Inside, the first process is number 1.
    let start_state = state::value(id, "created", Some(1), &bundle.path, annotations).to_string();
    let start_hooks = hooks::start_container(spec);
    let Some(linux) = spec.linux() else {
        return Ok(Extras { ids, start_hooks, start_state, ..Extras::default() });
    };
    let personality = linux.personality().as_ref();
    if personality.is_some_and(|it| it.flags().as_ref().is_some_and(|flags| !flags.is_empty())) {
        return refuse("linux.personality.flags", "no flag is known");
    }
    check_propagation(linux.rootfs_propagation().as_deref())?;
    check_time_offsets(linux)?;
    Ok(Extras {
        seccomp: linux.seccomp().as_ref().map(seccomp::compile).transpose()?,
        devices: devices::convert(linux)?,
        sysctls: sysctls(linux)?,
        personality: match personality.map(|it| it.domain()) {
            None | Some(LinuxPersonalityDomain::PerLinux) => 0,
            Some(LinuxPersonalityDomain::PerLinux32) => 8,
        },
        start_hooks,
        start_state,
        ids,
    })
}

/// A host or domain name that uname(2) can show.
fn name(field: &str, name: &Option<String>) -> Result<Option<String>, BundleError> {
    const LONGEST: usize = 64;
    match name {
        Some(name) if name.len() > LONGEST || name.contains('\0') => {
            refuse(field, format!("is longer than {LONGEST} bytes, or has a NUL byte"))
        }
        Some(name) if name.is_empty() => Ok(None),
        name => Ok(name.clone()),
    }
}

fn paths(field: &str, list: Option<&Vec<String>>) -> Result<Vec<Bytes>, BundleError> {
    let mut paths = Vec::new();
    for (index, path) in list.into_iter().flatten().enumerate() {
        if path.contains('\0') || !path.starts_with('/') {
            return refuse(&format!("{field}[{index}]"), "is no absolute path");
        }
        paths.push(Bytes::from(path.as_bytes()));
    }
    Ok(paths)
}

fn sysctls(linux: &oci::Linux) -> Result<Vec<(String, Bytes)>, BundleError> {
    let mut sysctls = Vec::new();
    for (key, value) in linux.sysctl().iter().flatten() {
        let is_name = |part: &str| !part.is_empty() && part != ".." && !part.contains('\0');
        // As sysctl(8) and runc have it: dots or slashes separate, by which comes first.
        let path = match key.find(['.', '/']) {
            Some(at) if key.as_bytes().get(at) == Some(&b'.') => key
                .chars()
                .map(|it| match it {
                    '.' => '/',
                    '/' => '.',
                    other => other,
                })
                .collect(),
            _ => key.clone(),
        };
        if !path.contains('/') || !path.split('/').all(is_name) {
            return refuse("linux.sysctl", format!("sysctl {key:?} is no name of a setting"));
        }
        sysctls.push((path, Bytes::from(value.as_bytes())));
    }
    sysctls.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(sysctls)
}

fn check_propagation(word: Option<&str>) -> Result<(), BundleError> {
    match word {
        None | Some("") => Ok(()),
        Some(word) if mount_options::PROPAGATION.contains(&word) => {
            debug!("config.json: linux.rootfsPropagation {word} has no effect in a sandbox");
            Ok(())
        }
        Some(word) => refuse("linux.rootfsPropagation", format!("{word:?} is not supported")),
    }
}

fn check_time_offsets(linux: &oci::Linux) -> Result<(), BundleError> {
    for (clock, offset) in linux.time_offsets().iter().flatten() {
        let at = format!("linux.timeOffsets.{clock}");
        if !["monotonic", "boottime"].contains(&clock.as_str()) {
            return refuse(&at, "is not a clock that can be shifted");
        }
        if offset.secs().unwrap_or(0) != 0 || offset.nanosecs().unwrap_or(0) != 0 {
            return refuse(&at, "the sandbox's clocks are the host's and cannot be shifted");
        }
    }
    Ok(())
}

/// Fields that we read past, by name.
fn name_ignored(spec: &Spec) {
    let linux = spec.linux().as_ref();
    let of_linux = |is_given: fn(&oci::Linux) -> bool| linux.is_some_and(is_given);
    for (field, is_given, why) in [
        (
            "linux.intelRdt",
            of_linux(|it| it.intel_rdt().is_some()),
            "the host's caches are not divided",
        ),
        (
            "linux.resources.devices",
            of_linux(|it| it.resources().as_ref().is_some_and(|it| it.devices().is_some())),
            "the guest has no device of the host to open",
        ),
        (
            "linux.mountLabel",
            of_linux(|it| it.mount_label().as_ref().is_some_and(|label| !label.is_empty())),
            "there are no labels inside",
        ),
        (
            "linux.memoryPolicy",
            of_linux(|it| it.memory_policy().is_some()),
            "memory lies where the host puts it",
        ),
        (
            "linux.netDevices",
            of_linux(|it| it.net_devices().is_some()),
            "interfaces are not moved into a sandbox",
        ),
        ("solaris", spec.solaris().is_some(), "it is for Solaris"),
        ("windows", spec.windows().is_some(), "it is for Windows"),
        ("vm", spec.vm().is_some(), "it is for virtual machines"),
        ("zos", spec.zos().is_some(), "it is for z/OS"),
    ] {
        if is_given {
            debug!("config.json: {field} is ignored: {why}");
        }
    }
}

/// Places of the root file system itself that must be there to be mounted on: those below another
/// mount are that mount's affair.
fn mount_points(mounts: &[Mount], roots: &[GoferRoot], is_readonly: bool) -> Vec<(PathBuf, bool)> {
    let path = |mount: &Mount| PathBuf::from(OsStr::from_bytes(&mount.destination.0));
    let all: Vec<PathBuf> = mounts.iter().map(path).collect();
    let is_covered = |path: &Path| all.iter().any(|other| path != other && path.starts_with(other));
    let is_directory = |mount: &Mount| match &mount.kind {
        MountKind::Gofer { root, .. } => {
            let root = usize::try_from(*root).ok().and_then(|index| roots.get(index));
            root.is_none_or(|root| root.path.is_dir())
        }
        MountKind::Own(_) => true,
    };
    // The sentry makes those of a tmpfs where it can, for then it knows that there was nothing to take
    // the mode from.
    let is_ours = |mount: &&Mount| !matches!(&mount.kind, MountKind::Own(name) if name == "tmpfs");
    let points = mounts.iter().filter(|mount| is_readonly || is_ours(mount));
    let points = points.map(|mount| (path(mount), is_directory(mount)));
    points.filter(|(path, _)| !is_covered(path)).collect()
}
