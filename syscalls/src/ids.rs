// SPDX-License-Identifier: Apache-2.0
//! Who a task is.
