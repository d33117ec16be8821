// SPDX-License-Identifier: Apache-2.0
//! Tests against those who wish the server ill: hostile frames, races, and a host that fails.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use abi::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proptest::prelude::*;

use super::{Root, Server, connection::Work, handlers};
use crate::{
    host::{ProcFd, fault},
    protocol::{
        Attr, Bytes, Name, NodeId, Policy, Reader, Request, SetAttr, VERSION, Wire, Writer, attr,
        message::{
            Attach, Attached, ChangeAttr, Create, CreateUnnamed, Link, MakeDirectory, MakeNode,
            MakeSymlink, Open, OpenDirectory, Rename, Unlink, Walk, Walked,
        },
    },
};

/// A server without a connection, for the calling thread.
fn server(directory: &Path, policy: Policy) -> Server {
    let proc = ProcFd::open().unwrap();
    proc.enter().unwrap();
    let root = Root::new(fs::File::open(directory).unwrap().into(), policy);
    Server::new(vec![root], proc).unwrap()
}

/// What a channel does with a request, without its socket.
fn ask(server: &Server, request: Request) -> Result<Vec<u8>, Errno> {
    let (mut work, mut reply) = (Work::default(), Vec::new());
    let done = handlers::handle(server, &mut work, request, &mut Writer::new(&mut reply));
    done.inspect_err(|_| server.nodes.release(&work.fresh)).map(|()| reply)
}

fn answer<T: Wire>(server: &Server, request: Request) -> T {
    let reply = ask(server, request).unwrap();
    T::decode(&mut Reader::new(&reply)).unwrap()
}

fn attach(server: &Server) -> NodeId {
    answer::<Attached>(server, Request::Attach(Attach { version: VERSION, root: 0 })).node
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn me() -> (u32, u32) {
    (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw())
}

#[test]
fn a_hundred_thousand_hostile_frames_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir_in(dir.path().parent().unwrap()).unwrap();
    fs::write(outside.path().join("decoy"), "untouched").unwrap();
    let server = server(dir.path(), Policy::SET_ID);
    let root = attach(&server);
    let mut state = 1u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(state >> 56).unwrap()
    };
    let mut understood = 0;
    for _ in 0..100_000 {
        let kind = u16::from(random() % 30);
        // Half of them begin with a node that exists.
        let mut body = Vec::new();
        if random() % 2 == 0 {
            body.extend_from_slice(&root.0.to_le_bytes());
        }
        for _ in 0..random() % 64 {
            let byte = random();
            body.push(if random() % 3 == 0 { byte } else { byte % 4 });
        }
        if let Ok(request) = Request::decode(kind, &body) {
            understood += 1;
            if !matches!(request, Request::OpenChannel(_)) {
                // Whatever it says: an answer, no panic.
                let _ = ask(&server, request);
            }
        }
    }
    assert!(understood > 500, "{understood} frames got past the decoder");
    assert_eq!(fs::read(outside.path().join("decoy")).unwrap(), b"untouched");
}

proptest! {
    #[test]
    fn a_request_survives_the_wire_and_no_part_of_it_is_one(
        directory: u64,
        names in proptest::collection::vec("[a-z]{1,20}", 1..8),
        text: Vec<u8>,
        mode: u32,
    ) {
        let names: Vec<Name> = names.iter().map(|text| name(text)).collect();
        let directory = NodeId(directory);
        let first = names[0].clone();
        let requests = [
            (3, Request::Walk(Walk { directory, names })),
            (10, Request::MakeSymlink(MakeSymlink {
                directory, name: first, target: Bytes(text), uid: mode, gid: 1,
            })),
            (5, Request::ChangeAttr(ChangeAttr {
                node: directory,
                change: SetAttr { mode: Some(mode), ..SetAttr::default() },
            })),
        ];
        for (kind, request) in requests {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            match &request {
                Request::Walk(body) => body.encode(&mut writer),
                Request::MakeSymlink(body) => body.encode(&mut writer),
                Request::ChangeAttr(body) => body.encode(&mut writer),
                _ => unreachable!("not made above"),
            }
            prop_assert_eq!(Request::decode(kind, &bytes), Ok(request));
            for end in 0..bytes.len() {
                prop_assert!(Request::decode(kind, &bytes[..end]).is_err());
            }
            bytes.push(0);
            prop_assert!(Request::decode(kind, &bytes).is_err());
        }
    }

    #[test]
    fn any_bytes_are_a_reply_or_none(bytes: Vec<u8>) {
        let _ = Walked::decode(&mut Reader::new(&bytes));
        let _ = Attr::decode(&mut Reader::new(&bytes));
        let _ = crate::protocol::message::Entries::decode(&mut Reader::new(&bytes));
        let _ = crate::protocol::message::RequestHeader::decode(&mut Reader::new(&bytes));
    }
}

#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let decoy = tempfile::tempdir().unwrap();
    fs::create_dir_all(decoy.path().join("sub")).unwrap();
    fs::write(decoy.path().join("sub/file"), "decoy").unwrap();
    fs::create_dir_all(dir.path().join("victim/sub")).unwrap();
    fs::write(dir.path().join("victim/sub/file"), "inside").unwrap();
    symlink(decoy.path(), dir.path().join("link")).unwrap();
    let forbidden: Vec<u64> = ["", "sub", "sub/file"]
        .iter()
        .map(|name| fs::metadata(decoy.path().join(name)).unwrap().ino())
        .collect();
    let server = server(dir.path(), Policy::SET_ID);
    let root = attach(&server);
    let is_over = AtomicBool::new(false);
    let (mut arrived, mut stopped) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let open = fs::File::open(dir.path()).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                nix::fcntl::renameat2(&open, "victim", &open, "link", flags).unwrap();
            }
        });
        for _ in 0..10_000 {
            let names = ["victim", "sub", "file"].map(name).into();
            let walk = Request::Walk(Walk { directory: root, names });
            let walked: Walked = answer(&server, walk);
            for step in &walked.steps {
                assert!(!forbidden.contains(&step.attr.inode), "the walk left the root");
            }
            let ids: Vec<NodeId> = walked.steps.iter().map(|step| step.node).collect();
            server.nodes.release(&ids);
            if ids.len() == 3 {
                arrived += 1
            } else {
                stopped += 1
            }
            let new = MakeNode {
                directory: root,
                name: name("victim"),
                mode: attr::REGULAR | 0o644,
                device: 0,
                uid: me().0,
                gid: me().1,
            };
            assert_eq!(ask(&server, Request::MakeNode(new)), Err(Errno::EEXIST));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(arrived > 0 && stopped > 0, "the race was no race: {arrived} {stopped}");
    assert_eq!(server.nodes.len(), 1);
    assert_eq!(fs::read_dir(decoy.path()).unwrap().count(), 1);
    assert_eq!(fs::read(decoy.path().join("sub/file")).unwrap(), b"decoy");
}

#[test]
fn ten_thousand_nodes_come_and_go() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let server = server(dir.path(), Policy::READ_ONLY);
    let root = attach(&server);
    for _ in 0..2 {
        let mut held = Vec::new();
        for _ in 0..10_000 {
            let walk = Walk { directory: root, names: vec![name("file")] };
            held.push(answer::<Walked>(&server, Request::Walk(walk)).steps[0].node);
        }
        assert_eq!(server.nodes.len(), 10_001);
        // Twice, and others that never were: of no consequence.
        server.nodes.release(&held);
        server.nodes.release(&held);
        server.nodes.release(&[NodeId(u64::MAX)]);
        assert_eq!(server.nodes.len(), 1);
    }
}

/// Requests that make or open something, for a directory and a file in it.
fn requests(root: NodeId, file: NodeId) -> Vec<Request> {
    let (uid, gid) = me();
    let new = || name("new");
    vec![
        Request::Attach(Attach { version: VERSION, root: 0 }),
        Request::Walk(Walk { directory: root, names: vec![name("file")] }),
        Request::Open(Open { node: file, flags: 2 }),
        Request::OpenDirectory(OpenDirectory { node: root }),
        Request::Create(Create { directory: root, name: new(), flags: 2, mode: 0o751, uid, gid }),
        Request::CreateUnnamed(CreateUnnamed { directory: root, flags: 2, mode: 0o751, uid, gid }),
        Request::MakeDirectory(MakeDirectory {
            directory: root,
            name: new(),
            mode: 0o751,
            uid,
            gid,
        }),
        Request::MakeNode(MakeNode {
            directory: root,
            name: new(),
            mode: attr::FIFO | 0o751,
            device: 0,
            uid,
            gid,
        }),
        Request::MakeSymlink(MakeSymlink {
            directory: root,
            name: new(),
            target: Bytes(b"x".to_vec()),
            uid,
            gid,
        }),
    ]
}

#[test]
fn a_host_call_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let server = server(dir.path(), Policy::SET_ID);
    let root = attach(&server);
    let walk = Walk { directory: root, names: vec![name("file")] };
    let file = answer::<Walked>(&server, Request::Walk(walk)).steps[0].node;
    let files = || fs::read_dir(dir.path()).unwrap().count();
    let mut failures = 0;
    for request in requests(root, file) {
        for nth in 1.. {
            let nodes = server.nodes.len();
            fault::arm(nth, Errno::EIO);
            let result = ask(&server, request.clone());
            if fault::disarm() {
                // Fewer calls than that: it went through. Clear up for the next request.
                result.unwrap();
                let _ = fs::remove_file(dir.path().join("new"));
                let _ = fs::remove_dir(dir.path().join("new"));
                break;
            }
            failures += 1;
            // A walk tells of the failure in its reply, an attribute is asked for at the end.
            if result.is_err() {
                assert_eq!(server.nodes.len(), nodes, "{} call {nth}", request.name());
            }
            assert_eq!(files(), 1, "{} call {nth}", request.name());
        }
    }
    assert!(failures > 20, "{failures} failures were tried");
    let rename = Rename {
        directory: root,
        name: name("file"),
        new_directory: root,
        new_name: name("moved"),
        flags: 0,
    };
    fault::arm(1, Errno::ENOSPC);
    assert_eq!(ask(&server, Request::Rename(rename)), Err(Errno::ENOSPC));
    fault::arm(1, Errno::EINTR);
    let link = Link { directory: root, name: name("link"), node: file };
    assert!(ask(&server, Request::Link(link)).is_err());
    let unlink = Unlink { directory: root, name: name("file"), is_directory: 0 };
    ask(&server, Request::Unlink(unlink)).unwrap();
    assert_eq!(files(), 0);
}
