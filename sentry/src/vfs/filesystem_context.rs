// SPDX-License-Identifier: Apache-2.0
//! What fsopen(2) and fspick(2) open: a file system on its way into the tree (`struct fs_context`).

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    sync::{Arc, Weak},
};

use abi::Errno;

use super::{DentryCache, FileOps, Filesystem, Mount};
use crate::{
    io::Sink,
    sync::{Mutex, levels},
    wait::Try,
};

/// Messages that are kept until somebody reads them (`FC_LOG_SIZE`).
const MESSAGES: usize = 8;
/// Bytes of options (a page, as of mount(2)).
const TEXT_MAX: usize = 4096;

/// What fsconfig(2) has set so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// `source`.
    pub source: Option<Vec<u8>>,
    /// `ro` or `rw`, if either was said.
    pub is_read_only: Option<bool>,
    /// Everything else, as mount(2)'s text.
    pub text: Vec<u8>,
}

/// One setting of fsconfig(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// `FSCONFIG_SET_FLAG`.
    Flag,
    /// `FSCONFIG_SET_STRING`.
    Text(Vec<u8>),
    /// A path, a descriptor or bytes: no file system here takes one.
    Other,
}

/// How far it has come.
enum Phase {
    /// Takes parameters of a file system to be made.
    Parameters,
    /// Somebody makes it, or changes it, at the moment.
    Working,
    /// It is made.
    Made(Arc<dyn Filesystem>),
    /// It is mounted, here or since long: takes parameters to change it. The mount may go.
    Mounted(Arc<dyn Filesystem>, Weak<DentryCache>),
    /// It could not be made.
    Failed,
}

impl Phase {
    fn mounted(mount: &Mount) -> Phase {
        Phase::Mounted(mount.filesystem().clone(), mount.cache())
    }
}

struct State {
    phase: Phase,
    parameters: Parameters,
    messages: VecDeque<Vec<u8>>,
}

/// A file system on its way into the tree.
pub struct FilesystemContext {
    kind: Vec<u8>,
    state: Mutex<State, levels::Leaf>,
}

impl FilesystemContext {
    /// For a new file system of type `kind`: fsopen(2).
    pub fn new(kind: Vec<u8>) -> FilesystemContext {
        FilesystemContext::build(kind, Phase::Parameters)
    }

    /// For a mounted one: fspick(2).
    pub fn picked(mount: Arc<Mount>) -> FilesystemContext {
        let kind = mount.filesystem().name().as_bytes().to_vec();
        FilesystemContext::build(kind, Phase::mounted(&mount))
    }

    fn build(kind: Vec<u8>, phase: Phase) -> FilesystemContext {
        let state = State { phase, parameters: Parameters::default(), messages: VecDeque::new() };
        FilesystemContext { kind, state: Mutex::new(state) }
    }

    /// The type of file system.
    pub fn kind(&self) -> &[u8] {
        &self.kind
    }

    /// Sets a parameter. `check` says whether the file system would take the option. `EBUSY` when it is
    /// too late.
    pub fn set(
        &self,
        key: &[u8],
        setting: Setting,
        check: impl FnOnce(&[u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Parameters | Phase::Mounted(..)) {
            return Err(Errno::EBUSY);
        }
        // `vfs_parse_sb_flag()`: words that are no file system's own.
        match key {
            b"ro" => state.parameters.is_read_only = Some(true),
            b"rw" => state.parameters.is_read_only = Some(false),
            b"sync" | b"async" | b"dirsync" | b"lazytime" | b"nolazytime" | b"mand" | b"nomand" => {
            }
            b"source" => return state.set_source(setting),
            key => return state.set_option(&self.kind, key, setting, check),
        }
        Ok(())
    }

    /// `FSCONFIG_CMD_CREATE`: makes the file system with `make`.
    pub fn create(
        &self,
        make: impl FnOnce(&[u8], &Parameters) -> Result<Arc<dyn Filesystem>, Errno>,
    ) -> Result<(), Errno> {
        let parameters = {
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Parameters) {
                return Err(Errno::EBUSY);
            }
            state.phase = Phase::Working;
            state.parameters.clone()
        };
        let made = make(&self.kind, &parameters);
        let mut state = self.state.lock();
        match made {
            Ok(filesystem) => {
                state.phase = Phase::Made(filesystem);
                Ok(())
            }
            Err(errno) => {
                state.phase = Phase::Failed;
                Err(errno)
            }
        }
    }

    /// `FSCONFIG_CMD_RECONFIGURE`: changes the mounted file system. `EBUSY` if it would become read-only while
    /// files are open for writing.
    pub fn reconfigure(&self) -> Result<(), Errno> {
        let (filesystem, cache, parameters) = {
            let mut state = self.state.lock();
            let Phase::Mounted(filesystem, cache) = &state.phase else { return Err(Errno::EBUSY) };
            let (filesystem, cache) = (filesystem.clone(), cache.clone());
            state.phase = Phase::Working;
            (filesystem, cache, std::mem::take(&mut state.parameters))
        };
        let is_read_only = parameters.is_read_only.unwrap_or(filesystem.is_read_only());
        let becomes = is_read_only && !filesystem.is_read_only();
        let is_written = cache.upgrade().is_some_and(|cache| cache.is_written());
        let changed = match becomes && is_written {
            true => Err(Errno::EBUSY),
            false => filesystem.reconfigure(is_read_only, &parameters.text),
        };
        let phase = match changed {
            Ok(()) => Phase::Mounted(filesystem, cache),
            Err(_) => Phase::Failed,
        };
        self.state.lock().phase = phase;
        changed
    }

    /// fsmount(2): makes the one mount of the file system with `make`. `EINVAL` if there is no file system yet,
    /// `EBUSY` if it has been mounted.
    pub fn mount(
        &self,
        make: impl FnOnce(Arc<dyn Filesystem>, &[u8]) -> Arc<Mount>,
    ) -> Result<Arc<Mount>, Errno> {
        let (filesystem, parameters) = {
            let mut state = self.state.lock();
            match &state.phase {
                Phase::Made(filesystem) => {
                    let filesystem = filesystem.clone();
                    state.phase = Phase::Working;
                    (filesystem, std::mem::take(&mut state.parameters))
                }
                Phase::Mounted(..) | Phase::Working => return Err(Errno::EBUSY),
                Phase::Parameters | Phase::Failed => return Err(Errno::EINVAL),
            }
        };
        let mount = make(filesystem, parameters.source.as_deref().unwrap_or(b"none"));
        self.state.lock().phase = Phase::mounted(&mount);
        Ok(mount)
    }
}

impl State {
    fn set_source(&mut self, setting: Setting) -> Result<(), Errno> {
        let Setting::Text(source) = setting else {
            return self.refuse(b"VFS: Non-string source".to_vec());
        };
        if self.parameters.source.is_some() {
            return self.refuse(b"VFS: Multiple sources".to_vec());
        }
        self.parameters.source = Some(source);
        Ok(())
    }

    fn set_option(
        &mut self,
        kind: &[u8],
        key: &[u8],
        setting: Setting,
        check: impl FnOnce(&[u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if setting == Setting::Other {
            return self.refuse([kind, b": Bad value for '", key, b"'"].concat());
        }
        let mut option = key.to_vec();
        if let Setting::Text(value) = setting {
            option.push(b'=');
            option.extend_from_slice(&value);
        }
        let is_one = !option.contains(&b',');
        if !is_one || check(&option).is_err() {
            let text = [kind, b": Unknown parameter '", key, b"'"].concat();
            return self.refuse(text);
        }
        let text = &mut self.parameters.text;
        if text.len() + option.len() + 1 >= TEXT_MAX {
            return Err(Errno::EINVAL);
        }
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(&option);
        Ok(())
    }

    /// `invalf()`: `EINVAL`, with a message for whoever reads the descriptor.
    fn refuse(&mut self, text: Vec<u8>) -> Result<(), Errno> {
        if self.messages.len() == MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back([b"e ", text.as_slice()].concat());
        Err(Errno::EINVAL)
    }
}

impl FileOps for FilesystemContext {
    fn is_stream(&self) -> bool {
        true
    }

    fn ignores_seeks(&self) -> bool {
        true
    }

    /// One message a read; `ENODATA` when there is none.
    fn read_at(&self, sink: &mut dyn Sink, _offset: u64) -> Result<Try<usize>, Errno> {
        let message = {
            let mut state = self.state.lock();
            let first = state.messages.front().ok_or(Errno::ENODATA)?;
            if first.len() > sink.remaining() {
                return Err(Errno::EMSGSIZE);
            }
            state.messages.pop_front().unwrap_or_default()
        };
        Ok(Try::Done(sink.write(&message)?))
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for FilesystemContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FilesystemContext").field(&String::from_utf8_lossy(&self.kind)).finish()
    }
}
