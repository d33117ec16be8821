// SPDX-License-Identifier: Apache-2.0
//! Settings of the kernel: `/proc/sys`, whoever mounts it.

use abi::{Errno, cred::Capabilities, fcntl::OpenFlags};

use super::Kernel;
use crate::{creds::Credentials, fs::proc::view::KnobValue, io::SliceSource};

impl Kernel {
    /// The value behind a path, the same for every mount of proc.
    pub(super) fn knob(&self, path: &str, fresh: impl FnOnce() -> KnobValue) -> KnobValue {
        self.knobs.lock().entry(path.to_owned()).or_insert_with(fresh).clone()
    }

    /// Writes a setting as root does: `path` lies below `/proc/sys`. `ENOENT` if there is none of this
    /// name, `EACCES` if it cannot be changed.
    pub fn set_sysctl(&self, path: &[u8], value: &[u8]) -> Result<(), Errno> {
        const WRITABLE: u32 = 0o222;
        let root = Credentials::root(Capabilities::all());
        // Its inodes live no longer than the file system.
        let proc = self.new_filesystem(b"proc", b"", &root)?;
        let mut inode = proc.root();
        for name in [&b"sys"[..]].into_iter().chain(path.split(|byte| *byte == b'/')) {
            let next = inode.as_directory().ok_or(Errno::ENOENT)?.lookup(name)?;
            inode = next;
        }
        if inode.as_directory().is_some() {
            return Err(Errno::EISDIR);
        }
        if inode.attributes()?.permissions & WRITABLE == 0 {
            return Err(Errno::EACCES);
        }
        let file = inode.open(OpenFlags::WRONLY, &root)?;
        file.write_at(&mut SliceSource::new(value), 0)?;
        Ok(())
    }
}
