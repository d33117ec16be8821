// SPDX-License-Identifier: Apache-2.0
//! What open files are told.
