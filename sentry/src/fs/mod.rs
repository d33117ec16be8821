// SPDX-License-Identifier: Apache-2.0
//! The file systems, and the kinds of files that have none.

pub mod cgroup;
pub mod dev;
pub mod devpts;
pub mod eventfd;
pub mod gofer;
pub mod host;
pub mod inotify;
pub mod overlay;
pub mod pipe;
pub mod proc;
pub mod pseudo;
pub mod signalfd;
pub mod sys;
pub mod timerfd;
pub mod tmpfs;
