// SPDX-License-Identifier: Apache-2.0
//! Mount options as config.json spells them.

use nix::libc;

/// `MS_RDONLY`.
pub(crate) const READONLY: u64 = libc::MS_RDONLY;

/// What a list of options says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `MS_…` flags.
    pub(crate) flags: u64,
    /// Whether it is a bind mount, and of what.
    pub(crate) bind: Option<Bind>,
    /// What is left: options of the file system itself.
    pub(crate) data: String,
    /// Options that change nothing in a sandbox.
    pub(crate) ignored: Vec<String>,
    /// A tmpfs begins with what it covers.
    pub(crate) copies_up: bool,
    /// Ids are mapped.
    pub(crate) is_mapped: bool,
}

/// How much of the source a bind mount shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bind {
    /// The mount that it lies in.
    One,
    /// Mounts below it too.
    Recursive,
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
    ("iversion", libc::MS_I_VERSION, true),
    ("noiversion", libc::MS_I_VERSION, false),
    ("silent", libc::MS_SILENT, true),
    ("loud", libc::MS_SILENT, false),
    ("nosymfollow", 256, true),
    ("symfollow", 256, false),
];

/// Of these the form with an `r` in front reaches the mounts below. What the gofer serves of a bind
/// mount is one file system to the guest, so both forms mean the same here.
const RECURSIVE: &[&str] = &[
    "rro",
    "rrw",
    "rnosuid",
    "rsuid",
    "rnodev",
    "rdev",
    "rnoexec",
    "rexec",
    "rnoatime",
    "ratime",
    "rnodiratime",
    "rdiratime",
    "rrelatime",
    "rnorelatime",
    "rstrictatime",
    "rnostrictatime",
    "rnosymfollow",
    "rsymfollow",
];

/// Words about propagation between mounts of the host and of the guest: they share none.
pub(crate) const PROPAGATION: &[&str] =
    &["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];

/// Words that say nothing, or are about labels of files.
const WITHOUT_EFFECT: &[&str] = &["defaults", "z", "Z"];

/// The options that `runsc features` names: all that are understood.
pub(crate) fn names() -> Vec<&'static str> {
    let flags = FLAGS.iter().map(|(name, ..)| *name);
    let others = ["bind", "rbind", "tmpcopyup", "idmap", "ridmap", "defaults"];
    let mut names: Vec<&str> =
        flags.chain(RECURSIVE.iter().copied()).chain(PROPAGATION.iter().copied()).collect();
    names.extend(others);
    names.sort_unstable();
    names
}

/// Reads the options of one mount.
pub(crate) fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Options {
    let mut options = Options::default();
    let mut data = Vec::new();
    for word in words {
        let plain = if RECURSIVE.contains(&word) { word.strip_prefix('r') } else { None };
        let plain = plain.unwrap_or(word);
        if let Some((_, flag, is_set)) = FLAGS.iter().find(|(name, ..)| *name == plain) {
            options.flags = if *is_set { options.flags | flag } else { options.flags & !flag };
            continue;
        }
        match word {
            "bind" => options.bind = options.bind.or(Some(Bind::One)),
            "rbind" => options.bind = Some(Bind::Recursive),
            "tmpcopyup" => options.copies_up = true,
            "idmap" | "ridmap" => options.is_mapped = true,
            _ if PROPAGATION.contains(&word) || WITHOUT_EFFECT.contains(&word) => {
                options.ignored.push(word.into());
            }
            // Labels of SELinux: for the host's kernel alone.
            _ if ["context=", "fscontext=", "defcontext=", "rootcontext="]
                .iter()
                .any(|label| word.starts_with(label)) =>
            {
                options.ignored.push(word.into());
            }
            _ => data.push(word),
        }
    }
    options.data = data.join(",");
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_flags_and_the_rest_stays() {
        let options = read(["nosuid", "ro", "rw", "size=64k", "rbind", "rprivate", "mode=755"]);
        assert_eq!(options.flags, libc::MS_NOSUID);
        assert_eq!(options.bind, Some(Bind::Recursive));
        assert_eq!(options.data, "size=64k,mode=755");
        assert_eq!(options.ignored, ["rprivate"]);
        assert_eq!(read(["rro", "rnodev"]).flags, libc::MS_RDONLY | libc::MS_NODEV);
        assert_eq!(read(["ro", "rrw"]).flags, 0);
        assert!(read(["tmpcopyup"]).copies_up);
    }

    #[test]
    fn every_recursive_word_has_a_plain_one() {
        for word in RECURSIVE {
            let plain = word.strip_prefix('r').unwrap();
            assert!(FLAGS.iter().any(|(name, ..)| *name == plain), "{word}");
        }
    }
}
