// SPDX-License-Identifier: Apache-2.0
//! System V and POSIX message queues.
