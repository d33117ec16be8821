// SPDX-License-Identifier: Apache-2.0
//! What runsc remembers of a container between two commands.
//!
//! * **What it is.** A [`store::Store`] is the directory of `--root`; an [`store::Entry`] is one
//!   container's directory in it, locked; a [`record::Record`] is what its `state.json` says.
//! * **Invariants.** A directory is made before anything else of its container and removed last, so
//!   that whatever a killed runsc left can be found and ended. `state.json` is replaced whole.
//!   A process is known by its number *and* its start time.

pub(crate) mod process;
pub(crate) mod record;
pub(crate) mod store;
