// SPDX-License-Identifier: Apache-2.0
//! Randomness, from the host's CSPRNG.

use abi::{Errno, UserOut, limits::MAX_RW_COUNT, random::GetrandomFlags};
use sentry::{io::Sink, kernel::SysResult, random, task::Current};

/// getrandom(2)
pub fn getrandom(
    cx: &mut Current,
    buf: UserOut<u8>,
    count: usize,
    flags: GetrandomFlags,
) -> SysResult<usize> {
    let flags = GetrandomFlags::from_bits(flags.bits()).ok_or(Errno::EINVAL)?;
    if flags.contains(GetrandomFlags::RANDOM | GetrandomFlags::INSECURE) {
        return Err(Errno::EINVAL.into());
    }
    let mut sink = cx.sink(buf, count.min(MAX_RW_COUNT));
    let mut chunk = [0; 4096];
    let mut done = 0;
    while sink.remaining() > 0 {
        let want = sink.remaining().min(chunk.len());
        let bytes = chunk.get_mut(..want).unwrap_or_default();
        random::fill(bytes);
        match sink.write(bytes) {
            Ok(put) => done += put,
            Err(errno) if done == 0 => return Err(errno.into()),
            Err(_) => break,
        }
        // A large request ends early for a signal, but not before its first pages.
        if cx.sleeper().is_interrupted() && done >= chunk.len() {
            break;
        }
    }
    Ok(done)
}
