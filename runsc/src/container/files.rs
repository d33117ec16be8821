// SPDX-License-Identifier: Apache-2.0
//! Descriptors that a command's caller hands on, and small files that it asks for or gives.

use std::{
    env, fs,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use crate::{cli::Values, sys};

/// A descriptor or a file that is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// A descriptor that was to be handed on is not open.
    #[error("--preserve-fds: descriptor {0} is not open")]
    Missing(i32),
    /// Too many or less than none.
    #[error("--preserve-fds: {0} is not a count from 0 to {MOST}")]
    Count(i64),
    /// A file that was asked for.
    #[error("--{flag} {path}: {source}")]
    PidFile {
        /// By which flag.
        flag: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The most descriptors that are handed on: one message of a unix socket carries them, and a few more.
pub(crate) const MOST: i32 = 240;

/// The first descriptor that may be handed on.
pub(crate) const FIRST: i32 = 3;

/// Takes over `count` descriptors from `first` on.
pub(crate) fn preserved(first: i32, count: i64) -> Result<Vec<OwnedFd>, FilesError> {
    let wrong = FilesError::Count(count);
    let Some(count) = i32::try_from(count).ok().filter(|it| (0..=MOST).contains(it)) else {
        return Err(wrong);
    };
    let take = |number| sys::inherited(number).ok_or(FilesError::Missing(number));
    (first..first + count).map(take).collect()
}

/// How many descriptors a service manager has handed to this very process (sd_listen_fds(3)).
pub(crate) fn listening() -> i32 {
    let number = |name| env::var(name).ok()?.parse::<u32>().ok();
    let count = match (number("LISTEN_PID"), number("LISTEN_FDS")) {
        (Some(pid), Some(count)) if pid == std::process::id() => count,
        _ => 0,
    };
    i32::try_from(count).unwrap_or(0).min(MOST)
}

/// How many descriptors from [`FIRST`] on a command with these flags hands on. What else is open was
/// leaked to us.
pub(crate) fn handed_on(flags: &Values) -> i32 {
    if !flags.has("preserve-fds") {
        return 0;
    }
    let preserved = flags.number("preserve-fds").clamp(0, i64::from(MOST));
    let listening = if flags.has("bundle") { listening() } else { 0 };
    i32::try_from(preserved).unwrap_or(0) + listening
}

/// Writes the number of a process where an engine looks for it: whole, and without a newline.
pub(crate) fn write_pid(flags: &Values, flag: &'static str, pid: i32) -> Result<(), FilesError> {
    let Some(path) = flags.path(flag) else { return Ok(()) };
    write_whole(&path, &pid.to_string()).map_err(|source| FilesError::PidFile {
        flag,
        path,
        source,
    })
}

/// By way of a file beside it, that only we have opened.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let open = || OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary);
    let mut file = match open() {
        // A process of our number was killed here.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&temporary)?;
            open()?
        }
        other => other?,
    };
    file.write_all(text.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    fs::rename(&temporary, path)
}

/// No file that is read whole is longer.
const LIMIT: u64 = 16 * 1024 * 1024;

/// Reads a file of moderate size; `/dev/stdin` and the like are welcome.
pub(crate) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LIMIT { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}
