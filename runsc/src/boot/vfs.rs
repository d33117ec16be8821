// SPDX-License-Identifier: Apache-2.0
//! The guest's tree: the root and every mount of the plan.

use std::sync::Arc;

use abi::{Errno, cred::Capabilities};
use sentry::{
    creds::Credentials,
    vfs::{
        self, FileDescription, FileKind, Filesystem, Lookup, Mount, MountNamespace, MountOptions,
        NewNode, Place, ResolveContext, resolve,
    },
};
use tracing::debug;

use super::{copy_up, devices, masks};
use crate::{
    config::FileAccess,
    sandbox::plan::{BootPlan, Bytes, Mount as Planned, MountKind},
};

/// A part of the tree that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{what} {at:?}: {}", .source.message())]
pub(super) struct TreeError {
    what: &'static str,
    at: Bytes,
    source: Errno,
}

impl TreeError {
    /// What went wrong with the thing that config.json calls `what`, at a path of the guest.
    pub(super) fn new(what: &'static str, at: &Bytes, source: Errno) -> TreeError {
        TreeError { what, at: at.clone(), source }
    }
}

/// What file systems are made of.
pub(super) trait Sources {
    /// One of the gofer's roots.
    fn served(
        &self,
        root: u32,
        is_readonly: bool,
        has_overlay: bool,
        access: FileAccess,
    ) -> Result<Arc<dyn Filesystem>, Errno>;

    /// A file system of the sentry's own; `None` if there is none of this name.
    fn own(&self, name: &str, data: &str) -> Result<Option<Arc<dyn Filesystem>>, Errno>;
}

/// Builds the tree. What is to be read-only becomes so last, for places to mount on, devices and masks
/// may have to be made in it.
pub(super) fn tree(
    plan: &BootPlan,
    sources: &impl Sources,
) -> Result<Arc<MountNamespace>, TreeError> {
    let at_root = |source| TreeError::new("root.path", &Bytes::from("/"), source);
    let root = &plan.root;
    let filesystem =
        sources.served(0, root.is_readonly, root.has_overlay, root.access).map_err(at_root)?;
    let mount = Mount::new(filesystem, b"root", MountOptions::RELATIME);
    let tree = MountNamespace::new(Arc::clone(&mount));
    let mut readonly = Vec::new();
    for planned in &plan.mounts {
        let made = add(&tree, planned, sources)
            .map_err(|source| TreeError::new("mounts", &planned.destination, source))?;
        readonly.extend(made.filter(|_| planned.flags & RDONLY != 0));
    }
    devices::make(&tree, &plan.extras.devices)?;
    if root.is_readonly {
        readonly.push(mount);
    }
    for mount in readonly {
        mount.set_options(mount.options() | MountOptions::RDONLY);
    }
    masks::apply(&tree, sources, &plan.masked_paths, &plan.readonly_paths)?;
    Ok(tree)
}

/// `MS_RDONLY`.
const RDONLY: u64 = 1;

fn add(
    tree: &Arc<MountNamespace>,
    planned: &Planned,
    sources: &impl Sources,
) -> Result<Option<Arc<Mount>>, Errno> {
    let path = &planned.destination.0;
    let filesystem = match &planned.kind {
        MountKind::Gofer { root, has_overlay, access } => {
            let is_readonly = planned.flags & RDONLY != 0;
            sources.served(*root, is_readonly, *has_overlay, *access)?
        }
        MountKind::Own(name) => match sources.own(name, &own_data(tree, name, planned))? {
            Some(filesystem) => filesystem,
            None => {
                debug!("mount {:?} is left out: no {name} yet", planned.destination);
                return Ok(None);
            }
        },
    };
    let is_directory = filesystem.root().kind() == FileKind::Directory;
    let place = place(tree, path, is_directory)?;
    let flags = u32::try_from(planned.flags & u64::from(u32::MAX)).unwrap_or(0);
    let mut options = MountOptions::from_bits_truncate(flags) - MountOptions::RDONLY;
    // Linux's default, unless the access times are to be kept in another way.
    const STRICTATIME: u64 = 1 << 24;
    if !options.contains(MountOptions::NOATIME) && planned.flags & STRICTATIME == 0 {
        options |= MountOptions::RELATIME;
    }
    let mount = Mount::new(filesystem, &planned.source.0, options);
    if planned.copies_up {
        copy_up::fill(&Place::root_of(Arc::clone(&mount)), &place)?;
    }
    tree.mount(Arc::clone(&mount), &place)?;
    Ok(Some(mount))
}

/// The options of a file system of our own. As runc does it, a tmpfs over a directory that is there has
/// that directory's mode if it is told no other.
fn own_data(tree: &Arc<MountNamespace>, name: &str, planned: &Planned) -> String {
    let data = planned.data.clone();
    if name != "tmpfs" || data.split(',').any(|option| option.starts_with("mode=")) {
        return data;
    }
    let found = resolve::walk(&context(tree), &planned.destination.0, Lookup::FOLLOW);
    match found.and_then(|place| place.inode().attributes()) {
        Ok(covered) if covered.kind == FileKind::Directory => {
            let mode = format!("mode={:o}", covered.permissions);
            if data.is_empty() { mode } else { format!("{mode},{data}") }
        }
        _ => data,
    }
}

/// Who builds: root, with every right inside.
pub(super) fn context(tree: &Arc<MountNamespace>) -> ResolveContext {
    let root = tree.root();
    let creds = Arc::new(Credentials::root(Capabilities::all()));
    ResolveContext { start: root.clone(), root, creds }
}

/// Where `path` is, made if it is missing. Links in the image lead where they lead inside.
pub(super) fn place(
    tree: &Arc<MountNamespace>,
    path: &[u8],
    is_directory: bool,
) -> Result<Place, Errno> {
    let cx = context(tree);
    match resolve::walk(&cx, path, Lookup::FOLLOW) {
        Err(Errno::ENOENT) => {}
        found => return found,
    }
    let mut so_far = Vec::new();
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        so_far.push(b'/');
        so_far.extend(name);
        let is_last = names.peek().is_none();
        let node = if is_directory || !is_last { NewNode::Directory } else { NewNode::Regular };
        match vfs::create::create(&cx, &so_far, node, vfs::create::Wanted::just(0o755)) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error),
        }
    }
    resolve::walk(&cx, path, Lookup::FOLLOW)
}

/// Shows the guest's terminal as `/dev/console`, too.
pub(super) fn show_console(
    tree: &Arc<MountNamespace>,
    terminal: &FileDescription,
) -> Result<(), TreeError> {
    const CONSOLE: &[u8] = b"/dev/console";
    let shown = place(tree, CONSOLE, false)
        .and_then(|console| tree.bind(terminal.place(), &console, false));
    shown.map_err(|source| TreeError::new("process.terminal", &Bytes::from(CONSOLE), source))
}

/// The working directory of the first process. `runc` makes a missing one, and so do we.
pub(super) fn working_directory(
    tree: &Arc<MountNamespace>,
    path: &Bytes,
) -> Result<Place, TreeError> {
    let fail = |source| TreeError::new("process.cwd", path, source);
    let found = place(tree, &path.0, true).map_err(fail)?;
    match found.inode().kind() {
        FileKind::Directory => Ok(found),
        _ => Err(fail(Errno::ENOTDIR)),
    }
}
