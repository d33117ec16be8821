// SPDX-License-Identifier: Apache-2.0
//! Opening and closing.
