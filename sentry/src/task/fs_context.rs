// SPDX-License-Identifier: Apache-2.0
//! Where a task's paths start: root, working directory, umask.

use std::{fmt, sync::Arc};

use crate::{
    sync::{Mutex, levels},
    vfs::Place,
};

#[derive(Clone)]
struct State {
    root: Place,
    cwd: Place,
    umask: u32,
}

/// Root, working directory and umask, shared by tasks that were cloned with `CLONE_FS`.
pub struct FsContext {
    state: Mutex<State, levels::FsContext>,
}

impl FsContext {
    /// A context with these.
    pub fn new(root: Place, cwd: Place, umask: u32) -> Arc<FsContext> {
        let state = State { root, cwd, umask: umask & 0o777 };
        Arc::new(FsContext { state: Mutex::new(state) })
    }

    /// A copy that changes by itself.
    pub fn fork(&self) -> Arc<FsContext> {
        let state = self.state.lock().clone();
        Arc::new(FsContext { state: Mutex::new(state) })
    }

    /// Where `/` is.
    pub fn root(&self) -> Place {
        self.state.lock().root.clone()
    }

    /// Where relative paths start.
    pub fn cwd(&self) -> Place {
        self.state.lock().cwd.clone()
    }

    /// umask(2).
    pub fn umask(&self) -> u32 {
        self.state.lock().umask
    }

    /// chroot(2), after its checks.
    pub fn set_root(&self, root: Place) {
        let old = std::mem::replace(&mut self.state.lock().root, root);
        drop(old);
    }

    /// chdir(2), after its checks.
    pub fn set_cwd(&self, cwd: Place) {
        let old = std::mem::replace(&mut self.state.lock().cwd, cwd);
        drop(old);
    }

    /// umask(2): the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        std::mem::replace(&mut self.state.lock().umask, umask & 0o777)
    }
}

impl fmt::Debug for FsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FsContext")
    }
}
