// SPDX-License-Identifier: Apache-2.0
//! From config.json to a plan: every field is used, named as ignored, or refused by name.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use oci_spec::runtime::{self as oci, Spec};
use tracing::debug;

use super::{
    bundle::{Bundle, BundleError},
    caps, mounts, rlimits,
};
use crate::{
    config::{Config, Overlay},
    sandbox::plan::{
        BootPlan, Bytes, Capabilities, GoferPlan, GoferRoot, Isolation, Mount, MountKind, Process,
        Root,
    },
};

fn refuse<T>(field: &'static str, why: impl Into<String>) -> Result<T, BundleError> {
    Err(BundleError::Field { field, why: why.into() })
}

/// The plan for the container `id` of this bundle.
pub(crate) fn plan(
    id: &str,
    bundle: &Bundle,
    config: &Config,
) -> Result<(BootPlan, GoferPlan), BundleError> {
    let spec = &bundle.spec;
    name_ignored(spec);
    let root = spec.root().as_ref();
    let is_readonly = root.and_then(oci::Root::readonly).unwrap_or(false);
    let has_overlay = config.overlay != Overlay::Off;
    let mut roots = vec![GoferRoot {
        path: bundle.rootfs.clone(),
        is_readonly: is_readonly || has_overlay,
        hidden: Vec::new(),
        mount_points: Vec::new(),
    }];
    let guest_mounts = convert_mounts(bundle, config, &mut roots)?;
    if !has_overlay {
        let points = mount_points(&guest_mounts, &roots);
        if let Some(root) = roots.first_mut() {
            root.mount_points = points;
        }
    }
    let linux = spec.linux().as_ref();
    let paths = |list: Option<&Vec<String>>| {
        list.into_iter().flatten().map(|path| Bytes::from(path.as_bytes())).collect()
    };
    let isolation = Isolation { has_namespaces: false, has_user_namespace: false };
    let boot = BootPlan {
        cpu_description: crate::sandbox::plan::cpu_description(),
        limits: Default::default(),
        has_memory_usage: false,
        id: id.into(),
        hostname: spec.hostname().clone().unwrap_or_else(|| "runsc".into()),
        domainname: spec.domainname().clone().unwrap_or_else(|| "(none)".into()),
        platform: config.platform,
        may_patch: config.may_patch,
        network: config.network,
        isolation,
        is_foreground: true,
        waits_for_start: false,
        process: process(spec)?,
        root: Root { is_readonly, has_overlay, is_shared: config.is_root_shared },
        mounts: guest_mounts,
        masked_paths: paths(linux.and_then(|linux| linux.masked_paths().as_ref())),
        readonly_paths: paths(linux.and_then(|linux| linux.readonly_paths().as_ref())),
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

/// Fields that we read past, by name.
fn name_ignored(spec: &Spec) {
    let linux = spec.linux().as_ref();
    let process = spec.process().as_ref();
    let of_linux = |is_given: fn(&oci::Linux) -> bool| linux.is_some_and(is_given);
    let of_process = |is_given: fn(&oci::Process) -> bool| process.is_some_and(is_given);
    for (field, is_given, why) in [
        ("hooks", spec.hooks().is_some(), "hooks are not run yet"),
        (
            "linux.seccomp",
            of_linux(|it| it.seccomp().is_some()),
            "the sandbox's own filter stands; the guest's is not applied yet",
        ),
        (
            "linux.resources.devices",
            of_linux(|it| it.resources().as_ref().is_some_and(|it| it.devices().is_some())),
            "the guest has no device of the host to open",
        ),
        ("linux.sysctl", of_linux(|it| it.sysctl().is_some()), "not applied yet"),
        ("linux.devices", of_linux(|it| it.devices().is_some()), "the sandbox has its own devices"),
        (
            "linux.uidMappings",
            of_linux(|it| it.uid_mappings().is_some()),
            "ids are the sandbox's own",
        ),
        ("linux.intelRdt", of_linux(|it| it.intel_rdt().is_some()), "not applied"),
        ("linux.personality", of_linux(|it| it.personality().is_some()), "not applied"),
        ("linux.timeOffsets", of_linux(|it| it.time_offsets().is_some()), "not applied"),
        (
            "linux.mountLabel",
            of_linux(|it| it.mount_label().is_some()),
            "there are no labels inside",
        ),
        (
            "process.apparmorProfile",
            of_process(|it| it.apparmor_profile().is_some()),
            "not applied",
        ),
        ("process.oomScoreAdj", of_process(|it| it.oom_score_adj().is_some()), "not applied yet"),
        ("process.scheduler", of_process(|it| it.scheduler().is_some()), "not applied"),
        ("process.ioPriority", of_process(|it| it.io_priority().is_some()), "not applied"),
    ] {
        if is_given {
            debug!("config.json: {field} is ignored: {why}");
        }
    }
}

fn process(spec: &Spec) -> Result<Process, BundleError> {
    let Some(process) = spec.process() else { return refuse("process", "is missing") };
    process_of(process)
}

/// The process that `process` of config.json, or the file of `exec --process`, describes.
pub(crate) fn process_of(process: &oci::Process) -> Result<Process, BundleError> {
    if process.selinux_label().as_ref().is_some_and(|label| !label.is_empty()) {
        return refuse("process.selinuxLabel", "SELinux labels do not exist in a sandbox");
    }
    let args = process.args().as_deref().unwrap_or_default();
    if args.is_empty() {
        return refuse("process.args", "args must not be empty");
    }
    let cwd = process.cwd();
    if !cwd.is_absolute() {
        return refuse("process.cwd", format!("cwd {} is not absolute", cwd.display()));
    }
    let bytes = |text: &String| Bytes::from(text.as_bytes());
    let env = process.env().as_deref().unwrap_or_default();
    for text in args.iter().chain(env) {
        if text.contains('\0') {
            return refuse("process", "a NUL byte in args or env");
        }
    }
    let user = process.user();
    let mut limits: Vec<(u32, u64, u64)> = Vec::new();
    for limit in process.rlimits().iter().flatten() {
        let Some(number) = rlimits::number(&limit.typ().to_string()) else {
            return refuse("process.rlimits", format!("unknown limit {}", limit.typ()));
        };
        if limit.soft() > limit.hard() {
            return refuse("process.rlimits", format!("{} has soft above hard", limit.typ()));
        }
        if limits.iter().any(|(other, ..)| *other == number) {
            return refuse("process.rlimits", format!("{} stands twice", limit.typ()));
        }
        limits.push((number, limit.soft(), limit.hard()));
    }
    Ok(Process {
        args: args.iter().map(bytes).collect(),
        env: env.iter().map(bytes).collect(),
        cwd: Bytes::from(cwd.as_os_str().as_bytes()),
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask().unwrap_or(0o022) & 0o777,
        capabilities: process.capabilities().as_ref().map(capabilities).unwrap_or_default(),
        rlimits: limits,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        terminal: process.terminal().unwrap_or(false),
        is_ordinary: false,
    })
}

fn capabilities(sets: &oci::LinuxCapabilities) -> Capabilities {
    let bits = |set: &Option<oci::Capabilities>| {
        let names: Vec<String> = set.iter().flatten().map(ToString::to_string).collect();
        caps::bits(names.iter().map(String::as_str))
    };
    Capabilities {
        bounding: bits(sets.bounding()),
        effective: bits(sets.effective()),
        permitted: bits(sets.permitted()),
        inheritable: bits(sets.inheritable()),
        ambient: bits(sets.ambient()),
    }
}

/// File systems of the sentry's own, as config.json calls them.
const OWN: &[&str] =
    &["proc", "sysfs", "tmpfs", "devpts", "devtmpfs", "mqueue", "cgroup", "cgroup2"];

fn convert_mounts(
    bundle: &Bundle,
    config: &Config,
    roots: &mut Vec<GoferRoot>,
) -> Result<Vec<Mount>, BundleError> {
    let mut converted: Vec<Mount> = Vec::new();
    for mount in bundle.spec.mounts().iter().flatten() {
        let destination = Path::new("/").join(mount.destination());
        if destination.as_os_str().as_bytes().contains(&0) {
            return refuse("mounts", "a NUL byte in a destination");
        }
        let words = mount.options().as_deref().unwrap_or_default();
        let options = mounts::options(words.iter().map(String::as_str));
        for word in &options.ignored {
            debug!("config.json: mount {}: option {word} has no effect", destination.display());
        }
        let typ = mount.typ().as_deref().unwrap_or("none");
        let is_bind = options.is_bind || typ == "bind" || typ == "rbind";
        let kind = if is_bind {
            bind(bundle, config, mount, options.flags & mounts::READONLY != 0, roots)?
        } else if OWN.contains(&typ) {
            // A tmpfs on /dev is where a runtime puts its devices: ours has them.
            let is_dev = destination == Path::new("/dev") && typ == "tmpfs";
            MountKind::Own(if is_dev { "devtmpfs" } else { typ }.into())
        } else {
            tracing::warn!(
                "config.json: mount {} is left out: unknown type {typ:?}",
                destination.display()
            );
            continue;
        };
        converted.push(Mount {
            destination: Bytes::from(destination.as_os_str().as_bytes()),
            kind,
            flags: options.flags,
            data: options.data,
        });
    }
    // What no program can do without is there even if the bundle forgot it, below what it has.
    let missing: Vec<Mount> = mounts::own()
        .into_iter()
        .filter(|own| own.destination != Bytes::from("/dev/shm"))
        .filter(|own| !converted.iter().any(|mount| mount.destination == own.destination))
        .collect();
    converted.splice(0..0, missing);
    // /dev/pts lies in /dev, whichever of them came first.
    converted.sort_by_key(|mount| (mount.destination != Bytes::from("/dev")) as u8);
    Ok(converted)
}

fn bind(
    bundle: &Bundle,
    config: &Config,
    mount: &oci::Mount,
    is_readonly: bool,
    roots: &mut Vec<GoferRoot>,
) -> Result<MountKind, BundleError> {
    let destination = mount.destination().display();
    let Some(source) = mount.source() else {
        return refuse("mounts", format!("the bind mount {destination} has no source"));
    };
    let path = bundle.path.join(source);
    let path = path.canonicalize().map_err(|source| BundleError::Open {
        what: "mounts: source",
        path: path.clone(),
        source,
    })?;
    let root = u32::try_from(roots.len()).unwrap_or(u32::MAX);
    let has_overlay = config.overlay == Overlay::All;
    let is_readonly = is_readonly || has_overlay;
    roots.push(GoferRoot { path, is_readonly, hidden: Vec::new(), mount_points: Vec::new() });
    Ok(MountKind::Gofer { root, has_overlay, is_shared: config.are_mounts_shared })
}

/// Places of the root file system itself that must be there to be mounted on: those below another
/// mount are that mount's affair.
fn mount_points(mounts: &[Mount], roots: &[GoferRoot]) -> Vec<(PathBuf, bool)> {
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
    let points = mounts.iter().map(|mount| (path(mount), is_directory(mount)));
    points.filter(|(path, _)| !is_covered(path)).collect()
}
