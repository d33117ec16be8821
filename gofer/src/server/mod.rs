// SPDX-License-Identifier: Apache-2.0
//! The gofer's side: serves attach points to one sentry.
//!
//! * [`Root`]: an attach point and what it allows;
//! * [`node`]: what the sentry holds by number: path descriptors and open directories;
//! * [`walk`], [`handlers`] and their kin: one function a request;
//! * [`connection`]: channels, each a socket with a thread of its own, so that a slow host call holds up
//!   nobody else.
//!
//! Invariants:
//! * No path of the sentry's ever reaches the host: only checked names, one component at a time, below
//!   a descriptor, and never through a symbolic link.
//! * Whatever a root's policy refuses is refused here, whatever the sentry has checked.
//! * The sentry is hostile input: nothing here panics, loops or allocates by its numbers unchecked.
//! * What a request has made and could not be told of is undone.
//!
//! Locks: the node table's, a leaf; an open directory's, held over two host calls.
//!
//! It deliberately caches nothing: the sentry does.

mod calls;
mod change;
mod connection;
mod create;
mod handlers;
#[cfg(test)]
mod hostile;
mod ids;
mod names;
mod node;
mod read;
#[cfg(test)]
mod tests;
mod walk;
mod xattr;

use std::os::fd::{AsFd, OwnedFd};

use abi::Errno;

pub use crate::host::ProcFd;
pub use calls::{HostCall, When, host_calls};
pub use connection::run;
pub use ids::{Ids, Map as IdMap, Range as IdRange};

use crate::{
    host::{Resolver, stat},
    protocol::Policy,
};

/// Why the gofer ended before its sentry did.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root cannot be examined.
    #[error("examine root {index}: {source}")]
    Root {
        /// Which one.
        index: usize,
        /// Why.
        source: Errno,
    },
    /// The private `/proc/self/fd` cannot be used.
    #[error("enter the private /proc/self/fd: {0}")]
    Proc(Errno),
    /// The connection broke.
    #[error("receive from the sentry: {0}")]
    Receive(Errno),
    /// What came was no message.
    #[error("the sentry sent a malformed message")]
    Malformed,
}

/// An attach point: a directory, or a single file (a bind mount of a file).
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    policy: Policy,
    ids: Ids,
}

impl Root {
    /// Serves what `fd` refers to, which `O_PATH` suffices for.
    pub fn new(fd: OwnedFd, policy: Policy) -> Root {
        Root { fd, policy, ids: Ids::default() }
    }

    /// With the guest's ids being others than the host's.
    pub fn with_ids(mut self, ids: Ids) -> Root {
        self.policy.set(Policy::MAPS_IDS, !ids.is_identity());
        self.ids = ids;
        self
    }
}

/// What all channels share.
#[derive(Debug)]
struct Server {
    roots: Vec<std::sync::Arc<Root>>,
    nodes: node::Table,
    proc: ProcFd,
    resolver: Resolver,
}

impl Server {
    fn new(roots: Vec<Root>, proc: ProcFd) -> Result<Server, Error> {
        for (index, root) in roots.iter().enumerate() {
            stat::attr(root.fd.as_fd()).map_err(|source| Error::Root { index, source })?;
        }
        Ok(Server {
            roots: roots.into_iter().map(std::sync::Arc::new).collect(),
            nodes: node::Table::default(),
            proc,
            resolver: Resolver::default(),
        })
    }
}
