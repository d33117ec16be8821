// SPDX-License-Identifier: Apache-2.0
//! `runsc install` and `uninstall`: this program as a runtime in docker's daemon.json.
//!
//! Everything else in the file stays as it is, in its order; the file is replaced whole.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{Failure, Request, print};

/// What stands before the driver's name in `exec-opts`.
const DRIVER: &str = "native.cgroupdriver=";

/// Adds the runtime.
pub(crate) fn install(request: Request) -> Result<u8, Failure> {
    let flags = &request.flags;
    let path = config_file(&request);
    let mut config = read(&path)?;
    let args: Vec<String> = request.args.iter().map(|it| it.to_string_lossy().into()).collect();
    let choice = Choice {
        runtime: flags.text("runtime"),
        program: std::env::current_exe()?.to_string_lossy().into_owned(),
        args,
        clobber: flags.is_on("clobber"),
        experimental: flags.is_on("experimental"),
        cgroup_driver: flags.text("cgroupdriver"),
    };
    let is_added = choice.add(&mut config).map_err(|why| in_file(&path, why))?;
    write(&path, &config)?;
    let (runtime, file) = (&choice.runtime, path.display());
    let text = if is_added {
        let args = choice.args.join(" ");
        format!(
            "Added runtime {runtime} with arguments [{args}] to {file}; docker reads it again on SIGHUP.\n"
        )
    } else {
        format!("Left runtime {runtime} as it is in {file}: --clobber=true replaces it.\n")
    };
    Ok(print(&text))
}

/// Takes the runtime out.
pub(crate) fn uninstall(request: Request) -> Result<u8, Failure> {
    let path = config_file(&request);
    let mut config = read(&path)?;
    let runtime = request.flags.text("runtime");
    remove(&mut config, &runtime).map_err(|why| in_file(&path, why))?;
    write(&path, &config)?;
    Ok(print(&format!("Removed runtime {runtime} from {}.\n", path.display())))
}

struct Choice {
    runtime: String,
    program: String,
    args: Vec<String>,
    clobber: bool,
    experimental: bool,
    cgroup_driver: String,
}

impl Choice {
    /// Whether the runtime was written, and not found and left.
    fn add(&self, config: &mut Map<String, Value>) -> Result<bool, String> {
        if self.runtime.is_empty() {
            return Err("--runtime is empty".into());
        }
        let runtimes = config.entry("runtimes").or_insert_with(|| json!({}));
        let runtimes = runtimes.as_object_mut().ok_or("runtimes is no object")?;
        let is_added = self.clobber || !runtimes.contains_key(&self.runtime);
        if is_added {
            let mut entry = json!({ "path": self.program });
            if let (false, Some(entry)) = (self.args.is_empty(), entry.as_object_mut()) {
                entry.insert("runtimeArgs".into(), json!(self.args));
            }
            runtimes.insert(self.runtime.clone(), entry);
        }
        if self.experimental {
            config.insert("experimental".into(), json!(true));
        }
        if !self.cgroup_driver.is_empty() {
            let options = config.entry("exec-opts").or_insert_with(|| json!([]));
            let options = options.as_array_mut().ok_or("exec-opts is no list")?;
            options.retain(|it| !it.as_str().is_some_and(|text| text.starts_with(DRIVER)));
            options.push(json!(format!("{DRIVER}{}", self.cgroup_driver)));
        }
        Ok(is_added)
    }
}

fn remove(config: &mut Map<String, Value>, runtime: &str) -> Result<(), String> {
    if config.get("default-runtime").and_then(Value::as_str) == Some(runtime) {
        return Err(format!("default-runtime is {runtime}: without it docker would not start"));
    }
    let Some(runtimes) = config.get_mut("runtimes") else {
        return Err(format!("there is no runtime {runtime}"));
    };
    let runtimes = runtimes.as_object_mut().ok_or("runtimes is no object")?;
    // Order is kept by moving what follows, not by swapping.
    runtimes.shift_remove(runtime).ok_or_else(|| format!("there is no runtime {runtime}"))?;
    if runtimes.is_empty() {
        config.shift_remove("runtimes");
    }
    Ok(())
}

fn config_file(request: &Request) -> PathBuf {
    let path = request.flags.path("config_file").unwrap_or_default();
    // The file that a link leads to is replaced, not the link.
    path.canonicalize().unwrap_or(path)
}

fn in_file(path: &Path, why: impl std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

fn read(path: &Path) -> Result<Map<String, Value>, Failure> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        other => other.map_err(|error| in_file(path, error))?,
    };
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(&text).map_err(|error| in_file(path, error))? {
        Value::Object(map) => Ok(map),
        _ => Err(in_file(path, "it is no JSON object").into()),
    }
}

fn write(path: &Path, config: &Map<String, Value>) -> Result<(), Failure> {
    let fail = |error: io::Error| in_file(path, error);
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(fail)?;
    let mode = fs::metadata(path).map_or(0o644, |old| old.permissions().mode() & 0o7777);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}", std::process::id()));
    let mut text = serde_json::to_string_pretty(config)?;
    text.push('\n');
    let written = fs::write(&temporary, text)
        .and_then(|()| fs::set_permissions(&temporary, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // It may not even have been made.
        let _ = fs::remove_file(&temporary);
        return Err(fail(error).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice() -> Choice {
        Choice {
            runtime: "runsc".into(),
            program: "/p/runsc".into(),
            args: vec!["--debug".into()],
            clobber: true,
            experimental: false,
            cgroup_driver: String::new(),
        }
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn everything_else_stays_in_its_place() {
        let mut config = map(json!({
            "b": 1, "runtimes": {"x": {"path": "/x"}, "runsc": {"path": "/old"}}, "a": [2]
        }));
        assert_eq!(choice().add(&mut config), Ok(true));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(
            text,
            r#"{"b":1,"runtimes":{"x":{"path":"/x"},"runsc":{"path":"/p/runsc","runtimeArgs":["--debug"]}},"a":[2]}"#
        );
        remove(&mut config, "runsc").unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(text, r#"{"b":1,"runtimes":{"x":{"path":"/x"}},"a":[2]}"#);
        remove(&mut config, "x").unwrap();
        assert!(!config.contains_key("runtimes"));
        assert!(remove(&mut config, "x").is_err());
    }

    #[test]
    fn flags_do_what_they_say() {
        let mut config = map(json!({"runtimes": {"runsc": {"path": "/old"}},
            "exec-opts": ["native.cgroupdriver=systemd", "other=1"]}));
        let kept = Choice { clobber: false, ..choice() };
        assert_eq!(kept.add(&mut config), Ok(false));
        assert_eq!(config["runtimes"]["runsc"]["path"], "/old");
        let all = Choice { experimental: true, cgroup_driver: "cgroupfs".into(), ..choice() };
        assert_eq!(all.add(&mut config), Ok(true));
        assert_eq!(config["experimental"], true);
        assert_eq!(config["exec-opts"], json!(["other=1", "native.cgroupdriver=cgroupfs"]));
    }

    #[test]
    fn nonsense_is_refused() {
        for config in [json!({"runtimes": []}), json!({"runtimes": 1})] {
            assert!(choice().add(&mut map(config.clone())).is_err(), "{config}");
            assert!(remove(&mut map(config.clone()), "runsc").is_err(), "{config}");
        }
        let mut config = map(json!({"default-runtime": "runsc", "runtimes": {"runsc": {}}}));
        assert!(remove(&mut config, "runsc").unwrap_err().contains("default-runtime"));
    }
}
