// SPDX-License-Identifier: Apache-2.0
//! The way from a master to its slave that no path can lead astray (`TIOCGPTPEER`).

use std::sync::Arc;

use abi::{Errno, fcntl::OpenFlags};

use super::{Master, Slave};
use crate::vfs::{Caller, FileDescription, Place, open, resolve};

/// The root of the devpts that a `ptmx` at `place` belongs to: its own, or the one mounted at `pts`
/// beside it (`devpts_acquire()`).
pub fn beside(place: &Place) -> Result<Place, Errno> {
    let is_devpts = |place: &Place| place.mount.filesystem().name() == "devpts";
    if is_devpts(place) {
        return Ok(Place::root_of(Arc::clone(&place.mount)));
    }
    let parent = place.dentry.parent().ok_or(Errno::ENODEV)?;
    let pts = resolve::lookup(&parent, b"pts").map_err(|_| Errno::ENODEV)?;
    let pts = Place { mount: Arc::clone(&place.mount), dentry: pts }.descend();
    if is_devpts(&pts) { Ok(pts) } else { Err(Errno::ENODEV) }
}

/// Opens the slave of `master` (`ptm_open_peer()`). `EIO` for a slave, `ENOTTY` for what is no terminal.
pub fn open_peer(
    master: &FileDescription,
    flags: OpenFlags,
    caller: &mut dyn Caller,
) -> Result<Arc<FileDescription>, Errno> {
    let end = master.ops().as_any();
    let refusal = if end.is::<Slave>() { Errno::EIO } else { Errno::ENOTTY };
    let end = end.downcast_ref::<Master>().ok_or(refusal)?;
    let pts = beside(master.place())?;
    let name = end.terminal().index.to_string();
    let dentry = resolve::lookup(&pts.dentry, name.as_bytes())?;
    let place = Place { mount: pts.mount, dentry };
    open::open_checked(&place, flags, &caller.credentials(), caller)
}
