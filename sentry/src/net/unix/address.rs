// SPDX-License-Identifier: Apache-2.0
//! Names of unix sockets: paths, abstract names, and who has them.

use std::sync::{Arc, Weak};

use abi::{Errno, socket::AF_UNIX};
use rustc_hash::FxHashMap;

use super::UnixSocket;
use crate::{
    sync::{Mutex, levels},
    vfs::Inode,
};

/// Bytes of the family before the path.
pub(super) const FAMILY_LEN: usize = 2;
/// `sizeof(struct sockaddr_un)`.
const MAX_LEN: usize = 110;

/// A name as the guest gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// Only the family: bind(2) chooses one.
    Auto,
    /// A path, without the NUL.
    Path(Vec<u8>),
    /// What follows the leading NUL, of any bytes.
    Abstract(Vec<u8>),
}

impl Name {
    /// Reads an address (`unix_validate_addr()` and `unix_mkname_bsd()`).
    pub(super) fn parse(address: &[u8]) -> Result<Name, Errno> {
        let (family, path) = address.split_first_chunk::<FAMILY_LEN>().ok_or(Errno::EINVAL)?;
        if u16::from_ne_bytes(*family) != AF_UNIX || address.len() > MAX_LEN {
            return Err(Errno::EINVAL);
        }
        match path.split_first() {
            None => Ok(Name::Auto),
            Some((0, name)) => Ok(Name::Abstract(name.to_vec())),
            Some(_) => {
                let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
                Ok(Name::Path(path.get(..end).unwrap_or_default().to_vec()))
            }
        }
    }

    /// The address as getsockname(2) gives it: a path ends in NUL, an abstract name has its length.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = AF_UNIX.to_ne_bytes().to_vec();
        match self {
            Name::Auto => {}
            Name::Path(path) => {
                bytes.extend_from_slice(path);
                bytes.push(0);
            }
            Name::Abstract(name) => {
                bytes.push(0);
                bytes.extend_from_slice(name);
            }
        }
        bytes
    }
}

/// The address of a socket that has none.
pub(super) fn unnamed() -> Vec<u8> {
    AF_UNIX.to_ne_bytes().to_vec()
}

/// What ties a bound socket to its name; the name is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Binding {
    names: Weak<Table>,
    key: Key,
    pub(super) address: Arc<[u8]>,
    /// Keeps the inode's number from being given to another file.
    _inode: Option<Arc<dyn Inode>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Abstract(Vec<u8>),
    /// Device and inode number of the socket's file.
    File(u64, u64),
}

#[derive(Debug, Default)]
struct Table {
    sockets: Mutex<FxHashMap<Key, Weak<UnixSocket>>, levels::Leaf>,
}

impl Drop for Binding {
    fn drop(&mut self) {
        if let Some(names) = self.names.upgrade() {
            let removed = names.sockets.lock().remove(&self.key);
            drop(removed);
        }
    }
}

/// The names of unix sockets: abstract ones, and which file is whose.
#[derive(Debug, Default)]
pub struct Names {
    table: Arc<Table>,
}

/// Names that bind(2) can choose from: five hexadecimal digits.
const AUTO_NAMES: u32 = 0x10_0000;

impl Names {
    /// Takes an abstract name; `EADDRINUSE` if another socket has it.
    pub(super) fn take(&self, name: Vec<u8>, socket: &Weak<UnixSocket>) -> Result<Binding, Errno> {
        let address = Name::Abstract(name.clone()).to_bytes();
        self.enter(Key::Abstract(name), address, socket, None)
    }

    /// Takes any free abstract name (`unix_autobind()`).
    pub(super) fn take_any(&self, socket: &Weak<UnixSocket>) -> Result<Binding, Errno> {
        let start = Arc::as_ptr(&self.table).addr() ^ socket.as_ptr().addr() >> 6;
        let start = u32::try_from(start % (1 << 20)).unwrap_or(0);
        for step in 0..AUTO_NAMES {
            let name = format!("{:05x}", (start + step) % AUTO_NAMES).into_bytes();
            match self.take(name, socket) {
                Err(Errno::EADDRINUSE) => {}
                taken => return taken,
            }
        }
        Err(Errno::ENOSPC)
    }

    /// Makes a socket's file lead to it.
    pub(super) fn take_file(
        &self,
        path: Vec<u8>,
        inode: Arc<dyn Inode>,
        socket: &Weak<UnixSocket>,
    ) -> Result<Binding, Errno> {
        let attributes = inode.attributes()?;
        let key = Key::File(attributes.device, attributes.inode);
        self.enter(key, Name::Path(path).to_bytes(), socket, Some(inode))
    }

    fn enter(
        &self,
        key: Key,
        address: Vec<u8>,
        socket: &Weak<UnixSocket>,
        inode: Option<Arc<dyn Inode>>,
    ) -> Result<Binding, Errno> {
        let mut sockets = self.table.sockets.lock();
        if sockets.contains_key(&key) {
            return Err(Errno::EADDRINUSE);
        }
        sockets.insert(key.clone(), Weak::clone(socket));
        drop(sockets);
        let names = Arc::downgrade(&self.table);
        Ok(Binding { names, key, address: address.into(), _inode: inode })
    }

    /// The socket with this abstract name.
    pub(super) fn find(&self, name: &[u8]) -> Option<Arc<UnixSocket>> {
        self.table.sockets.lock().get(&Key::Abstract(name.to_vec())).and_then(Weak::upgrade)
    }

    /// The socket that this file leads to.
    pub(super) fn find_file(&self, inode: &dyn Inode) -> Result<Option<Arc<UnixSocket>>, Errno> {
        let attributes = inode.attributes()?;
        let key = Key::File(attributes.device, attributes.inode);
        Ok(self.table.sockets.lock().get(&key).and_then(Weak::upgrade))
    }
}

#[cfg(test)]
mod tests {
    use abi::Errno;

    use super::Name;

    #[test]
    fn names_are_read_as_linux_does() {
        let parse = |path: &[u8]| {
            let mut address = 1_u16.to_ne_bytes().to_vec();
            address.extend_from_slice(path);
            Name::parse(&address)
        };
        assert_eq!(parse(b""), Ok(Name::Auto));
        assert_eq!(parse(b"/tmp/x\0junk"), Ok(Name::Path(b"/tmp/x".to_vec())));
        assert_eq!(parse(b"\0a\0b"), Ok(Name::Abstract(b"a\0b".to_vec())));
        assert_eq!(parse(b"\0"), Ok(Name::Abstract(vec![])));
        assert_eq!(parse(&[b'x'; 108]), Ok(Name::Path(vec![b'x'; 108])));
        assert_eq!(parse(&[b'x'; 109]), Err(Errno::EINVAL));
        assert_eq!(Name::parse(&[1]), Err(Errno::EINVAL));
        assert_eq!(Name::parse(&[2, 0, 1]), Err(Errno::EINVAL));
        assert_eq!(Name::Path(b"ab".to_vec()).to_bytes(), [1, 0, b'a', b'b', 0]);
    }
}
