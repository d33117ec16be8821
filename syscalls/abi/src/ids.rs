// SPDX-License-Identifier: Apache-2.0
//! `linux/types.h`, `linux/kdev_t.h`: numbers that name things, each a type of its own.

use crate::macros::FromReg;

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident: $number:ty;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub $number);

        impl FromReg for $name {
            fn from_reg(register: u64) -> Self {
                $name(register as $number)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(&self.0, f)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

ids! {
    /// A file descriptor's number; negative ones name nothing.
    Fd: i32;
    /// Where a relative path starts: a directory's descriptor or [`DirFd::CWD`].
    DirFd: i32;
    /// A thread group's id, or what kill(2) and wait4(2) make of it.
    Pid: i32;
    /// A thread's id.
    Tid: i32;
    /// A user id; `u32::MAX` means "leave it" or "none".
    Uid: u32;
    /// A group id; `u32::MAX` means "leave it" or "none".
    Gid: u32;
    /// Permission bits with a file type where there is one.
    Mode: u32;
    /// A device number as mknod(2) and stat(2) carry it.
    DevId: u64;
    /// A POSIX timer's id.
    TimerId: i32;
}

impl DirFd {
    /// The working directory (`AT_FDCWD`).
    pub const CWD: DirFd = DirFd(crate::fcntl::AT_FDCWD);

    /// The same number as an ordinary descriptor.
    pub const fn fd(self) -> Fd {
        Fd(self.0)
    }
}

impl Uid {
    /// "Leave it", "none".
    pub const NONE: Uid = Uid(u32::MAX);

    /// `None` where Linux takes -1 for "leave it".
    pub fn given(self) -> Option<Uid> {
        (self != Uid::NONE).then_some(self)
    }
}

impl Gid {
    /// "Leave it", "none".
    pub const NONE: Gid = Gid(u32::MAX);

    /// `None` where Linux takes -1 for "leave it".
    pub fn given(self) -> Option<Gid> {
        (self != Gid::NONE).then_some(self)
    }
}

impl Mode {
    /// The permission bits with set-id and sticky.
    pub const fn permissions(self) -> u32 {
        self.0 & 0o7777
    }

    /// The file type's bits.
    pub const fn file_type(self) -> u32 {
        self.0 & crate::stat::S_IFMT
    }
}

impl DevId {
    /// makedev(3).
    pub const fn new(major: u32, minor: u32) -> DevId {
        let (major, minor) = (major as u64, minor as u64);
        DevId(
            (major & 0xffff_f000) << 32
                | (major & 0xfff) << 8
                | (minor & 0xffff_ff00) << 12
                | (minor & 0xff),
        )
    }

    /// major(3).
    pub const fn major(self) -> u32 {
        ((self.0 >> 32 & 0xffff_f000) | (self.0 >> 8 & 0xfff)) as u32
    }

    /// minor(3).
    pub const fn minor(self) -> u32 {
        ((self.0 >> 12 & 0xffff_ff00) | (self.0 & 0xff)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::DevId;

    #[test]
    fn device_numbers_agree_with_libc() {
        for (major, minor) in [(0, 0), (1, 3), (136, 255), (0xfff, 0xff), (u32::MAX, u32::MAX)] {
            let dev = DevId::new(major, minor);
            assert_eq!(dev.0, libc::makedev(major, minor));
            assert_eq!((dev.major(), dev.minor()), (major, minor));
        }
    }
}
