// SPDX-License-Identifier: Apache-2.0
//! The trace of system calls, in strace(1)'s format, from the table's types.
//!
//! A line is made when the call has finished, so that what it wrote can be shown. Guest memory is read
//! only while tracing; the guest may have changed it meanwhile: the line is for people, nothing else
//! may depend on it. In *stable* mode addresses, times and ids are left out, so that runs on the host and
//! on each platform can be compared.

mod filter;
mod memory;
mod structs;

use abi::{
    DirFd, Fd, FromReg, Gid, Mode, Pid, Signal, Symbolic, Tid, TimerId, Uid, UserAddr, UserCStr,
    UserPtr,
    addr::{In, InOut, Out},
    futex::FutexCommand,
    socket::{AddressFamily, SocketFlags, SocketType},
};
use sentry::{
    kernel::{Restart, Stop, SysResult},
    task::Current,
};

pub use self::filter::{Filter, configure, wants};
pub(crate) use self::structs::Pointee;
use crate::table;

/// As many bytes of a buffer are shown as strace(1) shows.
const SHOWN_BYTES: usize = 32;
/// As many elements of an array.
const SHOWN_ELEMENTS: usize = 16;

/// A line in the making.
pub struct Line<'a> {
    cx: &'a mut Current,
    text: String,
    args: [u64; 6],
    /// Which argument comes next.
    index: usize,
    /// The name of the argument being shown.
    name: &'static str,
    /// The result, if the call succeeded.
    value: Option<u64>,
    stable: bool,
}

impl std::fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("text", &self.text).finish_non_exhaustive()
    }
}

/// One line for a finished call; empty if the filter leaves it out.
pub fn line(cx: &mut Current, number: u64, args: [u64; 6], result: &SysResult<u64>) -> String {
    if !wants(number) {
        return String::new();
    }
    let value = result.as_ref().ok().copied();
    let stable = filter::is_stable();
    let mut line = Line { cx, text: String::new(), args, index: 0, name: "", value, stable };
    match crate::support::name(number) {
        Some(name) => line.text.push_str(name),
        None => line.text.push_str(&format!("syscall_{number:#x}")),
    }
    line.text.push('(');
    table::show_arguments(&mut line, number);
    line.text.push_str(") = ");
    line.show_result(number, result);
    line.text
}

/// Shows the next argument as a `T`. The table calls it once an argument.
pub(crate) fn argument<T: FromReg + Show>(line: &mut Line<'_>, name: &'static str) {
    if line.index > 0 {
        line.text.push_str(", ");
    }
    line.name = name;
    T::from_reg(line.arg(0)).show(line);
    line.index += 1;
}

/// Shows six registers of a call whose arguments nobody typed.
pub(crate) fn raw_arguments(line: &mut Line<'_>) {
    let shown: Vec<String> = line.args.iter().map(|arg| format!("{arg:#x}")).collect();
    line.push(&shown.join(", "));
}

impl Line<'_> {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The register `ahead` of the argument being shown.
    fn arg(&self, ahead: usize) -> u64 {
        self.args.get(self.index + ahead).copied().unwrap_or(0)
    }

    /// Whether what the call wrote may be looked at.
    fn succeeded(&self) -> bool {
        self.value.is_some()
    }

    fn push_address(&mut self, addr: UserAddr) {
        if addr.is_null() {
            self.push("NULL");
        } else if self.stable {
            self.push("ADDR");
        } else {
            self.push(&addr.to_string());
        }
    }

    /// Something that differs from run to run: left out of stable traces.
    fn push_volatile(&mut self, value: impl ToString) {
        let text = if self.stable { "...".to_owned() } else { value.to_string() };
        self.push(&text);
    }

    /// Bytes in quotes, escaped as strace(1) does; `more` says that there were more.
    fn push_quoted(&mut self, bytes: &[u8], more: bool) {
        self.text.push('"');
        let mut rest = bytes.iter().peekable();
        while let Some(byte) = rest.next() {
            match byte {
                b'"' => self.push("\\\""),
                b'\\' => self.push("\\\\"),
                b'\n' => self.push("\\n"),
                b'\r' => self.push("\\r"),
                b'\t' => self.push("\\t"),
                0x0b => self.push("\\v"),
                0x0c => self.push("\\f"),
                b' '..=b'~' => self.text.push(char::from(*byte)),
                // A short octal number would run into a following digit.
                _ if rest.peek().is_some_and(|next| next.is_ascii_digit()) => {
                    self.push(&format!("\\{byte:03o}"));
                }
                _ => self.push(&format!("\\{byte:o}")),
            }
        }
        self.text.push('"');
        if more {
            self.push("...");
        }
    }

    fn show_result(&mut self, number: u64, result: &SysResult<u64>) {
        match result {
            Ok(value) => self.show_value(number, *value),
            Err(Stop::Fail(errno)) => {
                self.push(&format!("-1 {} ({})", errno.name(), errno.message()));
            }
            Err(Stop::Restart(restart)) => self.push(match restart {
                Restart::IfSaRestart => "? ERESTARTSYS (To be restarted if SA_RESTART is set)",
                Restart::Always => "? ERESTARTNOINTR (To be restarted)",
                Restart::IfNoHandler => "? ERESTARTNOHAND (To be restarted if no handler)",
                Restart::WithBlock => "? ERESTART_RESTARTBLOCK (Interrupted by signal)",
                Restart::Never => "-1 EINTR (Interrupted system call)",
            }),
            Err(Stop::Exit(_) | Stop::Reloaded) => self.push("?"),
        }
    }

    fn show_value(&mut self, number: u64, value: u64) {
        use table::Sysno;
        match Sysno::from_number(number) {
            Some(Sysno::mmap | Sysno::mremap | Sysno::brk | Sysno::shmat) => {
                self.push_address(UserAddr(value));
            }
            Some(
                Sysno::getpid
                | Sysno::gettid
                | Sysno::getppid
                | Sysno::getpgrp
                | Sysno::getpgid
                | Sysno::getsid
                | Sysno::setsid
                | Sysno::fork
                | Sysno::vfork
                | Sysno::clone
                | Sysno::clone3
                | Sysno::wait4
                | Sysno::set_tid_address
                | Sysno::time
                | Sysno::times,
            ) if value != 0 => self.push_volatile(value as i64),
            Some(Sysno::umask) => self.push(&format!("0{value:o}")),
            _ => self.push(&(value as i64).to_string()),
        }
    }
}

/// How an argument prints.
pub(crate) trait Show {
    /// Writes it.
    fn show(self, line: &mut Line<'_>);
}

impl Show for i32 {
    fn show(self, line: &mut Line<'_>) {
        match line.name {
            "sig" | "signum" => match Signal::from_raw(self) {
                Some(signal) => line.push(&signal.to_string()),
                None => line.push(&self.to_string()),
            },
            "domain" => AddressFamily(self as u16).show(line),
            "kind" if AddressFamily(line.args[0] as u16).name().is_some() => {
                let flags = SocketFlags::from_bits_retain(self as u32 & !0xf);
                SocketType(self & 0xf).show(line);
                if !flags.is_empty() {
                    line.push("|");
                    flags.show(line);
                }
            }
            "op" => {
                FutexCommand(self & 0x7f).show(line);
                if self & 0x80 != 0 {
                    line.push("_PRIVATE");
                }
                if self & 0x100 != 0 {
                    line.push("|FUTEX_CLOCK_REALTIME");
                }
            }
            _ => line.push(&self.to_string()),
        }
    }
}

macro_rules! decimal {
    ($($type:ty)*) => {$(
        impl Show for $type {
            fn show(self, line: &mut Line<'_>) {
                line.push(&self.to_string());
            }
        }
    )*};
}

decimal!(u32 i64 usize Fd TimerId);

macro_rules! symbolic {
    ($($path:path),* $(,)?) => {$(
        impl Show for $path {
            fn show(self, line: &mut Line<'_>) {
                self.write_symbolic(&mut line.text);
            }
        }
    )*};
}

symbolic!(
    AddressFamily,
    SocketFlags,
    SocketType,
    FutexCommand,
    abi::epoll::EpollCreateFlags,
    abi::epoll::EpollEvents,
    abi::epoll::EpollOp,
    abi::eventfd::EventfdFlags,
    abi::fcntl::AtFlags,
    abi::fcntl::CloseRangeFlags,
    abi::fcntl::FallocateMode,
    abi::fcntl::FcntlCommand,
    abi::fcntl::FileAdvice,
    abi::fcntl::FlockOperation,
    abi::fcntl::RenameFlags,
    abi::fcntl::SpliceFlags,
    abi::fcntl::SyncFileRangeFlags,
    abi::fcntl::Whence,
    abi::inotify::InotifyInitFlags,
    abi::inotify::InotifyMask,
    abi::ioctl::IoctlRequest,
    abi::ipc::IpcCommand,
    abi::kcmp::KcmpType,
    abi::membarrier::MembarrierCommand,
    abi::mempolicy::MemoryPolicy,
    abi::mman::Advice,
    abi::mman::LockFlags,
    abi::mman::MapFlags,
    abi::mman::MemfdFlags,
    abi::mman::Mlock2Flags,
    abi::mman::RemapFlags,
    abi::mman::SyncFlags,
    abi::mount::FsconfigCommand,
    abi::mount::FsmountFlags,
    abi::mount::FsopenFlags,
    abi::mount::FspickFlags,
    abi::mount::ListmountFlags,
    abi::mount::MountAttrFlags,
    abi::mount::MountFlags,
    abi::mount::MoveMountFlags,
    abi::mount::OpenTreeFlags,
    abi::mount::UmountFlags,
    abi::pidfd::PidfdFlags,
    abi::pidfd::PidfdSignalFlags,
    abi::poll::PollEvents,
    abi::prctl::ArchPrctlOption,
    abi::prctl::PrctlOption,
    abi::ptrace::PtraceRequest,
    abi::random::GetrandomFlags,
    abi::resource::Resource,
    abi::resource::RusageWho,
    abi::sched::PriorityWhich,
    abi::sched::SchedPolicy,
    abi::seccomp::SeccompOperation,
    abi::signal::SaFlags,
    abi::signal::SigmaskHow,
    abi::signalfd::SignalfdFlags,
    abi::socket::MessageFlags,
    abi::socket::ShutdownHow,
    abi::stat::StatxMask,
    abi::time::ClockId,
    abi::time::IntervalTimer,
    abi::time::TimerFlags,
    abi::timerfd::TimerfdFlags,
    abi::timerfd::TimerfdSetFlags,
    abi::uio::RwFlags,
    abi::wait::IdType,
    abi::wait::WaitOptions,
    abi::xattr::XattrFlags,
);

impl Show for abi::mman::Prot {
    fn show(self, line: &mut Line<'_>) {
        if self.is_empty() {
            line.push("PROT_NONE");
        } else {
            self.write_symbolic(&mut line.text);
        }
    }
}

impl Show for abi::fcntl::AccessMode {
    fn show(self, line: &mut Line<'_>) {
        if self.is_empty() {
            line.push("F_OK");
        } else {
            self.write_symbolic(&mut line.text);
        }
    }
}

impl Show for abi::fcntl::OpenFlags {
    fn show(self, line: &mut Line<'_>) {
        use abi::fcntl::OpenFlags;
        match self & OpenFlags::ACCMODE {
            OpenFlags::RDONLY => line.push("O_RDONLY"),
            OpenFlags::WRONLY => line.push("O_WRONLY"),
            OpenFlags::RDWR => line.push("O_RDWR"),
            _ => line.push("O_ACCMODE"),
        }
        let rest = self.difference(OpenFlags::ACCMODE);
        if !rest.is_empty() {
            line.push("|");
            rest.write_symbolic(&mut line.text);
        }
    }
}

impl Show for abi::sched::CloneFlags {
    fn show(self, line: &mut Line<'_>) {
        let signal = self.bits() & abi::sched::CSIGNAL;
        let flags = abi::sched::CloneFlags::from_bits_retain(self.bits() & !abi::sched::CSIGNAL);
        flags.write_symbolic(&mut line.text);
        if let Some(signal) = Signal::from_raw(signal as i32) {
            line.push(&format!("|{signal}"));
        }
    }
}

impl Show for u64 {
    fn show(self, line: &mut Line<'_>) {
        if self < 4096 || line.name.contains("len") || line.name == "offset" {
            line.push(&self.to_string());
        } else if self > 1 << 32 && line.stable {
            line.push("ADDR");
        } else {
            line.push(&format!("{self:#x}"));
        }
    }
}

impl Show for UserAddr {
    fn show(self, line: &mut Line<'_>) {
        line.push_address(self);
    }
}

impl Show for DirFd {
    fn show(self, line: &mut Line<'_>) {
        if self == DirFd::CWD {
            line.push("AT_FDCWD");
        } else {
            line.push(&self.to_string());
        }
    }
}

macro_rules! task_ids {
    ($($type:ty)*) => {$(
        impl Show for $type {
            fn show(self, line: &mut Line<'_>) {
                if self.0 > 0 { line.push_volatile(self) } else { line.push(&self.to_string()) }
            }
        }
    )*};
}

task_ids!(Pid Tid);

macro_rules! owners {
    ($($type:ty)*) => {$(
        impl Show for $type {
            fn show(self, line: &mut Line<'_>) {
                match self.given() {
                    Some(id) => line.push(&id.to_string()),
                    None => line.push("-1"),
                }
            }
        }
    )*};
}

owners!(Uid Gid);

impl Show for Mode {
    fn show(self, line: &mut Line<'_>) {
        structs::show_mode(line, self.0);
    }
}

impl Show for UserCStr {
    fn show(self, line: &mut Line<'_>) {
        if self.addr().is_null() {
            return line.push("NULL");
        }
        match memory::read_string(line.cx, self.addr(), abi::limits::PATH_MAX) {
            Some((bytes, whole)) => line.push_quoted(&bytes, !whole),
            None => line.push_address(self.addr()),
        }
    }
}

/// Which way a pointer is used, and so when what it points at is worth showing.
pub(crate) trait Direction {
    /// Whether it was there before the call.
    const READ: bool;
}

impl Direction for In {
    const READ: bool = true;
}

impl Direction for InOut {
    const READ: bool = true;
}

impl Direction for Out {
    const READ: bool = false;
}

impl<T: Pointee, D: Direction> Show for UserPtr<T, D> {
    fn show(self, line: &mut Line<'_>) {
        let worth = D::READ || line.succeeded();
        if self.addr().is_null() || !worth || !T::show_at(line, self.addr(), D::READ) {
            line.push_address(self.addr());
        }
    }
}
