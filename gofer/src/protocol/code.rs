// SPDX-License-Identifier: Apache-2.0
//! Which errors may cross from the host to the guest.
//!
//! The host's errno does not cross unread: a file system may say anything, and a number that Linux
//! gives for no file-system call would be a hint about the host rather than an answer.

use abi::Errno;

/// What the gofer answers for an error that the host gave. Anything unexpected is `EIO`.
///
/// `EMFILE` means that the gofer's own table is full; to the guest that is the system's: `ENFILE`.
pub fn expected(errno: Errno) -> Option<Errno> {
    Some(match errno {
        Errno::EMFILE => Errno::ENFILE,
        Errno::EPERM
        | Errno::ENOENT
        | Errno::EIO
        | Errno::ENXIO
        | Errno::E2BIG
        | Errno::EAGAIN
        | Errno::ENOMEM
        | Errno::EACCES
        | Errno::EBADF
        | Errno::EBUSY
        | Errno::EEXIST
        | Errno::EXDEV
        | Errno::ENODEV
        | Errno::ENOTDIR
        | Errno::EISDIR
        | Errno::EINVAL
        | Errno::ENFILE
        | Errno::ENOTTY
        | Errno::ETXTBSY
        | Errno::EFBIG
        | Errno::ENOSPC
        | Errno::EROFS
        | Errno::EMLINK
        | Errno::ERANGE
        | Errno::ENAMETOOLONG
        | Errno::ENOLCK
        | Errno::ENOTEMPTY
        | Errno::ELOOP
        | Errno::ENODATA
        | Errno::EOVERFLOW
        | Errno::EPROTOTYPE
        | Errno::EOPNOTSUPP
        | Errno::EADDRINUSE
        | Errno::ECONNREFUSED
        | Errno::ETIMEDOUT
        | Errno::ESTALE
        | Errno::EDQUOT
        | Errno::ENOKEY => errno,
        _ => return None,
    })
}

/// The errno in a reply's header: `None` for success; what a gofer may not say is `EIO`.
pub fn from_wire(number: u16) -> Option<Errno> {
    if number == 0 {
        return None;
    }
    Some(Errno::from_raw(i32::from(number)).and_then(expected).unwrap_or(Errno::EIO))
}

#[cfg(test)]
mod tests {
    use super::{expected, from_wire};
    use abi::Errno;

    #[test]
    fn what_a_gofer_may_not_say_is_an_input_output_error() {
        assert_eq!(from_wire(0), None);
        assert_eq!(from_wire(2), Some(Errno::ENOENT));
        assert_eq!(from_wire(4), Some(Errno::EIO), "an interrupted call is the gofer's own affair");
        assert_eq!(from_wire(512), Some(Errno::EIO), "ERESTARTSYS is no errno");
        assert_eq!(from_wire(u16::MAX), Some(Errno::EIO));
    }

    #[test]
    fn a_full_table_of_the_gofer_is_the_systems() {
        assert_eq!(expected(Errno::EMFILE), Some(Errno::ENFILE));
    }
}
