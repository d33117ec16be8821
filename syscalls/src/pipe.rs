// SPDX-License-Identifier: Apache-2.0
//! Pipes.

use abi::{Errno, UserOut, fcntl::OpenFlags};
use sentry::{fs::pipe as pipes, kernel::SysResult, task::Current};

/// pipe(2)
pub fn pipe(cx: &mut Current, pipefd: UserOut<[i32; 2]>) -> SysResult {
    pipe2(cx, pipefd, OpenFlags::empty())
}

/// pipe2(2). Numbers that could not be told are taken back.
pub fn pipe2(cx: &mut Current, pipefd: UserOut<[i32; 2]>, flags: OpenFlags) -> SysResult {
    let known = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT;
    if !known.contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let (reader, writer) = pipes::open_pair(flags - OpenFlags::CLOEXEC, &cx.creds());
    let is_cloexec = flags.contains(OpenFlags::CLOEXEC);
    crate::socket::install_two(cx, [reader, writer], is_cloexec, pipefd)
}
