// SPDX-License-Identifier: Apache-2.0
//! Options of sockets.

use abi::{
    Errno, Fd, UserIn, UserInOut, UserOut,
    socket::{SO_PEERPIDFD, SOL_SOCKET},
};
use sentry::{kernel::SysResult, net::options, task::Current};

use crate::socket::find;

/// The longest value that is looked at.
const MAX_VALUE: usize = 64 * 1024;

/// setsockopt(2)
pub fn setsockopt(
    cx: &mut Current,
    sockfd: Fd,
    level: i32,
    optname: i32,
    optval: UserIn<u8>,
    optlen: i32,
) -> SysResult {
    let len = usize::try_from(optlen).map_err(|_| Errno::EINVAL)?;
    let found = find(cx, sockfd)?;
    if level == SOL_SOCKET && len < size_of::<i32>() {
        return Err(Errno::EINVAL.into());
    }
    let value = cx.read_slice(optval, len.min(MAX_VALUE))?;
    if level == SOL_SOCKET {
        found.socket.options().set(&cx.creds(), optname, &value)?;
    } else {
        found.socket.set_option(level, optname, &value)?;
    }
    Ok(())
}

/// getsockopt(2)
pub fn getsockopt(
    cx: &mut Current,
    sockfd: Fd,
    level: i32,
    optname: i32,
    optval: UserOut<u8>,
    optlen: UserInOut<i32>,
) -> SysResult {
    let found = find(cx, sockfd)?;
    let room = usize::try_from(cx.read(optlen.as_in())?).map_err(|_| Errno::EINVAL)?;
    let value = if level != SOL_SOCKET {
        found.socket.option(level, optname, room)?
    } else if optname == SO_PEERPIDFD {
        let (peer, _) = found.socket.peer_credentials().ok_or(Errno::ENODATA)?;
        let file = cx.open_pidfd(peer.pid)?;
        cx.install(file, true)?.0.to_ne_bytes().to_vec()
    } else {
        options::get(&*found.socket, optname)?
    };
    let told = value.get(..room).unwrap_or(&value);
    cx.write_slice(optval, told)?;
    let len = i32::try_from(told.len()).unwrap_or(i32::MAX);
    Ok(cx.write(optlen.as_out(), &len)?)
}
