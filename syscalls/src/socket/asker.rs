// SPDX-License-Identifier: Apache-2.0
//! The calling task as sockets see it.

use std::sync::Arc;

use abi::{Errno, cred::Capabilities, resource::RLIMIT_NOFILE, socket::Ucred};
use sentry::{
    creds::Credentials,
    net::SocketCaller,
    task::{Current, FsContext},
    vfs::{
        Inode, NewNode, ResolveContext,
        create::{self, Wanted},
        permission::{self, Access},
        resolve::{self, Lookup},
    },
};

/// What sockets may ask; it borrows nothing of the task, so that it can go along into a wait.
pub(super) struct Asker {
    creds: Arc<Credentials>,
    pid: i32,
    fs: Arc<FsContext>,
    file_limit: u64,
}

impl Asker {
    pub(super) fn new(cx: &Current) -> Asker {
        Asker {
            creds: cx.creds(),
            pid: cx.task().pid(),
            fs: cx.fs_context(),
            file_limit: cx.group().rlimits().soft(RLIMIT_NOFILE),
        }
    }

    fn walker(&self) -> ResolveContext {
        ResolveContext {
            root: self.fs.root(),
            start: self.fs.cwd(),
            creds: Arc::clone(&self.creds),
        }
    }
}

impl SocketCaller for Asker {
    fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.creds)
    }

    fn identity(&self) -> Ucred {
        Ucred { pid: self.pid, uid: self.creds.euid, gid: self.creds.egid }
    }

    fn create_name(&mut self, path: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let wanted = Wanted { mode: 0o777, umask: self.fs.umask() };
        match create::create(&self.walker(), path, NewNode::Socket, wanted) {
            Ok(place) => Ok(Arc::clone(place.inode())),
            Err(Errno::EEXIST) => Err(Errno::EADDRINUSE),
            Err(errno) => Err(errno),
        }
    }

    fn find_name(&mut self, path: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let place = resolve::walk(&self.walker(), path, Lookup::FOLLOW)?;
        permission::check(&**place.inode(), Access::WRITE, &self.creds)?;
        Ok(Arc::clone(place.inode()))
    }

    fn file_limit(&self) -> Option<u64> {
        let is_free =
            self.creds.has(Capabilities::SYS_RESOURCE) || self.creds.has(Capabilities::SYS_ADMIN);
        (!is_free).then_some(self.file_limit)
    }
}
