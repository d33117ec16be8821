// SPDX-License-Identifier: Apache-2.0
//! `linux/kcmp.h`: kcmp(2).

use crate::macros::{layout, values};

values! {
    /// What kcmp(2) compares.
    pub struct KcmpType: i32 {
        KCMP_FILE = 0;
        KCMP_VM = 1;
        KCMP_FILES = 2;
        KCMP_FS = 3;
        KCMP_SIGHAND = 4;
        KCMP_IO = 5;
        KCMP_SYSVSEM = 6;
        KCMP_EPOLL_TFD = 7;
    }
}

layout! {
    /// `struct kcmp_epoll_slot`.
    pub struct KcmpEpollSlot [12] {
        efd: u32,
        tfd: u32,
        toff: u32,
    }
}
