// SPDX-License-Identifier: Apache-2.0
//! Where the guest's file systems come from.

use std::sync::Arc;

use abi::Errno;
use gofer::client::Connection;
use sentry::{
    fs::{
        dev,
        gofer::{Access, GoferFilesystem},
        tmpfs::{Options, Tmpfs},
    },
    kernel::Kernel,
    vfs::Filesystem,
};

use super::vfs::Sources;

/// The gofer's roots, and the sentry's own file systems.
#[derive(Debug)]
pub(super) struct Systems {
    /// The gofer.
    pub(super) gofer: Connection,
    /// What proc and its like show.
    pub(super) kernel: Arc<Kernel>,
}

impl Sources for Systems {
    fn served(
        &self,
        root: u32,
        is_readonly: bool,
        has_overlay: bool,
        is_shared: bool,
    ) -> Result<Arc<dyn Filesystem>, Errno> {
        let _ = (is_readonly, has_overlay);
        let access = if is_shared { Access::Shared } else { Access::Exclusive };
        Ok(GoferFilesystem::attach(&self.gofer, root, access)?)
    }

    fn own(&self, name: &str, data: &str) -> Result<Option<Arc<dyn Filesystem>>, Errno> {
        let _ = &self.kernel;
        match name {
            "sysfs" => Ok(Some(sentry::fs::sys::new(self.kernel.config().cpu_count))),
            "devtmpfs" => {
                let dev = Tmpfs::named("devtmpfs", Options::parse(data.as_bytes(), 0, 0)?);
                let root = dev.root_node();
                dev::populate(root.as_directory().ok_or(Errno::ENOTDIR)?)?;
                Ok(Some(dev))
            }
            "tmpfs" => Ok(Some(Tmpfs::new(Options::parse(data.as_bytes(), 0, 0)?))),
            _ => Ok(None),
        }
    }
}
