// SPDX-License-Identifier: Apache-2.0
//! Path resolution (path_resolution(7)): from text to a place, as Linux's `fs/namei.c` walks.

use std::{borrow::Cow, sync::Arc};

use abi::Errno;
use bitflags::bitflags;

use super::{
    Dentry, FileKind, LinkTarget, MountOptions, Place, Trust,
    dentry::Cached,
    permission::{self, Access},
};
use crate::creds::Credentials;

/// Symbolic links that one walk follows (`MAXSYMLINKS`).
const LINKS: u32 = 40;
/// The longest name.
const NAME_MAX: usize = 255;
/// The longest path, with its NUL.
const PATH_MAX: usize = 4096;
/// Names handed to the file system at once.
const AHEAD: usize = 32;

bitflags! {
    /// How to walk.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Lookup: u32 {
        /// Follow a symbolic link in the last place.
        const FOLLOW = 1;
        /// The result must be a directory (`ENOTDIR`).
        const DIRECTORY = 2;
        /// The empty path is the start itself (`AT_EMPTY_PATH`).
        const EMPTY = 4;
        /// `RESOLVE_NO_XDEV`: `EXDEV` rather than cross a mount.
        const NO_XDEV = 8;
        /// `RESOLVE_NO_MAGICLINKS`: `ELOOP`.
        const NO_MAGIC_LINKS = 0x10;
        /// `RESOLVE_NO_SYMLINKS`: `ELOOP`.
        const NO_SYMLINKS = 0x20;
        /// `RESOLVE_BENEATH`: `EXDEV` rather than leave the start.
        const BENEATH = 0x40;
        /// `RESOLVE_IN_ROOT`: the start is the root.
        const IN_ROOT = 0x80;
    }
}

/// Where a walk starts, and who walks.
#[derive(Debug, Clone)]
pub struct ResolveContext {
    /// The root directory.
    pub root: Place,
    /// Where relative paths start: the working directory, or what a descriptor names.
    pub start: Place,
    /// Who walks.
    pub creds: Arc<Credentials>,
}

/// The last component of a path whose parent was walked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Last {
    /// A name; `is_slashed` if a slash follows it.
    Name {
        /// The name itself.
        name: Vec<u8>,
        /// It must be a directory.
        is_slashed: bool,
    },
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// Nothing but slashes.
    Root,
}

/// What [`walk_parent`] found.
#[derive(Debug, Clone)]
pub struct ParentOf {
    /// The directory.
    pub directory: Place,
    /// What is wanted in it.
    pub last: Last,
}

/// The place that `path` names.
pub fn walk(cx: &ResolveContext, path: &[u8], how: Lookup) -> Result<Place, Errno> {
    if path.is_empty() {
        if !how.contains(Lookup::EMPTY) {
            return Err(Errno::ENOENT);
        }
        if how.contains(Lookup::DIRECTORY) && cx.start.inode().kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        return Ok(cx.start.clone());
    }
    let mut walk = Walk::new(cx, how);
    walk.begin(path)?;
    walk.run(path, true)?;
    if how.contains(Lookup::DIRECTORY) && walk.at.inode().kind() != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    Ok(walk.at)
}

/// The directory that holds the last component of `path`, which itself is not looked up.
pub fn walk_parent(cx: &ResolveContext, path: &[u8], how: Lookup) -> Result<ParentOf, Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let mut walk = Walk::new(cx, how);
    walk.begin(path)?;
    let last = walk.run(path, false)?;
    Ok(ParentOf { directory: walk.at, last })
}

/// From a parent on: what the last component names, or `ENOENT`. Symbolic links in the last place are
/// followed as `how` says.
pub fn walk_last(cx: &ResolveContext, parent: &ParentOf, how: Lookup) -> Result<Place, Errno> {
    let mut walk = Walk::new(cx, how);
    walk.at = parent.directory.clone();
    match &parent.last {
        Last::Root | Last::Dot => {}
        Last::DotDot => walk.up()?,
        Last::Name { name, is_slashed } => {
            let mut path = name.clone();
            if *is_slashed {
                path.push(b'/');
            }
            walk.run(&path, true)?;
        }
    }
    Ok(walk.at)
}

/// What a path names that may have to be made.
#[derive(Debug, Clone)]
pub struct Target {
    /// The directory that the last component is in.
    pub directory: Place,
    /// The last component.
    pub name: Vec<u8>,
    /// What is there.
    pub found: Option<Place>,
}

/// The last component of `path` with what is there, for `O_CREAT`: symbolic links in the last place are
/// followed as `how` says, to where they would have it made. `EISDIR` for what can only be a directory.
pub fn walk_target(cx: &ResolveContext, path: &[u8], how: Lookup) -> Result<Target, Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let mut walk = Walk::new(cx, how);
    walk.begin(path)?;
    let mut last = walk.run(path, false)?;
    loop {
        let Last::Name { name, is_slashed: false } = last else { return Err(Errno::EISDIR) };
        walk.check_search()?;
        let directory = walk.at.clone();
        let child = match lookup(&directory.dentry, &name) {
            Ok(child) => child,
            Err(Errno::ENOENT) => return Ok(Target { directory, name, found: None }),
            Err(errno) => return Err(errno),
        };
        let is_link = child.inode().kind() == FileKind::Symlink && !child.is_mountpoint();
        if is_link && how.contains(Lookup::FOLLOW) {
            match walk.follow(&child)? {
                Some(text) => {
                    if text.first() == Some(&b'/') {
                        walk.to_root()?;
                    }
                    last = walk.run(&text, false)?;
                    continue;
                }
                None => {
                    let found = Some(walk.at);
                    return Ok(Target { directory, name, found });
                }
            }
        }
        let place = Place { mount: directory.mount.clone(), dentry: child };
        walk.cross(place.descend())?;
        let found = Some(walk.at);
        return Ok(Target { directory, name, found });
    }
}

/// The child `name` of `directory` in its own mount, not descending into mounts. `ENOENT` if there is none.
pub fn lookup(directory: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>, Errno> {
    lookup_ahead(directory, name, &[])
}

/// As [`lookup`]; `ahead` is the text behind the name, for file systems that walk several at once.
fn lookup_ahead(directory: &Arc<Dentry>, name: &[u8], ahead: &[u8]) -> Result<Arc<Dentry>, Errno> {
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    match directory.cached(name) {
        Cached::There(dentry) => {
            let is_there = dentry.is_believed() || dentry.is_mountpoint();
            if is_there || confirm(directory, name, &dentry, ahead) {
                return Ok(dentry);
            }
            directory.disbelieve(&dentry);
        }
        Cached::Missing => return Err(Errno::ENOENT),
        Cached::Unknown => {}
    }
    loop {
        if let Some(found) = ask(directory, name, ahead)? {
            return found.ok_or(Errno::ENOENT);
        }
    }
}

/// Asks the file system whether `child` is still there, and in the same breath for what is known below it
/// and comes next.
fn confirm(directory: &Arc<Dentry>, name: &[u8], child: &Arc<Dentry>, ahead: &[u8]) -> bool {
    let inode = directory.inode().clone();
    let Some(role) = inode.as_directory() else { return false };
    let mut last = child.clone();
    let mut chain = vec![(name, child.clone())];
    if directory.trust() == Trust::Recent {
        for name in plain_names(ahead).take(AHEAD - 1) {
            match last.cached(name) {
                Cached::There(next) if !next.is_mountpoint() => {
                    chain.push((name, next.clone()));
                    last = next;
                }
                _ => break,
            }
        }
    }
    let known: Vec<_> = chain.iter().map(|(name, it)| (*name, it.inode().clone())).collect();
    let count = role.confirm(&known);
    chain.iter().take(count).for_each(|(_, dentry)| dentry.confirmed());
    count > 0
}

/// Asks the file system and caches the answer: the child, or that there is none. `None` if names
/// changed in between.
#[allow(clippy::type_complexity, reason = "one caller, two questions")]
fn ask(
    directory: &Arc<Dentry>,
    name: &[u8],
    ahead: &[u8],
) -> Result<Option<Option<Arc<Dentry>>>, Errno> {
    let generation = directory.generation();
    let inode = directory.inode().clone();
    let role = inode.as_directory().ok_or(Errno::ENOTDIR)?;
    let mut names = vec![name];
    names.extend(plain_names(ahead).take(AHEAD - 1));
    let walked = role.lookup_path(&names)?;
    let mut inodes = walked.inodes.into_iter();
    let Some(first) = inodes.next() else {
        directory.insert_missing(name, generation);
        return Ok(Some(None));
    };
    let Some(child) = directory.insert(name, first, generation) else { return Ok(None) };
    let mut parent = child.clone();
    let mut rest = names.iter().skip(1);
    for inode in inodes {
        let Some(name) = rest.next() else { break };
        let generation = parent.generation();
        match parent.insert(name, inode, generation) {
            Some(next) => parent = next,
            None => return Ok(Some(Some(child))),
        }
    }
    if walked.missing
        && let Some(name) = rest.next()
    {
        let generation = parent.generation();
        parent.insert_missing(name, generation);
    }
    Ok(Some(Some(child)))
}

/// The components of `text` up to the first that is not a plain name.
fn plain_names(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
        .take_while(|name| *name != b"." && *name != b".." && name.len() <= NAME_MAX)
}

/// A walk under way.
struct Walk<'a> {
    cx: &'a ResolveContext,
    how: Lookup,
    /// Whether some rule of openat2(2) or an unusual start makes checks necessary on the way.
    root: Cow<'a, Place>,
    at: Place,
    links: u32,
}

impl<'a> Walk<'a> {
    fn new(cx: &'a ResolveContext, how: Lookup) -> Walk<'a> {
        let is_scoped = how.intersects(Lookup::IN_ROOT | Lookup::BENEATH);
        let root = if is_scoped { &cx.start } else { &cx.root };
        Walk { cx, how, root: Cow::Borrowed(root), at: cx.start.clone(), links: 0 }
    }

    /// Stands at the root for an absolute path.
    fn begin(&mut self, path: &[u8]) -> Result<(), Errno> {
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if path.first() == Some(&b'/') {
            self.to_root()?;
        }
        Ok(())
    }

    fn to_root(&mut self) -> Result<(), Errno> {
        if self.how.contains(Lookup::BENEATH) {
            return Err(Errno::EXDEV);
        }
        if self.how.contains(Lookup::NO_XDEV) && !Arc::ptr_eq(&self.at.mount, &self.root.mount) {
            return Err(Errno::EXDEV);
        }
        self.at = self.root.clone().into_owned();
        Ok(())
    }

    fn up(&mut self) -> Result<(), Errno> {
        if self.at.is_same(&self.root) {
            if self.how.contains(Lookup::BENEATH) {
                return Err(Errno::EXDEV);
            }
            return Ok(());
        }
        let up = self.at.up(&self.root);
        self.cross(up)
    }

    /// Goes to `place`, which may be in another mount.
    fn cross(&mut self, place: Place) -> Result<(), Errno> {
        if self.how.contains(Lookup::NO_XDEV) && !Arc::ptr_eq(&place.mount, &self.at.mount) {
            return Err(Errno::EXDEV);
        }
        self.at = place;
        Ok(())
    }

    /// Walks `path` from where it stands. With `whole`, the last component too; without it, the last
    /// component is returned. Symbolic links on the way put their text before the rest.
    fn run(&mut self, path: &[u8], whole: bool) -> Result<Last, Errno> {
        let mut text: Cow<'_, [u8]> = Cow::Borrowed(path);
        let mut position = 0;
        loop {
            let rest = text.get(position..).unwrap_or_default();
            let Some(begin) = rest.iter().position(|byte| *byte != b'/') else {
                return Ok(Last::Root);
            };
            let rest = rest.get(begin..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(end).ok_or(Errno::EINVAL)?;
            let is_last = after.iter().all(|byte| *byte == b'/');
            let is_slashed = !after.is_empty();
            self.check_search()?;
            if is_last && !whole {
                return Ok(match name {
                    b"." => Last::Dot,
                    b".." => Last::DotDot,
                    name => Last::Name { name: name.to_vec(), is_slashed },
                });
            }
            let link = match name {
                b"." => None,
                b".." => {
                    self.up()?;
                    None
                }
                name => {
                    let follow = !is_last || is_slashed || self.how.contains(Lookup::FOLLOW);
                    self.step(name, after, follow)?
                }
            };
            if let Some(link) = link {
                if link.first() == Some(&b'/') {
                    self.to_root()?;
                }
                let mut joined = link;
                joined.extend_from_slice(after);
                if joined.len() >= 2 * PATH_MAX {
                    return Err(Errno::ENAMETOOLONG);
                }
                text = Cow::Owned(joined);
                position = 0;
                continue;
            }
            if is_slashed && self.at.inode().kind() != FileKind::Directory {
                return Err(Errno::ENOTDIR);
            }
            if is_last {
                return Ok(Last::Root);
            }
            position = text.len() - after.len();
        }
    }

    fn check_search(&self) -> Result<(), Errno> {
        let inode = self.at.inode();
        if inode.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        permission::check(&**inode, Access::EXECUTE, &self.cx.creds)
    }

    /// Goes to the child `name`. The text of a symbolic link that is to be followed comes back instead.
    fn step(&mut self, name: &[u8], ahead: &[u8], follow: bool) -> Result<Option<Vec<u8>>, Errno> {
        let child = lookup_ahead(&self.at.dentry, name, ahead)?;
        if child.inode().kind() == FileKind::Symlink && follow && !child.is_mountpoint() {
            return self.follow(&child);
        }
        let place = Place { mount: self.at.mount.clone(), dentry: child };
        if place.dentry.is_mountpoint() {
            self.cross(place.descend())?;
        } else {
            self.at = place;
        }
        Ok(None)
    }

    fn follow(&mut self, link: &Arc<Dentry>) -> Result<Option<Vec<u8>>, Errno> {
        self.links += 1;
        if self.links > LINKS || self.how.contains(Lookup::NO_SYMLINKS) {
            return Err(Errno::ELOOP);
        }
        if self.at.mount.options().contains(MountOptions::NOSYMFOLLOW) {
            return Err(Errno::ELOOP);
        }
        let inode = link.inode();
        match inode.read_link(&self.cx.creds)? {
            LinkTarget::Text(text) => {
                inode.touch(self.at.mount.access_time(FileKind::Symlink));
                // An empty link leads nowhere.
                if text.is_empty() { Err(Errno::ENOENT) } else { Ok(Some(text)) }
            }
            LinkTarget::Magic(place) => {
                if self.how.contains(Lookup::NO_MAGIC_LINKS) {
                    return Err(Errno::ELOOP);
                }
                if self.how.intersects(Lookup::BENEATH | Lookup::IN_ROOT) {
                    return Err(Errno::EXDEV);
                }
                self.cross(place)?;
                Ok(None)
            }
        }
    }
}
