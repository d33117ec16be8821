// SPDX-License-Identifier: Apache-2.0
//! Tests of the server with a client beside it: every request, policies, and what nobody may do.

use std::{
    fs,
    io::{Read, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use abi::{Errno, fcntl::OpenFlags};

use super::{Error, Root, run};
use crate::{
    client::{Connection, NewFile, Node, RenameFlags, XattrFlags},
    host::ProcFd,
    protocol::{Policy, SetAttr, Time, TimeUpdate, attr},
    transport::Socket,
};

/// A served directory and the client's connection to it.
struct Served {
    dir: tempfile::TempDir,
    connection: Option<Connection>,
    server: Option<JoinHandle<Result<(), Error>>>,
}

fn path_fd(path: &Path) -> OwnedFd {
    use std::os::unix::fs::OpenOptionsExt;
    let open =
        fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path);
    open.unwrap().into()
}

fn serve_roots(dir: tempfile::TempDir, roots: Vec<Root>) -> Served {
    let (ours, theirs) = Socket::pair().unwrap();
    let server = std::thread::spawn(move || run(ours.into(), roots, ProcFd::open().unwrap()));
    let connection = Connection::with_patience(theirs.into(), Duration::from_secs(60));
    Served { dir, connection: Some(connection), server: Some(server) }
}

fn serve_with(policy: Policy) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let roots = vec![Root::new(path_fd(dir.path()), policy)];
    serve_roots(dir, roots)
}

fn serve() -> Served {
    serve_with(Policy::SET_ID)
}

impl Served {
    fn connection(&self) -> &Connection {
        self.connection.as_ref().unwrap()
    }

    fn root(&self) -> Node {
        self.connection().attach(0).unwrap().0.node
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.connection = None;
        // Every test ends with a server that found nothing to complain of.
        let ended = self.server.take().unwrap().join().unwrap();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

fn me() -> (u32, u32) {
    (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw())
}

fn new(mode: u32) -> NewFile {
    let (uid, gid) = me();
    NewFile { mode, uid, gid }
}

#[test]
fn attach_tells_attributes_and_policy() {
    let served = serve_with(Policy::READ_ONLY);
    let (step, policy) = served.connection().attach(0).unwrap();
    assert!(step.attr.is_directory());
    assert_eq!(step.attr.inode, fs::metadata(served.dir.path()).unwrap().ino());
    assert_eq!(step.attr.device, fs::metadata(served.dir.path()).unwrap().dev());
    assert_eq!(policy, Policy::READ_ONLY);
    assert_eq!(served.connection().attach(1).unwrap_err(), Errno::ENOENT);
}

#[test]
fn siblings_come_in_one_request_and_what_is_missing_is_none() {
    let served = serve();
    fs::write(served.path("one"), "1").unwrap();
    symlink("one", served.path("link")).unwrap();
    let siblings = served.root().siblings(&[b"one", b"none", b"link"]).unwrap();
    let kinds: Vec<_> =
        siblings.iter().map(|step| step.as_ref().map(|step| step.attr.is_symlink())).collect();
    assert_eq!(kinds, [Some(false), None, Some(true)]);
    assert_eq!(served.root().siblings(&[b"one", b".."]).unwrap_err(), Errno::EINVAL);
    assert_eq!(served.root().siblings(&[]).unwrap_err(), Errno::EINVAL);
    let file = served.root().child(b"one").unwrap().node;
    assert_eq!(file.siblings(&[b"one"]).unwrap_err(), Errno::ENOTDIR);
}

#[test]
fn a_walk_takes_a_whole_path_in_one_request() {
    let served = serve();
    fs::create_dir_all(served.path("a/b/c")).unwrap();
    fs::write(served.path("a/b/c/file"), "text").unwrap();
    let root = served.root();
    let walk = root.walk(&[b"a", b"b", b"c", b"file"]).unwrap();
    assert_eq!((walk.steps.len(), walk.stop), (4, None));
    assert_eq!(walk.steps[3].attr.size, 4);
    let walk = root.walk(&[b"a", b"b", b"missing", b"file"]).unwrap();
    assert_eq!((walk.steps.len(), walk.stop), (2, Some(Errno::ENOENT)));
    let walk = root.walk(&[b"a", b"b", b"c", b"file", b"below"]).unwrap();
    assert_eq!((walk.steps.len(), walk.stop), (4, Some(Errno::ENOTDIR)));
}

#[test]
fn a_walk_ends_at_a_symbolic_link_and_tells_its_text() {
    let served = serve();
    symlink("/etc", served.path("link")).unwrap();
    let root = served.root();
    let walk = root.walk(&[b"link", b"passwd"]).unwrap();
    assert_eq!((walk.steps.len(), walk.stop), (1, Some(Errno::ELOOP)));
    assert_eq!(walk.link.as_deref(), Some(&b"/etc"[..]));
    let walk = root.walk(&[b"link"]).unwrap();
    assert_eq!(walk.stop, None);
    let link = &walk.steps[0].node;
    assert_eq!(link.read_link().unwrap(), b"/etc");
    assert_eq!(link.open(OpenFlags::empty()).unwrap_err(), Errno::ELOOP);
    assert_eq!(link.walk(&[b"passwd"]).unwrap_err(), Errno::ENOTDIR);
}

#[test]
fn names_that_are_no_component_never_leave_the_client() {
    let served = serve();
    let root = served.root();
    for (name, errno) in [
        (&b".."[..], Errno::EINVAL),
        (b".", Errno::EINVAL),
        (b"a/b", Errno::EINVAL),
        (b"a\0b", Errno::EINVAL),
        (b"", Errno::ENOENT),
        (&[b'x'; 256], Errno::ENAMETOOLONG),
    ] {
        assert_eq!(root.walk(&[name]).unwrap_err(), errno, "{name:?}");
        assert_eq!(root.unlink(name).unwrap_err(), errno);
        assert_eq!(root.make_directory(name, new(0o755)).unwrap_err(), errno);
    }
    assert!(root.walk(&[&[b'x'; 255]]).unwrap().steps.is_empty());
}

#[test]
fn an_open_donates_a_descriptor_with_exactly_the_rights_asked() {
    let served = serve();
    fs::write(served.path("file"), "text").unwrap();
    let node = served.root().child(b"file").unwrap().node;
    let mut file = fs::File::from(node.open(OpenFlags::empty()).unwrap());
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
    assert!(file.write_all(b"x").is_err());
    let mut file = fs::File::from(node.open(OpenFlags::WRONLY | OpenFlags::TRUNC).unwrap());
    file.write_all(b"other").unwrap();
    assert!(file.read_to_string(&mut text).is_err());
    assert_eq!(fs::read(served.path("file")).unwrap(), b"other");
    for flags in [
        OpenFlags::ACCMODE,
        OpenFlags::CREAT,
        OpenFlags::PATH,
        OpenFlags::DIRECTORY,
        OpenFlags::ASYNC,
    ] {
        assert_eq!(node.open(flags).unwrap_err(), Errno::EINVAL, "{flags:?}");
    }
    assert_eq!(served.root().open(OpenFlags::empty()).unwrap_err(), Errno::EISDIR);
}

#[test]
fn a_created_file_has_the_mode_asked_whatever_the_umask() {
    let served = serve();
    let root = served.root();
    let (step, fd) = root.create(b"file", OpenFlags::RDWR, new(0o4777)).unwrap();
    assert_eq!(step.attr.mode, attr::REGULAR | 0o4777);
    fs::File::from(fd).write_all(b"hello").unwrap();
    assert_eq!(step.node.attr().unwrap().size, 5);
    assert_eq!(root.create(b"file", OpenFlags::RDWR, new(0o644)).unwrap_err(), Errno::EEXIST);
    symlink("/nowhere/file", served.path("dangling")).unwrap();
    assert_eq!(root.create(b"dangling", OpenFlags::RDWR, new(0o644)).unwrap_err(), Errno::EEXIST);
}

#[test]
fn an_unnamed_file_can_be_given_a_name() {
    let served = serve();
    let root = served.root();
    let (step, fd) = root.create_unnamed(OpenFlags::RDWR, new(0o640)).unwrap();
    fs::File::from(fd).write_all(b"late").unwrap();
    assert_eq!(step.attr.links, 0);
    assert_eq!(root.link(b"named", &step.node).unwrap().links, 1);
    assert_eq!(fs::read(served.path("named")).unwrap(), b"late");
    assert_eq!(fs::metadata(served.path("named")).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn every_kind_of_file_can_be_made_but_devices() {
    let served = serve();
    let root = served.root();
    assert!(root.make_directory(b"dir", new(0o1777)).unwrap().attr.is_directory());
    assert_eq!(fs::metadata(served.path("dir")).unwrap().mode() & 0o7777, 0o1777);
    root.make_node(b"fifo", attr::FIFO, 0, new(0o666)).unwrap();
    assert!(fs::metadata(served.path("fifo")).unwrap().file_type().is_fifo());
    root.make_node(b"socket", attr::SOCKET, 0, new(0o666)).unwrap();
    assert!(fs::metadata(served.path("socket")).unwrap().file_type().is_socket());
    root.make_node(b"plain", attr::REGULAR, 0, new(0o600)).unwrap();
    let (uid, gid) = me();
    let link = root.make_symlink(b"link", b"../../etc/passwd", uid, gid).unwrap();
    assert_eq!(link.node.read_link().unwrap(), b"../../etc/passwd");
    assert_eq!(root.make_symlink(b"empty", b"", uid, gid).unwrap_err(), Errno::ENOENT);
    for kind in [attr::CHAR_DEVICE, attr::BLOCK_DEVICE] {
        let refused = root.make_node(b"device", kind, libc::makedev(1, 3), new(0o666));
        assert_eq!(refused.unwrap_err(), Errno::EPERM);
    }
    assert_eq!(root.make_node(b"what", 0o130000, 0, new(0o666)).unwrap_err(), Errno::EINVAL);
    assert!(fs::symlink_metadata(served.path("device")).is_err());
}

#[test]
fn attributes_change_together() {
    let served = serve();
    fs::write(served.path("file"), "0123456789").unwrap();
    let node = served.root().child(b"file").unwrap().node;
    let time = Time { seconds: 1_000_000, nanoseconds: 5, reserved: 0 };
    let change = SetAttr {
        mode: Some(0o2711),
        size: Some(3),
        accessed: Some(TimeUpdate::To(time)),
        modified: Some(TimeUpdate::Now),
        ..SetAttr::default()
    };
    let attr = node.set_attr(change).unwrap();
    assert_eq!((attr.mode & 0o7777, attr.size, attr.accessed), (0o2711, 3, time));
    assert!(attr.modified > time);
    assert_eq!(attr, node.attr().unwrap());
    let bad = Time { nanoseconds: 1_000_000_000, ..time };
    let change = SetAttr { accessed: Some(TimeUpdate::To(bad)), ..SetAttr::default() };
    assert_eq!(node.set_attr(change).unwrap_err(), Errno::EINVAL);
    let change = SetAttr { size: Some(u64::MAX), ..SetAttr::default() };
    assert_eq!(node.set_attr(change).unwrap_err(), Errno::EFBIG);
    let root = served.root();
    let change = SetAttr { size: Some(0), ..SetAttr::default() };
    assert_eq!(root.set_attr(change).unwrap_err(), Errno::EISDIR);
}

#[test]
fn names_are_linked_moved_and_taken_away() {
    let served = serve();
    fs::write(served.path("one"), "1").unwrap();
    fs::write(served.path("two"), "2").unwrap();
    fs::create_dir(served.path("dir")).unwrap();
    let root = served.root();
    let one = root.child(b"one").unwrap().node;
    let dir = root.child(b"dir").unwrap().node;
    assert_eq!(dir.link(b"again", &one).unwrap().links, 2);
    assert_eq!(root.link(b"two", &one).unwrap_err(), Errno::EEXIST);
    assert_eq!(root.link(b"dir2", &dir).unwrap_err(), Errno::EPERM);
    assert_eq!(root.rename(b"one", &root, b"two", RenameFlags::NOREPLACE), Err(Errno::EEXIST));
    root.rename(b"one", &root, b"two", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read(served.path("two")).unwrap(), b"1");
    root.rename(b"two", &dir, b"moved", RenameFlags::empty()).unwrap();
    assert_eq!(fs::read(served.path("dir/moved")).unwrap(), b"1");
    assert_eq!(
        root.rename(b"one", &root, b"x", RenameFlags::from_bits_retain(8)),
        Err(Errno::EINVAL)
    );
    assert_eq!(root.remove_directory(b"dir"), Err(Errno::ENOTEMPTY));
    assert_eq!(root.unlink(b"dir"), Err(Errno::EISDIR));
    assert_eq!(root.remove_directory(b"one"), Err(Errno::ENOTDIR));
    dir.unlink(b"moved").unwrap();
    dir.unlink(b"again").unwrap();
    root.remove_directory(b"dir").unwrap();
    root.unlink(b"one").unwrap();
    assert_eq!(fs::read_dir(served.dir.path()).unwrap().count(), 0);
    // The node outlives its names.
    assert_eq!(one.attr().unwrap().links, 0);
}

#[test]
fn a_directory_is_read_in_pieces_and_from_anywhere() {
    let served = serve();
    for index in 0..500 {
        fs::write(served.path(&format!("a-file-of-some-length-{index}")), "").unwrap();
    }
    let (few, none) = served.root().open_directory().unwrap();
    assert!((2..=502).contains(&few.len()) && none.is_none());
    for index in 0..3000 {
        fs::write(served.path(&format!("b-file-of-some-length-{index}")), "").unwrap();
    }
    let (mut all, directory) = served.root().open_directory().unwrap();
    let directory = directory.unwrap();
    let mut position = all.last().unwrap().next;
    loop {
        let some = directory.read(position, 2000).unwrap();
        let Some(last) = some.last() else { break };
        position = last.next;
        all.extend(some);
    }
    assert_eq!(all.len(), 3502);
    let from = all[99].next;
    assert_eq!(directory.read(from, 2000).unwrap()[0].name, all[100].name);
    assert_eq!(directory.read(0, 2000).unwrap()[0].name, all[0].name);
    assert!(directory.read(0, u32::MAX).unwrap().len() > 400);
    assert_eq!(directory.read(u64::MAX, 2000).unwrap_err(), Errno::EINVAL);
}

#[test]
fn extended_attributes_of_the_user_only() {
    let served = serve();
    fs::write(served.path("file"), "").unwrap();
    let node = served.root().child(b"file").unwrap().node;
    match node.set_xattr(b"user.colour", b"green", XattrFlags::CREATE) {
        Err(Errno::EOPNOTSUPP) => {
            eprintln!("the host's temporary directory has no user attributes");
            return;
        }
        set => set.unwrap(),
    }
    assert_eq!(node.set_xattr(b"user.colour", b"", XattrFlags::CREATE), Err(Errno::EEXIST));
    assert_eq!(node.set_xattr(b"user.other", b"", XattrFlags::REPLACE), Err(Errno::ENODATA));
    assert_eq!(node.xattr(b"user.colour").unwrap(), b"green");
    assert_eq!(node.xattr(b"user.other").unwrap_err(), Errno::ENODATA);
    assert_eq!(node.list_xattrs().unwrap(), [b"user.colour".to_vec()]);
    for name in [&b"trusted.overlay.opaque"[..], b"security.selinux", b"user."] {
        assert_eq!(node.set_xattr(name, b"y", XattrFlags::empty()), Err(Errno::EPERM), "{name:?}");
        assert_eq!(node.xattr(name), Err(Errno::ENODATA));
        assert_eq!(node.remove_xattr(name), Err(Errno::EPERM));
    }
    assert_eq!(node.xattr(b"system.posix_acl_access"), Err(Errno::EOPNOTSUPP));
    let large = vec![7; 70_000];
    assert_eq!(node.set_xattr(b"user.large", &large, XattrFlags::empty()), Err(Errno::E2BIG));
    node.remove_xattr(b"user.colour").unwrap();
    assert!(node.list_xattrs().unwrap().is_empty());
}

#[test]
fn a_read_only_root_stays_as_it_is() {
    let served = serve_with(Policy::READ_ONLY | Policy::SET_ID);
    fs::write(served.path("file"), "text").unwrap();
    fs::create_dir(served.path("dir")).unwrap();
    let root = served.root();
    let file = root.child(b"file").unwrap().node;
    let (uid, gid) = me();
    let refused = [
        file.open(OpenFlags::RDWR).err(),
        file.open(OpenFlags::WRONLY).err(),
        file.open(OpenFlags::TRUNC).err(),
        root.create(b"new", OpenFlags::empty(), new(0o644)).err(),
        root.create_unnamed(OpenFlags::RDWR, new(0o644)).err(),
        root.make_directory(b"new", new(0o755)).err(),
        root.make_node(b"new", attr::FIFO, 0, new(0o644)).err(),
        root.make_symlink(b"new", b"x", uid, gid).err(),
        root.link(b"new", &file).err(),
        root.unlink(b"file").err(),
        root.remove_directory(b"dir").err(),
        root.rename(b"file", &root, b"new", RenameFlags::empty()).err(),
        root.bind(b"new", 1, new(0o644)).err(),
        file.set_attr(SetAttr { mode: Some(0), ..SetAttr::default() }).err(),
        file.set_attr(SetAttr { size: Some(0), ..SetAttr::default() }).err(),
        file.set_attr(SetAttr { accessed: Some(TimeUpdate::Now), ..SetAttr::default() }).err(),
        file.set_xattr(b"user.x", b"", XattrFlags::empty()).err(),
        file.remove_xattr(b"user.x").err(),
    ];
    assert_eq!(refused, [Some(Errno::EROFS); 18]);
    file.open(OpenFlags::empty()).unwrap();
    assert_eq!(fs::read(served.path("file")).unwrap(), b"text");
}

#[test]
fn set_id_bits_need_a_policy() {
    let served = serve_with(Policy::empty());
    let root = served.root();
    assert_eq!(root.create(b"a", OpenFlags::RDWR, new(0o4755)).unwrap_err(), Errno::EPERM);
    let (file, _fd) = root.create(b"a", OpenFlags::RDWR, new(0o755)).unwrap();
    let change = SetAttr { mode: Some(0o2755), ..SetAttr::default() };
    assert_eq!(file.node.set_attr(change).unwrap_err(), Errno::EPERM);
    assert_eq!(
        file.node.set_xattr(b"security.capability", b"x", XattrFlags::empty()),
        Err(Errno::EPERM)
    );
    root.make_directory(b"d", new(0o2755)).unwrap();
}

#[test]
fn sockets_and_fifos_need_a_policy() {
    let served = serve_with(Policy::empty());
    let root = served.root();
    let _listener = std::os::unix::net::UnixListener::bind(served.path("socket")).unwrap();
    root.make_node(b"fifo", attr::FIFO, 0, new(0o666)).unwrap();
    let socket = root.child(b"socket").unwrap().node;
    assert_eq!(socket.connect(1).unwrap_err(), Errno::ECONNREFUSED);
    assert_eq!(socket.open(OpenFlags::empty()).unwrap_err(), Errno::ENXIO);
    assert_eq!(root.bind(b"new", 1, new(0o666)).unwrap_err(), Errno::EACCES);
    let fifo = root.child(b"fifo").unwrap().node;
    assert_eq!(fifo.open(OpenFlags::empty()).unwrap_err(), Errno::EACCES);
}

#[test]
fn sockets_and_fifos_of_the_host_work_where_allowed() {
    let served = serve_with(Policy::CONNECT_SOCKETS | Policy::BIND_SOCKETS | Policy::OPEN_FIFOS);
    let root = served.root();
    let listener = std::os::unix::net::UnixListener::bind(served.path("socket")).unwrap();
    let socket = root.child(b"socket").unwrap().node;
    let mut ours = std::os::unix::net::UnixStream::from(socket.connect(1).unwrap());
    ours.write_all(b"hello").unwrap();
    let mut hello = [0; 5];
    listener.accept().unwrap().0.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    assert_eq!(socket.connect(2).unwrap_err(), Errno::EPROTOTYPE);
    assert_eq!(socket.connect(99).unwrap_err(), Errno::EPROTOTYPE);
    let (bound, fd) = root.bind(b"new", 2, new(0o600)).unwrap();
    assert_eq!(bound.attr.mode, attr::SOCKET | 0o600);
    let peer = std::os::unix::net::UnixDatagram::unbound().unwrap();
    peer.send_to(b"datagram", served.path("new")).unwrap();
    let mut got = [0; 16];
    assert_eq!(std::os::unix::net::UnixDatagram::from(fd).recv(&mut got).unwrap(), 8);
    // A fifo without a peer does not hold up the gofer.
    root.make_node(b"fifo", attr::FIFO, 0, new(0o666)).unwrap();
    let fifo = root.child(b"fifo").unwrap().node;
    assert_eq!(fifo.open(OpenFlags::WRONLY).unwrap_err(), Errno::ENXIO);
    let reader = fifo.open(OpenFlags::empty()).unwrap();
    let mut writer = fs::File::from(fifo.open(OpenFlags::WRONLY).unwrap());
    writer.write_all(b"through").unwrap();
    let mut got = [0; 7];
    fs::File::from(reader).read_exact(&mut got).unwrap();
    assert_eq!(&got, b"through");
}

#[test]
fn a_device_is_opened_only_where_allowed() {
    for (policy, expected) in
        [(Policy::empty(), Err(Errno::EACCES)), (Policy::OPEN_DEVICES, Ok(()))]
    {
        let dir = tempfile::tempdir().unwrap();
        let roots = vec![Root::new(path_fd(Path::new("/dev/null")), policy)];
        let served = serve_roots(dir, roots);
        let null = served.root();
        assert_eq!(null.attr().unwrap().file_type(), attr::CHAR_DEVICE);
        assert_eq!(null.open(OpenFlags::RDWR).map(drop), expected);
    }
}

#[test]
fn a_root_can_be_a_single_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "text").unwrap();
    let roots = vec![Root::new(path_fd(&dir.path().join("file")), Policy::empty())];
    let served = serve_roots(dir, roots);
    let root = served.root();
    // Its name may be taken by something else: it stays the file it was.
    fs::remove_file(served.path("file")).unwrap();
    symlink("/etc/passwd", served.path("file")).unwrap();
    assert_eq!(root.attr().unwrap().size, 4);
    let mut text = String::new();
    fs::File::from(root.open(OpenFlags::empty()).unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
    assert_eq!(root.walk(&[b"x"]).unwrap_err(), Errno::ENOTDIR);
}

#[test]
fn nothing_moves_between_roots() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::create_dir(dir.path().join("b")).unwrap();
    fs::write(dir.path().join("a/file"), "").unwrap();
    let roots = ["a", "b"].map(|name| Root::new(path_fd(&dir.path().join(name)), Policy::empty()));
    let served = serve_roots(dir, roots.into());
    let a = served.root();
    let b = served.connection().attach(1).unwrap().0.node;
    let file = a.child(b"file").unwrap().node;
    assert_eq!(a.rename(b"file", &b, b"file", RenameFlags::empty()), Err(Errno::EXDEV));
    assert_eq!(b.link(b"file", &file).unwrap_err(), Errno::EXDEV);
    let other = serve();
    assert_eq!(a.rename(b"file", &other.root(), b"file", RenameFlags::empty()), Err(Errno::EXDEV));
}

#[test]
fn revalidation_finds_the_first_name_that_leads_elsewhere() {
    let served = serve();
    fs::create_dir_all(served.path("a/b")).unwrap();
    fs::write(served.path("a/b/file"), "1").unwrap();
    let root = served.root();
    let walk = root.walk(&[b"a", b"b", b"file"]).unwrap();
    let nodes: Vec<&Node> = walk.steps.iter().map(|step| &step.node).collect();
    let known: [(&[u8], &Node); 3] = [(b"a", nodes[0]), (b"b", nodes[1]), (b"file", nodes[2])];
    assert_eq!(root.revalidate(&known).unwrap().len(), 3);
    fs::write(served.path("a/b/new"), "22").unwrap();
    fs::rename(served.path("a/b/new"), served.path("a/b/file")).unwrap();
    assert_eq!(root.revalidate(&known).unwrap().len(), 2);
    fs::remove_dir_all(served.path("a")).unwrap();
    symlink("/", served.path("a")).unwrap();
    assert_eq!(root.revalidate(&known).unwrap().len(), 0);
}

#[test]
fn statistics_and_sync() {
    let served = serve();
    let root = served.root();
    assert!(root.statistics().unwrap().f_blocks > 0);
    root.sync().unwrap();
    root.sync_filesystem().unwrap();
    root.make_node(b"fifo", attr::FIFO, 0, new(0o666)).unwrap();
    assert_eq!(root.child(b"fifo").unwrap().node.sync(), Err(Errno::EINVAL));
}

#[test]
fn many_threads_call_at_once() {
    let served = serve();
    for index in 0..20 {
        fs::write(served.path(&format!("{index}")), vec![b'x'; index]).unwrap();
    }
    let root = Arc::new(served.root());
    std::thread::scope(|scope| {
        for index in 0..20u64 {
            let root = root.clone();
            scope.spawn(move || {
                for _ in 0..200 {
                    let step = root.child(index.to_string().as_bytes()).unwrap();
                    assert_eq!(step.attr.size, index);
                }
            });
        }
    });
}
