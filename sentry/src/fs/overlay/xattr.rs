// SPDX-License-Identifier: Apache-2.0
//! Extended attributes: those of the layer that counts, without overlayfs's marks.

use abi::Errno;

use super::{inode::OverlayInode, layers};
use crate::vfs::{Inode, Xattrs};

/// Whatever has some in either layer.
pub(super) fn role(inode: &OverlayInode) -> Option<&dyn Xattrs> {
    inode.top().is_ok_and(|top| top.as_xattrs().is_some()).then_some(inode)
}

fn of(inode: &dyn Inode) -> Result<&dyn Xattrs, Errno> {
    inode.as_xattrs().ok_or(Errno::EOPNOTSUPP)
}

impl Xattrs for OverlayInode {
    fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        if layers::is_mark(name) {
            return Err(Errno::ENODATA);
        }
        of(&*self.top()?)?.get(name)
    }

    fn set(&self, name: &[u8], value: &[u8], create: bool, replace: bool) -> Result<(), Errno> {
        if layers::is_mark(name) {
            return Err(Errno::EPERM);
        }
        of(&*self.copy_up()?)?.set(name, value, create, replace)
    }

    fn list(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let mut names = of(&*self.top()?)?.list()?;
        names.retain(|name| !layers::is_mark(name));
        Ok(names)
    }

    fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        if layers::is_mark(name) {
            return Err(Errno::ENODATA);
        }
        // Not worth a copy if there is nothing to remove.
        of(&*self.top()?)?.get(name)?;
        of(&*self.copy_up()?)?.remove(name)
    }
}
