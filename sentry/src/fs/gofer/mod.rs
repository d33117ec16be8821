// SPDX-License-Identifier: Apache-2.0
//! Files of the host, reached through the gofer.
//!
//! * **What it is.** The file system of a container's root and of its bind mounts. The sentry may not open
//!   anything: names, attributes and descriptors come from the gofer; reads, writes and mappings go
//!   straight to the donated descriptors.
//! * **The types to know.** [`GoferFilesystem`]: one attach point. A `GoferInode`: one file of the host,
//!   whatever its names; it holds a node of the gofer. An [`Access`]: who else may change the files.
//! * **Invariants.** One inode per file of the host, so that locks and mappings of two names meet. A
//!   descriptor has the access mode of the guest's open, never more. What the gofer says is bounded and
//!   checked by its client; a gofer that is gone is `EIO`.
//! * **Lock levels.** `InodeState` for cached attributes, leaves for tables; none while the gofer is asked.
//! * **What it does not do.** Fifos, sockets and devices that it shows are the sentry's own behind the
//!   name; the host's are never opened.

mod ahead;
mod attributes;
mod directory;
mod filesystem;
mod inode;
mod regular;
mod xattr;

pub use filesystem::{Access, GoferFilesystem};

/// The host calls that files of the gofer need on donated descriptors, for the sentry's seccomp filter.
/// The gofer's client needs [`gofer::client::host_calls`] beside these.
pub fn host_calls() -> Vec<i64> {
    let mut calls = vec![
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_lseek,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_fallocate,
    ];
    calls.extend_from_slice(platform::hostio::HOST_CALLS);
    calls
}
