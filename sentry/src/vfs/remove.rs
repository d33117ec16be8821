// SPDX-License-Identifier: Apache-2.0
//! Names taken away and moved: unlink(2), rmdir(2), rename(2).
//!
//! Checks stand in the order of Linux's `do_unlinkat()`, `do_rmdir()`, `do_renameat2()`, `may_delete()`.

use std::sync::Arc;

use abi::Errno;

use super::{
    Dentry, FileKind, Place, RenameMode,
    create::may_create,
    inode_flags,
    notify::{self, Event},
    permission::{self, Access},
    resolve::{self, Last, Lookup, ParentOf, ResolveContext},
};
use crate::{
    creds::Credentials,
    sync::{Mutex, levels, lock_pair},
};

/// Directories that move between parents do so one at a time.
static RENAMES: Mutex<(), levels::Rename> = Mutex::new(());

/// `may_delete()`: whether `creds` may take `victim` out of `directory`.
fn may_delete(
    directory: &Place,
    victim: &Dentry,
    wants_directory: bool,
    creds: &Credentials,
) -> Result<(), Errno> {
    let inode = directory.inode();
    inode_flags::check_mutable(&**inode)?;
    let owner = inode.owner()?;
    let wanted = Access::WRITE | Access::EXECUTE;
    permission::check_owner(&owner, FileKind::Directory, wanted, creds)?;
    inode_flags::check_not_append_only(&**inode)?;
    inode_flags::check_free(&**victim.inode())?;
    let victim_owner = victim.inode().owner()?;
    if permission::is_kept_by_sticky(&owner, &victim_owner, creds) {
        return Err(Errno::EPERM);
    }
    let is_directory = victim.inode().kind() == FileKind::Directory;
    if wants_directory && !is_directory {
        return Err(Errno::ENOTDIR);
    }
    if !wants_directory && is_directory {
        return Err(Errno::EISDIR);
    }
    if directory.dentry.is_gone() {
        return Err(Errno::ENOENT);
    }
    Ok(())
}

/// unlink(2).
pub fn unlink(cx: &ResolveContext, path: &[u8]) -> Result<(), Errno> {
    let parent = resolve::walk_parent(cx, path, Lookup::empty())?;
    let Last::Name { name, is_slashed } = &parent.last else { return Err(Errno::EISDIR) };
    let directory = &parent.directory;
    directory.mount.check_writable()?;
    let victim = {
        let role = directory.inode().as_directory().ok_or(Errno::ENOTDIR)?;
        let _names = directory.inode().common().lock_directory();
        let victim = resolve::lookup(&directory.dentry, name)?;
        if *is_slashed {
            let is_directory = victim.inode().kind() == FileKind::Directory;
            return Err(if is_directory { Errno::EISDIR } else { Errno::ENOTDIR });
        }
        may_delete(directory, &victim, false, &cx.creds)?;
        if victim.is_mountpoint() {
            return Err(Errno::EBUSY);
        }
        role.unlink(name, victim.inode())?;
        directory.dentry.removed(&victim);
        victim
    };
    gone(directory, name, &victim);
    Ok(())
}

/// rmdir(2).
pub fn remove_directory(cx: &ResolveContext, path: &[u8]) -> Result<(), Errno> {
    let parent = resolve::walk_parent(cx, path, Lookup::empty())?;
    let name = match &parent.last {
        Last::Name { name, .. } => name,
        Last::DotDot => return Err(Errno::ENOTEMPTY),
        Last::Dot => return Err(Errno::EINVAL),
        Last::Root => return Err(Errno::EBUSY),
    };
    let directory = &parent.directory;
    directory.mount.check_writable()?;
    let victim = {
        let role = directory.inode().as_directory().ok_or(Errno::ENOTDIR)?;
        let _names = directory.inode().common().lock_directory();
        let victim = resolve::lookup(&directory.dentry, name)?;
        may_delete(directory, &victim, true, &cx.creds)?;
        if victim.is_mountpoint() {
            return Err(Errno::EBUSY);
        }
        role.remove_directory(name, victim.inode())?;
        directory.dentry.removed(&victim);
        victim
    };
    gone(directory, name, &victim);
    Ok(())
}

fn gone(directory: &Place, name: &[u8], victim: &Arc<Dentry>) {
    if !notify::is_watched() {
        return;
    }
    let inode = victim.inode();
    let links = inode.attributes().map_or(0, |attributes| attributes.links);
    if inode.kind() != FileKind::Directory {
        notify::inode_event(inode, Event::ATTRIB);
    }
    if links == 0 || inode.kind() == FileKind::Directory {
        notify::inode_event(inode, Event::DELETE_SELF);
    }
    notify::name_event(directory.inode(), name, &**inode, Event::DELETE, 0);
}

/// rename(2) and renameat2(2). The two contexts differ where the paths start.
pub fn rename(
    from: (&ResolveContext, &[u8]),
    to: (&ResolveContext, &[u8]),
    mode: RenameMode,
) -> Result<(), Errno> {
    let old = resolve::walk_parent(from.0, from.1, Lookup::empty())?;
    let new = resolve::walk_parent(to.0, to.1, Lookup::empty())?;
    if !Arc::ptr_eq(&old.directory.mount, &new.directory.mount) {
        return Err(Errno::EXDEV);
    }
    let Last::Name { name: old_name, is_slashed: old_slashed } = &old.last else {
        return Err(Errno::EBUSY);
    };
    let Last::Name { name: new_name, is_slashed: new_slashed } = &new.last else {
        let is_strict = mode == RenameMode::NoReplace;
        return Err(if is_strict { Errno::EEXIST } else { Errno::EBUSY });
    };
    old.directory.mount.check_writable()?;
    let renaming = Renaming {
        old: &old,
        old_name,
        old_slashed: *old_slashed,
        new: &new,
        new_name,
        new_slashed: *new_slashed,
        mode,
        creds: &from.0.creds,
    };
    let (a, b) = (old.directory.inode().common(), new.directory.inode().common());
    if Arc::ptr_eq(old.directory.inode(), new.directory.inode()) {
        let _names = a.lock_directory();
        renaming.run()
    } else {
        let _renames = RENAMES.lock();
        let _names = lock_pair(a.directory(), b.directory());
        renaming.run()
    }
}

struct Renaming<'a> {
    old: &'a ParentOf,
    old_name: &'a [u8],
    old_slashed: bool,
    new: &'a ParentOf,
    new_name: &'a [u8],
    new_slashed: bool,
    mode: RenameMode,
    creds: &'a Credentials,
}

impl Renaming<'_> {
    /// With both directories locked.
    fn run(&self) -> Result<(), Errno> {
        let (old_dir, new_dir) = (&self.old.directory, &self.new.directory);
        let source = resolve::lookup(&old_dir.dentry, self.old_name)?;
        let target = match resolve::lookup(&new_dir.dentry, self.new_name) {
            Ok(target) => Some(target),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        let is_exchange = self.mode == RenameMode::Exchange;
        let is_directory = |dentry: &Arc<Dentry>| dentry.inode().kind() == FileKind::Directory;
        match (&target, self.mode) {
            (Some(_), RenameMode::NoReplace) => return Err(Errno::EEXIST),
            (None, RenameMode::Exchange) => return Err(Errno::ENOENT),
            (Some(target), RenameMode::Exchange) if self.new_slashed && !is_directory(target) => {
                return Err(Errno::ENOTDIR);
            }
            _ => {}
        }
        if !is_directory(&source) && (self.old_slashed || (!is_exchange && self.new_slashed)) {
            return Err(Errno::ENOTDIR);
        }
        // A directory must not come to lie within itself, nor take the place of one that it is in.
        if new_dir.dentry.is_within(&source) {
            return Err(Errno::EINVAL);
        }
        if let Some(target) = &target
            && old_dir.dentry.is_within(target)
        {
            return Err(if is_exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        self.check(&source, target.as_ref())?;
        if let Some(target) = &target
            && Arc::ptr_eq(target.inode(), source.inode())
        {
            return Ok(());
        }
        self.carry_out(&source, target.as_ref())
    }

    /// `vfs_rename()`'s checks.
    fn check(&self, source: &Arc<Dentry>, target: Option<&Arc<Dentry>>) -> Result<(), Errno> {
        let (old_dir, new_dir) = (&self.old.directory, &self.new.directory);
        let moves_directory = source.inode().kind() == FileKind::Directory;
        if let Some(target) = target
            && Arc::ptr_eq(target.inode(), source.inode())
        {
            return Ok(());
        }
        may_delete(old_dir, source, moves_directory, self.creds)?;
        let is_exchange = self.mode == RenameMode::Exchange;
        match target {
            None => may_create(new_dir, self.creds)?,
            Some(target) => {
                let target_is_directory = target.inode().kind() == FileKind::Directory;
                let wanted = if is_exchange { target_is_directory } else { moves_directory };
                may_delete(new_dir, target, wanted, self.creds)?;
            }
        }
        // A directory that changes its parent is written to: its `..` changes.
        let changes_parent = !Arc::ptr_eq(old_dir.inode(), new_dir.inode());
        if changes_parent && moves_directory {
            permission::check(&**source.inode(), Access::WRITE, self.creds)?;
        }
        if changes_parent
            && is_exchange
            && let Some(target) = target
            && target.inode().kind() == FileKind::Directory
        {
            permission::check(&**target.inode(), Access::WRITE, self.creds)?;
        }
        if source.is_mountpoint() || target.is_some_and(|target| target.is_mountpoint()) {
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    fn carry_out(&self, source: &Arc<Dentry>, target: Option<&Arc<Dentry>>) -> Result<(), Errno> {
        let (old_dir, new_dir) = (&self.old.directory, &self.new.directory);
        let role = old_dir.inode().as_directory().ok_or(Errno::ENOTDIR)?;
        let replaced = target.map(|target| target.inode());
        role.rename(
            self.old_name,
            source.inode(),
            new_dir.inode(),
            self.new_name,
            replaced,
            self.mode,
        )?;
        match (self.mode, target) {
            (RenameMode::Exchange, Some(target)) => {
                old_dir.dentry.exchanged(source, &new_dir.dentry, target);
                self.tell_move(target, new_dir, self.new_name, old_dir, self.old_name);
            }
            _ => old_dir.dentry.moved(source, &new_dir.dentry, self.new_name, target),
        }
        if self.mode == RenameMode::Whiteout {
            old_dir.dentry.invalidate(self.old_name);
        }
        self.tell_move(source, old_dir, self.old_name, new_dir, self.new_name);
        if let Some(target) = target
            && self.mode != RenameMode::Exchange
            && notify::is_watched()
        {
            let links = target.inode().attributes().map_or(0, |attributes| attributes.links);
            let is_last = links == 0 || target.inode().kind() == FileKind::Directory;
            let event = if is_last { Event::DELETE_SELF } else { Event::ATTRIB };
            notify::inode_event(target.inode(), event);
        }
        Ok(())
    }

    fn tell_move(
        &self,
        moved: &Arc<Dentry>,
        from: &Place,
        from_name: &[u8],
        to: &Place,
        to_name: &[u8],
    ) {
        if !notify::is_watched() {
            return;
        }
        let cookie = notify::next_cookie();
        let inode = &**moved.inode();
        notify::name_event(from.inode(), from_name, inode, Event::MOVED_FROM, cookie);
        notify::name_event(to.inode(), to_name, inode, Event::MOVED_TO, cookie);
        notify::inode_event(moved.inode(), Event::MOVE_SELF);
    }
}
