// SPDX-License-Identifier: Apache-2.0
//! How long the gofer's round trips take: `cargo run --release -p gofer --example round_trip`.

use std::{fs, hint::black_box, os::fd::OwnedFd, time::Instant};

use gofer::{
    client::Connection,
    protocol::Policy,
    server::{self, ProcFd, Root},
    transport::Socket,
};

const ROUNDS: u32 = 20_000;

fn measure(what: &str, mut call: impl FnMut()) {
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        call();
    }
    eprintln!("{what:24} {:>8} ns", (begin.elapsed() / ROUNDS).as_nanos());
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root: OwnedFd = fs::File::open("/usr")?.into();
    let (ours, theirs) = Socket::pair()?;
    std::thread::spawn(move || {
        let proc = ProcFd::open().expect("there is a /proc");
        server::run(ours.into(), vec![Root::new(root, Policy::READ_ONLY)], proc)
    });
    let connection = Connection::new(theirs.into());
    let root = connection.attach(0)?.0.node;
    let file = root.walk(&[b"bin", b"env"])?.steps.pop().ok_or("no /usr/bin/env")?.node;
    measure("attributes", || {
        let _ = black_box(root.attr());
    });
    measure("walk of two names", || drop(black_box(root.walk(&[b"bin", b"env"]))));
    measure("open", || drop(black_box(file.open(abi::fcntl::OpenFlags::empty()))));
    Ok(())
}
