// SPDX-License-Identifier: Apache-2.0
//! The stub as the sentry has it: a blob, and the birth of the zygote that wears it.
#![allow(unsafe_code, reason = "clones a process and turns it into a stub")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::shared::CHANNEL_SIZE;

/// The code.
pub(crate) const BLOB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub.bin"));

/// Where things are in it.
pub(crate) mod offset {
    #![allow(dead_code, reason = "each platform uses its own part")]
    include!(concat!(env!("OUT_DIR"), "/stub.rs"));
}

/// What a zygote is made of.
#[derive(Debug)]
pub(crate) struct Birth<'a> {
    /// Where the code goes.
    pub(crate) text: u64,
    /// Bytes there, in whole pages.
    pub(crate) text_len: usize,
    /// The channel's file and place.
    pub(crate) channel: BorrowedFd<'a>,
    /// Where the channel goes.
    pub(crate) channel_addr: u64,
    /// The stub's end of its socket, which becomes its descriptor 0.
    pub(crate) socket: BorrowedFd<'a>,
    /// Signals that the stub handles, with the flags and masks of each.
    pub(crate) handled: &'a [i32],
    /// The signals blocked while a handler runs.
    pub(crate) mask: u64,
}

/// The kernel's `struct sigaction`.
#[repr(C)]
struct KernelSigaction {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

struct Job<'a> {
    birth: &'a Birth<'a>,
    zygote: i64,
}

/// Clones the zygote from the calling thread, whose end is the zygote's and all stubs' end. Returns
/// its process number. The zygote runs the operations in its channel and then traps.
///
/// A helper stands between: a child that shares our memory has no rseq area registered with the
/// kernel, and so neither has its own child, the zygote. `CLONE_PARENT` makes that one ours.
pub(crate) fn give_birth(birth: &Birth<'_>) -> io::Result<i32> {
    const STACK: usize = 64 * 1024;
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let mut job = Job { birth, zygote: -i64::from(libc::EAGAIN) };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the end of the allocation, where a stack starts.
    let top = unsafe { stack.as_mut_ptr().add(stack.len()) };
    // SAFETY: the helper runs on its own stack while this thread is suspended (CLONE_VFORK), so
    // `job` is its alone meanwhile.
    let helper = unsafe { libc::clone(helper, top.cast(), flags, (&raw mut job).cast()) };
    if helper < 0 {
        return Err(io::Error::last_os_error());
    }
    crate::sys::reap(helper)?;
    i32::try_from(job.zygote)
        .ok()
        .filter(|pid| *pid > 0)
        .ok_or_else(|| io::Error::from_raw_os_error(i32::try_from(-job.zygote).unwrap_or(0)))
}

extern "C" fn helper(job: *mut libc::c_void) -> i32 {
    // SAFETY: `give_birth` passes a `Job` that outlives the helper.
    let job = unsafe { &mut *job.cast::<Job<'_>>() };
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: a plain fork; the child returns here on a copy of this stack and only makes raw calls.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if child == 0 {
        become_stub(job.birth);
    }
    job.zygote = child;
    0
}

/// In the zygote: drops all that was the sentry's and jumps into the stub. Must not allocate.
fn become_stub(birth: &Birth<'_>) -> ! {
    let done = || -> Option<()> {
        // SAFETY (here and below): system calls on this process's own state; memory arguments are
        // locals that live through the call.
        let call = |number: i64, args: [u64; 6]| -> Option<u64> {
            let [a, b, c, d, e, f] = args;
            // SAFETY: as above.
            let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
            u64::try_from(result).ok()
        };
        let word = crate::memory::hostcall::word;
        call(libc::SYS_prctl, [word(libc::PR_SET_PDEATHSIG), word(libc::SIGKILL), 0, 0, 0, 0])?;
        call(libc::SYS_setsid, [0; 6])?;
        // The code: written, then never writable again.
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let (read_write, read_execute) =
            (word(libc::PROT_READ | libc::PROT_WRITE), word(libc::PROT_READ | libc::PROT_EXEC));
        let len = birth.text_len as u64;
        let text = [birth.text, len, read_write, word(flags), u64::MAX, 0];
        if call(libc::SYS_mmap, text)? != birth.text {
            return None;
        }
        // SAFETY: just mapped, `text_len` is no less than the blob.
        unsafe {
            std::ptr::copy_nonoverlapping(BLOB.as_ptr(), birth.text as *mut u8, BLOB.len());
        }
        call(libc::SYS_mprotect, [birth.text, len, read_execute, 0, 0, 0])?;
        let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
        let fd = word(birth.channel.as_raw_fd());
        let channel = [birth.channel_addr, CHANNEL_SIZE as u64, read_write, word(flags), fd, 0];
        if call(libc::SYS_mmap, channel)? != birth.channel_addr {
            return None;
        }
        if birth.socket.as_raw_fd() != 0 {
            call(libc::SYS_dup3, [word(birth.socket.as_raw_fd()), 0, 0, 0, 0, 0])?;
        }
        call(libc::SYS_close_range, [1, u64::from(u32::MAX), 0, 0, 0, 0])?;
        signals(birth, &call)?;
        // A stub is worth no core file, holds three descriptors at most, and lets its guest's
        // stack grow as far as the sentry plans it.
        let limit = |which: i32, soft: u64, hard: u64| {
            let pair = [soft, hard];
            call(libc::SYS_prlimit64, [0, word(which), (&raw const pair) as u64, 0, 0, 0])
        };
        limit(0x04, 0, 0)?;
        limit(0x07, 4, 4)?;
        let mut stack = [0_u64; 2];
        call(libc::SYS_prlimit64, [0, 3, 0, (&raw mut stack) as u64, 0, 0])?;
        let [_, hard] = stack;
        limit(3, hard, hard)?;
        call(libc::SYS_personality, [0; 6])?;
        // No capabilities: so the sentry, with whatever it keeps, may read its memory.
        let header = [0x2008_0522_u32, 0];
        let none = [0_u32; 6];
        let (header, none) = ((&raw const header) as u64, (&raw const none) as u64);
        call(libc::SYS_capset, [header, none, 0, 0, 0, 0])?;
        call(libc::SYS_prctl, [word(libc::PR_SET_DUMPABLE), 1, 0, 0, 0, 0])?;
        call(libc::SYS_prctl, [word(libc::PR_SET_NO_NEW_PRIVS), 1, 0, 0, 0, 0])?;
        let name = c"runsc-stub".as_ptr() as u64;
        call(libc::SYS_prctl, [word(libc::PR_SET_NAME), name, 0, 0, 0, 0])?;
        Some(())
    };
    if done().is_none() {
        // SAFETY: ends this process only.
        unsafe { libc::_exit(1) }
    }
    let (entry, stack) = (birth.text + offset::ENTRY, birth.channel_addr + CHANNEL_SIZE as u64);
    // SAFETY: the code is mapped and expects its stack at the end of its channel. Nothing of this
    // program runs in this process afterwards.
    unsafe {
        std::arch::asm!(
            "mov rsp, {stack}",
            "jmp {entry}",
            stack = in(reg) stack,
            entry = in(reg) entry,
            options(noreturn),
        )
    }
}

fn signals(birth: &Birth<'_>, call: &impl Fn(i64, [u64; 6]) -> Option<u64>) -> Option<()> {
    const SA_RESTORER: u64 = 0x0400_0000;
    let set = |signal: i32, action: &KernelSigaction| {
        let signal = crate::memory::hostcall::word(signal);
        call(libc::SYS_rt_sigaction, [signal, std::ptr::from_ref(action) as u64, 0, 8, 0, 0])
    };
    let blocked = birth.mask;
    call(libc::SYS_rt_sigprocmask, [2, (&raw const blocked) as u64, 0, 8, 0, 0])?;
    for signal in 1..=64 {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            set(signal, &KernelSigaction { handler: 0, flags: 0, restorer: 0, mask: 0 })?;
        }
    }
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    for signal in birth.handled {
        let action = KernelSigaction {
            handler: birth.text + offset::SIGNAL,
            flags: crate::memory::hostcall::word(flags) | SA_RESTORER,
            restorer: birth.text + offset::RESTORE,
            mask: birth.mask,
        };
        set(*signal, &action)?;
    }
    Some(())
}
