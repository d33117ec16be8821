// SPDX-License-Identifier: Apache-2.0
//! Builds the stub: compiles it freestanding, checks that it is one piece of position-independent
//! code, and writes it and its symbols where the platform includes them.

use std::{env, fmt::Write, fs, path::PathBuf, process::Command};

use object::{Object, ObjectSection, ObjectSymbol};

const SYMBOLS: &[&str] = &[
    "stub_entry",
    "stub_trap",
    "stub_signal",
    "stub_restore",
    "stub_call",
    "stub_called",
    "stub_call_clone",
    "stub_cloned",
    "stub_park",
    "stub_parked",
];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let dir = PathBuf::from("src/systrap/stub");
    for file in ["blob.rs", "futex.rs", "x86_64.rs", "stub.ld", "../shared.rs"] {
        println!("cargo::rerun-if-changed={}", dir.join(file).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let elf = out.join("stub.elf");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let mut command = Command::new(rustc);
    command
        .args(["--crate-name", "stub", "--edition", "2024", "--crate-type", "bin"])
        .args(["-Copt-level=3", "-Cpanic=abort", "-Clto=fat", "-Ccodegen-units=1"])
        .args(["-Crelocation-model=pie", "-Cforce-frame-pointers=no", "-Cdebuginfo=0"])
        .args(["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Clink-arg=-static"])
        .args(["-Clink-arg=-no-pie", "-Clink-arg=-Wl,--build-id=none", "-Clink-arg=-Wl,-z,norelro"])
        .arg(format!("-Clink-arg=-Wl,-T,{}", dir.join("stub.ld").display()))
        .args(["--target", &env::var("TARGET").expect("cargo sets TARGET")])
        .arg("-o")
        .arg(&elf)
        .arg(dir.join("blob.rs"));
    // Flags meant for the workspace (static linking, coverage) would break a freestanding link.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"]
    {
        command.env_remove(name);
    }
    let status = command.status().expect("rustc can be started");
    assert!(status.success(), "the stub does not build");
    extract(&fs::read(&elf).expect("the stub was linked"), &out);
}

fn extract(bytes: &[u8], out: &std::path::Path) {
    let file = object::File::parse(bytes).expect("the stub is an ELF file");
    assert!(
        file.dynamic_relocations().is_none_or(|mut all| all.next().is_none()),
        "the stub has relocations"
    );
    for section in file.sections() {
        let name = section.name().unwrap_or_default();
        assert!(!name.starts_with(".rel"), "the stub has relocations in {name}");
        assert!(
            !matches!(name, ".data" | ".bss" | ".got" | ".got.plt") || section.size() == 0,
            "the stub has {name}"
        );
    }
    for symbol in file.symbols() {
        let name = symbol.name().unwrap_or_default();
        assert!(!symbol.is_undefined() || name.is_empty(), "the stub needs {name}");
    }
    let text = file.section_by_name(".text").expect("the stub has code");
    assert_eq!(text.address(), 0, "the stub's code starts at 0");
    fs::write(out.join("stub.bin"), text.data().expect("the code is there")).expect("can write");
    let mut constants = String::new();
    for wanted in SYMBOLS {
        let symbol = file
            .symbols()
            .find(|symbol| symbol.name() == Ok(wanted))
            .unwrap_or_else(|| panic!("the stub lacks {wanted}"));
        let name = wanted.trim_start_matches("stub_").to_uppercase();
        writeln!(
            constants,
            "/// Offset of `{wanted}` in the stub.\npub(crate) const {name}: u64 = {:#x};",
            symbol.address()
        )
        .expect("a string takes it");
    }
    fs::write(out.join("stub.rs"), constants).expect("can write");
}
