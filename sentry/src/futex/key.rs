// SPDX-License-Identifier: Apache-2.0
//! What a futex is known by.

use abi::{Errno, UserAddr};
use platform::Protection;

use crate::mm::{MemoryManager, TASK_SIZE, query::Meaning};

/// How a call names its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// `FUTEX_PRIVATE_FLAG`: by address in one address space.
    Private,
    /// By what is mapped there.
    Shared,
}

/// A word, wherever it is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// In one address space. `is_shared`: named without `FUTEX_PRIVATE_FLAG`, which Linux keeps apart.
    Private {
        /// The number of the address space.
        mm: u64,
        /// The address in it.
        addr: u64,
        /// Named as shared.
        is_shared: bool,
    },
    /// In a file or in shared anonymous memory.
    Shared {
        /// Device and inode number.
        file: (u64, u64),
        /// The byte in it.
        offset: u64,
    },
}

impl Key {
    /// The key of the word at `addr` (get_futex_key()).
    pub fn of(
        mm: &MemoryManager,
        addr: UserAddr,
        sharing: Sharing,
        needs: Protection,
    ) -> Result<Key, Errno> {
        if !addr.raw().is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        if addr.raw() >= TASK_SIZE {
            return Err(Errno::EFAULT);
        }
        let private = |is_shared| Key::Private { mm: mm.id(), addr: addr.raw(), is_shared };
        match sharing {
            Sharing::Private => Ok(private(false)),
            Sharing::Shared => match mm.meaning(addr, needs)? {
                Meaning::Private => Ok(private(true)),
                Meaning::Shared { mappable, offset } => {
                    Ok(Key::Shared { file: mappable.identity(), offset })
                }
            },
        }
    }
}
