// SPDX-License-Identifier: Apache-2.0
//! `mounts` of config.json, and the mounts that every guest has.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use nix::libc;
use oci_spec::runtime::{self as oci};
use tracing::debug;

pub(crate) use super::mount_options::READONLY;
use super::{
    bundle::{Bundle, BundleError},
    ids,
    mount_options::{self, Bind, Options},
};
use crate::{
    config::{Config, Overlay},
    sandbox::plan::{Bytes, GoferRoot, IdMaps, Mount, MountKind},
};

/// More mounts are a mistake or an attack.
const MOST: usize = 4096;

/// File systems of the sentry's own, as config.json calls them.
const OWN: &[&str] =
    &["proc", "sysfs", "tmpfs", "ramfs", "devpts", "devtmpfs", "mqueue", "cgroup", "cgroup2"];

fn refuse<T>(field: &str, why: impl Into<String>) -> Result<T, BundleError> {
    Err(BundleError::field(field, why))
}

/// The file systems of the sentry's own that every guest needs.
pub(crate) fn own() -> Vec<Mount> {
    let hardened = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let mount = |destination: &str, name: &str, flags, data: &str| Mount {
        destination: Bytes::from(destination),
        kind: MountKind::Own(name.into()),
        source: Bytes::from(name),
        flags,
        data: data.into(),
        copies_up: false,
    };
    vec![
        mount("/proc", "proc", hardened, ""),
        mount("/sys", "sysfs", hardened | READONLY, ""),
        mount("/dev", "devtmpfs", libc::MS_NOSUID, "mode=755"),
        mount(
            "/dev/pts",
            "devpts",
            libc::MS_NOSUID | libc::MS_NOEXEC,
            "mode=620,ptmxmode=666,gid=5",
        ),
        mount("/dev/shm", "tmpfs", libc::MS_NOSUID | libc::MS_NODEV, "mode=1777"),
    ]
}

/// The mounts of this bundle, in their order; what is served by the gofer is added to `roots`.
pub(crate) fn convert(
    bundle: &Bundle,
    config: &Config,
    ids: &IdMaps,
    roots: &mut Vec<GoferRoot>,
) -> Result<Vec<Mount>, BundleError> {
    let mounts = bundle.spec.mounts().as_deref().unwrap_or_default();
    if mounts.len() > MOST {
        return refuse("mounts", format!("more than {MOST}"));
    }
    let mut converted: Vec<Mount> = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let at = format!("mounts[{index}]");
        let destination = destination(&at, mount)?;
        let words = mount.options().as_deref().unwrap_or_default();
        let options = mount_options::read(words.iter().map(String::as_str));
        for word in &options.ignored {
            debug!("config.json: {at}.options: {word} has no effect in a sandbox");
        }
        let typ = mount.typ().as_deref().unwrap_or("none");
        let bind = options.bind.or(matches!(typ, "bind" | "rbind").then_some(Bind::Recursive));
        let kind = match bind {
            Some(bind) => {
                check_bind(&at, &options)?;
                served(&at, bundle, config, mount, (bind, &options), ids, roots)?
            }
            None if OWN.contains(&typ) => own_kind(&at, mount, typ, &destination, &options)?,
            None => {
                return refuse(&format!("{at}.type"), format!("no file system is called {typ:?}"));
            }
        };
        let is_own = matches!(kind, MountKind::Own(_));
        converted.push(Mount {
            destination: Bytes::from(destination.as_os_str().as_bytes()),
            // Where on the host a file comes from is the host's affair.
            source: match mount.source().as_ref().filter(|_| is_own) {
                Some(source) => Bytes::from(source.as_os_str().as_bytes()),
                None => Bytes::from(if is_own { typ } else { "none" }),
            },
            kind,
            flags: options.flags,
            data: if is_own { options.data } else { String::new() },
            copies_up: options.copies_up && is_own,
        });
    }
    let missing: Vec<Mount> = own()
        .into_iter()
        .filter(|own| own.destination != Bytes::from("/dev/shm"))
        .filter(|own| !converted.iter().any(|mount| mount.destination == own.destination))
        .collect();
    converted.splice(0..0, missing);
    // /dev/pts lies in /dev, whichever of them came first.
    converted.sort_by_key(|mount| u8::from(mount.destination != Bytes::from("/dev")));
    Ok(converted)
}

/// Where it goes, without `.` and `..`. As runc does, one that is not absolute counts from `/`.
fn destination(at: &str, mount: &oci::Mount) -> Result<PathBuf, BundleError> {
    let at = format!("{at}.destination");
    let path = mount.destination();
    if path.as_os_str().is_empty() {
        return refuse(&at, "is empty");
    }
    if path.as_os_str().as_bytes().contains(&0) {
        return refuse(&at, "has a NUL byte");
    }
    if path.as_os_str().len() >= 4096 {
        return refuse(&at, "is longer than a path can be");
    }
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if clean == Path::new("/") {
        return refuse(&at, "mounting over / is not possible: that is root.path");
    }
    if !path.is_absolute() {
        tracing::warn!("config.json: {at}: {} is not absolute, and taken from /", path.display());
    }
    Ok(clean)
}

fn check_bind(at: &str, options: &Options) -> Result<(), BundleError> {
    if options.copies_up {
        return refuse(&format!("{at}.options"), "tmpcopyup is for tmpfs");
    }
    if !options.data.is_empty() {
        let why = format!("bind mounts take no file system options: {:?}", options.data);
        return refuse(&format!("{at}.options"), why);
    }
    Ok(())
}

fn own_kind(
    at: &str,
    mount: &oci::Mount,
    typ: &str,
    destination: &Path,
    options: &Options,
) -> Result<MountKind, BundleError> {
    let is_mapped = mount.uid_mappings().is_some() || mount.gid_mappings().is_some();
    if options.is_mapped || is_mapped {
        return refuse(&format!("{at}.uidMappings"), "only bind mounts can have mapped ids");
    }
    if options.copies_up && typ != "tmpfs" {
        return refuse(&format!("{at}.options"), "tmpcopyup is for tmpfs");
    }
    if options.data.contains('\0') {
        return refuse(&format!("{at}.options"), "has a NUL byte");
    }
    // A tmpfs on /dev is where a runtime puts its devices: ours has them.
    let is_dev = destination == Path::new("/dev") && typ == "tmpfs";
    Ok(MountKind::Own(if is_dev { "devtmpfs" } else { typ }.into()))
}

fn served(
    at: &str,
    bundle: &Bundle,
    config: &Config,
    mount: &oci::Mount,
    (bind, options): (Bind, &Options),
    ids: &IdMaps,
    roots: &mut Vec<GoferRoot>,
) -> Result<MountKind, BundleError> {
    let at_source = format!("{at}.source");
    let Some(source) = mount.source().as_ref().filter(|it| !it.as_os_str().is_empty()) else {
        return refuse(&at_source, "a bind mount needs one");
    };
    let path = bundle.path.join(source);
    let real = path.canonicalize();
    let path = real
        .map_err(|error| BundleError::field(at_source, format!("{}: {error}", path.display())))?;
    let map = |field: &str, list: &Option<Vec<oci::LinuxIdMapping>>| {
        ids::convert(&format!("{at}.{field}"), list.as_deref())
    };
    let own_ids = IdMaps {
        uids: map("uidMappings", mount.uid_mappings())?,
        gids: map("gidMappings", mount.gid_mappings())?,
    };
    let is_mapped = !own_ids.uids.is_empty() || !own_ids.gids.is_empty();
    if options.is_mapped && !is_mapped {
        return refuse(&format!("{at}.uidMappings"), "idmap needs mappings");
    }
    let root = u32::try_from(roots.len()).unwrap_or(u32::MAX);
    let has_overlay = config.overlay == Overlay::All;
    roots.push(GoferRoot {
        path,
        is_readonly: options.flags & READONLY != 0 || has_overlay,
        is_single: bind == Bind::One,
        ids: if is_mapped {
            IdMaps {
                uids: ids::through(&own_ids.uids, &ids.uids),
                gids: ids::through(&own_ids.gids, &ids.gids),
            }
        } else {
            ids.clone()
        },
        ..GoferRoot::default()
    });
    Ok(MountKind::Gofer { root, has_overlay, access: config.mounts_access })
}
