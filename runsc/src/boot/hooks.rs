// SPDX-License-Identifier: Apache-2.0
//! `hooks.startContainer`: programs of the image that run before the first process does.
//!
//! As runc has it, they run as what the first process is: its user, its rights, its filters and its
//! working directory; and with the container's state on their standard input.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use abi::{
    Errno, Fd,
    fcntl::{OpenFlags, Seals},
};
use nix::libc;
use sentry::{
    creds::Credentials,
    fs::tmpfs,
    io::{SliceSink, SliceSource},
    kernel::{Kernel, ProcessSpec},
    vfs::FileDescription,
    wait::Try,
};

use crate::{
    oci::hooks::{self, HookError},
    sandbox::plan::Hook,
};

/// Runs them in order; `like` makes what they have in common with the first process. The first that fails
/// ends it.
pub(super) fn run(
    kernel: &Arc<Kernel>,
    list: &[Hook],
    state: &str,
    like: impl Fn() -> ProcessSpec,
) -> Result<(), HookError> {
    for (index, hook) in list.iter().enumerate() {
        run_one(kernel, hook, state, like()).map_err(|why| HookError { index, why })?;
    }
    Ok(())
}

fn run_one(
    kernel: &Arc<Kernel>,
    hook: &Hook,
    state: &str,
    like: ProcessSpec,
) -> Result<(), String> {
    let path = String::from_utf8_lossy(&hook.path.0).into_owned();
    let failed = |errno: Errno| format!("error running hook: {path}: {}", errno.message());
    let files = [file(state.as_bytes()), file(b""), file(b"")];
    let [input, output, error] = files;
    let (input, output, error) =
        (input.map_err(failed)?, output.map_err(failed)?, error.map_err(failed)?);
    let spec = ProcessSpec {
        executable: hook.path.0.clone(),
        arguments: hook.args.iter().map(|arg| arg.0.clone()).collect(),
        environment: hook.env.iter().map(|variable| variable.0.clone()).collect(),
        files: vec![(Fd(0), input), (Fd(1), Arc::clone(&output)), (Fd(2), Arc::clone(&error))],
        is_protected: false,
        terminal: None,
        ..like
    };
    let (pid, waiter) = kernel.spawn(spec).map_err(failed)?;
    let status = match hook.timeout_s {
        None => waiter.wait(),
        Some(seconds) => {
            let deadline = Instant::now().checked_add(Duration::from_secs(seconds));
            match deadline.and_then(|deadline| waiter.wait_until(deadline)) {
                Some(status) => status,
                None => {
                    // It may have ended just now.
                    let _ = kernel.signal(pid, libc::SIGKILL);
                    waiter.wait();
                    return Err(hooks::out_of_time(seconds));
                }
            }
        }
    };
    hooks::judge(status, [&written(&output), &written(&error)])
}

/// A file in memory with these bytes, open at its beginning.
fn file(bytes: &[u8]) -> Result<Arc<FileDescription>, Errno> {
    let inode = tmpfs::unlinked_file(0o600, 0, 0, Seals::empty())?;
    let creds = Credentials::user(0, 0);
    let flags = OpenFlags::RDWR | OpenFlags::LARGEFILE;
    let ops = Arc::clone(&inode).open(flags, &creds)?;
    let mut source = SliceSource::new(bytes);
    match ops.write_at(&mut source, 0)? {
        Try::Done(count) if count == bytes.len() => {}
        _ => return Err(Errno::ENOSPC),
    }
    Ok(FileDescription::pseudo(ops, inode, b"/hook", flags))
}

/// The beginning of what a hook has written.
fn written(file: &FileDescription) -> Vec<u8> {
    let mut bytes = vec![0; hooks::SHOWN];
    let count = match file.pread(&mut SliceSink::new(&mut bytes), 0) {
        Ok(Try::Done(count)) => count,
        // What cannot be read is not shown.
        _ => 0,
    };
    bytes.truncate(count);
    bytes
}
