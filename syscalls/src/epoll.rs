// SPDX-License-Identifier: Apache-2.0
//! Epoll(7).
