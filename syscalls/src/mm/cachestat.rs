// SPDX-License-Identifier: Apache-2.0
//! cachestat(2).

use abi::{
    Errno, Fd, UserIn, UserOut,
    mman::{Cachestat, CachestatRange},
};
use sentry::{kernel::SysResult, task::Current, vfs::FileKind};

/// cachestat(2). The sentry holds pages of tmpfs, which are never dirty; those of the host's files are the
/// host's, and none of ours.
pub fn cachestat(
    cx: &mut Current,
    fd: Fd,
    range: UserIn<CachestatRange>,
    cstat: UserOut<Cachestat>,
    flags: u32,
) -> SysResult {
    let file = cx.file(fd)?;
    let range = cx.read(range)?;
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let len = if range.len == 0 { u64::MAX } else { range.len };
    let nr_cache = match file.kind() {
        FileKind::Regular => file.ops().cached_pages(range.off, len),
        _ => 0,
    };
    Ok(cx.write(cstat, &Cachestat { nr_cache, ..Cachestat::default() })?)
}
