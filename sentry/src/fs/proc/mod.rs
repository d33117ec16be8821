// SPDX-License-Identifier: Apache-2.0
//! proc(5): the kernel and its tasks as files.
//!
//! * **The types to know.** [`view`] says what proc asks of the kernel; `root` holds the files of the
//!   whole, `process` the directories of tasks, `sysctl` the knobs under `/proc/sys`.
//! * **Invariants.** Everything shown is the sandbox's own: nothing of the host. A task's private files
//!   open only for those who might trace it.
//! * **Lock levels.** None of its own but those of [`super::pseudo`]; views take theirs and give them back.

mod fd;
mod maps;
mod memory;
mod namespace;
mod network;
mod process;
mod root;
mod status;
mod sysctl;
pub mod view;

use std::sync::Arc;

use crate::{
    fs::pseudo::{Description, PseudoFilesystem},
    vfs::Filesystem,
};

/// What `statfs(2)` says (`PROC_SUPER_MAGIC`).
const MAGIC: i64 = 0x9fa0;

/// A proc file system that shows `system`.
pub fn new(system: Arc<dyn view::SystemView>) -> Arc<dyn Filesystem> {
    let description =
        Description { name: "proc", magic: MAGIC, options: String::new(), is_cacheable: false };
    PseudoFilesystem::new(description, 0o555, Box::new(root::Root::new(system)))
}
