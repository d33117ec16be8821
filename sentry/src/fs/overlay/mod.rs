// SPDX-License-Identifier: Apache-2.0
//! A writable layer above a file system that is not changed.
//!
//! * **What it is.** What the guest changes goes to the upper file system (in memory, as a rule) and is
//!   thrown away with it; what it does not change is read from the lower one (through the gofer, as a
//!   rule). It knows both by the traits of the VFS alone.
//! * **The types to know.** [`OverlayFilesystem`]: the two layers. An `OverlayInode`: a file of either, or a
//!   directory of both (merged).
//! * **Invariants.** The lower layer is never written to. A file that is opened for writing, or whose
//!   attributes change, is copied up first, whole or not at all, its directories before it. The upper
//!   layer tells the rest as Linux's overlayfs does: a character device 0:0 hides the name below, a
//!   directory marked opaque hides the directory below. The guest sees neither mark and can make neither.
//!   An inode keeps its number when it is copied up.
//! * **Lock levels.** `CopyUp` while a file moves up and while both layers of a directory change; leaves
//!   for tables.
//! * **What it does not do.** Mappings and readers of a file from before its first write keep the lower
//!   layer's contents where they are mapped, as on Linux. `RENAME_WHITEOUT` is `EINVAL`.

mod copy_up;
mod directory;
mod file;
mod filesystem;
mod inode;
mod layers;
mod xattr;

pub use filesystem::OverlayFilesystem;
