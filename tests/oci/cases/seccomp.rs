// SPDX-License-Identifier: Apache-2.0
//! The guest's own filter of system calls.
use anyhow::{Result, ensure};
use serde_json::json;
use tests::oci::bed::{Bed, ID};

fn filter(bed: &mut Bed, syscalls: serde_json::Value) {
    let architecture =
        if cfg!(target_arch = "x86_64") { "SCMP_ARCH_X86_64" } else { "SCMP_ARCH_AARCH64" };
    bed.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [architecture],
            "syscalls": syscalls}),
    );
}

pub fn a_refused_call_has_its_errno(bed: &mut Bed) -> Result<()> {
    filter(
        bed,
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]),
    );
    bed.shell("mkdir /tmp/d; echo $?");
    let ended = bed.run()?;
    ensure!(ended.out == "1\n" && ended.err.contains("No space left"), "{ended:?}");
    Ok(())
}

pub fn eperm_is_the_default(bed: &mut Bed) -> Result<()> {
    filter(bed, json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]));
    bed.shell("mkdir /tmp/d; echo $?");
    let ended = bed.run()?;
    ensure!(ended.out == "1\n" && ended.err.contains("Operation not permitted"), "{ended:?}");
    Ok(())
}

pub fn arguments_are_compared(bed: &mut Bed) -> Result<()> {
    filter(
        bed,
        json!([{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
            "args": [{"index": 1, "value": 12, "op": "SCMP_CMP_EQ"}]}]),
    );
    bed.shell("trap '' USR1; kill -USR1 $$ && echo one; kill -USR2 $$ 2>/dev/null || echo refused");
    bed.run()?.is(0, "one\nrefused\n")
}

pub fn a_killing_call(bed: &mut Bed) -> Result<()> {
    filter(bed, json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]));
    bed.shell("mkdir /tmp/d; echo $?");
    bed.run()?.is(0, "159\n")
}

pub fn the_status_shows_it(bed: &mut Bed) -> Result<()> {
    bed.prints("grep Seccomp: /proc/self/status", "Seccomp:\t0\n")?;
    filter(bed, json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]));
    bed.prints("grep Seccomp: /proc/self/status", "Seccomp:\t2\n")
}

pub fn it_holds_for_exec_too(bed: &mut Bed) -> Result<()> {
    filter(
        bed,
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]),
    );
    bed.started()?;
    let ended = bed.call(&["exec", ID, "mkdir", "/tmp/d"])?;
    ensure!(ended.code == 1 && ended.err.contains("No space left"), "{ended:?}");
    Ok(())
}

pub fn a_default_that_refuses(bed: &mut Bed) -> Result<()> {
    // What this shell needs, and no more.
    bed.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "syscalls": [{"names": ["read", "write", "open", "openat", "close", "fstat", "newfstatat",
                "lseek", "mmap", "mprotect", "munmap", "brk", "rt_sigaction", "rt_sigprocmask",
                "rt_sigreturn", "ioctl", "access", "dup2", "dup3", "fcntl", "getpid", "getppid",
                "getuid", "geteuid", "getgid", "getegid", "getcwd", "arch_prctl", "exit",
                "exit_group", "execve", "stat", "set_tid_address", "set_robust_list", "rseq",
                "prlimit64", "readlink", "readlinkat", "getrandom", "prctl", "futex", "capget",
                "capset", "setuid", "setgid", "setgroups", "fstatfs", "getdents64", "chdir",
                "sigaltstack", "tgkill", "gettid", "clone", "clone3", "nanosleep", "epoll_ctl",
                "epoll_pwait", "epoll_create1", "eventfd2", "pipe2", "madvise", "openat2", "statx",
                "faccessat", "faccessat2", "uname", "sched_yield", "sched_getaffinity",
                "clock_nanosleep", "clock_gettime", "poll", "ppoll", "wait4", "statfs"],
                "action": "SCMP_ACT_ALLOW"}]}),
    );
    bed.shell("echo fine; umask 0; echo x >/tmp/f; chmod 7 /tmp/f 2>/dev/null || echo refused");
    bed.run()?.is(0, "fine\nrefused\n")
}

pub fn an_unknown_action(bed: &mut Bed) -> Result<()> {
    filter(bed, json!([{"names": ["mkdir"], "action": "SCMP_ACT_BOGUS"}]));
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "SCMP_ACT_BOGUS")
}

pub fn an_unknown_name_is_passed_over(bed: &mut Bed) -> Result<()> {
    filter(bed, json!([{"names": ["no_such_call", "mkdir"], "action": "SCMP_ACT_ERRNO"}]));
    bed.prints("echo fine", "fine\n")
}
