// SPDX-License-Identifier: Apache-2.0
//! The `runsc` command: an OCI runtime whose containers run on a kernel in user space.
//!
//! In the order to read it: `cli` (one table of flags), `command` (a file each), `oci` (bundles),
//! `container` and `state` (what exists), `sandbox` (how its processes start and are jailed),
//! `boot` (what runs inside, before and around the kernel).
#![deny(unsafe_code)]

mod boot;
mod cli;
mod command;
mod config;
mod container;
mod doctor;
mod log;
mod oci;
mod sandbox;
mod state;
mod sys;

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    ExitCode::from(command::main(args))
}
