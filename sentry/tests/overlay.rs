// SPDX-License-Identifier: Apache-2.0
//! The overlay against a plain file system: whatever is done to both, both show the same; and the lower
//! layer never changes.

use std::{collections::BTreeMap, sync::Arc};

use abi::{Errno, fcntl::OpenFlags};
use sentry::{
    creds::Credentials,
    fs::{
        overlay::OverlayFilesystem,
        tmpfs::{Options, Tmpfs},
    },
    io::{SliceSink, SliceSource},
    vfs::{
        AttributeChange, DirSink, Directory, FileKind, FileOps, Filesystem, Inode, LinkTarget,
        NewNode, RenameMode,
    },
    wait::Try,
};

fn creds() -> Credentials {
    Credentials::root(abi::cred::Capabilities::all())
}

fn tmpfs() -> Arc<Tmpfs> {
    Tmpfs::new(Options::parse(b"mode=755", 0, 0).expect("good options"))
}

fn dir(inode: &Arc<dyn Inode>) -> &dyn Directory {
    inode.as_directory().expect("a directory")
}

fn open(inode: &Arc<dyn Inode>, flags: OpenFlags) -> Box<dyn FileOps> {
    inode.clone().open(flags, &creds()).expect("it opens")
}

fn write(inode: &Arc<dyn Inode>, at: u64, bytes: &[u8]) {
    let file = open(inode, OpenFlags::RDWR);
    assert_eq!(file.write_at(&mut SliceSource::new(bytes), at), Ok(Try::Done(bytes.len())));
}

fn read(file: &dyn FileOps) -> Vec<u8> {
    let mut room = vec![0; 1 << 18];
    let Ok(Try::Done(got)) = file.read_at(&mut SliceSink::new(&mut room), 0) else {
        panic!("a file can be read and never waits")
    };
    room.truncate(got);
    room
}

#[derive(Default)]
struct Names(Vec<(Vec<u8>, u64, FileKind)>);

impl DirSink for Names {
    fn entry(&mut self, name: &[u8], inode: u64, kind: FileKind, _next: u64) -> bool {
        self.0.push((name.to_vec(), inode, kind));
        true
    }
}

fn list(inode: &Arc<dyn Inode>) -> Vec<(Vec<u8>, u64, FileKind)> {
    let mut names = Names::default();
    open(inode, OpenFlags::RDONLY).read_entries(2, &mut names).expect("it lists");
    names.0.sort_by(|one, other| one.0.cmp(&other.0));
    names.0
}

/// Everything that can be seen of a tree, but numbers and times.
fn snapshot(root: &Arc<dyn Inode>) -> BTreeMap<Vec<u8>, String> {
    let mut seen = BTreeMap::new();
    let mut waiting = vec![(Vec::new(), root.clone())];
    while let Some((path, inode)) = waiting.pop() {
        let attributes = inode.attributes().expect("attributes");
        let mut line = format!("{:?} {:o}", attributes.kind, attributes.permissions);
        match attributes.kind {
            FileKind::Directory => {
                for (name, number, kind) in list(&inode) {
                    let child = dir(&inode).lookup(&name).expect("what is listed is there");
                    let attributes = child.attributes().expect("attributes");
                    assert_eq!((attributes.inode, attributes.kind), (number, kind), "{name:?}");
                    let below = [&path[..], b"/", &name].concat();
                    waiting.push((below, child));
                }
            }
            FileKind::Regular => {
                let text = read(&*open(&inode, OpenFlags::RDONLY));
                line +=
                    &format!(" {} links {:?}", attributes.links, String::from_utf8_lossy(&text));
            }
            FileKind::Symlink => {
                let Ok(LinkTarget::Text(text)) = inode.read_link(&creds()) else {
                    panic!("a link")
                };
                line += &format!(" -> {:?}", String::from_utf8_lossy(&text));
            }
            _ => {}
        }
        seen.insert(path, line);
    }
    seen
}

fn make(parent: &Arc<dyn Inode>, name: &[u8], node: NewNode<'_>) -> Arc<dyn Inode> {
    dir(parent).create(name, node, 0o755, 0, 0).expect("it can be made")
}

/// Some directories two deep, files, a link.
fn populate(root: &Arc<dyn Inode>) {
    for a in 0..3 {
        let sub = make(root, format!("d{a}").as_bytes(), NewNode::Directory);
        for b in 0..3 {
            let deep = make(&sub, format!("d{b}").as_bytes(), NewNode::Directory);
            let file = make(&deep, b"f0", NewNode::Regular);
            write(&file, 0, format!("deep {a} {b}").as_bytes());
            make(&sub, format!("l{b}").as_bytes(), NewNode::Symlink(b"../f0"));
        }
        let file = make(root, format!("f{a}").as_bytes(), NewNode::Regular);
        write(&file, 0, format!("top {a}").as_bytes());
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn name(&mut self) -> Vec<u8> {
        let kind = ["d", "f", "l"][self.below(3)];
        format!("{kind}{}", self.below(4)).into_bytes()
    }

    /// A directory's path, by names that may not be there.
    fn path(&mut self) -> Vec<Vec<u8>> {
        (0..self.below(3)).map(|_| format!("d{}", self.below(3)).into_bytes()).collect()
    }
}

fn walk(root: &Arc<dyn Inode>, path: &[Vec<u8>]) -> Option<Arc<dyn Inode>> {
    let mut at = root.clone();
    for name in path {
        at = at.as_directory()?.lookup(name).ok()?;
    }
    (at.kind() == FileKind::Directory).then_some(at)
}

/// One step, drawn from `random`; what the VFS would check is checked here. The answer, to be compared.
fn step(root: &Arc<dyn Inode>, random: &mut Random) -> String {
    let what = random.below(10);
    let (path, name) = (random.path(), random.name());
    let (other_path, other_name) = (random.path(), random.name());
    let text = format!("text {}", random.below(1000)).into_bytes();
    let offset = u64::try_from(random.below(3) * 5).expect("small");
    let mode = if random.below(3) == 0 { RenameMode::Exchange } else { RenameMode::Replace };
    let (Some(parent), Some(other)) = (walk(root, &path), walk(root, &other_path)) else {
        return "no such directory".into();
    };
    let found = dir(&parent).lookup(&name);
    let result: Result<(), Errno> = match (what, found) {
        (0, found) => {
            let node = match name[0] {
                b'd' => NewNode::Directory,
                b'l' => NewNode::Symlink(b"somewhere"),
                _ => NewNode::Regular,
            };
            match found {
                Ok(_) => Err(Errno::EEXIST),
                Err(_) => dir(&parent).create(&name, node, 0o640, 1, 2).map(drop),
            }
        }
        (_, Err(errno)) => Err(errno),
        (1 | 2, Ok(file)) if file.kind() == FileKind::Directory => {
            dir(&parent).remove_directory(&name, &file)
        }
        (1 | 2, Ok(file)) => dir(&parent).unlink(&name, &file),
        (3 | 4, Ok(file)) if file.kind() == FileKind::Regular => {
            write(&file, offset, &text);
            Ok(())
        }
        (5, Ok(file)) if file.kind() == FileKind::Regular => {
            let change = AttributeChange { size: Some(offset), ..AttributeChange::default() };
            file.set_attributes(&change)
        }
        (6, Ok(file)) if file.kind() != FileKind::Symlink => {
            let change = AttributeChange { permissions: Some(0o711), ..AttributeChange::default() };
            file.set_attributes(&change)
        }
        (7, Ok(file)) if file.kind() != FileKind::Directory => {
            match dir(&other).lookup(&other_name) {
                Ok(_) => Err(Errno::EEXIST),
                Err(_) => dir(&other).link(&other_name, &file),
            }
        }
        (_, Ok(file)) => {
            let from: Vec<_> = path.iter().chain([&name]).cloned().collect();
            let to: Vec<_> = other_path.iter().chain([&other_name]).cloned().collect();
            let target = dir(&other).lookup(&other_name).ok();
            let is_exchange = mode == RenameMode::Exchange;
            let is_nested = to.starts_with(&from) || from.starts_with(&to);
            let kinds_differ = target.as_ref().is_some_and(|target| {
                (target.kind() == FileKind::Directory) != (file.kind() == FileKind::Directory)
            });
            let same = target.as_ref().is_some_and(|target| Arc::ptr_eq(target, &file));
            if is_nested
                || same
                || (is_exchange && target.is_none())
                || (!is_exchange && kinds_differ)
            {
                Err(Errno::EINVAL)
            } else {
                dir(&parent).rename(&name, &file, &other, &other_name, target.as_ref(), mode)
            }
        }
    };
    format!("{what} {result:?}")
}

#[test]
fn an_overlay_shows_what_a_plain_file_system_would() {
    for seed in 0..50 {
        let (upper, lower, plain) = (tmpfs(), tmpfs(), tmpfs());
        populate(&lower.root());
        populate(&plain.root());
        let below = snapshot(&lower.root());
        let overlay = OverlayFilesystem::new(upper, lower.clone());
        let mut kept = overlay.root();
        assert_eq!(snapshot(&kept), snapshot(&plain.root()));
        let (mut one, mut other) = (Random(seed), Random(seed));
        for index in 0..120 {
            if index % 7 == 0 {
                // Nothing may depend on inodes that happen to be held.
                drop(kept);
                kept = overlay.root();
            }
            let answers = (step(&kept, &mut one), step(&plain.root(), &mut other));
            assert_eq!(answers.0, answers.1, "seed {seed} step {index}");
            let shown = (snapshot(&kept), snapshot(&plain.root()));
            assert_eq!(shown.0, shown.1, "seed {seed} step {index}: {}", answers.0);
        }
        assert_eq!(snapshot(&lower.root()), below, "seed {seed}");
    }
}

#[test]
fn a_number_stays_and_readers_see_what_is_written() {
    let (upper, lower) = (tmpfs(), tmpfs());
    populate(&lower.root());
    let overlay = OverlayFilesystem::new(upper, lower);
    let file = dir(&overlay.root()).lookup(b"f0").expect("there");
    let before = file.attributes().expect("attributes");
    let reader = open(&file, OpenFlags::RDONLY);
    assert_eq!(read(&*reader), b"top 0");
    write(&file, 0, b"TOP");
    assert_eq!(read(&*reader), b"TOP 0");
    let after = file.attributes().expect("attributes");
    assert_eq!((after.inode, after.device), (before.inode, before.device));
    drop((file, reader));
    let again = dir(&overlay.root()).lookup(b"f0").expect("there");
    assert_eq!(again.attributes().expect("attributes").inode, before.inode);
}

#[test]
fn names_of_one_file_stay_one_file() {
    let (upper, lower) = (tmpfs(), tmpfs());
    let file = make(&lower.root(), b"one", NewNode::Regular);
    write(&file, 0, b"old");
    dir(&lower.root()).link(b"two", &file).expect("linked");
    drop(file);
    let overlay = OverlayFilesystem::new(upper, lower);
    let one = dir(&overlay.root()).lookup(b"one").expect("there");
    write(&one, 0, b"new");
    drop(one);
    let two = dir(&overlay.root()).lookup(b"two").expect("there");
    assert_eq!(read(&*open(&two, OpenFlags::RDONLY)), b"new");
}

#[test]
fn marks_are_nobodys() {
    let (upper, lower) = (tmpfs(), tmpfs());
    populate(&lower.root());
    let overlay = OverlayFilesystem::new(upper, lower);
    let root = overlay.root();
    let refused = dir(&root).create(b"whiteout", NewNode::CharDevice(0), 0o600, 0, 0);
    assert_eq!(refused.map(drop), Err(Errno::EPERM));
    let file = dir(&root).lookup(b"d0").expect("there");
    dir(&root).rename(b"d0", &file, &root, b"moved", None, RenameMode::Replace).expect("moved");
    let xattrs = file.as_xattrs().expect("directories have some");
    assert!(xattrs.list().expect("names").is_empty());
    assert_eq!(xattrs.get(b"trusted.overlay.opaque"), Err(Errno::ENODATA));
    assert_eq!(xattrs.set(b"trusted.overlay.opaque", b"y", false, false), Err(Errno::EPERM));
    let walked = dir(&root).lookup_path(&[b"d0", b"d0"]).expect("an answer");
    assert!(walked.missing && walked.inodes.is_empty());
    let walked = dir(&root).lookup_path(&[b"f0", b"below"]).expect("an answer");
    assert!(!walked.missing && walked.inodes.len() == 1);
}
