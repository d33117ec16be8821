// SPDX-License-Identifier: Apache-2.0
//! Guest memory from the sentry's side: the channel, the calls that change mappings, placement.

pub(crate) mod channel;
pub(crate) mod hostcall;
pub(crate) mod range;
