// SPDX-License-Identifier: Apache-2.0
//! Mount options as config.json spells them, and the mounts that every guest has.

use nix::libc;

use crate::sandbox::plan::{Bytes, Mount, MountKind};

/// `MS_RDONLY`.
pub(crate) const READONLY: u64 = libc::MS_RDONLY;

/// What a list of options says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `MS_…` flags.
    pub(crate) flags: u64,
    /// Whether it is a bind mount.
    pub(crate) is_bind: bool,
    /// What is left: options of the file system itself.
    pub(crate) data: String,
    /// Options that change nothing in a sandbox.
    pub(crate) ignored: Vec<String>,
}

/// Words that set or clear a flag.
const FLAGS: &[(&str, u64, bool)] = &[
    ("ro", libc::MS_RDONLY, true),
    ("rw", libc::MS_RDONLY, false),
    ("nosuid", libc::MS_NOSUID, true),
    ("suid", libc::MS_NOSUID, false),
    ("nodev", libc::MS_NODEV, true),
    ("dev", libc::MS_NODEV, false),
    ("noexec", libc::MS_NOEXEC, true),
    ("exec", libc::MS_NOEXEC, false),
    ("sync", libc::MS_SYNCHRONOUS, true),
    ("async", libc::MS_SYNCHRONOUS, false),
    ("dirsync", libc::MS_DIRSYNC, true),
    ("remount", libc::MS_REMOUNT, true),
    ("mand", libc::MS_MANDLOCK, true),
    ("nomand", libc::MS_MANDLOCK, false),
    ("noatime", libc::MS_NOATIME, true),
    ("atime", libc::MS_NOATIME, false),
    ("nodiratime", libc::MS_NODIRATIME, true),
    ("diratime", libc::MS_NODIRATIME, false),
    ("relatime", libc::MS_RELATIME, true),
    ("norelatime", libc::MS_RELATIME, false),
    ("strictatime", libc::MS_STRICTATIME, true),
    ("nostrictatime", libc::MS_STRICTATIME, false),
    ("silent", libc::MS_SILENT, true),
    ("loud", libc::MS_SILENT, false),
    ("nosymfollow", 256, true),
    ("symfollow", 256, false),
];

/// Words about propagation, which cannot be seen inside, and about the host's side of a mount.
const WITHOUT_EFFECT: &[&str] = &[
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "unbindable",
    "runbindable",
    "defaults",
    "rro",
    "rrw",
    "rnosuid",
    "rnodev",
    "rnoexec",
    "rnoatime",
    "rrelatime",
    "rsuid",
    "rdev",
    "rexec",
    "idmap",
    "ridmap",
    "tmpcopyup",
    "z",
    "Z",
];

/// Reads the options of one mount.
pub(crate) fn options<'a>(words: impl IntoIterator<Item = &'a str>) -> Options {
    let mut options = Options::default();
    let mut data = Vec::new();
    for word in words {
        if let Some((_, flag, is_set)) = FLAGS.iter().find(|(name, ..)| *name == word) {
            options.flags = if *is_set { options.flags | flag } else { options.flags & !flag };
        } else if word == "bind" || word == "rbind" {
            options.is_bind = true;
        } else if WITHOUT_EFFECT.contains(&word) {
            // "rro" and its kin mean at least what "ro" means.
            if word == "rro" {
                options.flags |= READONLY;
            }
            options.ignored.push(word.to_string());
        } else {
            data.push(word);
        }
    }
    options.data = data.join(",");
    options
}

/// The file systems of the sentry's own that every guest needs.
pub(crate) fn own() -> Vec<Mount> {
    let hardened = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let mount = |destination: &str, name: &str, flags, data: &str| Mount {
        destination: Bytes::from(destination),
        kind: MountKind::Own(name.into()),
        flags,
        data: data.into(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_flags_and_the_rest_stays() {
        let options = options(["nosuid", "ro", "rw", "size=64k", "rbind", "rprivate", "mode=755"]);
        assert_eq!(options.flags, libc::MS_NOSUID);
        assert!(options.is_bind);
        assert_eq!(options.data, "size=64k,mode=755");
        assert_eq!(options.ignored, ["rprivate"]);
    }
}
