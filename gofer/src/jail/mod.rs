// SPDX-License-Identifier: Apache-2.0
//! The gofer process's own confinement.
