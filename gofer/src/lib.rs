// SPDX-License-Identifier: Apache-2.0
//! The gofer: the process that mediates file access for one container.
//!
//! It holds the only right to open host files. The sentry asks over a socket; what it may open comes
//! back as a donated descriptor, so data never passes through here.
//!
//! * [`protocol`]: the messages, a request and its reply side by side, and their bytes;
//! * [`transport`]: frames and descriptors over a socket;
//! * [`client`]: the sentry's side: typed calls, no file-system rights needed;
//! * [`server`]: the gofer's side: nodes, policies, handlers;
//! * [`host`]: the host calls the server makes, none of which follows a symbolic link;
//! * [`jail`]: the gofer process's own confinement.
//!
//! Neither side believes the other: each bounds-checks every byte it is sent.
#![deny(unsafe_code)]

pub mod client;
pub mod host;
pub mod jail;
pub mod protocol;
pub mod server;
mod sys;
pub mod transport;
