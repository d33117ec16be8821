// SPDX-License-Identifier: Apache-2.0
//! `linux.devices`: nodes in the guest's tree. Those that the sandbox has no driver for are there to be
//! seen, and answer `ENXIO` when they are opened.

use std::os::unix::ffi::OsStrExt;

use oci_spec::runtime::{Linux, LinuxDeviceType as Type};
use tracing::debug;

use super::bundle::BundleError;
use crate::sandbox::plan::{Bytes, Device, DeviceKind};

/// The largest numbers that Linux has: 12 and 20 bits.
const MAJORS: u32 = 1 << 12;
const MINORS: u32 = 1 << 20;

/// Checks the list.
pub(crate) fn convert(linux: &Linux) -> Result<Vec<Device>, BundleError> {
    let mut devices = Vec::new();
    for (index, device) in linux.devices().iter().flatten().enumerate() {
        let at = |field: &str| format!("linux.devices[{index}].{field}");
        let path = device.path();
        if !path.is_absolute() || path.as_os_str().as_bytes().contains(&0) {
            return Err(BundleError::field(at("path"), "is no absolute path"));
        }
        let kind = match device.typ() {
            Type::C | Type::U => DeviceKind::Character,
            Type::B => DeviceKind::Block,
            Type::P => DeviceKind::Fifo,
            Type::A => {
                return Err(BundleError::field(at("type"), "\"a\" is no type of a device node"));
            }
        };
        let number = |field: &str, number: i64, limit: u32| match u32::try_from(number) {
            _ if kind == DeviceKind::Fifo => Ok(0),
            Ok(number) if number < limit => Ok(number),
            _ => Err(BundleError::field(at(field), format!("{number} is no device number"))),
        };
        let major = number("major", device.major(), MAJORS)?;
        let minor = number("minor", device.minor(), MINORS)?;
        let mode = device.file_mode().unwrap_or(0o666);
        if !has_driver(kind, major, minor) {
            debug!(
                "config.json: {}: no driver for {} in a sandbox: opening it gives ENXIO",
                at("path"),
                path.display()
            );
        }
        devices.push(Device {
            path: Bytes::from(path.as_os_str().as_bytes()),
            kind,
            major,
            minor,
            mode: mode & 0o7777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
        });
    }
    Ok(devices)
}

/// Whether opening it does anything: null, zero, full, random, urandom, tty, console, ptmx, terminals.
fn has_driver(kind: DeviceKind, major: u32, minor: u32) -> bool {
    kind == DeviceKind::Fifo
        || kind == DeviceKind::Character
            && matches!((major, minor), (1, 3 | 5 | 7 | 8 | 9) | (5, 0..=2) | (136, _))
}
