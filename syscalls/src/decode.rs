// SPDX-License-Identifier: Apache-2.0
//! From registers to arguments ([`FromReg`]) and from results to a register ([`IntoReg`]).

use abi::{DirFd, Fd, Gid, Mode, Pid, Tid, TimerId, Uid, UserAddr};
pub use abi::{FromReg, Known};

/// A handler's result as the register shows it.
pub trait IntoReg {
    /// The register's value.
    fn into_reg(self) -> u64;
}

/// The result of a call that never returns: it always ends in a `Stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {}

impl IntoReg for Never {
    fn into_reg(self) -> u64 {
        match self {}
    }
}

impl IntoReg for () {
    fn into_reg(self) -> u64 {
        0
    }
}

impl IntoReg for u64 {
    fn into_reg(self) -> u64 {
        self
    }
}

impl IntoReg for usize {
    fn into_reg(self) -> u64 {
        abi::num::to_u64(self)
    }
}

impl IntoReg for i64 {
    fn into_reg(self) -> u64 {
        self as u64
    }
}

impl IntoReg for u32 {
    fn into_reg(self) -> u64 {
        u64::from(self)
    }
}

impl IntoReg for i32 {
    /// Sign-extended, as a C `long` made of an `int` is.
    fn into_reg(self) -> u64 {
        i64::from(self) as u64
    }
}

impl IntoReg for UserAddr {
    fn into_reg(self) -> u64 {
        self.raw()
    }
}

macro_rules! by_number {
    ($($type:ty)*) => {$(
        impl IntoReg for $type {
            fn into_reg(self) -> u64 {
                self.0.into_reg()
            }
        }
    )*};
}

by_number!(Fd DirFd Pid Tid Uid Gid Mode TimerId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_types_see_the_low_bits() {
        assert_eq!(Fd::from_reg(0xffff_ffff_0000_0003), Fd(3));
        assert_eq!(Fd::from_reg(0xffff_ffff), Fd(-1));
        assert_eq!(u32::from_reg(1 << 32 | 7), 7);
        assert_eq!(i64::from_reg(u64::MAX), -1);
    }

    #[test]
    fn negative_results_are_extended() {
        assert_eq!((-20i32).into_reg(), u64::MAX - 19);
        assert_eq!(Uid(u32::MAX).into_reg(), 0xffff_ffff);
    }
}
