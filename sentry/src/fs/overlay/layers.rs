// SPDX-License-Identifier: Apache-2.0
//! What the upper layer says of a name: the marks of overlayfs.

use std::sync::Arc;

use abi::Errno;

use crate::vfs::{Directory, FileKind, Inode, NewNode};

/// The extended attribute that makes an upper directory hide the one below.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Marks are not the guest's.
pub(super) fn is_mark(xattr: &[u8]) -> bool {
    xattr.starts_with(b"trusted.overlay.")
}

/// What the upper layer has under a name.
pub(super) enum Upper {
    Nothing,
    Whiteout,
    File(Arc<dyn Inode>),
}

pub(super) fn directory(inode: &Arc<dyn Inode>) -> Result<&dyn Directory, Errno> {
    inode.as_directory().ok_or(Errno::ENOTDIR)
}

pub(super) fn is_whiteout(inode: &dyn Inode) -> Result<bool, Errno> {
    Ok(inode.kind() == FileKind::CharDevice && inode.attributes()?.special_device == 0)
}

/// Looks a name up in an upper directory.
pub(super) fn find(upper: &Arc<dyn Inode>, name: &[u8]) -> Result<Upper, Errno> {
    match directory(upper)?.lookup(name) {
        Ok(inode) if is_whiteout(&*inode)? => Ok(Upper::Whiteout),
        Ok(inode) => Ok(Upper::File(inode)),
        Err(Errno::ENOENT) => Ok(Upper::Nothing),
        Err(errno) => Err(errno),
    }
}

/// The child of a lower directory, if there is one.
pub(super) fn find_lower(
    lower: &Arc<dyn Inode>,
    name: &[u8],
) -> Result<Option<Arc<dyn Inode>>, Errno> {
    match directory(lower)?.lookup(name) {
        Ok(inode) => Ok(Some(inode)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Hides `name` of the layer below.
pub(super) fn make_whiteout(upper: &Arc<dyn Inode>, name: &[u8]) -> Result<(), Errno> {
    directory(upper)?.create(name, NewNode::CharDevice(0), 0, 0, 0).map(drop)
}

/// Takes a whiteout away, if there is one under this name: whether there was.
pub(super) fn clear_whiteout(upper: &Arc<dyn Inode>, name: &[u8]) -> Result<bool, Errno> {
    let role = directory(upper)?;
    match role.lookup(name) {
        Ok(inode) if is_whiteout(&*inode)? => {
            role.unlink(name, &inode)?;
            Ok(true)
        }
        Ok(_) | Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether an upper directory hides the one below.
pub(super) fn is_opaque(upper: &Arc<dyn Inode>) -> bool {
    upper.as_xattrs().is_some_and(|xattrs| xattrs.get(OPAQUE).is_ok())
}

/// Makes an upper directory hide the one below.
pub(super) fn make_opaque(upper: &Arc<dyn Inode>) -> Result<(), Errno> {
    upper.as_xattrs().ok_or(Errno::EOPNOTSUPP)?.set(OPAQUE, b"y", false, false)
}
