// SPDX-License-Identifier: Apache-2.0
//! A bundle, a state directory, and calls of one runtime over them.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::{
    bundle,
    console::{ConsoleSocket, Terminal},
    host,
    isolated::{Reaper, code},
    runtime::Runtime,
};

/// No single call takes longer.
pub const CALL: Duration = Duration::from_secs(90);
/// How long what belongs to a container may outlive its delete.
const GRACE: Duration = Duration::from_secs(20);
/// How long something may take that happens soon.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The container's name, unless a case needs another.
pub const ID: &str = "c1";

/// How a call ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The exit code, as a shell shows it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// The lines that the call appended to the log.
    pub log: Vec<Value>,
}

impl Ended {
    /// The message of the last error in the log: what engines show to people.
    pub fn last_error(&self) -> Option<&str> {
        let is_error = |line: &&Value| line.get("level").is_some_and(|it| it == "error");
        self.log.iter().rev().find(is_error)?.get("msg")?.as_str()
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("not JSON: {:?}", self.out))
    }

    /// Fails unless the exit code and standard output are these.
    pub fn is(&self, code: i32, out: &str) -> Result<()> {
        ensure!(self.code == code && self.out == out, "{code} and {out:?} wanted, but {self:?}");
        Ok(())
    }
}

/// What a case works with. Dropped by [`Bed::finish`], which counts what is left.
#[derive(Debug)]
pub struct Bed {
    /// The runtime under test.
    pub runtime: Runtime,
    /// The configuration; [`Bed::save`] writes it.
    pub config: Value,
    /// Flags before the command.
    pub globals: Vec<String>,
    /// How orphaned processes ended.
    pub reaper: Reaper,
    /// The container's cgroup.
    pub cgroup: String,
    dir: tempfile::TempDir,
    log_seen: usize,
    mounts: usize,
    fds: usize,
}

/// A call that is still running.
#[derive(Debug)]
pub struct Running {
    child: Child,
    out: mpsc::Receiver<Vec<u8>>,
    err: mpsc::Receiver<Vec<u8>>,
}

impl Running {
    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(i32::MAX)
    }

    /// Its standard input; once.
    pub fn stdin(&mut self) -> Result<std::process::ChildStdin> {
        self.child.stdin.take().context("standard input was taken")
    }
}

impl Bed {
    /// A fresh bundle for this runtime.
    pub fn new(runtime: Runtime) -> Result<Bed> {
        let dir = tempfile::Builder::new().prefix("oci.").tempdir()?;
        let name = dir.path().file_name().and_then(OsStr::to_str).context("a name")?;
        let cgroup = format!("/oci-test-{}", name.replace('.', "-"));
        let bed = Bed {
            config: bundle::config(&cgroup),
            runtime,
            globals: Vec::new(),
            reaper: Reaper::default(),
            cgroup,
            log_seen: 0,
            mounts: host::mounts(),
            fds: host::fds(),
            dir,
        };
        bundle::root_file_system(&bed.rootfs())?;
        fs::create_dir_all(bed.path("tmp"))?;
        Ok(bed)
    }

    /// A path beside the bundle.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The bundle.
    pub fn bundle(&self) -> PathBuf {
        self.path("bundle")
    }

    /// The container's root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    /// The directory of `--root`.
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// A file of the container's root file system.
    pub fn guest_file(&self, name: &str) -> Result<String> {
        let path = self.rootfs().join(name.trim_start_matches('/'));
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// Writes `config.json`.
    pub fn save(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.config)?;
        Ok(fs::write(self.bundle().join("config.json"), text)?)
    }

    /// Sets a value of the configuration by its JSON pointer; what is not there is made.
    pub fn set(&mut self, pointer: &str, value: Value) {
        let mut at = &mut self.config;
        for key in pointer.trim_start_matches('/').split('/') {
            if let (Ok(index), Value::Array(list)) = (key.parse::<usize>(), &*at)
                && index < list.len()
            {
                at = &mut at[index];
                continue;
            }
            at = &mut at[key];
        }
        *at = value;
    }

    /// Takes a value out of the configuration.
    pub fn unset(&mut self, pointer: &str) {
        let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        if let Some(Value::Object(fields)) = self.config.pointer_mut(parent) {
            fields.remove(key);
        }
    }

    /// Appends to a list of the configuration; one that is not there is made.
    pub fn push(&mut self, pointer: &str, value: Value) {
        match self.config.pointer_mut(pointer) {
            Some(Value::Array(list)) => list.push(value),
            _ => self.set(pointer, json!([value])),
        }
    }

    /// Has the container run a script.
    pub fn shell(&mut self, script: &str) {
        self.set("/process/args", json!(["sh", "-c", script]));
    }

    /// A call of the runtime, with `--root` and a JSON log as engines give them.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.runtime.path);
        command.args(self.arguments(args)).current_dir(self.dir.path());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("TMPDIR", self.path("tmp"));
        command
    }

    /// The arguments of such a call, without the program.
    pub fn arguments<S: AsRef<OsStr>>(&self, args: &[S]) -> Vec<OsString> {
        let mut all: Vec<OsString> = self.globals.iter().map(OsString::from).collect();
        all.extend(["--root".into(), self.root().into_os_string()]);
        all.extend(["--log".into(), self.path("log").into_os_string()]);
        all.extend(["--log-format".into(), "json".into()]);
        all.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        all
    }

    /// Starts a call whose output is read meanwhile.
    pub fn begin(&mut self, mut command: Command) -> Result<Running> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
        Ok(Running { child, out, err })
    }

    /// Waits for the end of a call *and of its output*: who keeps a stream open hangs an engine.
    pub fn end(&mut self, mut running: Running) -> Result<Ended> {
        drop(running.child.stdin.take());
        let pid = running.pid();
        let status = self.reaper.wait(pid, CALL)?;
        let text = |from: &mpsc::Receiver<Vec<u8>>, name: &str| -> Result<String> {
            let bytes = from.recv_timeout(Duration::from_secs(30)).map_err(|_| {
                anyhow!("{name} is still open after the call has ended: {:?}", host::descendants())
            })?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let out = text(&running.out, "standard output")?;
        let err = text(&running.err, "standard error")?;
        Ok(Ended { code: code(status), out, err, log: self.new_log()? })
    }

    /// What was appended to the log since the last look.
    fn new_log(&mut self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        // A line may be seen while it is being written.
        let end = text.rfind('\n').map_or(0, |last| last + 1);
        let new = text.get(self.log_seen..end).unwrap_or_default();
        self.log_seen = end.max(self.log_seen);
        let line = |line: &str| {
            serde_json::from_str(line).with_context(|| format!("not a JSON line: {line:?}"))
        };
        new.lines().map(line).collect()
    }

    /// Makes a call with nothing to read.
    pub fn call<S: AsRef<OsStr>>(&mut self, args: &[S]) -> Result<Ended> {
        let command = self.command(args);
        self.finish_call(command, b"")
    }

    /// Makes a call with this to read.
    pub fn call_with_input<S: AsRef<OsStr>>(&mut self, args: &[S], input: &[u8]) -> Result<Ended> {
        let command = self.command(args);
        self.finish_call(command, input)
    }

    /// Runs a command to its end.
    pub fn finish_call(&mut self, command: Command, input: &[u8]) -> Result<Ended> {
        let mut running = self.begin(command)?;
        if !input.is_empty() {
            running.stdin()?.write_all(input)?;
        }
        self.end(running)
    }

    /// Makes a call that must end with 0 and say nothing of its own.
    pub fn ok<S: AsRef<OsStr>>(&mut self, args: &[S]) -> Result<Ended> {
        let ended = self.call(args)?;
        ensure!(ended.code == 0, "{}: {ended:?}", show(args));
        ensure!(ended.err.is_empty(), "{}: words on success: {ended:?}", show(args));
        Ok(ended)
    }

    /// Makes a call that must fail with this code and these words, on standard error and as the last
    /// error of the log. `|` parts alternatives.
    pub fn fails<S: AsRef<OsStr>>(&mut self, args: &[S], code: i32, says: &str) -> Result<Ended> {
        let ended = self.call(args)?;
        self.is_failure(&ended, code, says).with_context(|| show(args))?;
        Ok(ended)
    }

    /// See [`Bed::fails`]. crun has words of its own for everything: of it only the code is asked, and
    /// that it gives a reason.
    pub fn is_failure(&self, ended: &Ended, code: i32, says: &str) -> Result<()> {
        ensure!(ended.code == code, "exit code {code} wanted, but {ended:?}");
        ensure!(!ended.err.trim().is_empty(), "no reason on standard error: {ended:?}");
        if self.runtime.name == "crun" {
            return Ok(());
        }
        let is_said = |text: &str| says.split('|').any(|part| text.contains(part));
        ensure!(is_said(&ended.err), "{says:?} is not on standard error: {ended:?}");
        ensure!(
            ended.last_error().is_some_and(is_said),
            "{says:?} is not the last error of the log: {ended:?}"
        );
        Ok(())
    }

    /// Writes the configuration and creates the container: the process that its pid file names. Its
    /// streams are the files `out` and `err`.
    pub fn create(&mut self) -> Result<i32> {
        self.create_as(ID, &[])
    }

    /// Creates a container of another name, with further flags.
    pub fn create_as(&mut self, id: &str, flags: &[&str]) -> Result<i32> {
        self.into_files("create", id, flags)
    }

    /// Runs the container in the background.
    pub fn run_detached(&mut self) -> Result<i32> {
        self.into_files("run", ID, &["--detach"])
    }

    fn into_files(&mut self, command: &str, id: &str, flags: &[&str]) -> Result<i32> {
        self.save()?;
        let pid_file = self.path(&format!("pid-{id}"));
        let mut args: Vec<OsString> = vec![command.into(), "--bundle".into()];
        args.extend([self.bundle().into(), "--pid-file".into(), pid_file.clone().into()]);
        args.extend(flags.iter().map(OsString::from));
        args.push(id.into());
        let command = self.command(&args);
        let ended = self.finish_into_files(command, "out", "err")?;
        ensure!(ended.code == 0, "{command:?} {id}: {ended:?}", command = show(&args));
        let text = fs::read_to_string(&pid_file).context("the pid file")?;
        text.parse().with_context(|| format!("the pid file holds {text:?}"))
    }

    /// Runs a command whose standard output and error go to files beside the bundle.
    pub fn finish_into_files(
        &mut self,
        mut command: Command,
        out: &str,
        err: &str,
    ) -> Result<Ended> {
        let open = |name: &str| File::options().create(true).append(true).open(self.path(name));
        let (out_file, err_file) = (open(out)?, open(err)?);
        let before = fs::read_to_string(self.path(err))?.len();
        let child = command.stdin(Stdio::null()).stdout(out_file).stderr(err_file).spawn()?;
        let status = self.reaper.wait(i32::try_from(child.id())?, CALL)?;
        let err = fs::read_to_string(self.path(err))?;
        let err = err.get(before..).unwrap_or_default().to_owned();
        Ok(Ended { code: code(status), out: String::new(), err, log: self.new_log()? })
    }

    /// What the container has written so far.
    pub fn output(&self) -> String {
        fs::read_to_string(self.path("out")).unwrap_or_default()
    }

    /// Waits until the container has written this; all that it has written.
    pub fn await_output(&self, wanted: &str) -> Result<String> {
        let is_there = || self.output().contains(wanted);
        self.until(is_there, || format!("no {wanted:?} in {:?}", self.output()))?;
        Ok(self.output())
    }

    /// Waits for a condition.
    pub fn until(
        &self,
        mut condition: impl FnMut() -> bool,
        otherwise: impl Fn() -> String,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            ensure!(Instant::now() < deadline, "{}", otherwise());
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Creates and starts the container.
    pub fn started(&mut self) -> Result<i32> {
        let pid = self.create()?;
        self.ok(&["start", ID])?;
        Ok(pid)
    }

    /// Creates, starts and pauses the container.
    pub fn paused(&mut self) -> Result<i32> {
        let pid = self.started()?;
        self.ok(&["pause", ID])?;
        Ok(pid)
    }

    /// Creates, starts and ends the container.
    pub fn stopped(&mut self) -> Result<i32> {
        let pid = self.started()?;
        self.ok(&["kill", ID, "KILL"])?;
        self.await_exit(pid)?;
        Ok(pid)
    }

    /// Waits for the end of an orphaned process, as an engine does: its exit code as a shell shows it.
    pub fn await_exit(&mut self, pid: i32) -> Result<i32> {
        Ok(code(self.reaper.wait(pid, PATIENCE)?))
    }

    /// What `state` says.
    pub fn state(&mut self) -> Result<Value> {
        self.ok(&["state", ID])?.json()
    }

    /// Fails unless the container has this status.
    pub fn is_in(&mut self, status: &str) -> Result<()> {
        let state = self.state()?;
        ensure!(state["status"] == status, "status {status} wanted, but {state}");
        Ok(())
    }

    /// Writes the configuration and runs the container in the foreground.
    pub fn run(&mut self) -> Result<Ended> {
        self.run_with(&[], b"")
    }

    /// The same with further flags and something to read. A program that nobody chose ends at once.
    pub fn run_with(&mut self, flags: &[&str], input: &[u8]) -> Result<Ended> {
        if self.config["process"]["args"] == bundle::config("")["process"]["args"] {
            self.set("/process/args", json!(["true"]));
        }
        self.save()?;
        let command = self.run_command(flags);
        self.finish_call(command, input)
    }

    /// `run` in the foreground, to be started.
    pub fn run_command(&self, flags: &[&str]) -> Command {
        let mut args: Vec<OsString> = vec!["run".into(), "--bundle".into(), self.bundle().into()];
        args.extend(flags.iter().map(OsString::from));
        args.push(ID.into());
        self.command(&args)
    }

    /// Runs a script in a new container: its output. It must end with 0.
    pub fn output_of(&mut self, script: &str) -> Result<String> {
        self.shell(script);
        let ended = self.run()?;
        ensure!(ended.code == 0, "{script}: {ended:?}");
        Ok(ended.out)
    }

    /// A script in a new container must print this.
    pub fn prints(&mut self, script: &str, wanted: &str) -> Result<()> {
        let out = self.output_of(script)?;
        ensure!(out == wanted, "{script:?} must print {wanted:?}, but printed {out:?}");
        Ok(())
    }

    /// Creates the container on a terminal, starts it, and is its engine.
    pub fn started_on_terminal(&mut self) -> Result<(i32, Terminal)> {
        self.set("/process/terminal", json!(true));
        let socket = ConsoleSocket::new(self.dir.path())?;
        let path = socket.path.display().to_string();
        let pid = self.create_as(ID, &["--console-socket", &path])?;
        let terminal = socket.accept()?;
        self.ok(&["start", ID])?;
        Ok((pid, terminal))
    }

    /// A socket for a terminal, beside the bundle.
    pub fn console_socket(&self) -> Result<ConsoleSocket> {
        ConsoleSocket::new(self.dir.path())
    }

    /// Deletes every container, and fails if anything of them is left on the host.
    pub fn finish(mut self) -> Result<()> {
        let ids: Vec<String> = fs::read_dir(self.root())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        for id in ids {
            let ended = self.call(&["delete", "--force", &id])?;
            ensure!(ended.code == 0, "delete --force {id}: {ended:?}");
        }
        self.nothing_is_left()
    }

    /// Waits until nothing of any container is on the host.
    pub fn nothing_is_left(&mut self) -> Result<()> {
        let deadline = Instant::now() + GRACE;
        loop {
            self.reaper.reap();
            let left = self.left();
            if left.is_empty() {
                self.reaper.forget();
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("left behind after {GRACE:?}: {}", left.join("; "));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn left(&self) -> Vec<String> {
        let mut left: Vec<String> =
            host::descendants().iter().map(|(pid, line)| format!("process {pid} {line}")).collect();
        left.extend(host::cgroups(&self.cgroup).iter().map(|it| format!("{}", it.display())));
        for place in [self.root(), self.path("tmp")] {
            left.extend(host::tree(&place).iter().map(|it| format!("{}", it.display())));
        }
        if host::mounts() != self.mounts {
            left.push(format!("{} mounts instead of {}", host::mounts(), self.mounts));
        }
        if host::fds() != self.fds {
            left.push(format!("{} descriptors instead of {}", host::fds(), self.fds));
        }
        left
    }

    /// The directory that all lies in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

fn show<S: AsRef<OsStr>>(args: &[S]) -> String {
    let words: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    words.join(" ")
}

fn reader<R: Read + Send + 'static>(from: Option<R>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(from) = from {
            // What came before an error still counts.
            let _ = from.take(1 << 22).read_to_end(&mut bytes);
        }
        // Nobody may be waiting any more.
        let _ = sender.send(bytes);
    });
    receiver
}
