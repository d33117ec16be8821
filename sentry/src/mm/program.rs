// SPDX-License-Identifier: Apache-2.0
//! What the loader leaves behind: where a program's parts and its arguments lie.

use std::sync::Arc;

use super::{MappedFile, MemoryManager};

/// The places of a program, as `/proc/<pid>/{stat,cmdline,environ,auxv}` and prctl(2) `PR_SET_MM` have
/// them.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are Linux's names in mm_struct")]
pub struct ProgramInfo {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_stack: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
    /// The auxiliary vector: type and value, without the end mark.
    pub auxv: Arc<[(u64, u64)]>,
    /// The executable (`/proc/<pid>/exe`).
    pub executable: Option<Arc<dyn MappedFile>>,
}

impl MemoryManager {
    /// Where the program's parts lie.
    pub fn program(&self) -> ProgramInfo {
        self.mappings.lock().program.clone()
    }

    /// Changes what is said of the program's parts.
    pub fn set_program(&self, program: ProgramInfo) {
        let old = std::mem::replace(&mut self.mappings.lock().program, program);
        drop(old);
    }

    /// `start_brk` and `brk` of `/proc/<pid>/stat`.
    pub fn program_break(&self) -> (u64, u64) {
        let mappings = self.mappings.lock();
        (mappings.brk_start, mappings.brk)
    }

    /// Up to `max` bytes of the arguments as they are in memory now (`/proc/<pid>/cmdline`).
    ///
    /// A program may have overwritten them (setproctitle(3)); what cannot be read is left out.
    pub fn command_line(&self, max: usize) -> Vec<u8> {
        let program = self.program();
        self.read_range(program.arg_start, program.arg_end, max)
    }

    /// Up to `max` bytes of the environment as it is in memory now (`/proc/<pid>/environ`).
    pub fn environment(&self, max: usize) -> Vec<u8> {
        let program = self.program();
        self.read_range(program.env_start, program.env_end, max)
    }

    fn read_range(&self, start: u64, end: u64, max: usize) -> Vec<u8> {
        let len = abi::num::to_usize(end.saturating_sub(start)).min(max);
        let mut bytes = vec![0; len];
        let got = self.space.read(abi::UserAddr(start), &mut bytes);
        bytes.truncate(got);
        bytes
    }
}
