// SPDX-License-Identifier: Apache-2.0
//! What runsc remembers of a container between two commands.
