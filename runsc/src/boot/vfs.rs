// SPDX-License-Identifier: Apache-2.0
//! The guest's tree: the root and every mount of the plan.

use std::sync::Arc;

use abi::{Errno, cred::Capabilities};
use sentry::{
    creds::Credentials,
    vfs::{
        self, FileKind, Filesystem, Lookup, Mount, MountNamespace, MountOptions, NewNode, Place,
        ResolveContext, resolve,
    },
};
use tracing::debug;

use crate::sandbox::plan::{BootPlan, Bytes, Mount as Planned, MountKind};

/// A part of the tree that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("mount {at:?}: {source}")]
pub(super) struct TreeError {
    at: Bytes,
    source: Errno,
}

/// What file systems are made of.
pub(super) trait Sources {
    /// One of the gofer's roots.
    fn served(
        &self,
        root: u32,
        is_readonly: bool,
        has_overlay: bool,
        is_shared: bool,
    ) -> Result<Arc<dyn Filesystem>, Errno>;

    /// A file system of the sentry's own; `None` if there is none of this name.
    fn own(&self, name: &str, data: &str) -> Result<Option<Arc<dyn Filesystem>>, Errno>;
}

/// Builds the tree.
pub(super) fn tree(
    plan: &BootPlan,
    sources: &impl Sources,
) -> Result<Arc<MountNamespace>, TreeError> {
    let at_root = |source| TreeError { at: Bytes::from("/"), source };
    let root = &plan.root;
    let filesystem =
        sources.served(0, root.is_readonly, root.has_overlay, root.is_shared).map_err(at_root)?;
    let mount = Mount::new(filesystem, b"root", MountOptions::RELATIME);
    let tree = MountNamespace::new(Arc::clone(&mount));
    for planned in &plan.mounts {
        add(&tree, planned, sources)
            .map_err(|source| TreeError { at: planned.destination.clone(), source })?;
    }
    // Only now: the mounts' own places may have had to be made.
    if root.is_readonly {
        mount.set_options(mount.options() | MountOptions::RDONLY);
    }
    Ok(tree)
}

fn add(tree: &Arc<MountNamespace>, planned: &Planned, sources: &impl Sources) -> Result<(), Errno> {
    let (filesystem, source) = match &planned.kind {
        MountKind::Gofer { root, has_overlay, is_shared } => {
            let is_readonly = planned.flags & u64::from(MountOptions::RDONLY.bits()) != 0;
            let served = sources.served(*root, is_readonly, *has_overlay, *is_shared)?;
            (served, &b"none"[..])
        }
        MountKind::Own(name) => match sources.own(name, &planned.data)? {
            Some(filesystem) => (filesystem, name.as_bytes()),
            None => {
                debug!("mount {:?} is left out: no {name} yet", planned.destination);
                return Ok(());
            }
        },
    };
    let is_directory = filesystem.root().kind() == FileKind::Directory;
    let place = place(tree, &planned.destination.0, is_directory)?;
    let flags = u32::try_from(planned.flags & u64::from(u32::MAX)).unwrap_or(0);
    let mut options = MountOptions::from_bits_truncate(flags);
    if !options.contains(MountOptions::NOATIME) {
        options |= MountOptions::RELATIME;
    }
    tree.mount(Mount::new(filesystem, source, options), &place)
}

fn context(tree: &Arc<MountNamespace>) -> ResolveContext {
    let root = tree.root();
    let creds = Arc::new(Credentials::root(Capabilities::all()));
    ResolveContext { start: root.clone(), root, creds }
}

/// Where `path` is, made if it is missing. Links in the image lead where they lead inside.
fn place(tree: &Arc<MountNamespace>, path: &[u8], is_directory: bool) -> Result<Place, Errno> {
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

/// The working directory of the first process. `runc` makes a missing one, and so do we.
pub(super) fn working_directory(
    tree: &Arc<MountNamespace>,
    path: &Bytes,
) -> Result<Place, TreeError> {
    let fail = |source| TreeError { at: path.clone(), source };
    let found = place(tree, &path.0, true).map_err(fail)?;
    match found.inode().kind() {
        FileKind::Directory => Ok(found),
        _ => Err(fail(Errno::ENOTDIR)),
    }
}
