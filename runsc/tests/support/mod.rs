// SPDX-License-Identifier: Apache-2.0
//! A bundle over this machine's own files, and the container `c1` made of it.
#![allow(dead_code, reason = "each test is a crate of its own and uses a part")]

pub(crate) mod processes;
pub(crate) mod terminal;

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The bundle. Its container ends with it.
pub(crate) struct Bundle {
    place: tempfile::TempDir,
    globals: Vec<String>,
}

impl Bundle {
    /// With `script` as its program, and config.json changed by `change`.
    pub(crate) fn new(script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
        let bundle = Bundle { place: tempfile::tempdir().unwrap(), globals: Vec::new() };
        let spec = Command::new(env!("CARGO_BIN_EXE_runsc"))
            .arg("spec")
            .current_dir(bundle.place.path())
            .status()
            .unwrap();
        assert!(spec.success());
        bundle.edit(|spec| {
            spec["process"]["terminal"] = false.into();
            spec["process"]["args"] = serde_json::json!(["/bin/sh", "-c", script]);
            spec["root"]["path"] = "/".into();
            change(spec);
        });
        bundle
    }

    /// Changes its config.json.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.place.path().join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut spec);
        fs::write(path, serde_json::to_vec(&spec).unwrap()).unwrap();
    }

    /// With these global flags.
    pub(crate) fn with(mut self, globals: &[&str]) -> Bundle {
        self.globals = globals.iter().map(ToString::to_string).collect();
        self
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    /// runsc with these arguments, in the bundle.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runsc"));
        command.arg(format!("--root={}/state", self.place.path().display()));
        command.args(&self.globals).args(args);
        command.current_dir(self.place.path()).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs it, which must go well: what it prints.
    pub(crate) fn succeeds(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it, which must fail with this code and say this.
    pub(crate) fn fails(&self, args: &[&str], code: i32, says: &str) {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(says), "{args:?}: {errors}");
    }

    /// Starts the container; what it prints goes to the file `out` of the bundle.
    pub(crate) fn start(&self) {
        let out = fs::File::create(self.path().join("out")).unwrap();
        let errors = fs::File::create(self.path().join("errors")).unwrap();
        let mut run = self.command(&["run", "--detach", "--pid-file", "pid", "c1"]);
        let status = run.stdout(out).stderr(errors).status().unwrap();
        let errors = fs::read_to_string(self.path().join("errors")).unwrap();
        assert!(status.success(), "{errors}");
    }

    /// What the container has printed so far.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(self.path().join("out")).unwrap_or_default()
    }

    /// Its status.
    pub(crate) fn status(&self) -> String {
        let state: Value = serde_json::from_str(&self.succeeds(&["state", "c1"])).unwrap();
        state["status"].as_str().unwrap().into()
    }

    /// Waits until its status is this.
    pub(crate) fn await_status(&self, wanted: &str) {
        await_that(wanted, || self.status() == wanted);
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.run(&["delete", "--force", "c1"]);
    }
}

/// Waits until `is_so`.
pub(crate) fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
