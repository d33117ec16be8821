// SPDX-License-Identifier: Apache-2.0
//! Finds the conformance cases: each `pub fn name()` of `conformance/guest/<family>/<call>.rs`; and the
//! contract's: each `pub fn name(bed: &mut Bed)` of `oci/cases/<part>.rs`.
//!
//! Functions whose names start with `child_` are no cases: cases re-exec themselves into them.

use std::{collections::BTreeMap, env, error::Error, fmt::Write, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let guest = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("conformance/guest");
    println!("cargo::rerun-if-changed={}", guest.display());
    let (mut modules, mut cases, mut children) = (String::new(), String::new(), String::new());
    for (family, folder) in entries(&guest)? {
        if !folder.is_dir() {
            continue;
        }
        println!("cargo::rerun-if-changed={}", folder.display());
        writeln!(modules, "mod {family} {{")?;
        for (call, file) in entries(&folder)? {
            writeln!(modules, "#[path = {file:?}] pub(crate) mod {call};")?;
            for line in fs::read_to_string(&file)?.lines() {
                let Some(rest) = line.strip_prefix("pub fn ") else { continue };
                let Some((name, _)) = rest.split_once("() {") else { continue };
                let list = if name.starts_with("child_") { &mut children } else { &mut cases };
                writeln!(list, "(\"{family}/{call}/{name}\", {family}::{call}::{name} as fn()),")?;
            }
        }
        writeln!(modules, "}}")?;
    }
    let text = format!(
        "{modules}\npub(crate) const CASES: &[(&str, fn())] = &[\n{cases}];\n\
         pub(crate) const CHILDREN: &[(&str, fn())] = &[\n{children}];\n"
    );
    fs::write(Path::new(&env::var("OUT_DIR")?).join("registry.rs"), text)?;
    contract()
}

/// The cases of the OCI contract.
fn contract() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("oci/cases");
    println!("cargo::rerun-if-changed={}", folder.display());
    let (mut modules, mut cases) = (String::new(), String::new());
    for (part, file) in entries(&folder)? {
        writeln!(modules, "#[path = {file:?}] mod {part};")?;
        for line in fs::read_to_string(&file)?.lines() {
            let Some(rest) = line.strip_prefix("pub fn ") else { continue };
            let Some((name, _)) = rest.split_once("(bed: &mut Bed)") else { continue };
            writeln!(cases, "(\"{part}/{name}\", {part}::{name} as Case),")?;
        }
    }
    let text = format!("{modules}\nconst CASES: &[(&str, Case)] = &[\n{cases}];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("contract.rs"), text)?;
    Ok(())
}

/// What is in a folder, by name without its extension.
fn entries(folder: &Path) -> Result<BTreeMap<String, std::path::PathBuf>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
            found.insert(stem.to_owned(), path.clone());
        }
    }
    Ok(found)
}
