// SPDX-License-Identifier: Apache-2.0
//! The plan of `runsc do`: this machine's files below an overlay, this process's surroundings.

use std::{
    env,
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use nix::unistd;

use crate::{
    cli::Values,
    config::{Config, FileAccess, Network},
    oci::{caps, mounts},
    sandbox::{
        console,
        plan::{
            BootPlan, Bytes, Capabilities, Extras, GoferPlan, GoferRoot, Isolation, Mount,
            MountKind, Process, Root, Scheduling,
        },
    },
};

/// What `do` was asked that cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdhocError {
    /// A directory that was named is none.
    #[error("--{flag} {path}: {source}")]
    Directory {
        /// The flag that named it.
        flag: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A volume is not spelled right.
    #[error("--volume {0}: it is SRC[:DST[:ro]] with an absolute DST")]
    Volume(String),
    /// A network that this build does not have.
    #[error(
        "--network=host: not supported yet; with none and sandbox the guest has unix sockets alone"
    )]
    Network,
    /// Mappings that this build cannot make.
    #[error("--{0}: mappings are not supported yet; the program runs as uid 0 of the sandbox")]
    Mapping(&'static str),
}

/// Directories of the host that belong to its kernel, and are the sentry's own in the guest.
const HIDDEN: [&str; 3] = ["proc", "sys", "dev"];

/// Reads the flags and this process's surroundings.
pub(crate) fn plan(
    config: &Config,
    flags: &Values,
    args: &[OsString],
) -> Result<(BootPlan, GoferPlan), AdhocError> {
    if config.network == Network::Host {
        return Err(AdhocError::Network);
    }
    for flag in ["uid-map", "gid-map"] {
        if flags.is_given(flag) {
            return Err(AdhocError::Mapping(flag));
        }
    }
    let root = canonical("root", Path::new(flags.get("root")))?;
    let has_overlay = flags.is_on("force-overlay");
    let mut roots = vec![GoferRoot {
        hidden: HIDDEN.iter().map(|name| root.join(name)).collect(),
        path: root.clone(),
        is_readonly: has_overlay,
        ..GoferRoot::default()
    }];
    let mut guest_mounts = mounts::own();
    for volume in flags.all("volume") {
        let (host, guest, is_readonly) = parse_volume(volume)?;
        let kind = MountKind::Gofer {
            root: u32::try_from(roots.len()).unwrap_or(u32::MAX),
            has_overlay: false,
            access: FileAccess::Shared,
        };
        roots.push(GoferRoot { path: host, is_readonly, ..GoferRoot::default() });
        let flags = if is_readonly { mounts::READONLY } else { 0 };
        guest_mounts.push(Mount {
            destination: guest,
            kind,
            source: Bytes::from("none"),
            flags,
            data: String::new(),
            copies_up: false,
        });
    }
    let process = Process {
        args: args.iter().map(|arg| Bytes::from(arg.as_bytes())).collect(),
        env: env::vars_os().map(variable).collect(),
        cwd: Bytes::from(working_directory(&root, flags)?.as_os_str().as_bytes()),
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        umask: 0o022,
        capabilities: Capabilities {
            bounding: caps::ALL,
            effective: caps::ALL,
            permitted: caps::ALL,
            inheritable: 0,
            ambient: 0,
        },
        rlimits: Vec::new(),
        no_new_privileges: false,
        terminal: console::is_terminal(),
        oom_score_adj: None,
        scheduling: Scheduling::default(),
        is_ordinary: true,
    };
    let isolation = Isolation { has_namespaces: false, has_user_namespace: false };
    let boot = BootPlan {
        cpu_description: crate::sandbox::plan::cpu_description(),
        limits: Default::default(),
        has_memory_usage: false,
        id: format!("runsc-{}", std::process::id()),
        hostname: hostname(),
        domainname: "(none)".into(),
        platform: config.platform,
        may_patch: config.may_patch,
        network: config.network,
        isolation,
        is_foreground: true,
        waits_for_start: false,
        waits_for_terminal: false,
        process,
        root: Root {
            is_readonly: false,
            has_overlay,
            access: if has_overlay { config.root_access } else { FileAccess::Shared },
        },
        mounts: guest_mounts,
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        extras: Extras::default(),
        strace: config.strace.clone(),
        report: flags.is_on("report"),
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

fn hostname() -> String {
    unistd::gethostname()
        .map_or_else(|_| "runsc".into(), |name| name.to_string_lossy().into_owned())
}

fn variable((name, value): (OsString, OsString)) -> Bytes {
    let mut bytes = name.into_vec();
    bytes.push(b'=');
    bytes.extend(value.into_vec());
    Bytes(bytes)
}

/// The directory as the guest names it. Ours serves if it lies in the guest's root, else `/`.
fn working_directory(root: &Path, flags: &Values) -> Result<PathBuf, AdhocError> {
    if flags.is_given("cwd") {
        let cwd = Path::new(flags.get("cwd"));
        if cwd.is_absolute() {
            return Ok(cwd.into());
        }
    }
    let here = canonical("cwd", Path::new(flags.get("cwd")))?;
    Ok(here.strip_prefix(root).map_or_else(|_| "/".into(), |rest| Path::new("/").join(rest)))
}

fn canonical(flag: &'static str, path: &Path) -> Result<PathBuf, AdhocError> {
    let fail = |source| AdhocError::Directory { flag, path: path.into(), source };
    let real = path.canonicalize().map_err(fail)?;
    if real.is_dir() { Ok(real) } else { Err(fail(std::io::ErrorKind::NotADirectory.into())) }
}

fn parse_volume(text: &std::ffi::OsStr) -> Result<(PathBuf, Bytes, bool), AdhocError> {
    let wrong = || AdhocError::Volume(text.to_string_lossy().into_owned());
    let parts: Vec<&[u8]> = text.as_bytes().split(|byte| *byte == b':').collect();
    let (source, destination, is_readonly) = match *parts.as_slice() {
        [source] => (source, source, false),
        [source, destination] => (source, destination, false),
        [source, destination, b"ro"] => (source, destination, true),
        [source, destination, b"rw"] => (source, destination, false),
        _ => return Err(wrong()),
    };
    let source = Path::new(std::ffi::OsStr::from_bytes(source));
    let host = source.canonicalize().map_err(|error| AdhocError::Directory {
        flag: "volume",
        path: source.into(),
        source: error,
    })?;
    let guest = if destination.first() == Some(&b'/') {
        Bytes::from(destination)
    } else if parts.len() == 1 {
        Bytes::from(host.as_os_str().as_bytes())
    } else {
        return Err(wrong());
    };
    Ok((host, guest, is_readonly))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let (host, guest, readonly) = parse_volume("/usr".as_ref()).unwrap();
        assert_eq!((host.to_str().unwrap(), guest, readonly), ("/usr", Bytes::from("/usr"), false));
        let (host, guest, readonly) = parse_volume("/usr:/data:ro".as_ref()).unwrap();
        assert_eq!((host.to_str().unwrap(), guest, readonly), ("/usr", Bytes::from("/data"), true));
        for bad in ["/usr:data", "/usr:/d:rx", "/usr:/d:ro:x"] {
            assert!(matches!(parse_volume(bad.as_ref()), Err(AdhocError::Volume(_))), "{bad}");
        }
        assert!(matches!(parse_volume("/no/such".as_ref()), Err(AdhocError::Directory { .. })));
    }
}
