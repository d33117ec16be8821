// SPDX-License-Identifier: Apache-2.0
//! A gofer as a process of its own, under its own filter: every request, as root and as nobody.
//!
//! The process is this very test binary, told by its environment to serve its standard input.

use std::{
    fs,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::{OpenOptionsExt, PermissionsExt},
            net::UnixListener,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use abi::{Errno, fcntl::OpenFlags};
use gofer::{
    client::{Connection, NewFile, RenameFlags, XattrFlags},
    jail,
    protocol::{Policy, SetAttr, TimeUpdate, attr},
    server::{self, ProcFd, Root},
    transport::Socket,
};

const DIRECTORY: &str = "GOFER_TEST_DIRECTORY";
const POLICY: &str = "GOFER_TEST_POLICY";

/// Not a test: what the process of the other tests runs.
#[test]
#[allow(clippy::exit, reason = "the harness must not go on under the filter")]
fn serve_child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let policy = Policy::from_bits_truncate(std::env::var(POLICY).unwrap().parse().unwrap());
    let connection = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let proc = ProcFd::open().unwrap();
    let root = Root::new(path_fd(Path::new(&directory)), policy);
    nix::sys::prctl::set_no_new_privs().unwrap();
    jail::apply_filter(&server::host_calls([policy])).unwrap();
    let ended = server::run(connection, vec![root], proc);
    std::process::exit(if ended.is_ok() { 42 } else { 43 });
}

fn path_fd(path: &Path) -> OwnedFd {
    let mut options = fs::OpenOptions::new();
    options.read(true).custom_flags(libc::O_PATH).open(path).unwrap().into()
}

/// A gofer process that serves `directory`, and a connection to it.
fn spawn(directory: &Path, policy: Policy, uid: Option<u32>) -> (Child, Connection) {
    let (ours, theirs) = Socket::pair().unwrap();
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", "serve_child", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(POLICY, policy.bits().to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null());
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    let child = command.spawn().unwrap();
    // The command's copy of the server's end goes with it.
    drop(command);
    (child, Connection::with_patience(ours.into(), Duration::from_secs(60)))
}

fn finish(mut child: Child, connection: Connection) {
    drop(connection);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(42), "signal {:?}", status.signal());
}

/// Makes every request there is.
fn every_request(connection: &Connection, directory: &Path, uid: u32) {
    let new = |mode| NewFile { mode, uid, gid: uid };
    let root = connection.attach(0).unwrap().0.node;
    let (file, fd) = root.create(b"file", OpenFlags::RDWR, new(0o664)).unwrap();
    fs::File::from(fd).write_all(b"contents").unwrap();
    let mut text = String::new();
    fs::File::from(file.node.open(OpenFlags::empty()).unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "contents");
    let (unnamed, _fd) = root.create_unnamed(OpenFlags::RDWR, new(0o600)).unwrap();
    root.link(b"named", &unnamed.node).unwrap();
    let sub = root.make_directory(b"dir", new(0o775)).unwrap().node;
    sub.make_node(b"fifo", attr::FIFO, 0, new(0o666)).unwrap();
    sub.make_symlink(b"link", b"target", uid, uid).unwrap();
    assert_eq!(root.walk(&[b"dir", b"link"]).unwrap().link.unwrap(), b"target");
    assert_eq!(root.revalidate(&[(b"dir", &sub)]).unwrap().len(), 1);
    assert_eq!(sub.child(b"link").unwrap().node.read_link().unwrap(), b"target");
    let change = SetAttr {
        mode: Some(0o600),
        uid: Some(uid),
        gid: Some(uid),
        size: Some(4),
        accessed: Some(TimeUpdate::Now),
        modified: Some(TimeUpdate::Now),
    };
    assert_eq!(file.node.set_attr(change).unwrap().size, 4);
    assert_eq!(file.node.attr().unwrap().uid, uid);
    assert_eq!(root.open_directory().unwrap().0.len(), 5);
    root.statistics().unwrap();
    root.sync().unwrap();
    root.sync_filesystem().unwrap();
    match file.node.set_xattr(b"user.a", b"b", XattrFlags::empty()) {
        Ok(()) => {
            assert_eq!(file.node.xattr(b"user.a").unwrap(), b"b");
            assert_eq!(file.node.list_xattrs().unwrap().len(), 1);
            file.node.remove_xattr(b"user.a").unwrap();
        }
        refused => assert_eq!(refused, Err(Errno::EOPNOTSUPP)),
    }
    let listener = UnixListener::bind(directory.join("listener")).unwrap();
    let all = fs::Permissions::from_mode(0o666);
    fs::set_permissions(directory.join("listener"), all).unwrap();
    root.child(b"listener").unwrap().node.connect(1).unwrap();
    listener.accept().unwrap();
    root.bind(b"bound", 1, new(0o600)).unwrap();
    root.rename(b"file", &sub, b"moved", RenameFlags::NOREPLACE).unwrap();
    for name in [&b"moved"[..], b"fifo", b"link"] {
        sub.unlink(name).unwrap();
    }
    root.remove_directory(b"dir").unwrap();
    // Many at once: more channels, more threads.
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| (0..100).for_each(|_| drop(root.child(b"bound").unwrap())));
        }
    });
    connection.flush().unwrap();
}

const ALL: Policy = Policy::SET_ID
    .union(Policy::CONNECT_SOCKETS)
    .union(Policy::BIND_SOCKETS)
    .union(Policy::OPEN_FIFOS);

#[test]
fn every_request_works_under_the_filter() {
    let dir = tempfile::tempdir().unwrap();
    let (child, connection) = spawn(dir.path(), ALL, None);
    every_request(&connection, dir.path(), nix::unistd::geteuid().as_raw());
    finish(child, connection);
}

#[test]
fn every_request_works_for_nobody() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can become nobody");
        return;
    }
    const NOBODY: u32 = 65534;
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let (child, connection) = spawn(dir.path(), ALL, Some(NOBODY));
    every_request(&connection, dir.path(), NOBODY);
    // What nobody may not do is undone.
    let root = connection.attach(0).unwrap().0.node;
    let roots = NewFile { mode: 0o644, uid: 0, gid: 0 };
    assert_eq!(root.create(b"roots", OpenFlags::RDWR, roots).unwrap_err(), Errno::EPERM);
    assert_eq!(root.make_directory(b"roots", roots).unwrap_err(), Errno::EPERM);
    assert!(!dir.path().join("roots").exists());
    drop(root);
    finish(child, connection);
}

#[test]
fn a_gofer_for_reading_cannot_even_ask_the_host_for_more() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "text").unwrap();
    let (child, connection) = spawn(dir.path(), Policy::READ_ONLY, None);
    let root = connection.attach(0).unwrap().0.node;
    let file = root.child(b"file").unwrap().node;
    file.open(OpenFlags::empty()).unwrap();
    assert_eq!(file.open(OpenFlags::WRONLY).unwrap_err(), Errno::EROFS);
    assert_eq!(root.unlink(b"file").unwrap_err(), Errno::EROFS);
    drop((root, file));
    finish(child, connection);
}

#[test]
fn a_gofer_that_dies_is_lost_at_once_and_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, connection) = spawn(dir.path(), Policy::empty(), None);
    let root = connection.attach(0).unwrap().0.node;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(root.attr().unwrap_err(), Errno::EIO);
    assert!(connection.is_lost());
    assert_eq!(root.attr().unwrap_err(), Errno::EIO);
}
