// SPDX-License-Identifier: Apache-2.0
//! `tmpcopyup`: a tmpfs that begins with what it covers.
//!
//! The tree is an image's: how deep and how large it may be, the tmpfs and a bound of ours say.

use std::sync::Arc;

use abi::{Errno, cred::Capabilities, fcntl::OpenFlags};
use sentry::{
    creds::Credentials,
    io::{SliceSink, SliceSource},
    vfs::{
        self, AttributeChange, DirSink, FileDescription, FileKind, LinkTarget, NewNode, Place,
        ResolveContext, TimeChange, WriteOptions, create::Wanted, resolve,
    },
    wait::Try,
};

/// Directories in one another.
const DEEPEST: u32 = 256;

/// Bytes that are copied at once.
const CHUNK: usize = 256 * 1024;

/// Copies what lies in the directory `from` into the fresh directory `to`.
pub(super) fn fill(to: &Place, from: &Place) -> Result<(), Errno> {
    let creds = Arc::new(Credentials::root(Capabilities::all()));
    directory(to, from, &creds, DEEPEST)
}

fn directory(to: &Place, from: &Place, creds: &Arc<Credentials>, depth: u32) -> Result<(), Errno> {
    let Some(depth) = depth.checked_sub(1) else { return Err(Errno::ELOOP) };
    for name in names(from, creds)? {
        let source = match resolve::lookup(&from.dentry, &name) {
            Ok(dentry) => Place { mount: Arc::clone(&from.mount), dentry },
            // Somebody has taken it away meanwhile.
            Err(Errno::ENOENT) => continue,
            Err(errno) => return Err(errno),
        };
        entry(to, &name, &source, creds, depth)?;
    }
    Ok(())
}

fn entry(
    to: &Place,
    name: &[u8],
    source: &Place,
    creds: &Arc<Credentials>,
    depth: u32,
) -> Result<(), Errno> {
    let inode = source.inode();
    let attributes = inode.attributes()?;
    let text;
    let node = match attributes.kind {
        FileKind::Regular => NewNode::Regular,
        FileKind::Directory => NewNode::Directory,
        FileKind::Symlink => match inode.read_link(creds)? {
            LinkTarget::Text(target) => {
                text = target;
                NewNode::Symlink(&text)
            }
            LinkTarget::Magic(_) => return Ok(()),
        },
        FileKind::Fifo => NewNode::Fifo,
        FileKind::Socket => NewNode::Socket,
        FileKind::CharDevice => NewNode::CharDevice(attributes.special_device),
        FileKind::BlockDevice => NewNode::BlockDevice(attributes.special_device),
        FileKind::Anonymous => return Ok(()),
    };
    let cx = ResolveContext { start: to.clone(), root: to.clone(), creds: Arc::clone(creds) };
    let made = vfs::create::create(&cx, name, node, Wanted::just(attributes.permissions))?;
    match attributes.kind {
        FileKind::Directory => directory(&made, source, creds, depth)?,
        FileKind::Regular => contents(&made, source, creds)?,
        _ => {}
    }
    let is_link = attributes.kind == FileKind::Symlink;
    made.inode().set_attributes(&AttributeChange {
        permissions: (!is_link).then_some(attributes.permissions),
        uid: Some(attributes.uid),
        gid: Some(attributes.gid),
        size: None,
        accessed: Some(TimeChange::To(attributes.accessed)),
        modified: Some(TimeChange::To(attributes.modified)),
    })
}

fn open(
    place: &Place,
    flags: OpenFlags,
    creds: &Arc<Credentials>,
) -> Result<Arc<FileDescription>, Errno> {
    let ops = Arc::clone(place.inode()).open(flags, creds)?;
    Ok(FileDescription::new(place.clone(), ops, flags, Arc::clone(creds)))
}

fn contents(to: &Place, from: &Place, creds: &Arc<Credentials>) -> Result<(), Errno> {
    let from = open(from, OpenFlags::empty(), creds)?;
    let to = open(to, OpenFlags::WRONLY, creds)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut sink = SliceSink::new(&mut buffer);
        let count = done(from.read(&mut sink)?)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        let mut source = SliceSource::new(bytes);
        if done(to.write(&mut source, &WriteOptions::default())?)? != count {
            return Err(Errno::ENOSPC);
        }
    }
}

/// Regular files never make anybody wait.
fn done(count: Try<usize>) -> Result<usize, Errno> {
    match count {
        Try::Done(count) => Ok(count),
        Try::WouldBlock => Err(Errno::EIO),
    }
}

#[derive(Default)]
struct Names(Vec<Vec<u8>>);

impl DirSink for Names {
    fn entry(&mut self, name: &[u8], _inode: u64, _kind: FileKind, _next: u64) -> bool {
        if !matches!(name, b"." | b"..") {
            self.0.push(name.to_vec());
        }
        true
    }
}

fn names(place: &Place, creds: &Arc<Credentials>) -> Result<Vec<Vec<u8>>, Errno> {
    let directory = open(place, OpenFlags::DIRECTORY, creds)?;
    let mut names = Names::default();
    loop {
        let before = names.0.len();
        directory.read_entries(&mut names)?;
        if names.0.len() == before {
            return Ok(names.0);
        }
    }
}
