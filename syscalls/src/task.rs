// SPDX-License-Identifier: Apache-2.0
//! Tasks born, changed, awaited, gone.
