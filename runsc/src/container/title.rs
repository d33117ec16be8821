// SPDX-License-Identifier: Apache-2.0
//! What the host's process list shows of a monitor: the guest's command line.
//!
//! `docker top` is the host's `ps`, asked for the monitors' numbers.

use std::{fs, os::unix::fs::FileExt as _};

use nix::sys::prctl;
use tracing::debug;

use crate::{
    sandbox::plan::Bytes,
    sys::{self, MemoryMap},
};

/// Longer command lines are cut: nobody reads them, and each monitor keeps its own.
const LIMIT: usize = 4096;

/// Shows `args` as this process's command line and name.
pub(super) fn show(args: &[Bytes]) {
    let name = args.first().map_or(&[][..], |name| &name.0);
    let base = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    if let Ok(base) = std::ffi::CString::new(base)
        && let Err(error) = prctl::set_name(&base)
    {
        debug!("set the process's name: {error}");
    }
    let mut text: Vec<u8> = Vec::new();
    for arg in args {
        text.extend(arg.0.iter().take(LIMIT));
        text.push(0);
    }
    if text.len() > LIMIT {
        text.truncate(LIMIT - 1);
        text.push(0);
    }
    if let Err(error) = replace(text) {
        // It is a matter of show: the container is the same.
        debug!("show the guest's command line: {error}");
    }
}

/// Has the kernel look for the command line where `text` is; on a kernel that cannot be told, overwrites
/// what was there, as far as it goes.
fn replace(text: Vec<u8>) -> std::io::Result<()> {
    let map = MemoryMap::read()?;
    let room = usize::try_from(map.arg_end.saturating_sub(map.arg_start)).unwrap_or(0);
    let text: &'static [u8] = text.leak();
    if sys::show_arguments(&map, text).is_ok() {
        return Ok(());
    }
    let mut inside = vec![0; room];
    let count = text.len().min(room.saturating_sub(1));
    for (to, from) in inside.iter_mut().zip(text.iter().take(count)) {
        *to = *from;
    }
    let memory = fs::OpenOptions::new().write(true).open("/proc/self/mem")?;
    memory.write_all_at(&inside, map.arg_start)
}
