// SPDX-License-Identifier: Apache-2.0
//! tmpfs and the VFS over it, without a guest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use abi::{Errno, UserAddr, cred::Capabilities, fcntl::OpenFlags};
use proptest::prelude::*;

use super::{Options, Tmpfs};
use crate::{
    creds::Credentials,
    io::{SliceSink, SliceSource},
    vfs::{
        Caller, DirSink, FileDescription, FileKind, Job, Lookup, Mount, MountNamespace,
        MountOptions, NewNode, Place, Put, RenameMode, ResolveContext, SeekFrom, Spread, Unmount,
        WriteOptions,
        create::{self, Wanted},
        open::{self, OpenRequest},
        remove, resolve, xattr,
    },
    wait::Try,
};

/// A caller that is nobody in particular.
struct Nobody(Arc<Credentials>);

impl Caller for Nobody {
    fn credentials(&self) -> Arc<Credentials> {
        self.0.clone()
    }
    fn read_memory(&mut self, _addr: UserAddr, _to: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    fn write_memory(&mut self, _addr: UserAddr, _from: &[u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    fn job(&self) -> Job {
        Job { process: 1, group: 1, session: 1, is_session_leader: true }
    }
    fn signal_group(&mut self, _group: i32, _signal: i32) -> Result<(), Errno> {
        Err(Errno::ESRCH)
    }
    fn session_of_group(&self, _group: i32) -> Result<i32, Errno> {
        Err(Errno::ESRCH)
    }
    fn is_signal_ignored(&self, _signal: i32) -> bool {
        false
    }
    fn is_group_orphaned(&self) -> bool {
        false
    }
    fn controlling_terminal(&self) -> Option<u64> {
        None
    }
    fn set_controlling_terminal(&mut self, _terminal: u64) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
    fn give_controlling_terminal_up(&mut self) {}
}

struct World {
    namespace: Arc<MountNamespace>,
    cx: ResolveContext,
}

fn root_creds() -> Arc<Credentials> {
    Arc::new(Credentials::root(Capabilities::all()))
}

impl World {
    fn new() -> World {
        World::with(Options { mode: 0o755, ..Options::default() })
    }

    fn with(options: Options) -> World {
        let mount = Mount::new(Tmpfs::new(options), b"none", MountOptions::empty());
        let namespace = MountNamespace::new(mount);
        let root = namespace.root();
        let cx = ResolveContext { root: root.clone(), start: root, creds: root_creds() };
        World { namespace, cx }
    }

    fn as_user(&self, uid: u32, gid: u32) -> ResolveContext {
        ResolveContext { creds: Arc::new(Credentials::user(uid, gid)), ..self.cx.clone() }
    }

    fn mkdir(&self, path: &str) {
        create::create(&self.cx, path.as_bytes(), NewNode::Directory, Wanted::just(0o755))
            .expect(path);
    }

    fn symlink(&self, target: &str, path: &str) {
        let node = NewNode::Symlink(target.as_bytes());
        create::create(&self.cx, path.as_bytes(), node, Wanted::just(0o777)).expect(path);
    }

    fn file(&self, path: &str) -> Arc<FileDescription> {
        self.open(path, OpenFlags::CREAT | OpenFlags::RDWR).expect(path)
    }

    fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<FileDescription>, Errno> {
        open_as(&self.cx, path, flags)
    }

    fn walk(&self, path: &str) -> Result<Place, Errno> {
        resolve::walk(&self.cx, path.as_bytes(), Lookup::FOLLOW)
    }

    fn path(&self, place: &Place) -> String {
        String::from_utf8(place.display_from(&self.cx.root)).expect("names are ASCII here")
    }
}

fn open_as(
    cx: &ResolveContext,
    path: &str,
    flags: OpenFlags,
) -> Result<Arc<FileDescription>, Errno> {
    let request = OpenRequest { flags, mode: 0o644, lookup: Lookup::empty(), umask: 0 };
    open::open(cx, path.as_bytes(), &request, &mut Nobody(cx.creds.clone()))
}

fn write(file: &FileDescription, bytes: &[u8]) -> Result<usize, Errno> {
    let done = file.write(&mut SliceSource::new(bytes), &WriteOptions::default())?;
    done.or_again()
}

fn pwrite(file: &FileDescription, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    file.pwrite(&mut SliceSource::new(bytes), offset, &WriteOptions::default())?.or_again()
}

fn pread(file: &FileDescription, len: usize, offset: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut sink = SliceSink::new(&mut bytes);
    let Ok(Try::Done(count)) = file.pread(&mut sink, offset) else { panic!("tmpfs answers") };
    bytes.truncate(count);
    bytes
}

#[derive(Default)]
struct Names(Vec<(String, u64)>, usize);

impl DirSink for Names {
    fn entry(&mut self, name: &[u8], _inode: u64, _kind: FileKind, next: u64) -> bool {
        if self.0.len() >= self.1 {
            return false;
        }
        self.0.push((String::from_utf8_lossy(name).into_owned(), next));
        true
    }
}

fn names(file: &FileDescription, most: usize) -> Vec<String> {
    let mut names = Names(Vec::new(), most);
    file.read_entries(&mut names).expect("a directory");
    names.0.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn paths_resolve_as_on_linux() {
    let world = World::new();
    for dir in ["/a", "/a/b", "/a/b/c", "/d"] {
        world.mkdir(dir);
    }
    world.file("/a/file");
    world.symlink("b", "/a/rel");
    world.symlink("/a/b", "/a/abs");
    world.symlink("../../d", "/a/b/up");
    world.symlink("loop", "/loop");
    world.symlink("nowhere", "/dangling");
    world.symlink("/a/file", "/tofile");
    world.symlink("/a/b/", "/slashed");
    let cases: &[(&str, Result<&str, Errno>)] = &[
        ("/", Ok("/")),
        ("//a///b", Ok("/a/b")),
        ("/a/./b/.", Ok("/a/b")),
        ("/a/b/..", Ok("/a")),
        ("/..", Ok("/")),
        ("/../../a", Ok("/a")),
        ("a/b/c/../../rel/c", Ok("/a/b/c")),
        ("/a/abs/c", Ok("/a/b/c")),
        ("/a/b/up", Ok("/d")),
        ("/a/rel/up/", Ok("/d")),
        ("/slashed/c", Ok("/a/b/c")),
        ("/a/file/", Err(Errno::ENOTDIR)),
        ("/a/file/.", Err(Errno::ENOTDIR)),
        ("/a/file/..", Err(Errno::ENOTDIR)),
        ("/tofile", Ok("/a/file")),
        ("/tofile/", Err(Errno::ENOTDIR)),
        ("/loop", Err(Errno::ELOOP)),
        ("/dangling", Err(Errno::ENOENT)),
        ("/nope/..", Err(Errno::ENOENT)),
        ("", Err(Errno::ENOENT)),
    ];
    for (path, expected) in cases {
        let found = world.walk(path).map(|place| world.path(&place));
        assert_eq!(found.as_deref(), expected.as_deref(), "{path}");
    }
    let long = "x".repeat(256);
    assert_eq!(world.walk(&long).map(|_| ()), Err(Errno::ENAMETOOLONG));
    let deep = "a/../".repeat(900);
    assert_eq!(world.walk(&deep).map(|_| ()), Err(Errno::ENAMETOOLONG));
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let world = World::new();
    world.file("/end");
    world.symlink("/end", "/l1");
    for n in 2..=41 {
        world.symlink(&format!("/l{}", n - 1), &format!("/l{n}"));
    }
    assert!(world.walk("/l40").is_ok());
    assert_eq!(world.walk("/l41").map(|_| ()), Err(Errno::ELOOP));
}

#[test]
fn rules_of_openat2_hold() {
    let world = World::new();
    world.mkdir("/jail");
    world.mkdir("/jail/in");
    world.symlink("/", "/jail/abs");
    world.symlink("../out", "/jail/up");
    let jail = world.walk("/jail").expect("made");
    let cx = ResolveContext { start: jail, ..world.cx.clone() };
    let walk = |path: &str, how| {
        let found = resolve::walk(&cx, path.as_bytes(), how | Lookup::FOLLOW);
        found.map(|place| world.path(&place))
    };
    assert_eq!(walk("in/..", Lookup::BENEATH).as_deref(), Ok("/jail"));
    assert_eq!(walk("in/../..", Lookup::BENEATH), Err(Errno::EXDEV));
    assert_eq!(walk("/in", Lookup::BENEATH), Err(Errno::EXDEV));
    assert_eq!(walk("abs", Lookup::BENEATH), Err(Errno::EXDEV));
    assert_eq!(walk("/in", Lookup::IN_ROOT).as_deref(), Ok("/jail/in"));
    assert_eq!(walk("abs", Lookup::IN_ROOT).as_deref(), Ok("/jail"));
    assert_eq!(walk("../../in", Lookup::IN_ROOT).as_deref(), Ok("/jail/in"));
    assert_eq!(walk("abs", Lookup::NO_SYMLINKS), Err(Errno::ELOOP));
}

#[test]
fn mounts_are_crossed_both_ways() {
    let world = World::new();
    world.mkdir("/mnt");
    world.mkdir("/other");
    let place = world.walk("/mnt").expect("made");
    let mount = Mount::new(Tmpfs::new(Options::default()), b"inner", MountOptions::empty());
    world.namespace.mount(mount.clone(), &place).expect("a directory on a directory");
    world.mkdir("/mnt/sub");
    let sub = world.walk("/mnt/sub").expect("made");
    assert!(Arc::ptr_eq(&sub.mount, &mount));
    assert_eq!(world.path(&sub), "/mnt/sub");
    let up = world.walk("/mnt/sub/../../other").expect("the way out");
    assert_eq!(world.path(&up), "/other");
    let no_xdev = resolve::walk(&world.cx, b"/mnt/sub", Lookup::NO_XDEV);
    assert_eq!(no_xdev.map(|_| ()), Err(Errno::EXDEV));
    let moved =
        remove::rename((&world.cx, b"/mnt/sub"), (&world.cx, b"/other/sub"), RenameMode::Replace);
    assert_eq!(moved, Err(Errno::EXDEV));
    assert_eq!(remove::remove_directory(&world.cx, b"/mnt"), Err(Errno::EBUSY));
}

#[test]
fn trees_of_mounts_change_as_told() {
    let world = World::new();
    for dir in ["/a", "/b", "/c", "/put"] {
        world.mkdir(dir);
    }
    let tree = &world.namespace;
    let walk = |path: &str| world.walk(path).expect("made");
    let fresh = || Mount::new(Tmpfs::new(Options::default()), b"x", MountOptions::empty());
    let is_there = |path: &str| world.walk(path).is_ok();
    tree.mount(fresh(), &walk("/a")).expect("a directory");
    world.mkdir("/a/sub");
    tree.mount(fresh(), &walk("/a/sub")).expect("a directory");
    world.mkdir("/a/sub/deep");
    // A plain bind shows the directory, a recursive one the mounts below too.
    tree.bind(&walk("/a"), &walk("/b"), false).expect("bind");
    assert!(is_there("/b/sub") && !is_there("/b/sub/deep"));
    tree.unmount(walk("/b"), Unmount::Idle).expect("idle");
    tree.bind(&walk("/a"), &walk("/b"), true).expect("rbind");
    assert!(is_there("/b/sub/deep"));
    assert_eq!(tree.unmount(walk("/b"), Unmount::Idle), Err(Errno::EBUSY));
    let held = walk("/b/sub");
    assert_eq!(tree.unmount(held.clone(), Unmount::Idle), Err(Errno::EBUSY));
    drop(held);
    tree.unmount(walk("/b"), Unmount::Detach).expect("detached");
    assert!(!is_there("/b/sub") && is_there("/a/sub/deep"));
    assert_eq!(tree.mounts().len(), 3);
    // Moving, and what may not be moved.
    tree.move_mount(&walk("/a"), &walk("/c"), Put::OnTop).expect("moved");
    assert!(is_there("/c/sub/deep") && !is_there("/a/sub"));
    assert_eq!(tree.move_mount(&walk("/c"), &walk("/c/sub/deep"), Put::OnTop), Err(Errno::ELOOP));
    assert_eq!(tree.move_mount(&walk("/put"), &walk("/a"), Put::OnTop), Err(Errno::EINVAL));
    assert_eq!(tree.unmount(walk("/put"), Unmount::Idle), Err(Errno::EINVAL));
    let expire = || tree.unmount(walk("/c/sub"), Unmount::Expire);
    assert_eq!(expire(), Err(Errno::EAGAIN));
    drop(world.open("/c/sub", OpenFlags::DIRECTORY));
    assert_eq!(expire(), Err(Errno::EAGAIN));
    assert_eq!(expire(), Ok(()));
    assert_eq!(tree.mounts().len(), 2);
}

#[test]
fn shared_mounts_tell_their_peers_and_slaves() {
    let world = World::new();
    for dir in ["/a", "/peer", "/slave", "/alone"] {
        world.mkdir(dir);
    }
    let tree = &world.namespace;
    let walk = |path: &str| world.walk(path).expect("made");
    let fresh = || Mount::new(Tmpfs::new(Options::default()), b"x", MountOptions::empty());
    let is_there = |path: &str| world.walk(path).is_ok();
    tree.mount(fresh(), &walk("/a")).expect("a directory");
    world.mkdir("/a/sub");
    tree.change_spread(&walk("/a"), Spread::Shared, false).expect("a mount");
    for copy in ["/peer", "/slave", "/alone"] {
        tree.bind(&walk("/a"), &walk(copy), false).expect("bind");
    }
    tree.change_spread(&walk("/slave"), Spread::Slave, false).expect("a mount");
    tree.change_spread(&walk("/alone"), Spread::Private, false).expect("a mount");
    tree.mount(fresh(), &walk("/a/sub")).expect("a directory");
    world.mkdir("/a/sub/new");
    assert!(is_there("/peer/sub/new") && is_there("/slave/sub/new"));
    assert!(!is_there("/alone/sub/new"));
    // A slave tells nobody.
    tree.unmount(walk("/slave/sub"), Unmount::Idle).expect("idle");
    assert!(is_there("/a/sub/new") && is_there("/peer/sub/new"));
    tree.unmount(walk("/peer/sub"), Unmount::Idle).expect("idle");
    assert!(!is_there("/a/sub/new") && !is_there("/peer/sub/new"));
    // A copied namespace shares with the original where it was shared.
    let (copy, translate) = tree.copy();
    tree.mount(fresh(), &walk("/a/sub")).expect("a directory");
    world.mkdir("/a/sub/late");
    let root = translate(&world.cx.root);
    let cx = ResolveContext { root: root.clone(), start: root, ..world.cx.clone() };
    assert!(resolve::walk(&cx, b"/a/sub/late", Lookup::FOLLOW).is_ok());
    tree.mount(fresh(), &walk("/alone")).expect("a directory");
    world.mkdir("/alone/only");
    assert!(resolve::walk(&cx, b"/alone/only", Lookup::FOLLOW).is_err());
    drop(copy);
}

#[test]
fn the_root_can_be_changed_for_another() {
    let world = World::new();
    world.mkdir("/new");
    let tree = &world.namespace;
    let walk = |path: &str| world.walk(path).expect("made");
    let mount = Mount::new(Tmpfs::new(Options::default()), b"x", MountOptions::empty());
    tree.mount(mount, &walk("/new")).expect("a directory");
    world.mkdir("/new/old");
    let (new, old) = (walk("/new"), walk("/new/old"));
    let root = world.cx.root.clone();
    assert_eq!(tree.pivot_root(&root, &root, &root), Err(Errno::EBUSY));
    assert_eq!(tree.pivot_root(&new, &old, &root), Ok(()));
    let cx = ResolveContext { root: tree.root(), start: tree.root(), ..world.cx.clone() };
    let found = resolve::walk(&cx, b"/old/new", Lookup::FOLLOW).expect("the old root's");
    assert_eq!(found.display_from(&cx.root), b"/old/new");
    assert!(new.is_same(&cx.root));
}

#[test]
fn names_come_and_go() {
    let world = World::new();
    world.mkdir("/d");
    let cx = &world.cx;
    let make =
        |path: &[u8]| create::create(cx, path, NewNode::Directory, Wanted::just(0o755)).map(|_| ());
    assert_eq!(make(b"/d"), Err(Errno::EEXIST));
    assert_eq!(make(b"/d/."), Err(Errno::EEXIST));
    assert_eq!(make(b"/e/"), Ok(()));
    let file =
        |path: &[u8]| create::create(cx, path, NewNode::Regular, Wanted::just(0o644)).map(|_| ());
    assert_eq!(file(b"/f/"), Err(Errno::ENOENT));
    assert_eq!(file(b"/d/f"), Ok(()));
    assert_eq!(remove::unlink(cx, b"/d"), Err(Errno::EISDIR));
    assert_eq!(remove::unlink(cx, b"/d/f/"), Err(Errno::ENOTDIR));
    assert_eq!(remove::remove_directory(cx, b"/d"), Err(Errno::ENOTEMPTY));
    assert_eq!(remove::remove_directory(cx, b"/d/f"), Err(Errno::ENOTDIR));
    assert_eq!(remove::remove_directory(cx, b"/d/."), Err(Errno::EINVAL));
    assert_eq!(remove::remove_directory(cx, b"/d/.."), Err(Errno::ENOTEMPTY));
    assert_eq!(remove::remove_directory(cx, b"/"), Err(Errno::EBUSY));
    let opened = world.open("/d/f", OpenFlags::RDWR).expect("there");
    assert_eq!(remove::unlink(cx, b"/d/f"), Ok(()));
    assert_eq!(world.path(opened.place()), "/d/f (deleted)");
    assert_eq!(opened.attributes().map(|a| a.links), Ok(0));
    assert_eq!(world.walk("/d/f").map(|_| ()), Err(Errno::ENOENT));
    assert_eq!(file(b"/d/f"), Ok(()));
    let directory = world.walk("/e").expect("made");
    assert_eq!(remove::remove_directory(cx, b"/e"), Ok(()));
    let gone = ResolveContext { start: directory, ..cx.clone() };
    let in_gone = create::create(&gone, b"x", NewNode::Regular, Wanted::just(0o644)).map(|_| ());
    assert_eq!(in_gone, Err(Errno::ENOENT));
}

#[test]
fn renames_keep_linuxs_order() {
    let world = World::new();
    for dir in ["/a", "/a/b", "/c", "/full", "/full/x"] {
        world.mkdir(dir);
    }
    write(&world.file("/f"), b"f").expect("room");
    world.file("/g");
    let cx = &world.cx;
    let rename = |from: &str, to: &str, mode| {
        remove::rename((cx, from.as_bytes()), (cx, to.as_bytes()), mode)
    };
    let replace = RenameMode::Replace;
    assert_eq!(rename("/a", "/a/b/new", replace), Err(Errno::EINVAL));
    assert_eq!(rename("/a/b", "/a", replace), Err(Errno::ENOTEMPTY));
    assert_eq!(rename("/f", "/c", replace), Err(Errno::EISDIR));
    assert_eq!(rename("/c", "/f", replace), Err(Errno::ENOTDIR));
    assert_eq!(rename("/c", "/full", replace), Err(Errno::ENOTEMPTY));
    assert_eq!(rename("/f/", "/h", replace), Err(Errno::ENOTDIR));
    assert_eq!(rename("/f", "/h/", replace), Err(Errno::ENOTDIR));
    assert_eq!(rename("/f", "/.", replace), Err(Errno::EBUSY));
    assert_eq!(rename("/f", "/g", RenameMode::NoReplace), Err(Errno::EEXIST));
    assert_eq!(rename("/f", "/none", RenameMode::Exchange), Err(Errno::ENOENT));
    assert_eq!(rename("/f", "/full/x", RenameMode::Exchange), Ok(()));
    assert_eq!(world.walk("/f").map(|p| p.inode().kind()), Ok(FileKind::Directory));
    assert_eq!(rename("/full/x", "/g", replace), Ok(()));
    let g = world.open("/g", OpenFlags::empty()).expect("moved");
    assert_eq!(pread(&g, 10, 0), b"f");
    assert_eq!(world.path(g.place()), "/g");
    assert_eq!(rename("/a", "/full", replace), Ok(()));
    assert_eq!(world.walk("/full/b").map(|p| world.path(&p)).as_deref(), Ok("/full/b"));
    let links = |path: &str| world.walk(path).and_then(|p| p.inode().attributes()).map(|a| a.links);
    assert_eq!((links("/"), links("/full")), (Ok(5), Ok(3)));
}

#[test]
fn opening_makes_truncates_and_refuses() {
    let world = World::new();
    world.mkdir("/d");
    world.symlink("/d/made", "/link");
    world.symlink("/no/where", "/astray");
    let (creat, excl) = (OpenFlags::CREAT | OpenFlags::RDWR, OpenFlags::EXCL);
    write(&world.open("/link", creat).expect("made where the link leads"), b"1234").expect("room");
    assert_eq!(world.walk("/d/made").map(|p| world.path(&p)).as_deref(), Ok("/d/made"));
    let errno = |path: &str, flags| world.open(path, flags).map(|_| ()).expect_err(path);
    assert_eq!(errno("/link", creat | excl), Errno::EEXIST);
    assert_eq!(errno("/astray", creat), Errno::ENOENT);
    assert_eq!(errno("/d", creat), Errno::EISDIR);
    assert_eq!(errno("/d/", creat), Errno::EISDIR);
    assert_eq!(errno("/d/..", creat), Errno::EISDIR);
    assert_eq!(errno("/new/", creat), Errno::EISDIR);
    assert_eq!(errno("/d", OpenFlags::WRONLY), Errno::EISDIR);
    assert_eq!(errno("/link", OpenFlags::NOFOLLOW), Errno::ELOOP);
    assert_eq!(errno("/d/made", OpenFlags::DIRECTORY), Errno::ENOTDIR);
    let path_only = world.open("/link", OpenFlags::PATH | OpenFlags::NOFOLLOW).expect("O_PATH");
    assert_eq!(path_only.kind(), FileKind::Symlink);
    let truncated = world.open("/d/made", OpenFlags::RDWR | OpenFlags::TRUNC).expect("there");
    assert_eq!(truncated.attributes().map(|a| a.size), Ok(0));
    let unnamed = world.open("/d", OpenFlags::TMPFILE | OpenFlags::RDWR).expect("O_TMPFILE");
    assert_eq!(unnamed.attributes().map(|a| a.links), Ok(0));
    assert_eq!(create::link(unnamed.place(), &world.cx, b"/d/named"), Ok(()));
    assert_eq!(unnamed.attributes().map(|a| a.links), Ok(1));
    unnamed.inode().common().deny_write_access().expect_err("open for writing");
}

#[test]
fn permission_is_asked_on_the_way() {
    let world = World::new();
    world.mkdir("/closed");
    world.file("/closed/file");
    let place = world.walk("/closed").expect("made");
    let creds = root_creds();
    crate::vfs::attributes::change_mode(&place, 0o700, &creds).expect("root");
    let user = world.as_user(1000, 1000);
    let errno = |path: &str, flags| open_as(&user, path, flags).map(|_| ()).expect_err(path);
    assert_eq!(errno("/closed/file", OpenFlags::empty()), Errno::EACCES);
    assert_eq!(errno("/closed/none", OpenFlags::empty()), Errno::EACCES);
    assert_eq!(errno("/new", OpenFlags::CREAT), Errno::EACCES);
    assert_eq!(remove::unlink(&user, b"/closed"), Err(Errno::EACCES));
    let tmp =
        create::create(&world.cx, b"/tmp", NewNode::Directory, Wanted::just(0o1777)).expect("made");
    world.file("/tmp/roots");
    assert_eq!(remove::unlink(&user, b"/tmp/roots"), Err(Errno::EPERM));
    assert!(open_as(&user, "/tmp/own", OpenFlags::CREAT | OpenFlags::WRONLY).is_ok());
    assert_eq!(remove::unlink(&user, b"/tmp/own"), Ok(()));
    let value = xattr::set(&tmp, b"user.x", b"1", (false, false), &user.creds);
    assert_eq!(value, Err(Errno::EPERM));
    assert_eq!(xattr::set(&tmp, b"user.x", b"1", (false, false), &creds), Ok(()));
    assert_eq!(xattr::get(&tmp, b"user.x", &user.creds).as_deref(), Ok(&b"1"[..]));
    assert_eq!(xattr::get(&tmp, b"trusted.x", &user.creds), Err(Errno::ENODATA));
    assert_eq!(xattr::get(&tmp, b"odd.x", &creds), Err(Errno::EOPNOTSUPP));
}

#[test]
fn writing_takes_set_id_bits_away() {
    let world = World::new();
    let file = world.file("/suid");
    let change = crate::vfs::AttributeChange { permissions: Some(0o6755), ..Default::default() };
    let inode = file.inode();
    inode.set_attributes(&change).expect("tmpfs");
    let privileged = WriteOptions { keeps_set_id: true, ..WriteOptions::default() };
    file.write(&mut SliceSource::new(b"kept"), &privileged).expect("room");
    assert_eq!(inode.attributes().map(|a| a.permissions), Ok(0o6755));
    write(&file, b"taken").expect("room");
    assert_eq!(inode.attributes().map(|a| a.permissions), Ok(0o755));
}

#[test]
fn directories_read_in_a_stable_order() {
    let world = World::new();
    world.mkdir("/d");
    for n in 0..10 {
        world.file(&format!("/d/{n}"));
    }
    let directory = world.open("/d", OpenFlags::DIRECTORY).expect("made");
    assert_eq!(names(&directory, 4), [".", "..", "0", "1"]);
    remove::unlink(&world.cx, b"/d/1").expect("there");
    remove::unlink(&world.cx, b"/d/2").expect("there");
    world.file("/d/late");
    let rest = names(&directory, 100);
    assert_eq!(rest, ["3", "4", "5", "6", "7", "8", "9", "late"]);
    assert!(names(&directory, 100).is_empty());
    directory.seek(SeekFrom::Start(0)).expect("rewinds");
    assert_eq!(names(&directory, 100).len(), 11);
}

#[test]
fn a_full_file_system_says_so_and_gives_back() {
    let options = Options { max_pages: Some(4), max_inodes: Some(3), ..Options::default() };
    let world = World::with(options);
    let file = world.file("/f");
    let page = [7; 4096];
    assert_eq!(pwrite(&file, &page.repeat(5), 0), Ok(4 * 4096));
    assert_eq!(pwrite(&file, &page, 4 * 4096), Err(Errno::ENOSPC));
    assert_eq!(pwrite(&file, &page, 0), Ok(4096));
    let other = world.file("/g");
    assert_eq!(write(&other, b"x"), Err(Errno::ENOSPC));
    assert_eq!(world.open("/h", OpenFlags::CREAT).map(|_| ()), Err(Errno::ENOSPC));
    remove::unlink(&world.cx, b"/f").expect("there");
    drop(file);
    assert_eq!(write(&other, b"x"), Ok(1));
    let statistics = world.cx.root.mount.filesystem().statistics().expect("tmpfs");
    assert_eq!((statistics.f_bfree, statistics.f_ffree), (3, 1));
}

#[test]
fn the_size_limit_of_the_caller_holds() {
    let world = World::new();
    let file = world.file("/f");
    let limited = WriteOptions { limit: 10, ..WriteOptions::default() };
    let put = |bytes: &[u8], offset| {
        file.pwrite(&mut SliceSource::new(bytes), offset, &limited)?.or_again()
    };
    assert_eq!(put(b"0123456789abc", 0), Ok(10));
    assert_eq!(put(b"x", 10), Err(Errno::EFBIG));
}

#[test]
fn deep_trees_go_without_deep_stacks() {
    let world = World::new();
    let mut cx = world.cx.clone();
    for _ in 0..50_000 {
        cx.start =
            create::create(&cx, b"d", NewNode::Directory, Wanted::just(0o755)).expect("room");
    }
    assert!(cx.start.dentry.parent().is_some());
    drop((cx, world));
}

#[test]
fn many_names_do_not_stay_in_the_cache() {
    let world = World::new();
    for n in 0..40_000 {
        let path = format!("/{n}");
        create::create(&world.cx, path.as_bytes(), NewNode::Regular, Wanted::just(0o644))
            .expect("room");
    }
    let root = &world.cx.root.dentry;
    assert!(root.cached_names() <= 2 * 16 * 1024, "{}", root.cached_names());
    assert!(world.walk("/0").is_ok() && world.walk("/39999").is_ok());
}

/// One change of a file, for the model.
#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Append(Vec<u8>),
    Truncate(u64),
    Punch(u64, u64),
    Map,
}

fn change() -> impl Strategy<Value = Change> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..5000);
    prop_oneof![
        (0..400_000u64, bytes()).prop_map(|(at, bytes)| Change::Write(at, bytes)),
        bytes().prop_map(Change::Append),
        (0..400_000u64).prop_map(Change::Truncate),
        (0..400_000u64, 1..100_000u64).prop_map(|(at, len)| Change::Punch(at, len)),
        Just(Change::Map),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_hold_what_a_vector_holds(changes in prop::collection::vec(change(), 1..20)) {
        let world = World::new();
        let file = world.file("/f");
        let mut model: Vec<u8> = Vec::new();
        for change in changes {
            match change {
                Change::Write(at, bytes) => {
                    prop_assert_eq!(pwrite(&file, &bytes, at), Ok(bytes.len()));
                    let at = at as usize;
                    model.resize(model.len().max(at + bytes.len()), 0);
                    model[at..at + bytes.len()].copy_from_slice(&bytes);
                }
                Change::Append(bytes) => {
                    file.change_status(OpenFlags::APPEND, OpenFlags::APPEND);
                    prop_assert_eq!(write(&file, &bytes), Ok(bytes.len()));
                    file.change_status(OpenFlags::APPEND, OpenFlags::empty());
                    model.extend_from_slice(&bytes);
                    prop_assert_eq!(file.position(), model.len() as u64);
                }
                Change::Truncate(length) => {
                    let creds = root_creds();
                    crate::vfs::attributes::resize(file.place(), length, u64::MAX, &creds)
                        .expect("room");
                    model.resize(length as usize, 0);
                }
                Change::Punch(at, len) => {
                    file.ops().allocate(3, at, len).expect("tmpfs punches");
                    let end = model.len().min((at + len) as usize);
                    if (at as usize) < end {
                        model[at as usize..end].fill(0);
                    }
                }
                Change::Map => {
                    let mappable = file.ops().mappable().expect("regular");
                    mappable.host_range(0, 4096).expect("a memfd");
                }
            }
            prop_assert_eq!(file.attributes().map(|a| a.size), Ok(model.len() as u64));
            prop_assert!(pread(&file, 500_000, 0) == model);
        }
    }

    #[test]
    fn directories_hold_what_a_map_holds(
        steps in prop::collection::vec((0..4u8, 0..6u8, 0..6u8), 1..60),
    ) {
        let world = World::new();
        let cx = &world.cx;
        let mut model: BTreeMap<String, u64> = BTreeMap::new();
        for (what, a, b) in steps {
            let (a, b) = (format!("/{a}"), format!("/{b}"));
            match what {
                0 => {
                    let made = create::create(cx, a.as_bytes(), NewNode::Regular, Wanted::just(0o644));
                    prop_assert_eq!(made.is_ok(), !model.contains_key(&a));
                    if let Ok(place) = made {
                        let number = place.inode().attributes().expect("tmpfs").inode;
                        model.insert(a, number);
                    }
                }
                1 => {
                    let removed = remove::unlink(cx, a.as_bytes()).is_ok();
                    prop_assert_eq!(removed, model.remove(&a).is_some());
                }
                2 => {
                    let moved =
                        remove::rename((cx, a.as_bytes()), (cx, b.as_bytes()), RenameMode::Replace);
                    prop_assert_eq!(moved.is_ok(), model.contains_key(&a));
                    // Two names of one file: nothing happens.
                    if model.get(&a) != model.get(&b) && let Some(number) = model.remove(&a) {
                        model.insert(b, number);
                    }
                }
                _ => {
                    let linked = world
                        .walk(&a)
                        .and_then(|place| create::link(&place, cx, b.as_bytes()));
                    let is_possible = model.contains_key(&a) && !model.contains_key(&b);
                    prop_assert_eq!(linked.is_ok(), is_possible);
                    if is_possible {
                        model.insert(b, model[&a]);
                    }
                }
            }
            let root = world.open("/", OpenFlags::DIRECTORY).expect("the root");
            let seen: BTreeSet<String> =
                names(&root, 100).into_iter().skip(2).map(|name| format!("/{name}")).collect();
            prop_assert_eq!(&seen, &model.keys().cloned().collect::<BTreeSet<_>>());
            for (path, number) in &model {
                let found = world.walk(path).expect("in the model").inode().attributes();
                prop_assert_eq!(found.expect("tmpfs").inode, *number);
            }
        }
    }
}
