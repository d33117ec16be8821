// SPDX-License-Identifier: Apache-2.0
//! tmpfs through its traits.
