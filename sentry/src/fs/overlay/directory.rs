// SPDX-License-Identifier: Apache-2.0
//! Directories of both layers: names found, made, moved, hidden, and listed.

use std::{any::Any, sync::Arc};

use abi::{Errno, cred::Capabilities, fcntl::OpenFlags};
use rustc_hash::FxHashSet;

use super::{
    filesystem::Layer,
    inode::{Layers, OverlayInode},
    layers::{self, Upper},
};
use crate::{
    creds::Credentials,
    sync::{Mutex, levels},
    vfs::{DirSink, Directory, FileKind, FileOps, Inode, NewNode, RenameMode, Walked},
};

/// What is known of a name in the lower layer.
enum Below {
    Nothing,
    File(Arc<dyn Inode>),
    /// The walk did not come this far.
    Unknown,
}

impl Directory for OverlayInode {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        Ok(self.lookup_one(name)?)
    }

    fn lookup_path(&self, names: &[&[u8]]) -> Result<Walked, Errno> {
        let Layers { mut upper, lower } = self.layers();
        let mut below = Walked { inodes: Vec::new(), missing: true };
        if let Some(lower) = lower.filter(|_| asks_below(upper.as_ref(), names)) {
            below = layers::directory(&lower)?.lookup_path(names)?;
        }
        let missing_at = below.missing.then_some(below.inodes.len());
        let mut below = below.inodes.into_iter();
        let mut found: Vec<Arc<OverlayInode>> = Vec::new();
        let mut missing = false;
        // Whether the lower layer still counts on this way.
        let mut is_merged = true;
        for (index, name) in names.iter().enumerate() {
            let low = match below.next() {
                _ if !is_merged => Below::Nothing,
                Some(inode) => Below::File(inode),
                None if missing_at.is_some_and(|at| at <= index) => Below::Nothing,
                None => Below::Unknown,
            };
            let up = match &upper {
                Some(directory) if directory.kind() == FileKind::Directory => {
                    layers::find(directory, name)?
                }
                _ => Upper::Nothing,
            };
            let (up, low) = match (up, low) {
                (Upper::Whiteout, _) | (Upper::Nothing, Below::Nothing) => {
                    missing = true;
                    break;
                }
                (Upper::Nothing, Below::File(low)) => (None, Some(low)),
                (Upper::File(up), _) if up.kind() != FileKind::Directory => (Some(up), None),
                (Upper::File(up), _) if layers::is_opaque(&up) => (Some(up), None),
                (Upper::File(up), Below::File(low)) if low.kind() == FileKind::Directory => {
                    (Some(up), Some(low))
                }
                (Upper::File(up), Below::Nothing | Below::File(_)) => (Some(up), None),
                // Only the lower layer knows: the next walk asks it from here.
                (Upper::Nothing | Upper::File(_), Below::Unknown) => break,
            };
            is_merged = low.is_some();
            upper = up.clone();
            let parent = match found.last() {
                Some(parent) => parent.clone(),
                None => self.counted(),
            };
            let child = self.filesystem.wrap(up, low, Some((parent, name)))?;
            let is_directory = child.kind() == FileKind::Directory;
            found.push(child);
            if !is_directory {
                break;
            }
        }
        let inodes = found.into_iter().map(|inode| inode as Arc<dyn Inode>).collect();
        Ok(Walked { inodes, missing })
    }

    fn confirm(&self, known: &[(&[u8], Arc<dyn Inode>)]) -> usize {
        // What is above is nobody else's; what is only below may be a chain there.
        let mut below = Vec::new();
        for (name, inode) in known {
            let Ok(inode) = self.sibling(inode) else { break };
            match inode.layers() {
                Layers { upper: None, lower: Some(lower) } => below.push((*name, lower)),
                _ if below.is_empty() => return 1,
                _ => break,
            }
        }
        let lower = self.layers().lower;
        let role = lower.as_ref().and_then(|lower| lower.as_directory());
        role.map_or(0, |role| role.confirm(&below))
    }

    fn create(
        &self,
        name: &[u8],
        node: NewNode<'_>,
        permissions: u32,
        uid: u32,
        gid: u32,
    ) -> Result<Arc<dyn Inode>, Errno> {
        if matches!(node, NewNode::CharDevice(0)) {
            // It would be a whiteout.
            return Err(Errno::EPERM);
        }
        let me = self.counted();
        let _one_at_a_time = self.filesystem.changing.lock();
        me.check_free(name)?;
        let upper = me.copy_up_held(u64::MAX)?;
        let is_directory = matches!(node, NewNode::Directory);
        let made = me.replacing_whiteout(&upper, name, |role| {
            role.create(name, node, permissions, uid, gid)
        })?;
        if is_directory && me.has_below(name)? {
            layers::make_opaque(&made)?;
        }
        Ok(self.filesystem.wrap(Some(made), None, Some((me, name)))?)
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let inode = self.sibling(inode)?;
        let me = self.counted();
        let _one_at_a_time = self.filesystem.changing.lock();
        me.check_free(name)?;
        let upper = me.copy_up_held(u64::MAX)?;
        let file = inode.copy_up_held(u64::MAX)?;
        me.replacing_whiteout(&upper, name, |role| role.link(name, &file))?;
        inode.found_at(me, name);
        Ok(())
    }

    fn unlink(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let inode = self.sibling(inode)?;
        let me = self.counted();
        let _one_at_a_time = self.filesystem.changing.lock();
        let hides = me.has_below(name)?;
        let upper = if hides { Some(me.copy_up_held(u64::MAX)?) } else { me.upper() };
        if let Some(upper) = &upper
            && let Upper::File(file) = layers::find(upper, name)?
        {
            layers::directory(upper)?.unlink(name, &file)?;
        }
        if let Some(upper) = upper.filter(|_| hides) {
            layers::make_whiteout(&upper, name)?;
        }
        inode.lost(&me, name);
        Ok(())
    }

    fn remove_directory(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let inode = self.sibling(inode)?;
        let me = self.counted();
        let _one_at_a_time = self.filesystem.changing.lock();
        if !inode.names()?.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        let hides = me.has_below(name)?;
        let upper = if hides { Some(me.copy_up_held(u64::MAX)?) } else { me.upper() };
        if let (Some(upper), Some(directory)) = (&upper, inode.upper()) {
            clear_marks(&directory)?;
            layers::directory(upper)?.remove_directory(name, &directory)?;
        }
        if let Some(upper) = upper.filter(|_| hides) {
            layers::make_whiteout(&upper, name)?;
        }
        inode.lost(&me, name);
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        inode: &Arc<dyn Inode>,
        new_parent: &Arc<dyn Inode>,
        new_name: &[u8],
        replaced: Option<&Arc<dyn Inode>>,
        mode: RenameMode,
    ) -> Result<(), Errno> {
        if mode == RenameMode::Whiteout {
            return Err(Errno::EINVAL);
        }
        let (inode, to) = (self.sibling(inode)?, self.sibling(new_parent)?);
        let replaced = replaced.map(|replaced| self.sibling(replaced)).transpose()?;
        let me = self.counted();
        let _one_at_a_time = self.filesystem.changing.lock();
        let is_exchange = mode == RenameMode::Exchange;
        let from_upper = me.copy_up_held(u64::MAX)?;
        let to_upper = to.copy_up_held(u64::MAX)?;
        let file = inode.copy_whole_held()?;
        let mut victim = None;
        match &replaced {
            Some(other) if is_exchange => victim = Some(other.copy_whole_held()?),
            Some(other) if other.kind() == FileKind::Directory => {
                if !other.names()?.is_empty() {
                    return Err(Errno::ENOTEMPTY);
                }
                if let Some(upper) = other.upper() {
                    clear_marks(&upper)?;
                }
            }
            _ => {}
        }
        if victim.is_none()
            && let Upper::File(upper) = layers::find(&to_upper, new_name)?
        {
            victim = Some(upper);
        }
        let (old_is_below, new_is_below) = (me.has_below(name)?, to.has_below(new_name)?);
        if inode.kind() == FileKind::Directory && new_is_below {
            layers::make_opaque(&file)?;
        }
        if let (true, Some(other), Some(upper)) = (is_exchange && old_is_below, &replaced, &victim)
            && other.kind() == FileKind::Directory
        {
            layers::make_opaque(upper)?;
        }
        let step = if is_exchange { mode } else { RenameMode::Replace };
        let rename = |_: &dyn Directory| {
            let role = layers::directory(&from_upper)?;
            role.rename(name, &file, &to_upper, new_name, victim.as_ref(), step)
        };
        to.replacing_whiteout(&to_upper, new_name, rename)?;
        if old_is_below && !is_exchange {
            layers::make_whiteout(&from_upper, name)?;
        }
        match replaced {
            Some(other) if is_exchange => other.found_at(me, name),
            Some(other) => other.lost(&to, new_name),
            None => {}
        }
        inode.found_at(to, new_name);
        Ok(())
    }

    fn create_unnamed(
        &self,
        permissions: u32,
        uid: u32,
        gid: u32,
    ) -> Result<Arc<dyn Inode>, Errno> {
        let root = self.filesystem.upper.root();
        let file = layers::directory(&root)?.create_unnamed(permissions, uid, gid)?;
        Ok(self.filesystem.wrap(Some(file), None, None)?)
    }
}

/// Whether a walk along `names` has to ask the lower layer at all.
fn asks_below(upper: Option<&Arc<dyn Inode>>, names: &[&[u8]]) -> bool {
    let (Some(upper), Some(name)) = (upper, names.first()) else { return true };
    match layers::find(upper, name) {
        Ok(Upper::Whiteout) => false,
        Ok(Upper::File(file)) => file.kind() == FileKind::Directory && !layers::is_opaque(&file),
        // An error comes again where it can be told.
        Ok(Upper::Nothing) | Err(_) => true,
    }
}

/// Takes the whiteouts out of an upper directory that shows nothing.
fn clear_marks(upper: &Arc<dyn Inode>) -> Result<(), Errno> {
    for entry in list(upper)? {
        layers::clear_whiteout(upper, &entry.name)?;
    }
    Ok(())
}

impl OverlayInode {
    pub(super) fn lookup_one(&self, name: &[u8]) -> Result<Arc<OverlayInode>, Errno> {
        let found = self.lookup_path(&[name])?.inodes.pop().ok_or(Errno::ENOENT)?;
        self.sibling(&found)
    }

    /// Whether the lower layer shows through under this name, if nothing hides it.
    fn has_below(&self, name: &[u8]) -> Result<bool, Errno> {
        match self.layers().lower {
            Some(lower) => Ok(layers::find_lower(&lower, name)?.is_some()),
            None => Ok(false),
        }
    }

    fn check_free(&self, name: &[u8]) -> Result<(), Errno> {
        match self.lookup_one(name) {
            Ok(_) => Err(Errno::EEXIST),
            Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Does `change` in the upper directory once no whiteout is in its way; puts the whiteout back if
    /// that fails.
    fn replacing_whiteout<T>(
        &self,
        upper: &Arc<dyn Inode>,
        name: &[u8],
        change: impl FnOnce(&dyn Directory) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let was_hidden = layers::clear_whiteout(upper, name)?;
        let result = change(layers::directory(upper)?);
        if result.is_err()
            && was_hidden
            && let Err(errno) = layers::make_whiteout(upper, name)
        {
            tracing::warn!(%errno, "a name that was taken away shows again");
        }
        result
    }

    /// The file in the upper layer with all that is in it.
    fn copy_whole_held(self: &Arc<Self>) -> Result<Arc<dyn Inode>, Errno> {
        if self.kind() == FileKind::Directory {
            self.copy_tree_held()?;
        }
        self.copy_up_held(u64::MAX)
    }

    /// The names in it.
    pub(super) fn names(&self) -> Result<Vec<Box<[u8]>>, Errno> {
        Ok(self.entries()?.into_iter().map(|entry| entry.name).collect())
    }

    /// What a listing shows: the upper layer's entries, and those below that nothing hides.
    fn entries(&self) -> Result<Vec<Entry>, Errno> {
        let Layers { upper, lower } = self.layers();
        let mut shown = Vec::new();
        let mut seen: FxHashSet<Box<[u8]>> = FxHashSet::default();
        if let Some(upper) = &upper {
            for mut entry in list(upper)? {
                let is_hiding = entry.kind == FileKind::CharDevice
                    && matches!(layers::find(upper, &entry.name)?, Upper::Whiteout);
                if lower.is_some() {
                    seen.insert(entry.name.clone());
                }
                if !is_hiding {
                    entry.inode = self.filesystem.listed_number(Layer::Upper, entry.inode);
                    shown.push(entry);
                }
            }
        }
        if let Some(lower) = &lower {
            shown.extend(list(lower)?.into_iter().filter(|entry| !seen.contains(&entry.name)));
        }
        Ok(shown)
    }
}

/// One entry of a listing.
#[derive(Debug)]
struct Entry {
    name: Box<[u8]>,
    inode: u64,
    kind: FileKind,
}

/// Entries that one listing holds at most.
const MAX_LISTED: usize = 1 << 22;

impl DirSink for Vec<Entry> {
    fn entry(&mut self, name: &[u8], inode: u64, kind: FileKind, _next: u64) -> bool {
        if self.len() >= MAX_LISTED {
            return false;
        }
        self.push(Entry { name: name.into(), inode, kind });
        true
    }
}

/// Where the VFS has file systems begin: behind `.` and `..`.
const FIRST: u64 = 2;

/// All entries of a directory of one layer.
fn list(directory: &Arc<dyn Inode>) -> Result<Vec<Entry>, Errno> {
    let creds = Credentials::root(Capabilities::all());
    let open = directory.clone().open(OpenFlags::RDONLY | OpenFlags::DIRECTORY, &creds)?;
    let mut entries = Vec::new();
    open.read_entries(FIRST, &mut entries)?;
    Ok(entries)
}

/// An open directory. It lists what was there when reading began; a rewind looks again.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    inode: Arc<OverlayInode>,
    listing: Mutex<Option<Arc<[Entry]>>, levels::Leaf>,
}

impl OpenDirectory {
    pub(super) fn new(inode: Arc<OverlayInode>) -> OpenDirectory {
        OpenDirectory { inode, listing: Mutex::new(None) }
    }
}

impl FileOps for OpenDirectory {
    fn read_entries(&self, position: u64, to: &mut dyn DirSink) -> Result<u64, Errno> {
        let known = self.listing.lock().clone().filter(|_| position > FIRST);
        let listing = match known {
            Some(listing) => listing,
            None => {
                let listing: Arc<[Entry]> = self.inode.entries()?.into();
                let old = self.listing.lock().replace(listing.clone());
                drop(old);
                listing
            }
        };
        let begin = usize::try_from(position.saturating_sub(FIRST)).unwrap_or(usize::MAX);
        let mut at = position.max(FIRST);
        for entry in listing.get(begin..).unwrap_or_default() {
            if !to.entry(&entry.name, entry.inode, entry.kind, at + 1) {
                break;
            }
            at += 1;
        }
        Ok(at)
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
