// SPDX-License-Identifier: Apache-2.0
//! Extended attributes, stored by the host.

use abi::Errno;
use gofer::client::XattrFlags;

use super::inode::GoferInode;
use crate::vfs::{FileKind, Inode, Xattrs};

/// Files and directories have some.
pub(super) fn role(inode: &GoferInode) -> Option<&dyn Xattrs> {
    matches!(inode.kind(), FileKind::Regular | FileKind::Directory).then_some(inode)
}

impl Xattrs for GoferInode {
    fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.node.xattr(name)
    }

    fn set(&self, name: &[u8], value: &[u8], create: bool, replace: bool) -> Result<(), Errno> {
        let mut flags = XattrFlags::empty();
        flags.set(XattrFlags::CREATE, create);
        flags.set(XattrFlags::REPLACE, replace);
        self.node.set_xattr(name, value, flags)?;
        self.changed();
        Ok(())
    }

    fn list(&self) -> Result<Vec<Vec<u8>>, Errno> {
        self.node.list_xattrs()
    }

    fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        self.node.remove_xattr(name)?;
        self.changed();
        Ok(())
    }
}
