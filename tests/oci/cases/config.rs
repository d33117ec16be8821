// SPDX-License-Identifier: Apache-2.0
//! Bundles that are wrong, and how that is said; the log.
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::oci::bed::{Bed, ID};

pub fn no_config(bed: &mut Bed) -> Result<()> {
    let bundle = bed.bundle().display().to_string();
    bed.fails(&["run", "--bundle", &bundle, ID], 1, "JSON specification file config.json not found")
        .map(drop)
}

pub fn no_bundle(bed: &mut Bed) -> Result<()> {
    bed.fails(&["run", "--bundle", "/no/such", ID], 1, "no such file or directory|not found")
        .map(drop)
}

pub fn no_json(bed: &mut Bed) -> Result<()> {
    fs::write(bed.bundle().join("config.json"), "{bad json}\n")?;
    let bundle = bed.bundle().display().to_string();
    let ended = bed.call(&["run", "--bundle", &bundle, ID])?;
    ensure!(ended.code == 1 && !ended.err.is_empty(), "{ended:?}");
    bed.ok(&["list", "-q"])?.is(0, "")
}

pub fn no_root(bed: &mut Bed) -> Result<()> {
    bed.set("/root/path", json!("/nonexist"));
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "/nonexist")
}

pub fn a_root_that_is_a_file(bed: &mut Bed) -> Result<()> {
    fs::write(bed.path("file"), "")?;
    let path = bed.path("file");
    bed.set("/root/path", json!(path));
    let ended = bed.run()?;
    ensure!(ended.code == 1 && !ended.err.is_empty(), "{ended:?}");
    bed.ok(&["list", "-q"])?.is(0, "")
}

pub fn an_absolute_root(bed: &mut Bed) -> Result<()> {
    let path = bed.rootfs();
    bed.set("/root/path", json!(path));
    bed.prints("echo fine", "fine\n")
}

pub fn unknown_fields_are_passed_over(bed: &mut Bed) -> Result<()> {
    bed.set("/unknown", json!({"x": [1, 2]}));
    bed.set("/process/unknown", json!(true));
    bed.prints("echo fine", "fine\n")
}

pub fn no_process_cannot_be_run(bed: &mut Bed) -> Result<()> {
    bed.unset("/process");
    let ended = bed.run()?;
    ensure!(ended.code == 1 && !ended.err.is_empty(), "{ended:?}");
    bed.ok(&["list", "-q"])?.is(0, "")
}

pub fn the_bundle_is_the_current_directory(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!(["echo", "here"]));
    bed.save()?;
    let mut command = bed.command(&["run", ID]);
    command.current_dir(bed.bundle());
    bed.finish_call(command, b"")?.is(0, "here\n")
}

pub fn a_failed_run_leaves_nothing(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!(["/no/such"]));
    bed.run()?;
    bed.ok(&["list", "-q"])?.is(0, "")?;
    bed.nothing_is_left()
}

pub fn the_log_has_one_json_line_an_error(bed: &mut Bed) -> Result<()> {
    let ended = bed.call(&["state", "nope"])?;
    let [line] = ended.log.as_slice() else { anyhow::bail!("{ended:?}") };
    ensure!(line["level"] == "error", "{line}");
    ensure!(line["msg"].as_str().is_some_and(|text| !text.is_empty()), "{line}");
    let time = line["time"].as_str().context("time")?;
    ensure!(time.len() >= 20 && time.contains('T'), "{line}");
    Ok(())
}

pub fn the_log_is_appended_to(bed: &mut Bed) -> Result<()> {
    fs::write(bed.path("log"), "{\"level\":\"info\",\"msg\":\"before\",\"time\":\"x\"}\n")?;
    let first = bed.call(&["state", "nope"])?;
    ensure!(first.log.len() == 2, "{first:?}");
    let second = bed.call(&["state", "nope"])?;
    ensure!(second.log.len() == 1, "{second:?}");
    Ok(())
}

pub fn a_text_log(bed: &mut Bed) -> Result<()> {
    let (root, log) = (bed.root().display().to_string(), bed.path("text").display().to_string());
    let mut command = std::process::Command::new(&bed.runtime.path);
    command.args(["--root", &root, "--log", &log, "state", "nope"]);
    let ended = bed.finish_call(command, b"")?;
    ensure!(ended.code == 1, "{ended:?}");
    let text = fs::read_to_string(&log)?;
    ensure!(text.contains("level=error") && text.contains("does not exist"), "{text:?}");
    Ok(())
}

pub fn an_unknown_log_format(bed: &mut Bed) -> Result<()> {
    let root = bed.root().display().to_string();
    let mut command = std::process::Command::new(&bed.runtime.path);
    command.args(["--root", &root, "--log-format", "bad", "list"]);
    let ended = bed.finish_call(command, b"")?;
    ensure!(ended.code != 0 && ended.err.contains("bad"), "{ended:?}");
    Ok(())
}

pub fn success_is_silent(bed: &mut Bed) -> Result<()> {
    let pid = bed.create()?;
    let said = fs::read_to_string(bed.path("err"))?;
    ensure!(said.is_empty(), "create says {said:?}");
    bed.ok(&["start", ID])?.is(0, "")?;
    bed.ok(&["kill", ID, "KILL"])?.is(0, "")?;
    bed.await_exit(pid)?;
    bed.ok(&["delete", ID])?.is(0, "")
}

pub fn a_pid_file_that_cannot_be_written(bed: &mut Bed) -> Result<()> {
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    let command =
        bed.command(&["create", "--bundle", &bundle, "--pid-file", "/no/such/dir/pid", ID]);
    let ended = bed.finish_into_files(command, "out", "err")?;
    bed.is_failure(&ended, 1, "/no/such/dir")?;
    bed.fails(&["state", ID], 1, "does not exist")?;
    bed.nothing_is_left()
}

pub fn flags_of_engines_are_known(bed: &mut Bed) -> Result<()> {
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    let args = ["create", "--bundle", &bundle, "--no-pivot", "--no-new-keyring", ID];
    let command = bed.command(&args);
    let ended = bed.finish_into_files(command, "out", "err")?;
    ensure!(ended.code == 0, "{ended:?}");
    bed.is_in("created")
}

pub fn debug_still_succeeds(bed: &mut Bed) -> Result<()> {
    bed.globals.push("--debug".into());
    bed.shell("echo fine");
    let ended = bed.run()?;
    ensure!(ended.code == 0 && ended.out == "fine\n", "{ended:?}");
    Ok(())
}

pub fn version(bed: &mut Bed) -> Result<()> {
    let ended = bed.call(&["--version"])?;
    ensure!(ended.code == 0 && ended.err.is_empty(), "{ended:?}");
    let name = bed.runtime.name;
    ensure!(ended.out.starts_with(&format!("{name} version ")), "{ended:?}");
    for line in ["commit: ", "spec: 1."] {
        ensure!(ended.out.lines().any(|it| it.starts_with(line)), "{line}: {ended:?}");
    }
    Ok(())
}

pub fn features(bed: &mut Bed) -> Result<()> {
    let features = bed.ok(&["features"])?.json()?;
    ensure!(features["ociVersionMin"].as_str().is_some_and(|it| it.starts_with("1.0")));
    ensure!(features["ociVersionMax"].as_str().is_some_and(|it| it.starts_with("1.")));
    let has = |pointer: &str, word: &str| -> Result<()> {
        let list = features.pointer(pointer).and_then(|it| it.as_array()).context("a list")?;
        ensure!(list.iter().any(|it| it == word), "{word} in {pointer}: {list:?}");
        Ok(())
    };
    for hook in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        has("/hooks", hook)?;
    }
    for option in ["ro", "rw", "bind", "rbind", "nosuid", "noexec", "nodev", "rprivate", "rshared"]
    {
        has("/mountOptions", option)?;
    }
    for namespace in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
        has("/linux/namespaces", namespace)?;
    }
    has("/linux/capabilities", "CAP_CHOWN")?;
    ensure!(features.pointer("/linux/seccomp/enabled").is_some_and(|it| it.is_boolean()));
    ensure!(features.pointer("/linux/cgroup/v1").is_some_and(|it| it.is_boolean()));
    Ok(())
}

fn spec(bed: &mut Bed, flags: &[&str]) -> Result<serde_json::Value> {
    let args = [&["spec"], flags].concat();
    let mut command = bed.command(&args);
    fs::create_dir_all(bed.path("spec"))?;
    command.current_dir(bed.path("spec"));
    let ended = bed.finish_call(command, b"")?;
    ensure!(ended.code == 0 && ended.out.is_empty() && ended.err.is_empty(), "{ended:?}");
    Ok(serde_json::from_str(&fs::read_to_string(bed.path("spec/config.json"))?)?)
}

pub fn spec_is_a_configuration_that_runs(bed: &mut Bed) -> Result<()> {
    let mut config = spec(bed, &[])?;
    ensure!(config["process"]["args"] == json!(["sh"]), "{config}");
    ensure!(config["root"]["path"] == "rootfs", "{config}");
    config["process"]["terminal"] = json!(false);
    config["root"]["readonly"] = json!(true);
    config["linux"]["cgroupsPath"] = json!(bed.cgroup);
    config["process"]["args"] = json!(["echo", "from spec"]);
    bed.config = config;
    bed.run()?.is(0, "from spec\n")
}

pub fn spec_does_not_overwrite(bed: &mut Bed) -> Result<()> {
    fs::create_dir_all(bed.path("spec"))?;
    fs::write(bed.path("spec/config.json"), "mine")?;
    let mut command = bed.command(&["spec"]);
    command.current_dir(bed.path("spec"));
    let ended = bed.finish_call(command, b"")?;
    bed.is_failure(&ended, 1, "File config.json exists. Remove it first")?;
    ensure!(fs::read_to_string(bed.path("spec/config.json"))? == "mine");
    Ok(())
}

pub fn spec_for_a_bundle(bed: &mut Bed) -> Result<()> {
    let bundle = bed.bundle().display().to_string();
    bed.ok(&["spec", "--bundle", &bundle])?;
    ensure!(bed.bundle().join("config.json").is_file());
    Ok(())
}

pub fn spec_rootless(bed: &mut Bed) -> Result<()> {
    let config = spec(bed, &["--rootless"])?;
    let namespaces = config["linux"]["namespaces"].as_array().context("namespaces")?;
    ensure!(namespaces.iter().any(|it| it["type"] == "user"), "{namespaces:?}");
    ensure!(!namespaces.iter().any(|it| it["type"] == "network"), "{namespaces:?}");
    for field in ["uidMappings", "gidMappings"] {
        ensure!(config["linux"][field] == json!([{"containerID": 0, "hostID": 0, "size": 1}]));
    }
    Ok(())
}

pub fn help(bed: &mut Bed) -> Result<()> {
    for args in [&["--help"][..], &["create", "--help"], &["exec", "--help"], &["update", "--help"]]
    {
        let ended = bed.call(args)?;
        ensure!(ended.code == 0 && !ended.out.is_empty(), "{args:?}: {ended:?}");
    }
    Ok(())
}
