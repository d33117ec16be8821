// SPDX-License-Identifier: Apache-2.0
//! A bundle on the host: config.json and the root file system that it names.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use oci_spec::runtime::Spec;

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
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
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
        let file = File::open(&config).map_err(unreadable(&config))?;
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
        let spec: Spec = serde_json::from_slice(&text).map_err(parse)?;
        name_unknown_fields(&text, &spec);
        let field = |field, why: &str| BundleError::Field { field, why: why.into() };
        let root = spec.root().as_ref().ok_or_else(|| field("root", "is missing"))?;
        let rootfs = path.join(root.path());
        let rootfs = rootfs.canonicalize().map_err(open("root.path")(&rootfs))?;
        if !rootfs.is_dir() {
            return Err(open("root.path")(&rootfs)(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Bundle { path, spec, rootfs })
    }
}

/// With `--debug`: fields that no version of the specification we know has.
fn name_unknown_fields(text: &[u8], spec: &Spec) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let (Ok(given), Ok(known)) = (serde_json::from_slice(text), serde_json::to_value(spec)) else {
        return;
    };
    let mut names = Vec::new();
    unknown("", &given, &known, &mut names);
    for name in names {
        tracing::debug!("config.json: {name} is not a field that we know");
    }
}

fn unknown(
    at: &str,
    given: &serde_json::Value,
    known: &serde_json::Value,
    names: &mut Vec<String>,
) {
    use serde_json::Value::{Array, Null, Object};
    match (given, known) {
        (Object(given), Object(known)) => {
            for (key, value) in given {
                match known.get(key) {
                    Some(known) => unknown(&format!("{at}.{key}"), value, known, names),
                    None if *value == Null => {}
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
    use super::*;

    #[test]
    fn unknown_fields_are_named_by_their_path() {
        let given = serde_json::json!({"a": 1, "b": [{"c": 1, "d": 2}], "e": null});
        let known = serde_json::json!({"a": 1, "b": [{"c": 1}]});
        let mut names = Vec::new();
        unknown("", &given, &known, &mut names);
        assert_eq!(names, ["b[0].d"]);
    }
}
