// SPDX-License-Identifier: Apache-2.0
//! Randomness that the guest can see or that protects anything: the host's CSPRNG.

/// Fills `to`.
pub fn fill(to: &mut [u8]) {
    let mut done = 0;
    while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
        // An interruption by a host signal is all that can go wrong once the host has booted.
        done += platform::hostio::random(rest).unwrap_or(0);
    }
}

/// A random number.
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
