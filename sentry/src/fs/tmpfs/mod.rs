// SPDX-License-Identifier: Apache-2.0
//! tmpfs: files that live in memory.
//!
//! * **The types to know.** A [`Tmpfs`] is the file system with its limits; a `Node` is an inode; a
//!   `Content` is what a regular file holds.
//! * **Invariants.** A file's bytes live in sentry memory until it is mapped or grows large; from then on,
//!   for good, in a memfd of its own, so that a mapping exposes exactly that file. Directory positions are
//!   numbers given to entries once: readdir(3) neither skips nor repeats what stays.
//! * **Lock levels.** `FileContent` for a file's bytes (guest memory is copied under it), `InodeState` for
//!   metadata and for a directory's table.
//! * **What it does not do.** POSIX ACLs (`system.posix_acl_*` is `EOPNOTSUPP`), huge pages, quotas.

mod content;
mod directory;
mod file;
mod filesystem;
mod node;
mod options;

#[cfg(test)]
mod tests;

pub use filesystem::{Tmpfs, unlinked_file};
pub use options::Options;

/// The host calls that large and mapped files need, for the sentry's seccomp filter.
pub fn host_calls() -> Vec<i64> {
    vec![
        libc::SYS_memfd_create,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_ftruncate,
        libc::SYS_fallocate,
        libc::SYS_lseek,
        libc::SYS_fstat,
    ]
}
