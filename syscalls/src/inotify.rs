// SPDX-License-Identifier: Apache-2.0
//! Inotify(7).
