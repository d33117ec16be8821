// SPDX-License-Identifier: Apache-2.0
//! How a task becomes another program: execve(2).

use std::sync::Arc;

use abi::Errno;
use platform::{Context, Registers};

use super::{FsContext, Rlimits};
use crate::{creds::Credentials, kernel::Kernel, mm::MemoryManager};

/// A program with its arguments.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: Vec<u8>,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) environment: Vec<Vec<u8>>,
}

/// A program in memory of its own, ready to run.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) mm: Arc<MemoryManager>,
    pub(crate) context: Box<dyn Context>,
    pub(crate) registers: Registers,
    pub(crate) name: Vec<u8>,
}

/// Loads a program for a process that comes from outside.
pub(crate) fn load_outside(
    _kernel: &Arc<Kernel>,
    _program: &Program,
    _fs: &Arc<FsContext>,
    _creds: &Arc<Credentials>,
    _rlimits: &Rlimits,
) -> Result<Image, Errno> {
    Err(Errno::ENOEXEC)
}
