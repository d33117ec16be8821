// SPDX-License-Identifier: Apache-2.0
//! Names of containers.

/// A name that cannot be one. Both texts start as runc's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidId {
    /// There is none.
    #[error("container id cannot be empty")]
    Empty,
    /// It would not do as a file's name.
    #[error("invalid container ID format: {0:?}: it is letters, digits and _+-. and not a path")]
    Format(String),
}

/// Refuses what runc refuses: a name becomes a file name.
pub(crate) fn check(id: &str) -> Result<(), InvalidId> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    let is_valid = id.len() <= 1024 && id != "." && id != ".." && id.bytes().all(is_allowed);
    match id {
        "" => Err(InvalidId::Empty),
        _ if is_valid => Ok(()),
        _ => Err(InvalidId::Format(id.into())),
    }
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
