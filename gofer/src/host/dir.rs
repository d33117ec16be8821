// SPDX-License-Identifier: Apache-2.0
//! Reading directories.

use std::os::fd::BorrowedFd;

use abi::Errno;
use nix::unistd::{Whence, lseek};

use super::{fault, retry};
use crate::{
    protocol::{Bytes, message::DirectoryEntry},
    sys,
};

/// Entries from where the descriptor stands, or from `seek` (zero, or a `next` of an entry) on, no more
/// than fit in `limit` bytes of the kernel's own records. None at the end.
pub fn entries(
    fd: BorrowedFd<'_>,
    seek: Option<u64>,
    limit: usize,
) -> Result<Vec<DirectoryEntry>, Errno> {
    if let Some(position) = seek {
        let position = i64::try_from(position).map_err(|_| Errno::EINVAL)?;
        retry(|| lseek(fd, position, Whence::SeekSet))?;
    }
    let mut buffer = vec![0; limit];
    fault::point()?;
    let len = sys::getdents64(fd, &mut buffer)?;
    buffer.truncate(len);
    parse(&buffer)
}

/// Reads `linux_dirent64` records.
fn parse(mut rest: &[u8]) -> Result<Vec<DirectoryEntry>, Errno> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (entry, behind) = record(rest).ok_or(Errno::EIO)?;
        found.push(entry);
        rest = behind;
    }
    Ok(found)
}

fn record(bytes: &[u8]) -> Option<(DirectoryEntry, &[u8])> {
    let (inode, rest) = bytes.split_first_chunk::<8>()?;
    let (next, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (&kind, _) = rest.split_first()?;
    let (this, behind) = bytes.split_at_checked(usize::from(u16::from_ne_bytes(*len)))?;
    let name = this.get(19..)?;
    let end = name.iter().position(|&byte| byte == 0)?;
    let entry = DirectoryEntry {
        inode: u64::from_ne_bytes(*inode),
        next: u64::from_ne_bytes(*next),
        kind,
        name: Bytes(name.get(..end)?.to_vec()),
    };
    Some((entry, behind))
}

#[cfg(test)]
mod tests {
    use super::entries;
    use std::os::fd::AsFd;

    #[test]
    fn a_directory_read_in_small_pieces_shows_each_name_once() {
        let dir = tempfile::tempdir().unwrap();
        for index in 0..300 {
            std::fs::write(dir.path().join(format!("file-{index}")), "").unwrap();
        }
        let open = std::fs::File::open(dir.path()).unwrap();
        let mut names = Vec::new();
        let mut position = 0;
        loop {
            let some = entries(open.as_fd(), Some(position), 512).unwrap();
            let Some(last) = some.last() else { break };
            position = last.next;
            names.extend(some.into_iter().map(|entry| entry.name.0));
        }
        names.sort();
        assert_eq!(names.len(), 302);
        names.dedup();
        assert_eq!(names.len(), 302);
    }
}
