// SPDX-License-Identifier: Apache-2.0
//! `/proc/<pid>/fd` and `/proc/<pid>/fdinfo`.

use std::sync::Arc;

use abi::{Errno, fcntl::OpenFlags};

use super::{
    process::{Subject, inode_number, node},
    root::number,
};
use crate::{
    creds::Credentials,
    fs::pseudo::{Body, Entries, Entry, Link, PseudoFilesystem, Text, Tree},
    vfs::{FileDescription, FileKind, Inode, LinkTarget},
};

/// A descriptor's number as a file of this directory: `0` is one here.
fn fd_number(name: &[u8]) -> Option<i32> {
    if name == b"0" { Some(0) } else { number(name) }
}

fn find(subject: &Subject, fd: i32) -> Result<(Arc<FileDescription>, bool), Errno> {
    let files = subject.task.files();
    let found = files.into_iter().find(|(number, _, _)| *number == fd);
    found.map(|(_, file, cloexec)| (file, cloexec)).ok_or(Errno::ENOENT)
}

fn entries(subject: &Subject, kind: FileKind, base: u64) -> Entries {
    let entry = |(fd, _, _): (i32, Arc<FileDescription>, bool)| Entry {
        name: fd.to_string().into_bytes(),
        number: inode_number(subject.number, 0) | 1 << 46 | base | u64::try_from(fd).unwrap_or(0),
        kind,
    };
    subject.task.files().into_iter().map(entry).collect()
}

/// `fd`.
pub(super) struct Files(pub(super) Subject);

impl Tree for Files {
    fn lookup(
        &self,
        filesystem: &Arc<PseudoFilesystem>,
        name: &[u8],
    ) -> Result<Arc<dyn Inode>, Errno> {
        let fd = fd_number(name).ok_or(Errno::ENOENT)?;
        let (file, _) = find(&self.0, fd)?;
        let mut permissions = 0;
        if file.is_readable() || file.is_path() {
            permissions |= 0o500;
        }
        if file.is_writable() {
            permissions |= 0o300;
        }
        let body = Body::Link(Box::new(ToFile(self.0.clone(), fd)));
        Ok(node(filesystem, &self.0, file_number(fd), permissions, body))
    }

    fn entries(&self, _filesystem: &Arc<PseudoFilesystem>) -> Result<Entries, Errno> {
        Ok(entries(&self.0, FileKind::Symlink, 0))
    }
}

/// Descriptors beyond what fits share numbers; stat(2) on such links is all that shows it.
fn file_number(fd: i32) -> u16 {
    u16::try_from(fd).unwrap_or(u16::MAX).saturating_add(1000)
}

struct ToFile(Subject, i32);

impl Link for ToFile {
    fn target(&self, asker: &Credentials) -> Result<LinkTarget, Errno> {
        self.0.check_access(asker)?;
        let (file, _) = find(&self.0, self.1)?;
        Ok(LinkTarget::Magic(file.place().clone()))
    }

    fn may_be_covered(&self) -> bool {
        false
    }
}

/// `fdinfo`.
pub(super) struct Infos(pub(super) Subject);

impl Tree for Infos {
    fn lookup(
        &self,
        filesystem: &Arc<PseudoFilesystem>,
        name: &[u8],
    ) -> Result<Arc<dyn Inode>, Errno> {
        let fd = fd_number(name).ok_or(Errno::ENOENT)?;
        find(&self.0, fd)?;
        let body = Body::Text(Box::new(Info(self.0.clone(), fd)));
        Ok(node(filesystem, &self.0, file_number(fd).saturating_add(20_000), 0o444, body))
    }

    fn entries(&self, _filesystem: &Arc<PseudoFilesystem>) -> Result<Entries, Errno> {
        Ok(entries(&self.0, FileKind::Regular, 1 << 45))
    }
}

struct Info(Subject, i32);

impl Text for Info {
    fn read(&self, opener: &Credentials) -> Result<Vec<u8>, Errno> {
        self.check(opener)?;
        let (file, cloexec) = find(&self.0, self.1)?;
        let mut flags = file.status();
        flags.set(OpenFlags::CLOEXEC, cloexec);
        let inode = file.attributes().map_or(0, |attributes| attributes.inode);
        let text = format!(
            "pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{}\nino:\t{inode}\n{}",
            file.last_position(),
            flags.bits(),
            file.place().mount.id(),
            file.ops().fdinfo(),
        );
        Ok(text.into_bytes())
    }

    fn check(&self, opener: &Credentials) -> Result<(), Errno> {
        self.0.check_access(opener)
    }
}
