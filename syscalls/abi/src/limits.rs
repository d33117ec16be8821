// SPDX-License-Identifier: Apache-2.0
//! `linux/limits.h`: the limits that programs rely on.

use crate::macros::consts;

consts! {
    usize;
    PATH_MAX = 4096;
    NAME_MAX = 255;
    PIPE_BUF = 4096;
    ARG_MAX = 131072;
    NGROUPS_MAX = 65536;
    UIO_MAXIOV = 1024;
    UIO_FASTIOV = 8;
    MAX_RW_COUNT = 2147479552;
    MAX_ARG_STRLEN = 131072;
    MAX_ARG_STRINGS = 2147483647;
    TASK_COMM_LEN = 16;
    MAX_SYMLINKS = 40;
    BINPRM_BUF_SIZE = 256;
    PIPE_DEF_SIZE = 65536;
    PIPE_MAX_SIZE = 1048576;
}
