// SPDX-License-Identifier: Apache-2.0
//! The file system of the host's files, with a real gofer behind it.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use abi::{Errno, fcntl::OpenFlags};
use gofer::{
    client::Connection,
    protocol::Policy,
    server::{self, ProcFd, Root},
    transport::Socket,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sentry::{
    creds::Credentials,
    fs::gofer::{Access, GoferFilesystem},
    io::{SliceSink, SliceSource},
    vfs::{
        AttributeChange, DirSink, Directory, FileKind, FileOps, Filesystem, Inode, LinkTarget,
        NewNode, RenameMode, SeekFrom, Trust, trust,
    },
    wait::Try,
};

struct Served {
    dir: tempfile::TempDir,
    filesystem: Option<Arc<GoferFilesystem>>,
    connection: Option<Connection>,
    server: Option<JoinHandle<Result<(), server::Error>>>,
}

fn serve(access: Access) -> Served {
    let dir = tempfile::tempdir().expect("a directory");
    let root: OwnedFd = fs::File::open(dir.path()).expect("it opens").into();
    let (ours, theirs) = Socket::pair().expect("a pair");
    let server = std::thread::spawn(move || {
        let proc = ProcFd::open().expect("there is a /proc");
        server::run(ours.into(), vec![Root::new(root, Policy::SET_ID)], proc)
    });
    let connection = Connection::new(theirs.into());
    let filesystem = GoferFilesystem::attach(&connection, 0, access).expect("it attaches");
    Served { dir, filesystem: Some(filesystem), connection: Some(connection), server: Some(server) }
}

impl Served {
    fn filesystem(&self) -> &Arc<GoferFilesystem> {
        self.filesystem.as_ref().expect("until it is dropped")
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.filesystem().root()
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.filesystem = None;
        self.connection = None;
        // It ends only when no inode holds the connection any more: a leak would hang here.
        let ended = self.server.take().expect("once").join().expect("it does not panic");
        if !std::thread::panicking() {
            ended.expect("it found nothing wrong");
        }
    }
}

fn directory(inode: &Arc<dyn Inode>) -> &dyn Directory {
    inode.as_directory().expect("a directory")
}

fn make(parent: &Arc<dyn Inode>, name: &[u8], node: NewNode<'_>) -> Arc<dyn Inode> {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let mode = if matches!(node, NewNode::Directory) { 0o755 } else { 0o644 };
    directory(parent).create(name, node, mode, uid, gid).expect("it can be made")
}

fn open(inode: &Arc<dyn Inode>, flags: OpenFlags) -> Box<dyn FileOps> {
    inode.clone().open(flags, &Credentials::user(0, 0)).expect("it opens")
}

fn write(file: &dyn FileOps, at: u64, bytes: &[u8]) {
    let written = file.write_at(&mut SliceSource::new(bytes), at);
    assert_eq!(written, Ok(Try::Done(bytes.len())));
}

fn read(file: &dyn FileOps, at: u64) -> Vec<u8> {
    let mut room = vec![0; 200_000];
    let got = file.read_at(&mut SliceSink::new(&mut room), at).expect("it can be read");
    let Try::Done(got) = got else { panic!("a file never waits") };
    room.truncate(got);
    room
}

#[derive(Default)]
struct Names(Vec<(Vec<u8>, FileKind, u64)>, usize);

impl DirSink for Names {
    fn entry(&mut self, name: &[u8], _inode: u64, kind: FileKind, next: u64) -> bool {
        if self.0.len() == self.1 {
            return false;
        }
        self.0.push((name.to_vec(), kind, next));
        true
    }
}

#[test]
fn a_file_is_made_written_read_and_seen_by_the_host() {
    let served = serve(Access::Exclusive);
    let file = make(&served.root(), b"file", NewNode::Regular);
    let ops = open(&file, OpenFlags::RDWR);
    let text = vec![b'x'; 150_000];
    write(&*ops, 5, &text);
    assert_eq!(file.attributes().expect("attributes").size, 150_005);
    assert_eq!(read(&*ops, 5), text);
    assert_eq!(ops.append(&mut SliceSource::new(b"end")), Ok(Try::Done((3, 150_008))));
    assert_eq!(fs::read(served.path("file")).expect("the host sees it").len(), 150_008);
    assert_eq!(ops.seek(SeekFrom::Hole(0), 0), Ok(150_008));
    assert_eq!(ops.seek(SeekFrom::Data(200_000), 0), Err(Errno::ENXIO));
    ops.allocate(0, 0, 300_000).expect("room");
    assert_eq!(file.attributes().expect("attributes").size, 300_000);
    let change = AttributeChange { size: Some(3), ..AttributeChange::default() };
    file.set_attributes(&change).expect("truncated");
    assert_eq!(read(&*ops, 0), [0, 0, 0]);
    ops.sync(true).expect("synced");
}

#[test]
fn reading_and_writing_need_their_own_descriptors() {
    let served = serve(Access::Exclusive);
    fs::write(served.path("file"), "text").expect("written");
    let file = directory(&served.root()).lookup(b"file").expect("it is there");
    let reader = open(&file, OpenFlags::RDONLY);
    assert!(reader.write_at(&mut SliceSource::new(b"x"), 0).is_err());
    let again = open(&file, OpenFlags::RDONLY);
    let same = |ops: &dyn FileOps| Arc::as_ptr(&ops.host_file().expect("it has one"));
    assert_eq!(same(&*reader), same(&*again), "one host descriptor serves all readers");
    let writer = open(&file, OpenFlags::WRONLY);
    assert_ne!(same(&*reader), same(&*writer));
    write(&*writer, 0, b"TE");
    assert_eq!(read(&*reader, 0), b"TExt");
    let mapping = reader.mappable().expect("it can be mapped");
    let attributes = file.attributes().expect("attributes");
    assert_eq!(mapping.identity(), (attributes.device, attributes.inode));
}

#[test]
fn a_whole_path_is_walked_at_once_and_hard_links_are_one_inode() {
    let served = serve(Access::Exclusive);
    fs::create_dir_all(served.path("a/b")).expect("made");
    fs::write(served.path("a/b/one"), "").expect("made");
    fs::hard_link(served.path("a/b/one"), served.path("a/two")).expect("linked");
    std::os::unix::fs::symlink("../x", served.path("a/link")).expect("linked");
    let root = served.root();
    let walked = directory(&root).lookup_path(&[b"a", b"b", b"one"]).expect("walked");
    assert_eq!((walked.inodes.len(), walked.missing), (3, false));
    let two = directory(&root).lookup_path(&[b"a", b"two"]).expect("walked");
    assert!(Arc::ptr_eq(&walked.inodes[2], &two.inodes[1]));
    let missing = directory(&root).lookup_path(&[b"a", b"none", b"more"]).expect("walked");
    assert_eq!((missing.inodes.len(), missing.missing), (1, true));
    let through = directory(&root).lookup_path(&[b"a", b"link", b"more"]).expect("walked");
    assert_eq!((through.inodes.len(), through.missing), (2, false));
    let text = through.inodes[1].read_link(&Credentials::user(0, 0)).expect("a link");
    assert!(matches!(text, LinkTarget::Text(text) if text == b"../x"));
    assert!(Arc::ptr_eq(&served.root(), &root));
}

#[test]
fn names_move_and_go() {
    let served = serve(Access::Exclusive);
    let root = served.root();
    let file = make(&root, b"file", NewNode::Regular);
    let sub = make(&root, b"sub", NewNode::Directory);
    let ops = open(&file, OpenFlags::RDWR);
    write(&*ops, 0, b"kept");
    directory(&root)
        .rename(b"file", &file, &sub, b"moved", None, RenameMode::Replace)
        .expect("moved");
    assert!(served.path("sub/moved").exists());
    directory(&sub).link(b"again", &file).expect("linked");
    assert_eq!(file.attributes().expect("attributes").links, 2);
    directory(&sub).unlink(b"moved", &file).expect("gone");
    assert_eq!(directory(&root).remove_directory(b"sub", &sub), Err(Errno::ENOTEMPTY));
    directory(&sub).unlink(b"again", &file).expect("gone");
    directory(&root).remove_directory(b"sub", &sub).expect("gone");
    assert_eq!(file.attributes().expect("it lives while it is open").links, 0);
    assert_eq!(read(&*ops, 0), b"kept");
    let other = serve(Access::Exclusive);
    assert_eq!(directory(&root).link(b"x", &other.root()), Err(Errno::EXDEV));
}

#[test]
fn a_listing_has_plain_positions_and_a_rewind_looks_again() {
    let served = serve(Access::Exclusive);
    for index in 0..5000 {
        fs::write(served.path(format!("file-{index:04}")), "").expect("made");
    }
    let ops = open(&served.root(), OpenFlags::RDONLY);
    let mut names = Names(Vec::new(), 3000);
    assert_eq!(ops.read_entries(2, &mut names), Ok(3002));
    names.1 = 100_000;
    assert_eq!(ops.read_entries(3002, &mut names), Ok(5002));
    assert_eq!(names.0.last().expect("some").2, 5002);
    assert!(names.0.iter().all(|(_, kind, _)| *kind == FileKind::Regular));
    let mut all: Vec<_> = names.0.into_iter().map(|(name, ..)| name).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5000);
    fs::write(served.path("late"), "").expect("made");
    let mut names = Names(Vec::new(), 100_000);
    assert_eq!(ops.read_entries(5002, &mut names), Ok(5002));
    assert_eq!(ops.read_entries(2, &mut names), Ok(5003));
}

#[test]
fn special_files_are_names_for_the_kernel() {
    let served = serve(Access::Exclusive);
    let root = served.root();
    let fifo = make(&root, b"fifo", NewNode::Fifo);
    assert_eq!(fifo.kind(), FileKind::Fifo);
    assert!(!fifo.opens_itself());
    assert_eq!(make(&root, b"socket", NewNode::Socket).kind(), FileKind::Socket);
    let refused = directory(&root).create(b"null", NewNode::CharDevice(0x103), 0o666, 0, 0);
    assert!(refused.is_err());
}

#[test]
fn a_shared_directory_is_looked_at_again() {
    let served = serve(Access::Shared);
    fs::write(served.path("file"), "1").expect("made");
    assert_eq!(served.filesystem().trust(), Trust::Never);
    let file = directory(&served.root()).lookup(b"file").expect("there");
    assert!(is_confirmed(&served, b"file", &file));
    fs::write(served.path("file"), "four").expect("written");
    assert!(is_confirmed(&served, b"file", &file));
    assert_eq!(file.attributes().expect("attributes").size, 4);
    fs::write(served.path("new"), "").expect("made");
    fs::rename(served.path("new"), served.path("file")).expect("moved");
    assert!(!is_confirmed(&served, b"file", &file));
    let new = directory(&served.root()).lookup(b"file").expect("there");
    assert!(!Arc::ptr_eq(&file, &new));
    assert_eq!(
        new.attributes().expect("attributes").inode,
        fs::metadata(served.path("file")).expect("there").ino()
    );
}

fn is_confirmed(served: &Served, name: &[u8], inode: &Arc<dyn Inode>) -> bool {
    directory(&served.root()).confirm(&[(name, inode.clone())]) == 1
}

#[test]
fn what_was_learnt_is_believed_for_a_while() {
    let served = serve(Access::Timed);
    fs::create_dir(served.path("a")).expect("made");
    fs::write(served.path("a/file"), "1").expect("made");
    assert_eq!(served.filesystem().trust(), Trust::Recent);
    let walked = directory(&served.root()).lookup_path(&[b"a", b"file"]).expect("there");
    let [a, file] = &*walked.inodes else { panic!("two inodes") };
    let known = [(b"a".as_slice(), a.clone()), (b"file".as_slice(), file.clone())];
    let size = || file.attributes().expect("attributes").size;
    fs::write(served.path("a/file"), "four").expect("written");
    trust::doubt();
    assert_eq!(size(), 4);
    fs::write(served.path("a/file"), "seven").expect("written");
    assert_eq!(directory(&served.root()).confirm(&known), 2);
    assert_eq!(size(), 5);
    fs::write(served.path("a/file"), "to the end").expect("written");
    let begin = std::time::Instant::now();
    while size() != 10 {
        assert!(begin.elapsed().as_secs() < 10, "never asked again");
    }
    fs::remove_file(served.path("a/file")).expect("removed");
    fs::write(served.path("a/file"), "another").expect("made");
    assert_eq!(directory(&served.root()).confirm(&known), 1);
}

#[test]
fn thousands_of_inodes_leave_nothing_behind() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard one");
    let served = serve(Access::Exclusive);
    let names: Vec<String> = (0..2000).map(|index| format!("file-{index}")).collect();
    for name in &names {
        fs::write(served.path(name), "").expect("made");
    }
    let count = || fs::read_dir("/proc/self/fd").expect("there is a /proc").count();
    let root = served.root();
    let before = count();
    let inodes: Vec<_> =
        names.iter().map(|name| directory(&root).lookup(name.as_bytes()).expect("there")).collect();
    let held = count();
    assert!(held >= before + 1900, "{before} {held}");
    drop(inodes);
    served.connection.as_ref().expect("there").flush().expect("told");
    // Other tests of this process come and go.
    assert!(count() < before + 1000);
}
