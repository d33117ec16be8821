// SPDX-License-Identifier: Apache-2.0
//! Host files without a guest.

use std::{
    io::{Read, Seek, Write},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use abi::{Errno, fcntl::OpenFlags};

use super::HostFile;
use crate::{
    io::{SliceSink, SliceSource},
    vfs::{AT_POSITION, FileKind, FileOps, SeekFrom},
    wait::{Ready, Sleeper, Try},
};

fn import(file: impl Into<OwnedFd>) -> HostFile {
    HostFile::import(file.into()).expect("the file can be imported")
}

/// A file without a name, for one test.
fn tempfile() -> std::fs::File {
    let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
    nix::sys::memfd::memfd_create("test", flags).expect("a memfd").into()
}

/// A terminal: the side of whoever types, and the side of the program.
fn pty() -> (std::fs::File, OwnedFd) {
    use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
    let master = posix_openpt(nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY)
        .expect("the host has terminals");
    grantpt(&master).expect("it is ours");
    unlockpt(&master).expect("it is ours");
    let name = ptsname_r(&master).expect("it has a name");
    let slave = std::fs::File::options().read(true).write(true).open(name).expect("it opens");
    (std::fs::File::from(OwnedFd::from(master)), slave.into())
}

fn read(file: &HostFile, len: usize, at: u64) -> Result<Try<Vec<u8>>, Errno> {
    let mut room = vec![0; len];
    let got = file.read_at(&mut SliceSink::new(&mut room), at)?;
    Ok(got.map(|got| room[..got].to_vec()))
}

#[test]
fn a_shared_pipe_is_waited_for_without_changing_its_flags() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let kept = reader.try_clone().expect("a second number");
    let file = import(reader);
    assert_eq!((file.kind(), file.open_flags()), (FileKind::Fifo, OpenFlags::RDONLY));
    assert_eq!(read(&file, 4, 0), Ok(Try::WouldBlock));
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        writer.write_all(b"late").expect("the pipe has a reader");
        writer
    });
    let queue = file.wait_queue().expect("pipes have one");
    let deadline = Some(Instant::now() + Duration::from_secs(30));
    let got = Sleeper::new().until(&[&queue], Ready::IN, deadline, || read(&file, 10, 0));
    assert_eq!(got, Ok(b"late".to_vec()));
    let flags = nix::fcntl::fcntl(&kept, nix::fcntl::FcntlArg::F_GETFL).expect("flags");
    assert_eq!(flags & libc::O_NONBLOCK, 0);
    drop(late.join().expect("the writer ends"));
    assert_eq!(read(&file, 10, 0), Ok(Try::Done(vec![])));
    assert!(file.ready().contains(Ready::HUP));
}

#[test]
fn a_full_pipe_says_so_and_a_broken_one_too() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let file = import(writer);
    assert_eq!(file.open_flags(), OpenFlags::WRONLY);
    let large = vec![1; 100_000];
    let mut source = SliceSource::new(&large);
    assert_eq!(file.write_at(&mut source, 0), Ok(Try::Done(65_536)));
    assert_eq!(file.write_at(&mut source, 0), Ok(Try::WouldBlock));
    drop(reader);
    assert_eq!(file.write_at(&mut source, 0), Err(Errno::EPIPE));
}

#[test]
fn a_regular_file_keeps_the_hosts_position() {
    let mut host = tempfile();
    host.write_all(b"before ").expect("room");
    let file = import(host.try_clone().expect("a second number"));
    assert!(!file.is_stream() && file.wait_queue().is_none());
    let mut source = SliceSource::new(b"inside ");
    assert_eq!(file.write_at(&mut source, AT_POSITION), Ok(Try::Done(7)));
    host.write_all(b"after").expect("room");
    assert_eq!(file.seek(SeekFrom::Current(0), 0), Ok(19));
    assert_eq!(read(&file, 6, 7), Ok(Try::Done(b"inside".to_vec())));
    let mut all = String::new();
    host.rewind().expect("seekable");
    host.read_to_string(&mut all).expect("readable");
    assert_eq!(all, "before inside after");
}

#[test]
fn calls_that_move_the_position_move_the_hosts() {
    let mut host = tempfile();
    host.write_all(b"before ").expect("room");
    let file = super::open(host.try_clone().expect("a second number").into()).expect("imported");
    assert_eq!(file.position(), 7);
    file.set_position(3);
    let options = crate::vfs::WriteOptions::default();
    assert_eq!(file.write(&mut SliceSource::new(b"X"), &options), Ok(Try::Done(1)));
    assert_eq!((file.position(), host.stream_position().expect("seekable")), (4, 4));
}

#[test]
fn sockets_and_devices_are_files_too() {
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let file = import(ours);
    assert_eq!(read(&file, 4, 0), Ok(Try::WouldBlock));
    theirs.write_all(b"hi").expect("room");
    assert_eq!(read(&file, 4, 0), Ok(Try::Done(b"hi".to_vec())));
    let null = import(std::fs::File::open("/dev/null").expect("every host has one"));
    assert_eq!(read(&null, 4, 0), Ok(Try::Done(vec![])));
    assert!(null.ready().contains(Ready::READABLE));
    assert!(!null.is_terminal());
}

#[test]
fn a_terminal_is_known_and_never_waited_in() {
    let (master, slave) = pty();
    let file = import(slave);
    assert!(file.is_terminal());
    assert_eq!(read(&file, 4, 0), Ok(Try::WouldBlock));
    let queue = file.wait_queue().expect("terminals have one");
    let mut master = master;
    let typist = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        master.write_all(b"ls\n").expect("room");
        master
    });
    let deadline = Some(Instant::now() + Duration::from_secs(30));
    let got = Sleeper::new().until(&[&queue], Ready::IN, deadline, || read(&file, 10, 0));
    assert_eq!(got, Ok(b"ls\n".to_vec()));
    let mut master = typist.join().expect("the typist ends");
    let mut source = SliceSource::new(b"hello");
    assert_eq!(file.write_at(&mut source, 0), Ok(Try::Done(5)));
    // Somebody presses ^S: what is written has to wait, the task's thread must not.
    master.write_all(b"\x13").expect("room");
    // The host's kernel takes it in its own time. What is written until then fits.
    let mut wrote = file.write_at(&mut SliceSource::new(b"x"), 0);
    for _ in 0..1000 {
        if wrote != Ok(Try::Done(1)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        wrote = file.write_at(&mut SliceSource::new(b"x"), 0);
    }
    assert_eq!(wrote, Ok(Try::WouldBlock));
    drop(master);
    assert!(file.ready().contains(Ready::HUP));
}
