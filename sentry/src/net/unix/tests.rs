// SPDX-License-Identifier: Apache-2.0
//! Unix sockets without a guest: what Linux answers, in the same order.

use std::sync::Arc;

use abi::{
    Errno,
    fcntl::OpenFlags,
    socket::{
        AF_UNIX, MessageFlags, SHUT_RD, SHUT_WR, SO_PASSCRED, SO_RCVBUF, SO_SNDBUF, SOCK_DGRAM,
        SOCK_SEQPACKET, SOCK_STREAM, ShutdownHow, Ucred,
    },
};

use super::UnixSocket;
use crate::{
    creds::Credentials,
    io::{SliceSink, SliceSource},
    net::{
        Ancillary, Connecting, Incoming, Namespace, Outgoing, Received, Socket, SocketCaller,
        SocketFile,
    },
    vfs::{FileDescription, FileKind, Inode, anon::AnonInode},
    wait::{Ready, Try},
};

struct Tester;

/// For the tests that put thousands in flight: how many there are decides when all look for cycles.
static CROWDS: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

const TESTER: Ucred = Ucred { pid: 7, uid: 1000, gid: 1000 };

impl SocketCaller for Tester {
    fn credentials(&self) -> Arc<Credentials> {
        Arc::new(Credentials::user(1000, 1000))
    }
    fn identity(&self) -> Ucred {
        TESTER
    }
    fn create_name(&mut self, _path: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::EACCES)
    }
    fn find_name(&mut self, _path: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::ENOENT)
    }
    fn file_limit(&self) -> Option<u64> {
        Some(1024)
    }
}

fn abstract_name(name: &str) -> Vec<u8> {
    let mut bytes = AF_UNIX.to_ne_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

fn pair(kind: i32) -> (Arc<UnixSocket>, Arc<UnixSocket>) {
    UnixSocket::pair(&Arc::default(), kind, &Tester).expect("the kind exists")
}

fn send(socket: &UnixSocket, bytes: &[u8]) -> Result<Try<usize>, Errno> {
    socket.send(&mut Tester, &mut SliceSource::new(bytes), &mut Outgoing::default())
}

fn send_to(socket: &UnixSocket, to: &[u8], bytes: &[u8]) -> Result<Try<usize>, Errno> {
    let mut message = Outgoing { address: Some(to), ..Outgoing::default() };
    socket.send(&mut Tester, &mut SliceSource::new(bytes), &mut message)
}

fn receive_with(
    socket: &UnixSocket,
    len: usize,
    flags: MessageFlags,
) -> Result<Try<(Vec<u8>, Received)>, Errno> {
    let mut room = vec![0; len];
    let mut sink = SliceSink::new(&mut room);
    let got = socket.receive(&mut sink, Incoming { flags, wants_ancillary: true })?;
    let written = sink.written();
    Ok(match got {
        Try::Done(received) => Try::Done((room[..written].to_vec(), received)),
        Try::WouldBlock => Try::WouldBlock,
    })
}

fn receive(socket: &UnixSocket, len: usize) -> Result<Option<Vec<u8>>, Errno> {
    Ok(match receive_with(socket, len, MessageFlags::empty())? {
        Try::Done((bytes, _)) => Some(bytes),
        Try::WouldBlock => None,
    })
}

fn bytes(text: &str) -> Result<Option<Vec<u8>>, Errno> {
    Ok(Some(text.as_bytes().to_vec()))
}

fn listener(namespace: &Arc<Namespace>, name: &str, backlog: i32) -> Arc<UnixSocket> {
    let socket = UnixSocket::new(namespace, SOCK_STREAM).expect("streams exist");
    socket.bind(&mut Tester, &abstract_name(name)).expect("the name is free");
    socket.listen(&mut Tester, backlog).expect("it is bound");
    socket
}

fn connect(socket: &Arc<UnixSocket>, name: &str) -> Result<Connecting, Errno> {
    Arc::clone(socket).connect(&mut Tester, &abstract_name(name))
}

#[test]
fn a_stream_has_no_bounds_and_ends() {
    let (a, b) = pair(SOCK_STREAM);
    assert_eq!(receive(&b, 4), Ok(None));
    assert_eq!(send(&a, b"hello"), Ok(Try::Done(5)));
    assert_eq!(send(&a, b" world"), Ok(Try::Done(6)));
    assert_eq!((a.ready() & Ready::IN, b.pending()), (Ready::empty(), Ok(11)));
    let peeked = receive_with(&b, 7, MessageFlags::PEEK);
    assert!(matches!(peeked, Ok(Try::Done((bytes, _))) if bytes == b"hello w"));
    assert_eq!(receive(&b, 7), bytes("hello w"));
    assert_eq!(a.shutdown(ShutdownHow(SHUT_WR)), Ok(()));
    assert_eq!(send(&a, b"x"), Err(Errno::EPIPE));
    assert_eq!(receive(&b, 99), bytes("orld"));
    assert_eq!(receive(&b, 99), bytes(""));
    assert_eq!(send(&b, b"back"), Ok(Try::Done(4)));
    assert_eq!(b.ready(), Ready::READABLE | Ready::WRITABLE | Ready::WRBAND | Ready::RDHUP);
    assert_eq!(receive(&a, 99), bytes("back"));
    a.close();
    assert!(b.ready().contains(Ready::HUP | Ready::RDHUP));
    assert_eq!(send(&b, b"x"), Err(Errno::EPIPE));
}

#[test]
fn unread_bytes_reset_the_connection() {
    let (a, b) = pair(SOCK_STREAM);
    send(&a, b"unread").expect("connected");
    b.close();
    assert!(a.ready().contains(Ready::ERR | Ready::HUP));
    assert_eq!(receive(&a, 1), Err(Errno::ECONNRESET));
    assert_eq!(receive(&a, 1), bytes(""));
}

#[test]
fn the_send_buffer_limits_and_wakes_late() {
    let (a, b) = pair(SOCK_STREAM);
    let large = vec![1; 1 << 20];
    let Ok(Try::Done(sent)) = send(&a, &large) else { panic!("something fits") };
    assert!((200_000..300_000).contains(&sent), "{sent}");
    assert_eq!(send(&a, b"x"), Ok(Try::WouldBlock));
    assert!(!a.ready().contains(Ready::OUT));
    let mut left = sent;
    while left > 0 {
        let got = receive(&b, 10_000).expect("connected").expect("bytes are there").len();
        left -= got;
    }
    assert!(a.ready().contains(Ready::OUT));
    assert_eq!(a.unsent(), 0);
}

#[test]
fn datagrams_keep_their_bounds() {
    let (a, b) = pair(SOCK_DGRAM);
    assert_eq!(send(&a, b"first"), Ok(Try::Done(5)));
    assert_eq!(send(&a, b""), Ok(Try::Done(0)));
    assert_eq!(send(&a, b"third"), Ok(Try::Done(5)));
    assert_eq!(b.pending(), Ok(5));
    let Ok(Try::Done((got, message))) = receive_with(&b, 2, MessageFlags::TRUNC) else {
        panic!("a message is there")
    };
    assert_eq!((got, message.count, message.flags), (b"fi".to_vec(), 5, MessageFlags::TRUNC));
    assert_eq!(receive(&b, 9), bytes(""));
    assert_eq!(receive(&b, 9), bytes("third"));
    assert_eq!(send(&a, &vec![0; 300_000]), Err(Errno::EMSGSIZE));
    b.close();
    assert_eq!(send(&a, b"x"), Err(Errno::ECONNREFUSED));
    assert_eq!(send(&a, b"x"), Err(Errno::ENOTCONN));
}

#[test]
fn a_full_receiver_makes_strangers_wait() {
    let namespace = Arc::default();
    let server = UnixSocket::new(&namespace, SOCK_DGRAM).expect("datagrams exist");
    server.bind(&mut Tester, &abstract_name("log")).expect("the name is free");
    let client = UnixSocket::new(&namespace, SOCK_DGRAM).expect("datagrams exist");
    let name = abstract_name("log");
    for _ in 0..11 {
        assert_eq!(send_to(&client, &name, b"line"), Ok(Try::Done(4)));
    }
    assert_eq!(send_to(&client, &name, b"line"), Ok(Try::WouldBlock));
    assert!(Arc::clone(&client).connect(&mut Tester, &name).is_ok());
    assert!(!client.ready().contains(Ready::OUT));
    assert_eq!(receive(&server, 99), bytes("line"));
    assert!(client.ready().contains(Ready::OUT));
    // A connected receiver takes from its peer only.
    Arc::clone(&server).connect(&mut Tester, &name).expect("itself");
    assert_eq!(send_to(&client, &name, b"x"), Err(Errno::EPERM));
    assert_eq!(send_to(&client, &abstract_name("none"), b"x"), Err(Errno::ECONNREFUSED));
}

#[test]
fn packets_are_connected_and_bounded() {
    let (a, b) = pair(SOCK_SEQPACKET);
    send(&a, b"one").expect("connected");
    send(&a, b"two").expect("connected");
    assert_eq!(receive(&b, 99), bytes("one"));
    assert_eq!(receive(&b, 1), bytes("t"));
    assert_eq!(receive(&b, 99), Ok(None));
    a.close();
    assert_eq!(receive(&b, 99), bytes(""));
    assert_eq!(send(&b, b"x"), Err(Errno::EPIPE));
    let alone = UnixSocket::new(&Arc::default(), SOCK_SEQPACKET).expect("packets exist");
    assert_eq!(send(&alone, b"x"), Err(Errno::ENOTCONN));
    assert_eq!(receive(&alone, 1), Err(Errno::ENOTCONN));
}

#[test]
fn connections_are_made_and_refused() {
    let namespace = Arc::default();
    let client = UnixSocket::new(&namespace, SOCK_STREAM).expect("streams exist");
    assert_eq!(connect(&client, "srv").err(), Some(Errno::ECONNREFUSED));
    assert_eq!(send(&client, b"x"), Err(Errno::ENOTCONN));
    assert_eq!(receive(&client, 1), Err(Errno::EINVAL));
    assert_eq!(client.listen(&mut Tester, 1), Err(Errno::EINVAL));
    let server = listener(&namespace, "srv", 0);
    let other = UnixSocket::new(&namespace, SOCK_STREAM).expect("streams exist");
    assert_eq!(other.bind(&mut Tester, &abstract_name("srv")), Err(Errno::EADDRINUSE));
    assert_eq!(server.bind(&mut Tester, &abstract_name("srv2")), Err(Errno::EINVAL));
    assert!(matches!(connect(&client, "srv"), Ok(Connecting::Done)));
    assert!(matches!(connect(&other, "srv"), Ok(Connecting::Wait(_, Errno::EAGAIN))));
    // The backlog is looked at before the caller's own state, as on Linux.
    assert!(matches!(connect(&client, "srv"), Ok(Connecting::Wait(_, Errno::EAGAIN))));
    assert!(server.ready().contains(Ready::IN));
    send(&client, b"early").expect("connected before it is accepted");
    let Ok(Try::Done(accepted)) = server.accept_one() else { panic!("one waits") };
    assert_eq!(connect(&client, "srv").err(), Some(Errno::EISCONN));
    assert_eq!(receive(&accepted, 99), bytes("early"));
    assert_eq!(accepted.local_address(), Ok(abstract_name("srv")));
    assert_eq!(client.peer_address(), Ok(abstract_name("srv")));
    assert_eq!(accepted.peer_address(), Ok(AF_UNIX.to_ne_bytes().to_vec()));
    assert_eq!(accepted.peer_credentials().map(|(peer, _)| peer), Some(TESTER));
    assert!(matches!(server.accept_one(), Ok(Try::WouldBlock)));
    let wrong = UnixSocket::new(&namespace, SOCK_SEQPACKET).expect("packets exist");
    assert_eq!(connect(&wrong, "srv").err(), Some(Errno::EPROTOTYPE));
    // Who is never accepted is reset, and the name is free again.
    assert!(matches!(connect(&other, "srv"), Ok(Connecting::Done)));
    server.close();
    assert_eq!(receive(&other, 1), Err(Errno::ECONNRESET));
    drop(listener(&namespace, "srv", 1));
}

#[test]
fn names_are_chosen_on_demand() {
    let namespace = Arc::default();
    let one = UnixSocket::new(&namespace, SOCK_DGRAM).expect("datagrams exist");
    assert_eq!(one.local_address(), Ok(AF_UNIX.to_ne_bytes().to_vec()));
    one.bind(&mut Tester, &AF_UNIX.to_ne_bytes()).expect("a name is free");
    let name = one.local_address().expect("bound");
    assert_eq!((name.len(), name[2]), (8, 0));
    let other = UnixSocket::new(&namespace, SOCK_DGRAM).expect("datagrams exist");
    assert_eq!(send_to(&other, &name, b"hi"), Ok(Try::Done(2)));
    let Ok(Try::Done((_, message))) = receive_with(&one, 9, MessageFlags::empty()) else {
        panic!("a message is there")
    };
    assert_eq!(message.address, Vec::<u8>::new());
}

#[test]
fn credentials_come_to_those_who_ask() {
    let (a, b) = pair(SOCK_STREAM);
    send(&a, b"1").expect("connected");
    let creds = Credentials::user(1000, 1000);
    b.options().set(&creds, SO_PASSCRED, &1_i32.to_ne_bytes()).expect("known");
    send(&a, b"2").expect("connected");
    let credentials = |socket: &UnixSocket| match receive_with(socket, 9, MessageFlags::empty()) {
        Ok(Try::Done((bytes, message))) => (bytes, message.ancillary.credentials),
        other => panic!("{other:?}"),
    };
    let nobody = Ucred { pid: 0, uid: 65534, gid: 65534 };
    assert_eq!(credentials(&b), (b"1".to_vec(), Some(nobody)));
    assert_eq!(credentials(&b), (b"2".to_vec(), Some(TESTER)));
    send(&b, b"3").expect("connected");
    assert_eq!(credentials(&a), (b"3".to_vec(), None));
}

#[test]
fn both_directions_shut_down_alone() {
    let (a, b) = pair(SOCK_STREAM);
    a.shutdown(ShutdownHow(SHUT_RD)).expect("connected");
    assert_eq!(receive(&a, 9), bytes(""));
    assert_eq!(send(&b, b"x"), Err(Errno::EPIPE));
    assert_eq!(send(&a, b"y"), Ok(Try::Done(1)));
    assert_eq!(receive(&b, 9), bytes("y"));
}

#[test]
fn small_buffers_still_pass_large_writes() {
    let (a, b) = pair(SOCK_STREAM);
    let creds = Credentials::user(1000, 1000);
    a.options().set(&creds, SO_SNDBUF, &1_i32.to_ne_bytes()).expect("known");
    b.options().set(&creds, SO_RCVBUF, &1_i32.to_ne_bytes()).expect("known");
    let large = vec![3; 50_000];
    let mut source = SliceSource::new(&large);
    let mut total = 0;
    while total < large.len() {
        let sent = a.send(&mut Tester, &mut source, &mut Outgoing::default());
        assert!(sent.is_ok(), "{sent:?}");
        while let Ok(Some(got)) = receive(&b, 4096) {
            total += got.len();
        }
    }
    assert_eq!(total, large.len());
}

fn as_file(socket: &Arc<UnixSocket>) -> Arc<FileDescription> {
    let inode = AnonInode::new(FileKind::Socket, 0o777, 0, 0);
    let ops = SocketFile::new(Arc::clone(socket) as Arc<dyn Socket>, TESTER);
    FileDescription::pseudo(Box::new(ops), Arc::new(inode), b"socket", OpenFlags::RDWR)
}

fn send_file(socket: &UnixSocket, file: &Arc<FileDescription>) -> Result<Try<usize>, Errno> {
    let ancillary = Ancillary { files: vec![Arc::clone(file)], ..Ancillary::default() };
    let mut message = Outgoing { ancillary, ..Outgoing::default() };
    socket.send(&mut Privileged, &mut SliceSource::new(b"x"), &mut message)
}

/// As [`Tester`], but without a limit on files in flight.
struct Privileged;

impl SocketCaller for Privileged {
    fn credentials(&self) -> Arc<Credentials> {
        Tester.credentials()
    }
    fn identity(&self) -> Ucred {
        TESTER
    }
    fn create_name(&mut self, path: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        Tester.create_name(path)
    }
    fn find_name(&mut self, path: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        Tester.find_name(path)
    }
    fn file_limit(&self) -> Option<u64> {
        None
    }
}

#[test]
fn files_travel_with_the_first_byte() {
    let (a, b) = pair(SOCK_STREAM);
    let (travelling, _other) = pair(SOCK_STREAM);
    let file = as_file(&travelling);
    send(&a, b"before").expect("connected");
    send_file(&a, &file).expect("connected");
    send(&a, b"after").expect("connected");
    let Ok(Try::Done((got, message))) = receive_with(&b, 99, MessageFlags::empty()) else {
        panic!("bytes are there")
    };
    // What came with files ends a receive; what came before is glued to it.
    assert_eq!((got, message.ancillary.files.len()), (b"beforex".to_vec(), 1));
    assert!(Arc::ptr_eq(&message.ancillary.files[0], &file));
    assert_eq!(receive(&b, 99), bytes("after"));
}

#[test]
fn sockets_that_hold_only_each_other_are_found() {
    let _alone = CROWDS.lock();
    let mut seen = Vec::new();
    for _ in 0..2000 {
        let (a, b) = pair(SOCK_DGRAM);
        let (file_a, file_b) = (as_file(&a), as_file(&b));
        // Each end lies in the other's inbox, and nobody else holds them.
        send_file(&a, &file_a).expect("connected");
        send_file(&b, &file_b).expect("connected");
        seen.push(Arc::downgrade(&file_a));
    }
    let alive = seen.iter().filter(|file| file.strong_count() > 0).count();
    assert!(alive < 500, "{alive} of 2000 are left");
}

#[test]
fn what_can_be_reached_is_not_garbage() {
    let _alone = CROWDS.lock();
    let (outer, inner) = pair(SOCK_DGRAM);
    let (held, kept) = pair(SOCK_DGRAM);
    let file = as_file(&held);
    send_file(&kept, &file).expect("connected");
    // In flight, in a socket that somebody holds.
    send_file(&outer, &file).expect("connected");
    drop(file);
    for _ in 0..1000 {
        let (a, b) = pair(SOCK_DGRAM);
        send_file(&a, &as_file(&b)).expect("connected");
    }
    let Ok(Try::Done((_, message))) = receive_with(&inner, 9, MessageFlags::empty()) else {
        panic!("a message is there")
    };
    assert_eq!(message.ancillary.files.len(), 1);
    assert_eq!(receive(&held, 9), bytes("x"));
}

#[test]
fn a_long_chain_is_let_go_without_recursion() {
    let _alone = CROWDS.lock();
    let (_, last) = pair(SOCK_DGRAM);
    let mut file = as_file(&last);
    for _ in 0..20_000 {
        let (a, b) = pair(SOCK_DGRAM);
        send_file(&a, &file).expect("connected");
        file = as_file(&b);
    }
    drop(file);
}
