// SPDX-License-Identifier: Apache-2.0
//! How what arguments point at prints.

use abi::{
    SigInfo, SigSet, Signal, Symbolic, UserAddr, UserCStr,
    cred::{CapUserData, CapUserHeader},
    epoll::{EpollEvent, EpollEvents},
    fcntl::{OpenFlags, OpenHow},
    fileattr::FileAttr,
    futex::FutexWaitv,
    ipc::{MqAttr, Msqid64Ds, Sembuf, Shmid64Ds},
    mman::{Cachestat, CachestatRange},
    mount::{MountAttr, MountIdRequest, StatFs, Ustat},
    num,
    poll::{PollEvents, PollFd, SigSetWithSize},
    resource::{Rlimit64, Rusage},
    rseq::Rseq,
    sched::{CloneArgs, CloneFlags, SchedAttr, SchedParam},
    signal::{SaFlags, SigAction, SigEvent, StackT},
    socket::{AddressFamily, MessageFlags, Mmsghdr, Msghdr, SockaddrStorage},
    stat::{self, Stat, Statx},
    sysinfo::Sysinfo,
    time::{Itimerspec, Itimerval, Timespec, Timeval, Timex, Timezone, Tms, Utimbuf},
    uio::Iovec,
    utsname::NewUtsname,
    xattr::XattrArgs,
};

use super::{Line, SHOWN_BYTES, SHOWN_ELEMENTS, Show, memory};

/// What a pointer may point at.
pub(crate) trait Pointee {
    /// Shows what lies at `addr`; `false`, with nothing written, if it cannot be read or says nothing.
    /// `before`: it was there before the call, so its size is an argument's and not the result's.
    fn show_at(line: &mut Line<'_>, addr: UserAddr, before: bool) -> bool;
}

/// A structure that prints its fields.
trait Fields: zerocopy::FromBytes + zerocopy::IntoBytes {
    fn fields(&self, line: &mut Line<'_>);
}

macro_rules! structures {
    ($($type:ty: |$value:ident, $line:ident| $body:block)*) => {$(
        impl Fields for $type {
            fn fields(&self, $line: &mut Line<'_>) {
                let $value = self;
                $body
            }
        }

        impl Pointee for $type {
            fn show_at(line: &mut Line<'_>, addr: UserAddr, _before: bool) -> bool {
                match memory::read::<$type>(line.cx, addr) {
                    Some(value) => value.fields(line),
                    None => return false,
                }
                true
            }
        }
    )*};
}

/// Types that print as an address only.
macro_rules! opaque {
    ($($type:ty)*) => {$(
        impl Pointee for $type {
            fn show_at(_line: &mut Line<'_>, _addr: UserAddr, _before: bool) -> bool {
                false
            }
        }
    )*};
}

opaque!(
    CapUserData Msqid64Ds Shmid64Ds MqAttr Ustat Rseq Timex Tms Timezone Sysinfo Statx XattrArgs
    Cachestat CachestatRange FileAttr MountAttr MountIdRequest SchedAttr Rusage Sembuf FutexWaitv SigSetWithSize Utimbuf SigEvent
);

/// A number in brackets, as strace(1) shows what a pointer to one points at.
macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Pointee for $type {
            fn show_at(line: &mut Line<'_>, addr: UserAddr, _before: bool) -> bool {
                let Some(value) = memory::read::<$type>(line.cx, addr) else { return false };
                match line.name {
                    "wstatus" => show_wait_status(line, value as i32),
                    "parent_tid" | "child_tid" | "tloc" => line.push_volatile(format!("[{value}]")),
                    _ => line.push(&format!("[{value}]")),
                }
                true
            }
        }
    )*};
}

numbers!(i32 u32 i64 u64);

fn show_wait_status(line: &mut Line<'_>, status: i32) {
    let signal = |number: i32| {
        Signal::from_raw(number).map_or_else(|| number.to_string(), |signal| signal.to_string())
    };
    let text = match (status & 0x7f, status >> 8 & 0xff) {
        _ if status == abi::wait::CONTINUED => "WIFCONTINUED(s)".to_owned(),
        (0, code) => format!("WIFEXITED(s) && WEXITSTATUS(s) == {code}"),
        (0x7f, number) => format!("WIFSTOPPED(s) && WSTOPSIG(s) == {}", signal(number)),
        (number, _) => format!("WIFSIGNALED(s) && WTERMSIG(s) == {}", signal(number)),
    };
    line.push(&format!("[{{{text}}}]"));
}

/// A mode, its file type by name.
pub(super) fn show_mode(line: &mut Line<'_>, mode: u32) {
    let kind = match mode & stat::S_IFMT {
        stat::S_IFREG => "S_IFREG|",
        stat::S_IFDIR => "S_IFDIR|",
        stat::S_IFLNK => "S_IFLNK|",
        stat::S_IFCHR => "S_IFCHR|",
        stat::S_IFBLK => "S_IFBLK|",
        stat::S_IFIFO => "S_IFIFO|",
        stat::S_IFSOCK => "S_IFSOCK|",
        _ => "",
    };
    line.push(&format!("{kind}0{:o}", mode & !stat::S_IFMT));
}

fn show_set(line: &mut Line<'_>, set: SigSet) {
    let (sign, set) = if set.0.count_ones() > 32 { ("~", set.complement()) } else { ("", set) };
    let names: Vec<String> = set
        .iter()
        .map(|signal| signal.to_string())
        .map(|name| name.strip_prefix("SIG").map_or(name.clone(), str::to_owned))
        .collect();
    line.push(&format!("{sign}[{}]", names.join(" ")));
}

/// A pair of a wide and a narrow number. Times that the call gave are left out of stable traces.
fn show_time(line: &mut Line<'_>, names: (&str, &str), seconds: i64, fraction: i64) {
    let text = format!("{{{}={seconds}, {}={fraction}}}", names.0, names.1);
    line.push_volatile(text);
}

structures! {
    Timespec: |t, line| { show_time(line, ("tv_sec", "tv_nsec"), t.tv_sec, t.tv_nsec) }
    Timeval: |t, line| { show_time(line, ("tv_sec", "tv_usec"), t.tv_sec, t.tv_usec) }
    Itimerspec: |t, line| {
        line.push("{it_interval=");
        t.it_interval.fields(line);
        line.push(", it_value=");
        t.it_value.fields(line);
        line.push("}");
    }
    Itimerval: |t, line| {
        line.push("{it_interval=");
        t.it_interval.fields(line);
        line.push(", it_value=");
        t.it_value.fields(line);
        line.push("}");
    }
    Stat: |s, line| {
        line.push("{st_mode=");
        show_mode(line, s.st_mode);
        line.push(&format!(", st_size={}, ...}}", s.st_size));
    }
    StatFs: |s, line| { line.push(&format!("{{f_type={:#x}, ...}}", s.f_type)) }
    SigSet: |s, line| { show_set(line, *s) }
    SigAction: |s, line| {
        line.push("{sa_handler=");
        match s.sa_handler {
            abi::signal::SIG_DFL => line.push("SIG_DFL"),
            abi::signal::SIG_IGN => line.push("SIG_IGN"),
            handler => line.push_address(UserAddr(handler)),
        }
        line.push(", sa_mask=");
        show_set(line, s.sa_mask);
        line.push(", sa_flags=");
        SaFlags::from_bits_retain(s.sa_flags).show(line);
        line.push("}");
    }
    SigInfo: |s, line| {
        let name = s.signal().map_or_else(|| s.si_signo.to_string(), |signal| signal.to_string());
        line.push(&format!("{{si_signo={name}, si_code={}, ...}}", s.si_code));
    }
    StackT: |s, line| {
        line.push("{ss_sp=");
        line.push_address(UserAddr(s.ss_sp));
        line.push(&format!(", ss_flags={:#x}, ss_size={}}}", s.ss_flags, s.ss_size));
    }
    Rlimit64: |r, line| {
        let text = |limit: u64| match limit {
            abi::resource::RLIM_INFINITY => "RLIM64_INFINITY".to_owned(),
            _ => limit.to_string(),
        };
        line.push(&format!("{{rlim_cur={}, rlim_max={}}}", text(r.rlim_cur), text(r.rlim_max)));
    }
    OpenHow: |h, line| {
        line.push("{flags=");
        OpenFlags::from_bits_retain(h.flags as u32).show(line);
        line.push(&format!(", mode=0{:o}, resolve={:#x}}}", h.mode, h.resolve));
    }
    CloneArgs: |c, line| {
        line.push("{flags=");
        CloneFlags::from_bits_retain(c.flags).show(line);
        line.push(&format!(", exit_signal={}, ...}}", c.exit_signal));
    }
    SchedParam: |p, line| { line.push(&format!("[{}]", p.sched_priority)) }
    CapUserHeader: |h, line| {
        line.push(&format!("{{version={:#x}, pid=", h.version));
        line.push_volatile(h.pid);
        line.push("}");
    }
    NewUtsname: |u, line| {
        let name: Vec<u8> = u.nodename.iter().copied().take_while(|byte| *byte != 0).collect();
        line.push("{nodename=");
        line.push_quoted(&name, false);
        line.push(", ...}");
    }
    Msghdr: |m, line| {
        line.push(&format!("{{msg_namelen={}, msg_iov=", m.msg_namelen));
        if !show_iovecs(line, UserAddr(m.msg_iov), m.msg_iovlen) {
            line.push_address(UserAddr(m.msg_iov));
        }
        line.push(&format!(", msg_controllen={}, msg_flags=", m.msg_controllen));
        MessageFlags::from_bits_retain(m.msg_flags).write_symbolic(&mut line.text);
        line.push("}");
    }
    Mmsghdr: |m, line| {
        line.push("{msg_hdr=");
        m.msg_hdr.fields(line);
        line.push(&format!(", msg_len={}}}", m.msg_len));
    }
}

macro_rules! pairs {
    ($($type:ty)*) => {$(
        impl Pointee for [$type; 2] {
            fn show_at(line: &mut Line<'_>, addr: UserAddr, _before: bool) -> bool {
                let Some([first, second]) = memory::read::<[$type; 2]>(line.cx, addr) else {
                    return false;
                };
                line.push("[");
                first.fields(line);
                line.push(", ");
                second.fields(line);
                line.push("]");
                true
            }
        }
    )*};
}

pairs!(Timespec Timeval);

impl Pointee for [i32; 2] {
    fn show_at(line: &mut Line<'_>, addr: UserAddr, _before: bool) -> bool {
        let Some([first, second]) = memory::read::<[i32; 2]>(line.cx, addr) else { return false };
        line.push(&format!("[{first}, {second}]"));
        true
    }
}

/// Up to [`SHOWN_ELEMENTS`] of `count` elements, each shown by `show`.
fn show_array<T: zerocopy::FromBytes + zerocopy::IntoBytes>(
    line: &mut Line<'_>,
    addr: UserAddr,
    count: u64,
    show: impl Fn(&mut Line<'_>, T),
) -> bool {
    let start = line.text.len();
    line.push("[");
    let shown = count.min(num::to_u64(SHOWN_ELEMENTS));
    for index in 0..shown {
        let element = addr.checked_add(index * num::to_u64(size_of::<T>())).ok();
        let Some(value) = element.and_then(|at| memory::read::<T>(line.cx, at)) else {
            line.text.truncate(start);
            return false;
        };
        if index > 0 {
            line.push(", ");
        }
        show(line, value);
    }
    line.push(if count > shown { ", ...]" } else { "]" });
    true
}

fn show_iovecs(line: &mut Line<'_>, addr: UserAddr, count: u64) -> bool {
    show_array::<Iovec>(line, addr, count, |line, iov| {
        line.push("{iov_base=");
        if !show_buffer(line, UserAddr(iov.iov_base), iov.iov_len) {
            line.push_address(UserAddr(iov.iov_base));
        }
        line.push(&format!(", iov_len={}}}", iov.iov_len));
    })
}

/// The first bytes of a buffer.
fn show_buffer(line: &mut Line<'_>, addr: UserAddr, len: u64) -> bool {
    let shown = num::to_usize(len).min(SHOWN_BYTES);
    let mut bytes = vec![0; shown];
    if !memory::read_bytes(line.cx, addr, &mut bytes) {
        return false;
    }
    line.push_quoted(&bytes, len > num::to_u64(shown));
    true
}

impl Pointee for u8 {
    fn show_at(line: &mut Line<'_>, addr: UserAddr, before: bool) -> bool {
        let room = line.arg(1);
        let len = if before { room } else { line.value.unwrap_or(0).min(room) };
        show_buffer(line, addr, len)
    }
}

impl Pointee for Iovec {
    fn show_at(line: &mut Line<'_>, addr: UserAddr, _before: bool) -> bool {
        let count = line.arg(1);
        show_iovecs(line, addr, count)
    }
}

impl Pointee for PollFd {
    fn show_at(line: &mut Line<'_>, addr: UserAddr, _before: bool) -> bool {
        let count = line.arg(1);
        show_array::<PollFd>(line, addr, count, |line, poll| {
            line.push(&format!("{{fd={}, events=", poll.fd));
            PollEvents::from_bits_retain(poll.events).show(line);
            line.push(", revents=");
            PollEvents::from_bits_retain(poll.revents).show(line);
            line.push("}");
        })
    }
}

impl Pointee for EpollEvent {
    fn show_at(line: &mut Line<'_>, addr: UserAddr, before: bool) -> bool {
        // epoll_ctl(2) hands one in; epoll_wait(2) hands as many out as it returns.
        let count = if before { 1 } else { line.value.unwrap_or(0) };
        show_array::<EpollEvent>(line, addr, count, |line, event| {
            line.push("{events=");
            EpollEvents::from_bits_retain(event.events).show(line);
            line.push(", data=");
            let data = event.data;
            data.show(line);
            line.push("}");
        })
    }
}

impl Pointee for UserCStr {
    fn show_at(line: &mut Line<'_>, addr: UserAddr, _before: bool) -> bool {
        if line.name == "envp" {
            return false;
        }
        let start = line.text.len();
        line.push("[");
        for index in 0..SHOWN_ELEMENTS {
            let at = addr.checked_add(num::to_u64(index) * 8).ok();
            let Some(pointer) = at.and_then(|at| memory::read::<u64>(line.cx, at)) else {
                line.text.truncate(start);
                return false;
            };
            if pointer == 0 {
                line.push("]");
                return true;
            }
            if index > 0 {
                line.push(", ");
            }
            UserCStr(UserAddr(pointer)).show(line);
        }
        line.push(", ...]");
        true
    }
}

impl Pointee for SockaddrStorage {
    fn show_at(line: &mut Line<'_>, addr: UserAddr, before: bool) -> bool {
        // The length is the next argument, or what that points at.
        let len = if before {
            Some(line.arg(1) as u32)
        } else {
            let pointer = UserAddr(line.arg(1));
            memory::read::<u32>(line.cx, pointer)
        };
        let Some(len) = len else { return false };
        let mut bytes = vec![0; (len as usize).min(128)];
        if !memory::read_bytes(line.cx, addr, &mut bytes) {
            return false;
        }
        show_sockaddr(line, &bytes);
        true
    }
}

fn show_sockaddr(line: &mut Line<'_>, bytes: &[u8]) {
    let Some((family, rest)) = bytes.split_first_chunk::<2>() else { return line.push("{}") };
    let family = AddressFamily(u16::from_ne_bytes(*family));
    line.push("{sa_family=");
    family.show(line);
    match (family.0, rest) {
        (abi::socket::AF_UNIX, [0, name @ ..]) => {
            line.push(", sun_path=@");
            line.push_quoted(name, false);
        }
        (abi::socket::AF_UNIX, path) => {
            let path: Vec<u8> = path.iter().copied().take_while(|byte| *byte != 0).collect();
            line.push(", sun_path=");
            line.push_quoted(&path, false);
        }
        (abi::socket::AF_INET, [p0, p1, a, b, c, d, ..]) => {
            let port = u16::from_be_bytes([*p0, *p1]);
            line.push(&format!(
                ", sin_port=htons({port}), sin_addr=inet_addr(\"{a}.{b}.{c}.{d}\")"
            ));
        }
        _ => {
            line.push(", sa_data=");
            line.push_quoted(rest.get(..14).unwrap_or(rest), rest.len() > 14);
        }
    }
    line.push("}");
}
