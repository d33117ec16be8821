// SPDX-License-Identifier: Apache-2.0
//! Processes in and out of a container's cgroup, and its end.

use std::{
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::libc;

use super::{Cgroup, CgroupError, Directory, PROCESSES, Version, is_refusal, mark};
use crate::sys;

/// How long processes that are ending may take until they are killed, and how long all may take.
const GRACE: Duration = Duration::from_millis(200);
const DEADLINE: Duration = Duration::from_secs(10);

/// The processes in a directory, as far as they can be seen.
pub(super) fn list(directory: &Path) -> Vec<i32> {
    let text = fs::read_to_string(directory.join(PROCESSES)).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

impl Cgroup {
    /// Puts this process in, for what it starts to be in too. Its tasks are not counted yet: see
    /// [`Cgroup::be_counted`].
    pub(crate) fn enter(&self) -> Result<(), CgroupError> {
        for directory in &self.directories {
            let is_counted_apart = self.version == Version::V1 && directory.has("pids");
            let place = match directory.path.parent() {
                Some(parent) if is_counted_apart => parent,
                _ => &directory.path,
            };
            self.tolerate(directory, enter(place))?;
        }
        Ok(())
    }

    /// Puts this process, all of whose children are there, into the directory whose tasks are counted.
    pub(crate) fn be_counted(&self) -> Result<(), CgroupError> {
        let counted =
            self.directories.iter().filter(|it| self.version == Version::V1 && it.has("pids"));
        for directory in counted {
            self.tolerate(directory, enter(&directory.path))?;
        }
        Ok(())
    }

    /// Puts this process back where the container was made.
    fn leave(&self) {
        for directory in &self.directories {
            if enter(&directory.origin).is_err()
                && let Err(error) = enter(&directory.mount)
            {
                // The removal says what is still in there.
                tracing::debug!("leave {}: {error}", directory.path.display());
            }
        }
    }

    fn tolerate(&self, directory: &Directory, done: io::Result<()>) -> Result<(), CgroupError> {
        match done {
            Err(source) if is_refusal(&source) && !self.is_asked => {
                let names = directory.controllers.join(",");
                tracing::warn!("the sandbox is in no cgroup for {names}: {source}");
                Ok(())
            }
            Err(source) => {
                Err(CgroupError::Host { step: "enter", path: directory.path.clone(), source })
            }
            Ok(()) => Ok(()),
        }
    }

    /// Lets go whatever somebody has frozen: a frozen process cannot even be killed.
    pub(crate) fn thaw(&self) {
        let (file, value) = match self.version {
            Version::V1 => ("freezer.state", "THAWED"),
            Version::V2 => ("cgroup.freeze", "0"),
        };
        if let Some(directory) = self.directory("freezer")
            && let Err(error) = fs::write(directory.join(file), value)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!("thaw {}: {error}", directory.display());
        }
    }

    /// Ends what is still in the directories and removes them, and those above that were made for them.
    pub(crate) fn remove(&self) -> Result<(), CgroupError> {
        self.thaw();
        let me = i32::try_from(std::process::id()).unwrap_or(0);
        if self.directories.iter().any(|directory| list(&directory.path).contains(&me)) {
            self.leave();
        }
        let deadline = Instant::now() + DEADLINE;
        let (ours, others): (Vec<_>, Vec<_>) =
            self.directories.iter().partition(|directory| self.owns(directory));
        for directory in others {
            tracing::debug!("{} is another container's", directory.path.display());
        }
        if let Some(unit) = &self.unit {
            // systemd would ask them to end, and wait.
            let clear = || ours.iter().for_each(|directory| directory.clear(deadline));
            match unit.stop(&self.token, clear) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // Without it there is only less to remove: a unit goes with its last process.
                Err(error) => tracing::warn!("{error}"),
            }
        }
        ours.iter().try_for_each(|directory| directory.remove(deadline))
    }
}

/// Puts this process into a directory.
fn enter(directory: &Path) -> io::Result<()> {
    use io::Write as _;
    fs::OpenOptions::new().write(true).open(directory.join(PROCESSES))?.write_all(b"0")
}

impl Directory {
    fn remove(&self, deadline: Instant) -> Result<(), CgroupError> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match fs::remove_dir(&self.path) {
                Ok(()) => break,
                // It was never made, or somebody has removed it.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    break;
                }
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    if Instant::now() >= deadline {
                        return Err(self.failure(error));
                    }
                    if start.elapsed() >= GRACE {
                        self.kill_all();
                    }
                    thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                Err(error) => return Err(self.failure(error)),
            }
        }
        let is_ours = |path: &&Path| {
            path.starts_with(&self.first_made)
                || (path.starts_with(&self.mount)
                    && *path != self.mount
                    && mark::get(path).is_some_and(|token| token.is_empty()))
        };
        for above in self.path.ancestors().skip(1).take_while(is_ours) {
            // Others may be in there by now: the last of them removes it.
            if fs::remove_dir(above).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Waits until no process is left in it, and kills those that stay.
    fn clear(&self, deadline: Instant) {
        let start = Instant::now();
        while !list(&self.path).is_empty() && Instant::now() < deadline {
            if start.elapsed() >= GRACE {
                self.kill_all();
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn failure(&self, source: io::Error) -> CgroupError {
        CgroupError::Host { step: "remove", path: PathBuf::from(&self.path), source }
    }

    /// Kills the processes in the directory. Each is held while it is looked for again: its number may
    /// be another's by now.
    fn kill_all(&self) {
        let me = i32::try_from(std::process::id()).unwrap_or(0);
        for pid in list(&self.path) {
            let Ok(handle) = sys::pidfd_open(pid) else { continue };
            if pid != me && list(&self.path).contains(&pid) {
                // It may have ended by now, which is what we want.
                let _ = sys::send_signal(handle.as_fd(), libc::SIGKILL);
            }
        }
    }
}
