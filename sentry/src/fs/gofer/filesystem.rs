// SPDX-License-Identifier: Apache-2.0
//! One attach point of the gofer as a file system.

use std::{
    collections::VecDeque,
    fmt,
    os::fd::OwnedFd,
    sync::{Arc, Weak},
};

use abi::Errno;
use gofer::{
    client::{Connection, Node, Step},
    protocol::{Attr, Policy},
};
use rustc_hash::FxHashMap;

use super::{ahead::Ahead, inode::GoferInode};
use crate::{
    sync::{Mutex, RwLock, levels},
    vfs::{self, Filesystem, Inode, Trust},
};

/// Who may change the files while the sandbox runs (`--file-access`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody but this sandbox: what was learnt once may be believed.
    Exclusive,
    /// Others now and then, as an engine that copies files into a container: what was learnt is believed for
    /// a while.
    Timed,
    /// Others too: names and attributes are asked for anew.
    Shared,
}

/// Descriptors kept open for files that nobody has open now.
const KEPT: usize = 256;

/// A mounted attach point.
pub struct GoferFilesystem {
    me: Weak<GoferFilesystem>,
    pub(super) access: Access,
    policy: Policy,
    root: (Arc<Node>, Attr),
    /// The host's device of the root, and what the guest sees for it and for others below.
    devices: Mutex<Devices, levels::Leaf>,
    inodes: RwLock<FxHashMap<(u64, u64), Weak<GoferInode>>, levels::Leaf>,
    kept: Mutex<VecDeque<Arc<OwnedFd>>, levels::Leaf>,
    pub(super) ahead: Ahead,
}

struct Devices {
    root: u64,
    shown: u64,
    /// Mounts of the host below the root.
    others: Vec<(u64, u64)>,
}

/// Host mounts below one root that are told apart; inodes of further ones show the root's device.
const MAX_DEVICES: usize = 1024;

impl GoferFilesystem {
    /// Attaches to root number `root` of a gofer.
    pub fn attach(
        connection: &Connection,
        root: u32,
        access: Access,
    ) -> Result<Arc<GoferFilesystem>, Errno> {
        let (step, policy) = connection.attach(root)?;
        let devices =
            Devices { root: step.attr.device, shown: vfs::anonymous_device(), others: Vec::new() };
        Ok(Arc::new_cyclic(|me| GoferFilesystem {
            me: me.clone(),
            access,
            policy,
            root: (Arc::new(step.node), step.attr),
            devices: Mutex::new(devices),
            inodes: RwLock::new(FxHashMap::default()),
            kept: Mutex::new(VecDeque::new()),
            ahead: Ahead::default(),
        }))
    }

    fn me(&self) -> Arc<GoferFilesystem> {
        self.me.upgrade().expect("whoever calls a method holds the file system")
    }

    /// The device number that the guest sees for a device of the host.
    pub(super) fn shown_device(&self, host: u64) -> u64 {
        let mut devices = self.devices.lock();
        if host == devices.root {
            return devices.shown;
        }
        if let Some((_, shown)) = devices.others.iter().find(|(device, _)| *device == host) {
            return *shown;
        }
        if devices.others.len() >= MAX_DEVICES {
            return devices.shown;
        }
        let shown = vfs::anonymous_device();
        devices.others.push((host, shown));
        shown
    }

    /// The inode of a node that was found or made: the one that is known for this file, if any.
    pub(super) fn adopt(&self, step: Step) -> Arc<GoferInode> {
        self.adopt_node(Arc::new(step.node), step.attr)
    }

    /// The same for one that nobody has asked for yet: what is known already is newer than the answer may
    /// be when somebody comes for it.
    pub(super) fn adopt_ahead(&self, step: Step) -> Arc<GoferInode> {
        let known = self.inodes.read().get(&step.attr.identity()).and_then(Weak::upgrade);
        match known {
            Some(inode) if inode.kind() == super::attributes::kind(&step.attr) => inode,
            _ => self.adopt(step),
        }
    }

    fn adopt_node(&self, node: Arc<Node>, attr: Attr) -> Arc<GoferInode> {
        let identity = attr.identity();
        let known = self.inodes.read().get(&identity).and_then(Weak::upgrade);
        // A file does not change its type: an inode that did is another one, of a lying gofer.
        let is_same = |inode: &Arc<GoferInode>| inode.kind() == super::attributes::kind(&attr);
        if let Some(inode) = known.filter(is_same) {
            inode.learn(&attr);
            return inode;
        }
        let new = Arc::new(GoferInode::new(self.me(), node, attr));
        let mut inodes = self.inodes.write();
        if let Some(inode) = inodes.get(&identity).and_then(Weak::upgrade).filter(is_same) {
            drop(inodes);
            return inode;
        }
        inodes.insert(identity, Arc::downgrade(&new));
        new
    }

    /// An inode is gone: so is its entry, unless another has taken it.
    pub(super) fn forget(&self, identity: (u64, u64)) {
        let mut inodes = self.inodes.write();
        if inodes.get(&identity).is_some_and(|inode| inode.strong_count() == 0) {
            inodes.remove(&identity);
        }
    }

    /// Keeps a descriptor open for a while: the next open of its file needs no gofer.
    pub(super) fn keep(&self, file: &Arc<OwnedFd>) {
        let mut kept = self.kept.lock();
        kept.push_back(file.clone());
        let oldest = if kept.len() > KEPT { kept.pop_front() } else { None };
        drop(kept);
        drop(oldest);
    }

    /// Lets go of a kept descriptor: its file has lost a name and may have to go.
    pub(super) fn let_go(&self, file: &Arc<OwnedFd>) {
        let mut gone = Vec::new();
        let mut kept = self.kept.lock();
        kept.retain(|one| {
            let stays = !Arc::ptr_eq(one, file);
            if !stays {
                gone.push(one.clone());
            }
            stays
        });
        drop(kept);
        drop(gone);
    }
}

impl GoferFilesystem {
    /// Whether owners are not what the host's fstat(2) says.
    pub(super) fn maps_ids(&self) -> bool {
        self.policy.contains(Policy::MAPS_IDS)
    }
}

impl Filesystem for GoferFilesystem {
    fn name(&self) -> &'static str {
        "gofer"
    }

    fn root(&self) -> Arc<dyn Inode> {
        let (node, attr) = &self.root;
        self.adopt_node(node.clone(), *attr)
    }

    fn device(&self) -> u64 {
        self.devices.lock().shown
    }

    fn statistics(&self) -> Result<abi::mount::StatFs, Errno> {
        self.root.0.statistics()
    }

    fn sync(&self) -> Result<(), Errno> {
        self.root.0.sync_filesystem()
    }

    fn is_read_only(&self) -> bool {
        self.policy.contains(Policy::READ_ONLY)
    }

    fn trust(&self) -> Trust {
        match self.access {
            Access::Exclusive => Trust::Always,
            Access::Timed => Trust::Recent,
            Access::Shared => Trust::Never,
        }
    }
}

impl fmt::Debug for GoferFilesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoferFilesystem").field("access", &self.access).finish_non_exhaustive()
    }
}
