// SPDX-License-Identifier: Apache-2.0
//! `linux.devices`: nodes that are made in the guest's tree.

use std::sync::Arc;

use abi::{DevId, Errno};
use sentry::vfs::{self, MountNamespace, NewNode, attributes, create::Wanted};

use super::vfs::{TreeError, context, place};
use crate::sandbox::plan::{Device, DeviceKind};

/// Makes each that is not there. As runc does, one that is there stays, but gets its mode and owner.
pub(super) fn make(tree: &Arc<MountNamespace>, devices: &[Device]) -> Result<(), TreeError> {
    for device in devices {
        make_one(tree, device)
            .map_err(|source| TreeError::new("linux.devices", &device.path, source))?;
    }
    Ok(())
}

fn make_one(tree: &Arc<MountNamespace>, device: &Device) -> Result<(), Errno> {
    let path = &device.path.0;
    let parent = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let parent = path.get(..parent.max(1)).unwrap_or(b"/");
    place(tree, parent, true)?;
    let number = DevId::new(device.major, device.minor).0;
    let node = match device.kind {
        DeviceKind::Character => NewNode::CharDevice(number),
        DeviceKind::Block => NewNode::BlockDevice(number),
        DeviceKind::Fifo => NewNode::Fifo,
    };
    let cx = context(tree);
    let made = match vfs::create::create(&cx, path, node, Wanted::just(device.mode)) {
        Ok(made) => made,
        Err(Errno::EEXIST) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    if (device.uid, device.gid) != (0, 0) {
        attributes::change_owner(&made, Some(device.uid), Some(device.gid), &cx.creds)?;
        attributes::change_mode(&made, device.mode, &cx.creds)?;
    }
    Ok(())
}
