// SPDX-License-Identifier: Apache-2.0
//! Where the guest's file systems come from.

use std::sync::Arc;

use abi::{Errno, cred::Capabilities};
use gofer::client::Connection;
use sentry::{
    creds::Credentials,
    fs::{
        devpts::Devpts,
        gofer::{Access, GoferFilesystem},
        overlay::OverlayFilesystem,
        tmpfs::{Options, Tmpfs},
    },
    kernel::Kernel,
    vfs::{FileKind, Filesystem},
};

use super::vfs::Sources;
use crate::config::FileAccess;

/// The gofer's roots, and the sentry's own file systems.
#[derive(Debug)]
pub(super) struct Systems {
    /// The gofer.
    pub(super) gofer: Connection,
    /// What proc and its like show.
    pub(super) kernel: Arc<Kernel>,
    /// Where the guest's first terminal is, if it has one.
    pub(super) devpts: Option<Arc<Devpts>>,
}

impl Sources for Systems {
    fn served(
        &self,
        root: u32,
        is_readonly: bool,
        has_overlay: bool,
        access: FileAccess,
    ) -> Result<Arc<dyn Filesystem>, Errno> {
        // The gofer and the mount's options refuse what must not be written.
        let _ = is_readonly;
        let access = match access {
            FileAccess::Exclusive => Access::Exclusive,
            FileAccess::Timed => Access::Timed,
            FileAccess::Shared => Access::Shared,
        };
        let served = GoferFilesystem::attach(&self.gofer, root, access)?;
        let top = served.root().attributes()?;
        if !has_overlay || top.kind != FileKind::Directory {
            return Ok(served);
        }
        let options = format!("mode={:o},uid={},gid={}", top.permissions, top.uid, top.gid);
        let upper = Tmpfs::new(Options::parse(options.as_bytes(), top.uid, top.gid)?);
        Ok(OverlayFilesystem::new(upper, served))
    }

    fn own(&self, name: &str, data: &str) -> Result<Option<Arc<dyn Filesystem>>, Errno> {
        if let ("devpts", Some(devpts)) = (name, &self.devpts) {
            return Ok(Some(devpts.filesystem()));
        }
        let root = Credentials::root(Capabilities::all());
        match self.kernel.new_filesystem(name.as_bytes(), data.as_bytes(), &root) {
            Ok(filesystem) => Ok(Some(filesystem)),
            Err(Errno::ENODEV) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}
