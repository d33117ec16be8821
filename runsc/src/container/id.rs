// SPDX-License-Identifier: Apache-2.0
//! Names of containers.

/// A name that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("invalid container id {0:?}: it is letters, digits and _+-. and not a path")]
pub(crate) struct InvalidId(String);

/// Refuses what runc refuses: a name becomes a file name.
pub(crate) fn check(id: &str) -> Result<(), InvalidId> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    let is_valid =
        !id.is_empty() && id.len() <= 1024 && id != "." && id != ".." && id.bytes().all(is_allowed);
    if is_valid { Ok(()) } else { Err(InvalidId(id.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "c1", "A_b-c.d+e", "..."] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "é", "a\0"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
