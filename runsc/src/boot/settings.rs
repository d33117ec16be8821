// SPDX-License-Identifier: Apache-2.0
//! `linux.sysctl`: what `/proc/sys` says inside.

use abi::Errno;
use sentry::kernel::Kernel;

use crate::sandbox::plan::Bytes;

/// A setting that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("linux.sysctl: sysctl {name:?}: {}", why(.source))]
pub(super) struct SettingError {
    name: String,
    source: Errno,
}

fn why(errno: &Errno) -> &'static str {
    match *errno {
        Errno::ENOENT => "is not a setting of the sandbox's kernel: no such file or directory",
        Errno::EACCES | Errno::EPERM | Errno::EROFS => "cannot be changed: permission denied",
        other => other.message(),
    }
}

/// Makes them, in order.
pub(super) fn apply(kernel: &Kernel, settings: &[(String, Bytes)]) -> Result<(), SettingError> {
    for (path, value) in settings {
        kernel
            .set_sysctl(path.as_bytes(), &value.0)
            .map_err(|source| SettingError { name: path.replace('/', "."), source })?;
    }
    Ok(())
}
