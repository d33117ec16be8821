// SPDX-License-Identifier: Apache-2.0
//! setxattrat(2) and its kin, ustat(2), vhangup(2).
//!
//! Covers: vhangup, ustat.

use crate::kit;

pub fn rights_and_devices() {
    let mut buf = [0u8; 32];
    show!("no such device", sys!(ustat, 0xffff_u32, buf.as_mut_ptr()));
    kit::in_child(|| {
        if sys!(getuid).0 == 0 {
            sys!(setresuid, 1000, 1000, 1000).ok();
        }
        show!("vhangup", sys!(vhangup));
        0
    });
}
