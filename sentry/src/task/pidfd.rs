// SPDX-License-Identifier: Apache-2.0
//! Descriptors of processes, as clone(2) hands them out.

use std::sync::Arc;

use abi::Errno;

use super::Task;
use crate::vfs::FileDescription;

/// A pidfd of the task's process.
pub(crate) fn open(_task: &Arc<Task>) -> Result<Arc<FileDescription>, Errno> {
    Err(Errno::ENOSYS)
}

/// The process that a pidfd is of; `None` for any other file.
pub fn pidfd_target(_file: &Arc<FileDescription>) -> Option<i32> {
    None
}
