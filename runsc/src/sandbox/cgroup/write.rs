// SPDX-License-Identifier: Apache-2.0
//! Writing values into the files of a cgroup, and putting the old ones back.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::libc;

use super::{Cgroup, CgroupError};

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    /// Whose file it is.
    pub(super) controller: String,
    /// Its path in config.json, below `linux.resources`.
    pub(super) field: String,
    /// The file's name.
    pub(super) file: String,
    /// What to write.
    pub(super) value: String,
    /// What to write where, on kernels that do not have the file.
    other: Option<(String, String)>,
    is_optional: bool,
}

impl Write {
    /// `value` for `file`.
    pub(super) fn new(controller: &str, field: &str, file: &str, value: impl ToString) -> Write {
        Write {
            controller: controller.into(),
            field: field.into(),
            file: file.into(),
            value: value.to_string(),
            other: None,
            is_optional: false,
        }
    }

    /// If there is no such file, the same goes into this one.
    pub(super) fn or_file(self, file: &str) -> Write {
        let value = self.value.clone();
        self.or_other(file, value)
    }

    /// If there is no such file, this goes into that one.
    pub(super) fn or_other(mut self, file: &str, value: impl ToString) -> Write {
        self.other = Some((file.into(), value.to_string()));
        self
    }

    /// Only if there is such a file.
    pub(super) fn if_there(mut self) -> Write {
        self.is_optional = true;
        self
    }

    fn field(&self) -> String {
        format!("linux.resources.{}", self.field)
    }
}

/// Carries out the writes. If one fails, those before it are undone.
pub(super) fn apply(cgroup: &Cgroup, writes: Vec<Write>) -> Result<(), CgroupError> {
    let mut undo: Vec<(PathBuf, String)> = Vec::new();
    let mut queue = std::collections::VecDeque::from(order(cgroup, writes));
    let mut has_waited = false;
    let result = loop {
        let Some(write) = queue.pop_front() else { break Ok(()) };
        match one(cgroup, &write, &mut undo) {
            // A period and a quota may only be had in the other order (`tg_cfs_schedulable_down()`).
            Err(CgroupError::Write { source, .. })
                if source.raw_os_error() == Some(libc::EINVAL)
                    && matches!(&*write.file, "cpu.cfs_period_us" | "cpu.rt_period_us")
                    && !has_waited =>
            {
                has_waited = true;
                let is_last = queue.is_empty();
                queue.insert(usize::from(!is_last), write);
            }
            Err(error) => break Err(error),
            Ok(()) => {}
        }
    };
    if result.is_err() {
        for (path, value) in undo.into_iter().rev() {
            if let Err(error) = put(&path, &value) {
                tracing::warn!("put {value:?} back into {}: {error}", path.display());
            }
        }
    }
    result
}

/// Memory and swap in the order in which the present limits let them through.
fn order(cgroup: &Cgroup, mut writes: Vec<Write>) -> Vec<Write> {
    let place = |file: &str| writes.iter().position(|it| it.file == file);
    let memory = place("memory.limit_in_bytes");
    let swap = place("memory.memsw.limit_in_bytes");
    if let (Some(memory), Some(swap)) = (memory, swap) {
        let now = cgroup.read("memory", "memory.limit_in_bytes");
        let now: i128 = now.and_then(|text| text.trim().parse().ok()).unwrap_or(i128::MAX);
        let wanted = writes.get(swap).and_then(|it| it.value.parse::<i128>().ok()).unwrap_or(0);
        if wanted == -1 || now < wanted {
            writes.swap(memory, swap);
        }
    }
    writes
}

fn one(
    cgroup: &Cgroup,
    write: &Write,
    undo: &mut Vec<(PathBuf, String)>,
) -> Result<(), CgroupError> {
    let Some(directory) = cgroup.directory(&write.controller) else {
        if write.is_optional {
            return Ok(());
        }
        let controller = &write.controller;
        let why = format!("cannot be set: the host has no {controller} cgroup for the container");
        return Err(CgroupError::Field { field: write.field(), why });
    };
    let mut path = directory.join(&write.file);
    let mut value = &write.value;
    if !path.exists() {
        match &write.other {
            Some((file, other)) => {
                path = directory.join(file);
                value = other;
            }
            None if write.is_optional => return Ok(()),
            None => {}
        }
    }
    // Files of several lines have no one value to go back to.
    let old = fs::read_to_string(&path).unwrap_or_default();
    let old = old.trim_end_matches('\n').to_string();
    put(&path, value).map_err(|source| failure(cgroup, write, value, &path, source))?;
    if !old.is_empty() && !old.contains('\n') && !old.contains(':') {
        undo.push((path, old));
    }
    Ok(())
}

fn failure(
    cgroup: &Cgroup,
    write: &Write,
    value: &str,
    path: &Path,
    source: io::Error,
) -> CgroupError {
    if write.file == "memory.limit_in_bytes" && source.raw_os_error() == Some(libc::EBUSY) {
        let number = |file| cgroup.read("memory", file).unwrap_or_default().trim().to_string();
        return CgroupError::InUse {
            wanted: value.into(),
            usage: number("memory.usage_in_bytes"),
            peak: number("memory.max_usage_in_bytes"),
        };
    }
    if source.kind() == io::ErrorKind::NotFound {
        let why = format!("cannot be set: this kernel has no {}", write.file);
        return CgroupError::Field { field: write.field(), why };
    }
    CgroupError::Write { field: write.field(), value: value.into(), path: path.into(), source }
}

/// Writes without making the file: a kernel file is there, or the kernel lacks it.
fn put(path: &Path, value: &str) -> io::Result<()> {
    use io::Write as _;
    loop {
        let mut file = fs::OpenOptions::new().write(true).open(path)?;
        match file.write(value.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(drop),
        }
    }
}
