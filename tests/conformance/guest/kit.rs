// SPDX-License-Identifier: Apache-2.0
//! What the cases share: raw calls, lines of output, children, scratch directories.

use std::{
    ffi::{CStr, CString},
    fmt,
    time::{Duration, Instant},
};

/// An argument of a raw system call.
pub trait Arg {
    /// As the register holds it.
    fn raw(self) -> usize;
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Arg for $type {
            fn raw(self) -> usize {
                self as usize
            }
        }
    )*};
}

numbers!(i32 u32 i64 u64 usize isize);

impl<T> Arg for *const T {
    fn raw(self) -> usize {
        self as usize
    }
}

impl<T> Arg for *mut T {
    fn raw(self) -> usize {
        self as usize
    }
}

impl Arg for &CStr {
    fn raw(self) -> usize {
        self.as_ptr() as usize
    }
}

impl Arg for &CString {
    fn raw(self) -> usize {
        self.as_ptr() as usize
    }
}

impl Arg for &[u8] {
    fn raw(self) -> usize {
        self.as_ptr() as usize
    }
}

impl Arg for &mut [u8] {
    fn raw(self) -> usize {
        self.as_mut_ptr() as usize
    }
}

/// What a system call returned; prints as the number or the errno's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ret(pub i64);

impl Ret {
    /// Of a libc function: -1 means errno.
    pub fn of(value: i64) -> Ret {
        if value == -1 { Ret(-i64::from(errno())) } else { Ret(value) }
    }

    /// The number; a failure ends the case.
    #[track_caller]
    pub fn ok(self) -> i64 {
        assert!(self.0 >= 0 || self.0 < -4095, "a call that should work failed: {self}");
        self.0
    }

    /// The number as a descriptor.
    #[track_caller]
    pub fn fd(self) -> i32 {
        self.ok() as i32
    }

    /// Only whether it worked, for results that vary.
    pub fn is_ok(self) -> String {
        if (-4095..0).contains(&self.0) { self.to_string() } else { "ok".to_owned() }
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i32::try_from(-self.0).ok().and_then(abi::Errno::from_raw) {
            Some(errno) if self.0 < 0 => f.write_str(errno.name()),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The errno of the last libc call.
pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A raw system call: `sys!(openat, libc::AT_FDCWD, c"file", libc::O_RDONLY, 0)`.
macro_rules! sys {
    ($name:ident $(, $arg:expr)* $(,)?) => {{
        #[allow(unused_imports, reason = "calls without arguments need no conversion")]
        use $crate::kit::Arg as _;
        $crate::kit::raw($crate::kit::number(stringify!($name)), &[$($arg.raw()),*])
    }};
}

/// Prints a line with one write(2), so that parents and children do not share a buffer.
macro_rules! say {
    ($($arg:tt)*) => { $crate::kit::print(&format!($($arg)*)) };
}

/// Prints expressions with what they came to: `show!(sys!(close, 99))` gives `close 99: EBADF`.
macro_rules! show {
    ($label:expr, $value:expr) => {
        $crate::kit::print(&format!("{}: {}", $label, $value))
    };
}

/// The number of a call, by its name.
pub fn number(name: &str) -> usize {
    let wanted = format!("NR_{}", name.to_uppercase());
    let found = (0..1024).find(|number| abi::num::Number(*number).name() == Some(&wanted));
    found.unwrap_or_else(|| panic!("no call named {name}")) as usize
}

/// Makes a raw call with up to six arguments.
pub fn raw(number: usize, args: &[usize]) -> Ret {
    let at = |index: usize| args.get(index).copied().unwrap_or(0);
    // Through libc: it knows each machine's calling convention.
    let value =
        unsafe { libc::syscall(number as libc::c_long, at(0), at(1), at(2), at(3), at(4), at(5)) };
    Ret::of(value)
}

/// Writes a line to standard output.
pub fn print(line: &str) {
    let line = format!("{line}\n");
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        let written = unsafe { libc::write(1, rest.as_ptr().cast(), rest.len()) };
        if written <= 0 {
            unsafe { libc::_exit(99) };
        }
        rest = &rest[written as usize..];
    }
}

/// Gives root's rights up for those of `uid:gid:group,group…`.
pub fn become_user(ids: &str) {
    let numbers = |text: &str| -> Vec<u32> { text.split(',').flat_map(str::parse).collect() };
    let parts: Vec<Vec<u32>> = ids.split(':').map(numbers).collect();
    let (uid, gid, groups) = (parts[0][0], parts[1][0], &parts[2]);
    sys!(setgroups, groups.len(), groups.as_ptr()).ok();
    sys!(setresgid, gid, gid, gid).ok();
    sys!(setresuid, uid, uid, uid).ok();
    // A process that changed its rights cannot look into its own `/proc` without this.
    sys!(prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0).ok();
}

/// Runs a case in a directory made for it, which is removed afterwards.
pub fn in_fresh_directory(case: fn()) {
    let mut template = *b"/tmp/guest-XXXXXX\0";
    let made = unsafe { libc::mkdtemp(template.as_mut_ptr().cast()) };
    assert!(!made.is_null(), "mkdtemp: {}", Ret::of(-1));
    let path = CStr::from_bytes_with_nul(&template).unwrap().to_str().unwrap().to_owned();
    std::env::set_current_dir(&path).unwrap();
    unsafe { libc::umask(0o022) };
    case();
    let _ = std::env::set_current_dir("/");
    let _ = std::fs::remove_dir_all(&path);
}

/// Runs `body` in a child; gives the wait status. The child exits with what `body` returns.
pub fn in_child(body: impl FnOnce() -> i32) -> i32 {
    wait_for(fork(body))
}

/// As [`in_child`], without the handlers that Rust's runtime has for the overflow of a stack.
pub fn in_plain_child(body: impl FnOnce() -> i32) -> i32 {
    in_child(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        body()
    })
}

/// Forks a child that runs `body` and exits with its result.
pub fn fork(body: impl FnOnce() -> i32) -> i32 {
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", Ret::of(-1));
    if pid == 0 {
        let code = body();
        unsafe { libc::_exit(code) };
    }
    pid
}

/// Waits for a child to end.
pub fn wait_for(pid: i32) -> i32 {
    let mut status = 0;
    loop {
        let got = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if got == pid {
            return status;
        }
        assert!(got == -1 && errno() == libc::EINTR, "waitpid: {}", Ret::of(i64::from(got)));
    }
}

/// A wait status in words.
pub fn status(status: i32) -> String {
    if libc::WIFEXITED(status) {
        format!("exited {}", libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        format!("killed by {}", signal(libc::WTERMSIG(status)))
    } else if libc::WIFSTOPPED(status) {
        format!("stopped by {}", signal(libc::WSTOPSIG(status)))
    } else if libc::WIFCONTINUED(status) {
        "continued".to_owned()
    } else {
        format!("status {status:#x}")
    }
}

/// A signal's name.
pub fn signal(number: i32) -> String {
    abi::Signal::from_raw(number).map_or_else(|| number.to_string(), |signal| signal.to_string())
}

/// Makes a file with these bytes and opens it for reading and writing.
pub fn file(name: &str, bytes: &[u8]) -> i32 {
    std::fs::write(name, bytes).unwrap();
    open(name, libc::O_RDWR)
}

/// open(2), which must work.
pub fn open(name: &str, flags: i32) -> i32 {
    let name = CString::new(name).unwrap();
    let fd = unsafe { libc::open(name.as_ptr(), flags, 0o644) };
    assert!(fd >= 0, "open {name:?}: {}", Ret::of(-1));
    fd
}

/// A pipe: its reading and its writing end.
pub fn pipe() -> (i32, i32) {
    let mut fds = [0; 2];
    assert_eq!(unsafe { libc::pipe(fds.as_mut_ptr()) }, 0);
    (fds[0], fds[1])
}

/// Closes descriptors.
pub fn close(fds: &[i32]) {
    for fd in fds {
        unsafe { libc::close(*fd) };
    }
}

/// Sleeps that many milliseconds.
pub fn sleep_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Whether `body` took nine tenths of `expected_ms` at least: `"waited"`. More it may take on any busy
/// machine.
pub fn duration(expected_ms: u64, body: impl FnOnce()) -> &'static str {
    let start = Instant::now();
    body();
    let is_enough = start.elapsed() * 10 >= Duration::from_millis(expected_ms * 9);
    if is_enough { "waited" } else { "too short" }
}

/// Whether `body` can be done in a quarter of `usual_ms`: `"at once"`. Once in a while no machine does.
pub fn at_once(usual_ms: u64, mut body: impl FnMut()) -> &'static str {
    let is_quick = || {
        let start = Instant::now();
        body();
        start.elapsed() * 4 < Duration::from_millis(usual_ms)
    };
    if std::iter::repeat_with(is_quick).take(50).any(|is_quick| is_quick) {
        "at once"
    } else {
        "waits"
    }
}

/// Waits until `done`, at most a minute.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        sleep_ms(2);
    }
}

/// The letter of a process's state, or of a thread's of this process.
pub fn state_of(id: i64) -> char {
    let read = |at: String| std::fs::read_to_string(at).ok();
    let stat =
        read(format!("/proc/self/task/{id}/stat")).or_else(|| read(format!("/proc/{id}/stat")));
    stat.and_then(|stat| stat.rsplit_once(") ")?.1.chars().next()).unwrap_or('?')
}

/// Waits until a process, or a thread of this one, sleeps for good: what it is about to do waits.
pub fn until_asleep(id: i64) {
    let mut looks = 0;
    until("somebody who sleeps", || {
        looks = if state_of(id) == 'S' { looks + 1 } else { 0 };
        looks > 5
    });
}

/// A page that children share.
pub fn shared_page() -> *mut u8 {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    map(4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1)
}

/// mmap(2) anywhere, which must work.
pub fn map(len: usize, prot: i32, flags: i32, fd: i32) -> *mut u8 {
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, 0) };
    assert!(at != libc::MAP_FAILED, "mmap: {}", Ret::of(-1));
    at.cast()
}

/// Nothing is asked of the result.
pub fn ignore<T>(_: T) {}

/// A pointer to a value.
pub fn at<T>(value: &T) -> *const T {
    value
}

/// SIGALRM in that many milliseconds.
pub fn alarm_ms(ms: i64) {
    let value = [0i64, 0, ms / 1000, ms % 1000 * 1000];
    sys!(setitimer, libc::ITIMER_REAL, value.as_ptr(), 0).ok();
}

/// Installs a handler.
pub fn handle(signal: i32, handler: extern "C" fn(i32), flags: i32) {
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = flags;
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }, 0);
}

/// Runs `child_…` of the same file in a fresh image of this program, with more arguments.
pub fn reexec(child: &str, args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg(child).args(args);
    command
}
