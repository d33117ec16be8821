// SPDX-License-Identifier: Apache-2.0
//! The host calls that the server makes on files: relative to a descriptor, never by a path.
//!
//! Invariants:
//! * A name is one checked component ([`crate::protocol::Name`]) below an `O_PATH` descriptor, and is
//!   opened without following a symbolic link. So nothing here can leave the tree it was given.
//! * An `O_PATH` descriptor is reopened through [`ProcFd`], the gofer's own private `/proc/self/fd`.
//! * Every call passes [`fault::point`], so that tests can make the n-th one fail.

pub mod change;
pub mod dir;
pub mod fault;
pub mod make;
pub mod open;
pub mod stat;
pub mod unix;
pub mod xattr;

pub use open::{ProcFd, Resolver};

use abi::Errno;

/// nix's errno as ours. What Linux does not know is `EIO`.
pub(crate) fn errno(error: nix::Error) -> Errno {
    let number: i32 = error as i32;
    Errno::from_raw(number).unwrap_or(Errno::EIO)
}

/// Makes a host call again while a signal interrupts it.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> Result<T, Errno> {
    fault::point()?;
    loop {
        match call() {
            Err(nix::Error::EINTR) => {}
            result => return result.map_err(errno),
        }
    }
}
