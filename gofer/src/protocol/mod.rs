// SPDX-License-Identifier: Apache-2.0
//! The language of sentry and gofer: requests, replies, and their bytes.
//!
//! A frame is a header and a body. One frame is one datagram, at most [`MAX_FRAME`] bytes. Numbers are
//! little-endian, variable parts carry their length, and nothing may follow the last field.
//!
//! A request's header also carries nodes that the sentry no longer uses, so that releasing a node
//! costs no message of its own.

pub mod attr;
pub mod code;
pub mod message;
pub mod wire;

pub use attr::{Attr, Policy, SetAttr, Time, TimeUpdate};
pub use message::{Call, Request};
pub use wire::{Bytes, Malformed, Name, NodeId, Reader, Wire, Writer};

/// What both sides must speak; the server refuses another number at attach.
pub const VERSION: u32 = 2;

/// The longest frame. Fits a path, an attribute value (64 KiB) and some.
pub const MAX_FRAME: usize = 72 * 1024;

/// The most components that one walk may name.
pub const MAX_WALK: usize = 64;

/// The most nodes that one request may release beside its own work.
pub const MAX_RELEASES: usize = 256;

/// The longest extended-attribute value (Linux's `XATTR_SIZE_MAX`).
pub const MAX_XATTR: usize = 65536;

/// The longest symbolic link's text (Linux's `PATH_MAX`).
pub const MAX_LINK: usize = 4096;

/// The longest name (Linux's `NAME_MAX`).
pub const MAX_NAME: usize = 255;

/// The most bytes of directory entries in one reply.
pub const MAX_ENTRIES: usize = 60 * 1024;
