// SPDX-License-Identifier: Apache-2.0
//! A bundle on the host: config.json and the root file system that it names.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use oci_spec::runtime::Spec;
use serde_json::Value;

use super::caps;

/// A longer config.json is a mistake or an attack.
const LIMIT: u64 = 16 * 1024 * 1024;

/// Why a bundle cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    /// A file or directory of it is missing or unreadable.
    #[error("{what} {path}: {source}")]
    Open {
        /// What it is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has no config.json.
    #[error("JSON specification file config.json not found: {path}: {source}")]
    NoConfig {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// config.json is not what it should be.
    #[error("parse {path}: {source}")]
    Parse {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A field makes no sense.
    #[error("{field}: {why}")]
    Field {
        /// Its path in config.json.
        field: String,
        /// What is wrong with it.
        why: String,
    },
}

impl BundleError {
    /// A field of config.json, by its path, and what is wrong with it.
    pub(crate) fn field(field: impl Into<String>, why: impl Into<String>) -> BundleError {
        BundleError::Field { field: field.into(), why: why.into() }
    }
}

/// A bundle whose config.json has been read.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Its directory, absolute.
    pub(crate) path: PathBuf,
    /// What config.json says.
    pub(crate) spec: Spec,
    /// The root file system, absolute.
    pub(crate) rootfs: PathBuf,
}

impl Bundle {
    /// Reads the bundle at `path`.
    pub(crate) fn open(path: &Path) -> Result<Bundle, BundleError> {
        let open = |what| {
            move |path: &Path| {
                let path = path.to_path_buf();
                move |source| BundleError::Open { what, path, source }
            }
        };
        let path = path.canonicalize().map_err(open("bundle")(path))?;
        let config = path.join("config.json");
        let unreadable = open("read");
        let file = File::open(&config).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BundleError::NoConfig { path: config.clone(), source },
            _ => unreadable(&config)(source),
        })?;
        if !file.metadata().map_err(unreadable(&config))?.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(unreadable(&config)(source));
        }
        let mut text = Vec::new();
        file.take(LIMIT + 1).read_to_end(&mut text).map_err(unreadable(&config))?;
        if text.len() as u64 > LIMIT {
            return Err(unreadable(&config)(io::ErrorKind::FileTooLarge.into()));
        }
        let parse = |source| BundleError::Parse { path: config.clone(), source };
        let spec = parse_spec(serde_json::from_slice(&text).map_err(parse)?)?;
        let root = spec.root().as_ref().ok_or_else(|| BundleError::field("root", "is missing"))?;
        if root.path().as_os_str().is_empty() {
            return Err(BundleError::field("root.path", "is empty"));
        }
        let rootfs = path.join(root.path());
        let rootfs = rootfs.canonicalize().map_err(open("root.path")(&rootfs))?;
        if !rootfs.is_dir() {
            return Err(open("root.path")(&rootfs)(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Bundle { path, spec, rootfs })
    }
}

/// Reads config.json's one value. As for Go's decoder, a field that is null is one that is not there, and
/// of two with one name the last counts.
pub(crate) fn parse_spec(mut value: Value) -> Result<Spec, BundleError> {
    if !value.is_object() {
        return Err(BundleError::field("config.json", "is not an object"));
    }
    drop_nulls(&mut value);
    drop_unknown_capabilities(&mut value);
    check_version(&value)?;
    let spec: Spec = typed(&value)?;
    name_unknown_fields(&value, &spec);
    Ok(spec)
}

/// Reads a value into its type; what does not fit is named by its path.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, BundleError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "config.json".into() } else { path };
        BundleError::Field { field, why: shorten(&error.inner().to_string()) }
    })
}

/// What goes wrong may quote all of a field.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 500;
    if text.len() <= LONGEST {
        return text.into();
    }
    let mut short: String = text.chars().take(LONGEST).collect();
    short.push('…');
    short
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// As runc does: names of capabilities that nobody knows are passed over, with a warning.
pub(crate) fn drop_unknown_capabilities(value: &mut Value) {
    let sets = value.pointer_mut("/process/capabilities").and_then(Value::as_object_mut);
    for names in sets.into_iter().flat_map(|sets| sets.values_mut()).filter_map(Value::as_array_mut)
    {
        names.retain(|name| {
            let Some(name) = name.as_str() else { return true };
            let is_known = caps::is_name(name);
            if !is_known {
                tracing::warn!("ignoring unknown capability {name:?}");
            }
            is_known
        });
    }
}

fn check_version(value: &Value) -> Result<(), BundleError> {
    let wrong = |why: String| Err(BundleError::field("ociVersion", why));
    let version = match value.get("ociVersion") {
        Some(Value::String(version)) => version,
        Some(_) => return wrong("is not a string".into()),
        None => return wrong("is missing".into()),
    };
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(1)), Some(Ok(_)), Some(Ok(_))) => Ok(()),
        _ => wrong(shorten(&format!("{version:?} is not a version that we know: 1.x.y"))),
    }
}

/// With `--debug`: fields that no version of the specification we know has.
fn name_unknown_fields(given: &Value, spec: &Spec) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let Ok(known) = serde_json::to_value(spec) else { return };
    let mut names = Vec::new();
    unknown("", given, &known, &mut names);
    for name in names {
        tracing::debug!("config.json: {name} is not a field that we know");
    }
}

fn unknown(at: &str, given: &Value, known: &Value, names: &mut Vec<String>) {
    use Value::{Array, Object};
    match (given, known) {
        (Object(given), Object(known)) => {
            for (key, value) in given {
                match known.get(key) {
                    Some(known) => unknown(&format!("{at}.{key}"), value, known, names),
                    None => names.push(format!("{at}.{key}").trim_start_matches('.').into()),
                }
            }
        }
        (Array(given), Array(known)) => {
            for (index, (given, known)) in given.iter().zip(known).enumerate() {
                unknown(&format!("{at}[{index}]"), given, known, names);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_named_by_their_path() {
        let given = json!({"a": 1, "b": [{"c": 1, "d": 2}]});
        let known = json!({"a": 1, "b": [{"c": 1}]});
        let mut names = Vec::new();
        unknown("", &given, &known, &mut names);
        assert_eq!(names, ["b[0].d"]);
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_path() {
        let message = |value| parse_spec(value).unwrap_err().to_string();
        let process = |user| {
            json!({ "ociVersion": "1.0.2", "root": { "path": "x" },
                    "process": { "cwd": "/", "args": ["x"], "user": user } })
        };
        assert!(parse_spec(process(json!({ "uid": 1, "gid": null }))).is_ok());
        for (value, starts) in [
            (json!([]), "config.json: "),
            (json!({}), "ociVersion: is missing"),
            (json!({ "ociVersion": "2.0.0" }), "ociVersion: "),
            (process(json!({ "uid": -1 })), "process.user.uid: "),
            (process(json!({ "additionalGids": [0, "x"] })), "process.user.additionalGids[1]: "),
            (
                json!({ "ociVersion": "1.0.2", "linux": { "namespaces": [{ "type": "x" }] } }),
                "linux.namespaces[0].type: ",
            ),
        ] {
            let message = message(value);
            assert!(message.starts_with(starts), "{message}");
        }
    }

    #[test]
    fn unknown_capabilities_are_passed_over() {
        let spec = parse_spec(json!({
            "ociVersion": "1.0.0",
            "process": { "user": {}, "cwd": "/",
                         "capabilities": { "bounding": ["CAP_KILL", "CAP_NONE", "KILL"] } }
        }));
        let spec = spec.unwrap();
        let capabilities = spec.process().as_ref().unwrap().capabilities().as_ref().unwrap();
        assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 1);
    }
}
