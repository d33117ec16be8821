// SPDX-License-Identifier: Apache-2.0
//! execve(2), execveat(2).
//!
//! Covers: execve, execveat.

use std::os::unix::fs::PermissionsExt;

use crate::kit;

fn exec(path: &std::ffi::CStr) -> kit::Ret {
    let argv = [path.as_ptr(), std::ptr::null()];
    let envp = [std::ptr::null::<u8>()];
    sys!(execve, path, argv.as_ptr(), envp.as_ptr())
}

fn script(name: &str, text: &str, mode: u32) {
    std::fs::write(name, text).unwrap();
    std::fs::set_permissions(name, PermissionsExt::from_mode(mode)).unwrap();
}

pub fn errors() {
    script("plain", "no header", 0o755);
    script("closed", "#!/bin/sh", 0o644);
    script("interp", "#!/does/not/exist", 0o755);
    script("empty", "", 0o755);
    script("bare", "#!", 0o755);
    show!("missing", exec(c"./none"));
    show!("directory", exec(c"."));
    show!("not executable", exec(c"./closed"));
    show!("no format", exec(c"./plain"));
    show!("empty", exec(c"./empty"));
    show!("no interpreter named", exec(c"./bare"));
    show!("interpreter missing", exec(c"./interp"));
    show!("below a file", exec(c"./plain/x"));
    show!("null", sys!(execve, 0, 0, 0));
    script("elf", "\x7fELF and nothing more", 0o755);
    show!("broken ELF", exec(c"./elf"));
    script("loop", "#!./loop", 0o755);
    show!("its own interpreter", exec(c"./loop"));
    show!("at flags", sys!(execveat, -100, c"./plain", 0, 0, 1));
    show!("at closed", sys!(execveat, 99, c"plain", 0, 0, 0));
    show!("at nofollow link", {
        std::os::unix::fs::symlink("plain", "l").unwrap();
        sys!(execveat, -100, c"l", 0, 0, libc::AT_SYMLINK_NOFOLLOW)
    });
}

pub fn arguments_and_environment() {
    let output = kit::reexec("task/exec/child_shows", &["one", "", "three words"])
        .env_clear()
        .env("A", "1")
        .env("B", "")
        .output()
        .unwrap();
    say!("{}", String::from_utf8_lossy(&output.stdout).trim_end());
}

pub fn child_shows() {
    let args: Vec<String> = std::env::args().skip(2).collect();
    let mut env: Vec<String> = std::env::vars().map(|(k, v)| format!("{k}={v}")).collect();
    env.sort();
    say!("{args:?} {env:?}");
}

pub fn what_stays_and_goes() {
    let fd = kit::file("f", b"0123456789");
    sys!(lseek, fd, 4, 0).ok();
    sys!(dup2, fd, 70).ok();
    sys!(dup3, fd, 71, libc::O_CLOEXEC).ok();
    sys!(umask, 0o077).ok();
    sys!(prctl, libc::PR_SET_NAME, c"before", 0, 0, 0).ok();
    let pid = sys!(getpid).ok().to_string();
    let status = kit::in_child(|| {
        let mut command = kit::reexec("task/exec/child_inherits", &[&pid]);
        let error = std::os::unix::process::CommandExt::exec(&mut command);
        say!("exec: {error}");
        1
    });
    show!("end", kit::status(status));
}

pub fn child_inherits() {
    let parent: i64 = std::env::args().nth(2).unwrap().parse().unwrap();
    show!("same parent", sys!(getppid).ok() == parent);
    show!("open", sys!(lseek, 70, 0, libc::SEEK_CUR));
    show!("closed", sys!(lseek, 71, 0, libc::SEEK_CUR));
    show!("umask", format!("{:o}", sys!(umask, 0).ok()));
    let mut name = [0u8; 16];
    sys!(prctl, libc::PR_GET_NAME, name.as_mut_ptr(), 0, 0, 0).ok();
    let len = name.iter().position(|b| *b == 0).unwrap();
    show!("name", String::from_utf8_lossy(&name[..len]));
    show!("cwd", std::path::Path::new("f").exists());
}

pub fn scripts() {
    let me = std::fs::read_link("/proc/self/exe").unwrap();
    script("s", &format!("#!{} task/exec/child_shows \nrest", me.display()), 0o755);
    script("deep", "#!./s", 0o755);
    let run = |name: &str| {
        let output = std::process::Command::new(name).arg("x").env_clear().output();
        match output {
            Ok(output) => String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
            Err(error) => format!("{error}"),
        }
    };
    show!("script", run("./s"));
    show!("two deep", run("./deep"));
}

pub fn descriptor() {
    let fd = kit::open("/proc/self/exe", libc::O_RDONLY | libc::O_CLOEXEC);
    let status = kit::in_child(|| {
        let argv = [c"guest".as_ptr(), c"task/exec/child_shows".as_ptr(), c"z".as_ptr(), std::ptr::null()];
        let envp = [std::ptr::null::<u8>()];
        sys!(execveat, fd, c"", argv.as_ptr(), envp.as_ptr(), libc::AT_EMPTY_PATH);
        1
    });
    show!("fexecve", kit::status(status));
}

pub fn other_threads_end() {
    let status = kit::in_child(|| {
        for _ in 0..3 {
            std::thread::spawn(|| loop {
                kit::sleep_ms(1000);
            });
        }
        kit::sleep_ms(20);
        // From a thread that is not the leader: it takes over the leader's id.
        let pid = sys!(getpid).ok().to_string();
        let thread = std::thread::spawn(move || {
            let mut command = kit::reexec("task/exec/child_alone", &[&pid]);
            std::os::unix::process::CommandExt::exec(&mut command)
        });
        let _ = thread.join();
        1
    });
    show!("end", kit::status(status));
}

pub fn child_alone() {
    let pid: i64 = std::env::args().nth(2).unwrap().parse().unwrap();
    show!("same pid", sys!(getpid).ok() == pid);
    show!("leader", sys!(gettid).ok() == pid);
    show!("threads", std::fs::read_dir("/proc/self/task").unwrap().count());
}
