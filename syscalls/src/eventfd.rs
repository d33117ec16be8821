// SPDX-License-Identifier: Apache-2.0
//! Eventfd(2), signalfd(2), timerfd_create(2).
