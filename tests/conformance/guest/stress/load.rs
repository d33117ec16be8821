// SPDX-License-Identifier: Apache-2.0
//! Loads for `tests/stress.rs`: many processes, threads and bytes. Each says at its end what came of it.

use std::{
    ffi::CString,
    ptr,
    sync::{Arc, Mutex},
    thread,
};

/// 10,000 times fork, execve and wait, one after the other.
pub fn child_fork_exec_wait() {
    let path = CString::new("/proc/self/exe").unwrap();
    let arguments = [path.as_ptr(), c"stress/load/child_nothing".as_ptr(), ptr::null()];
    let mut failed = 0;
    for _ in 0..count(10_000) {
        let child = unsafe { libc::fork() };
        if child == 0 {
            unsafe { libc::execv(path.as_ptr(), arguments.as_ptr()) };
            unsafe { libc::_exit(127) };
        }
        let mut status = 0;
        if child < 0 || unsafe { libc::waitpid(child, &raw mut status, 0) } != child || status != 0 {
            failed += 1;
        }
    }
    println!("failed {failed}");
}

/// What the children of the others execute.
pub fn child_nothing() {}

/// 64 threads on one mutex.
pub fn child_threads_on_a_mutex() {
    let sum = Arc::new(Mutex::new(0u64));
    let threads: Vec<_> = (0..64)
        .map(|_| {
            let sum = Arc::clone(&sum);
            thread::spawn(move || {
                for _ in 0..1000 {
                    *sum.lock().unwrap() += 1;
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    println!("sum {}", sum.lock().unwrap());
}

/// 100 MB through a pipe between two processes, each byte checked.
pub fn child_bytes_through_a_pipe() {
    const BYTES: usize = 100_000_000;
    let mut ends = [0; 2];
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    let block: Vec<u8> = (0..65_521u32).map(|i| (i % 251) as u8).collect();
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe { libc::close(ends[0]) };
        let mut sent = 0;
        while sent < BYTES {
            let from = &block[sent % block.len()..];
            let len = from.len().min(BYTES - sent);
            let wrote = unsafe { libc::write(ends[1], from.as_ptr().cast(), len) };
            if wrote <= 0 {
                unsafe { libc::_exit(1) };
            }
            sent += wrote as usize;
        }
        unsafe { libc::_exit(0) };
    }
    unsafe { libc::close(ends[1]) };
    let (mut got, mut wrong) = (0usize, 0usize);
    let mut room = vec![0u8; 100_003];
    loop {
        let read = unsafe { libc::read(ends[0], room.as_mut_ptr().cast(), room.len()) };
        if read <= 0 {
            break;
        }
        let read = read as usize;
        wrong += room[..read]
            .iter()
            .enumerate()
            .filter(|(i, byte)| **byte != block[(got + i) % block.len()])
            .count();
        got += read;
    }
    let mut status = 0;
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    println!("bytes {got} wrong {wrong} writer {status}");
}

/// 500 processes alive at once.
pub fn child_many_processes() {
    let mut ends = [0; 2];
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    let mut children = Vec::new();
    for _ in 0..500 {
        let child = unsafe { libc::fork() };
        if child == 0 {
            let mut byte = [0u8];
            unsafe { libc::close(ends[1]) };
            // Until the last writer closes: all are alive until then.
            unsafe { libc::read(ends[0], byte.as_mut_ptr().cast(), 1) };
            unsafe { libc::_exit(7) };
        }
        if child > 0 {
            children.push(child);
        }
    }
    let alive = children.iter().filter(|pid| unsafe { libc::kill(**pid, 0) } == 0).count();
    unsafe { libc::close(ends[1]) };
    let sevens = children
        .iter()
        .filter(|pid| {
            let mut status = 0;
            unsafe { libc::waitpid(**pid, &raw mut status, 0) };
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7
        })
        .count();
    println!("alive {alive} ended {sevens}");
}

fn count(full: u32) -> u32 {
    std::env::var("STRESS_COUNT").ok().and_then(|text| text.parse().ok()).unwrap_or(full)
}
