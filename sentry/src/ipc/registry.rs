// SPDX-License-Identifier: Apache-2.0
//! Objects by id and by key, with their permissions: Linux's `ipc/util.c`.

use abi::{
    Errno,
    cred::Capabilities,
    ipc::{IPC_CREAT, IPC_EXCL, IPC_PRIVATE, Ipc64Perm},
};

use crate::creds::Credentials;

/// Objects of one kind, at most (`IPCMNI`); their indexes are the low bits of their ids.
pub const MOST: usize = 1 << 15;

/// Who may use an object.
#[derive(Debug, Clone, Copy)]
pub struct Permissions(Ipc64Perm);

impl Permissions {
    /// Those of a new object.
    fn new(key: i32, flags: i32, creds: &Credentials) -> Permissions {
        Permissions(Ipc64Perm {
            key,
            uid: creds.euid,
            gid: creds.egid,
            cuid: creds.euid,
            cgid: creds.egid,
            mode: (flags & 0o777).cast_unsigned(),
            ..Ipc64Perm::default()
        })
    }

    /// As `IPC_STAT` shows them.
    pub fn show(&self) -> Ipc64Perm {
        self.0
    }

    /// `EACCES` unless `creds` may do what the permission bits in `wanted` say (ipcperms()).
    pub fn check(&self, wanted: i32, creds: &Credentials) -> Result<(), Errno> {
        let wanted = wanted.cast_unsigned();
        let wanted = wanted >> 6 | wanted >> 3 | wanted;
        let perm = &self.0;
        let granted = if creds.euid == perm.cuid || creds.euid == perm.uid {
            perm.mode >> 6
        } else if creds.in_group(perm.cgid) || creds.in_group(perm.gid) {
            perm.mode >> 3
        } else {
            perm.mode
        };
        if wanted & !granted & 7 == 0 || creds.has(Capabilities::IPC_OWNER) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// `EPERM` unless `creds` own the object: `IPC_SET`, `IPC_RMID`.
    pub fn check_owner(&self, creds: &Credentials) -> Result<(), Errno> {
        let is_owner = creds.euid == self.0.cuid || creds.euid == self.0.uid;
        if is_owner || creds.has(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// `IPC_SET`: owner, group and permission bits.
    pub fn set(&mut self, new: &Ipc64Perm) -> Result<(), Errno> {
        if new.uid == u32::MAX || new.gid == u32::MAX {
            return Err(Errno::EINVAL);
        }
        self.0.uid = new.uid;
        self.0.gid = new.gid;
        self.0.mode = (self.0.mode & !0o777) | (new.mode & 0o777);
        Ok(())
    }

    /// Changes the bits beyond the permissions (`SHM_DEST`, `SHM_LOCKED`).
    pub(super) fn mark(&mut self, bits: i32, is_set: bool) {
        let bits = bits.cast_unsigned();
        self.0.mode = if is_set { self.0.mode | bits } else { self.0.mode & !bits };
    }

    /// No key finds the object any more.
    pub(super) fn hide(&mut self) {
        self.0.key = IPC_PRIVATE;
    }
}

/// An object with its permissions.
#[derive(Debug)]
pub struct Entry<T> {
    /// Who may use it.
    pub permissions: Permissions,
    /// It.
    pub object: T,
}

/// What [`Registry::get`] was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The key; `IPC_PRIVATE` always makes a new object.
    pub key: i32,
    /// `IPC_CREAT`, `IPC_EXCL` and permission bits.
    pub flags: i32,
    /// Objects of this kind, at most.
    pub most: usize,
}

/// The table.
#[derive(Debug)]
pub struct Registry<T> {
    entries: Vec<Option<Entry<T>>>,
    count: usize,
    /// The next id's sequence number, and where to look for a free index.
    sequence: u16,
    next: usize,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Registry { entries: Vec::new(), count: 0, sequence: 0, next: 0 }
    }
}

impl<T> Registry<T> {
    /// ipcget(): the id of the object with a key, or of a new one. `check` looks at an object that is
    /// there, `make` makes one.
    pub fn get(
        &mut self,
        wanted: Wanted,
        creds: &Credentials,
        check: impl FnOnce(&T) -> Result<(), Errno>,
        make: impl FnOnce(i32) -> Result<T, Errno>,
    ) -> Result<i32, Errno> {
        let Wanted { key, flags, most } = wanted;
        if key != IPC_PRIVATE {
            let found = self.iter().find(|(_, entry)| entry.permissions.0.key == key);
            if let Some((id, entry)) = found {
                if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 {
                    return Err(Errno::EEXIST);
                }
                check(&entry.object)?;
                entry.permissions.check(flags, creds)?;
                return Ok(id);
            }
            if flags & IPC_CREAT == 0 {
                return Err(Errno::ENOENT);
            }
        }
        if self.count >= most.min(MOST) {
            return Err(Errno::ENOSPC);
        }
        let index = self.free_index();
        let id = i32::from(self.sequence) << 15 | i32::try_from(index).unwrap_or(0);
        let object = make(id)?;
        let mut permissions = Permissions::new(key, flags, creds);
        permissions.0.seq = self.sequence;
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || None);
        }
        if let Some(entry) = self.entries.get_mut(index) {
            *entry = Some(Entry { permissions, object });
        }
        self.count += 1;
        self.next = index + 1;
        Ok(id)
    }

    /// A free index, going round: when it starts anew, ids get another sequence number.
    fn free_index(&mut self) -> usize {
        let is_free = |entries: &[Option<Entry<T>>], index: usize| {
            entries.get(index).is_none_or(Option::is_none)
        };
        if let Some(index) = (self.next..MOST).find(|&index| is_free(&self.entries, index))
            && index < self.count.saturating_mul(2).max(64)
        {
            return index;
        }
        self.sequence = (self.sequence + 1) & 0x7fff;
        (0..MOST).find(|&index| is_free(&self.entries, index)).unwrap_or(0)
    }

    fn index(id: i32) -> Result<usize, Errno> {
        usize::try_from(id).map(|id| id % MOST).map_err(|_| Errno::EINVAL)
    }

    fn id(index: usize, entry: &Entry<T>) -> i32 {
        i32::from(entry.permissions.0.seq) << 15 | i32::try_from(index).unwrap_or(0)
    }

    /// The object with an id; `EINVAL` if there is none.
    pub fn find(&self, id: i32) -> Result<&Entry<T>, Errno> {
        let index = Self::index(id)?;
        let entry = self.entries.get(index).and_then(Option::as_ref);
        entry.filter(|entry| Self::id(index, entry) == id).ok_or(Errno::EINVAL)
    }

    /// As [`Registry::find`], to change it.
    pub fn find_mut(&mut self, id: i32) -> Result<&mut Entry<T>, Errno> {
        let index = Self::index(id)?;
        let entry = self.entries.get_mut(index).and_then(Option::as_mut);
        entry.filter(|entry| Self::id(index, entry) == id).ok_or(Errno::EINVAL)
    }

    /// The object at an index, whatever its id (`SHM_STAT` and its kin).
    pub fn at(&self, index: i32) -> Result<(i32, &Entry<T>), Errno> {
        let index = Self::index(index)?;
        let entry = self.entries.get(index).and_then(Option::as_ref).ok_or(Errno::EINVAL)?;
        Ok((Self::id(index, entry), entry))
    }

    /// Takes an object out.
    pub fn remove(&mut self, id: i32) -> Result<Entry<T>, Errno> {
        self.find(id)?;
        let index = Self::index(id)?;
        let removed = self.entries.get_mut(index).and_then(Option::take).ok_or(Errno::EINVAL)?;
        self.count -= 1;
        Ok(removed)
    }

    /// All objects with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &Entry<T>)> {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(index, entry)| {
            let entry = entry.as_ref()?;
            Some((Self::id(index, entry), entry))
        })
    }

    /// All objects, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry<T>> {
        self.entries.iter_mut().flatten()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The highest index in use; 0 if there is none. What `IPC_INFO` returns.
    pub fn highest(&self) -> i32 {
        let last = self.entries.iter().rposition(Option::is_some).unwrap_or(0);
        i32::try_from(last).unwrap_or(i32::MAX)
    }
}
