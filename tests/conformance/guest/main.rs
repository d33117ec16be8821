// SPDX-License-Identifier: Apache-2.0
//! The guest programs of the conformance suite.
//!
//! `guest FAMILY/CALL/CASE` runs one case in a fresh directory of its own; it prints what the kernel did.
//! `guest --as UID:GID:GROUPS …` does so as that user: in a sandbox one begins as root.
//! `guest list` names them all. A case asserts nothing: the harness compares what it prints on the host
//! and in the sandbox. So it must print the same each time: no addresses, times or ids.
#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::exit,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs,
    reason = "a guest program pokes at the kernel through raw calls, and dies of any surprise"
)]

#[macro_use]
mod kit;

include!(concat!(env!("OUT_DIR"), "/registry.rs"));

fn main() {
    let mut args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "--as") {
        kit::become_user(&args.remove(2));
        args.remove(1);
    }
    let Some(name) = args.get(1) else {
        eprintln!("usage: guest list | FAMILY/CALL/CASE");
        std::process::exit(2);
    };
    if name == "list" {
        for (case, _) in CASES {
            println!("{case}");
        }
        return;
    }
    let find = |list: &[(&str, fn())]| list.iter().find(|(case, _)| case == name).map(|(_, f)| *f);
    if let Some(child) = find(CHILDREN) {
        child();
    } else if let Some(case) = find(CASES) {
        kit::in_fresh_directory(case);
    } else {
        eprintln!("guest: no case is called {name}");
        std::process::exit(2);
    }
}
