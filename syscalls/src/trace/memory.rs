// SPDX-License-Identifier: Apache-2.0
//! Guest memory as the trace sees it: read as far as possible, failures are no news.

use abi::{PAGE_SIZE, UserAddr, num};
use sentry::task::Current;
use zerocopy::{FromBytes, IntoBytes};

/// Fills `to` from the guest; `false` if not all of it could be read.
pub(super) fn read_bytes(cx: &mut Current, addr: UserAddr, to: &mut [u8]) -> bool {
    cx.read_bytes(addr, to).is_ok()
}

/// A value from the guest.
pub(super) fn read<T: FromBytes + IntoBytes>(cx: &mut Current, addr: UserAddr) -> Option<T> {
    let mut value = T::new_zeroed();
    read_bytes(cx, addr, value.as_mut_bytes()).then_some(value)
}

/// A string without its NUL, and whether that came within `limit` bytes. Read page by page, for it may
/// end right before a hole.
pub(super) fn read_string(
    cx: &mut Current,
    addr: UserAddr,
    limit: usize,
) -> Option<(Vec<u8>, bool)> {
    let mut found = Vec::new();
    let mut at = addr;
    while found.len() < limit {
        let to_page_end = num::to_usize(PAGE_SIZE - at.raw() % PAGE_SIZE);
        let mut piece = vec![0; to_page_end.min(256).min(limit - found.len())];
        if !read_bytes(cx, at, &mut piece) {
            return None;
        }
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            piece.truncate(end);
            found.append(&mut piece);
            return Some((found, true));
        }
        at = at.checked_add(num::to_u64(piece.len())).ok()?;
        found.append(&mut piece);
    }
    Some((found, false))
}
