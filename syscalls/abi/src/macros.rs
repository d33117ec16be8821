// SPDX-License-Identifier: Apache-2.0
//! The four shapes that Linux's words have: flags, values, constants and structures.

/// A value that arrives in one 64-bit register. Decoding never fails: what is unknown is kept.
pub trait FromReg: Copy {
    /// The value as Linux reads it from the register: narrow types see only its low bits.
    fn from_reg(register: u64) -> Self;
}

macro_rules! from_reg_number {
    ($($number:ty)*) => {$(
        impl FromReg for $number {
            fn from_reg(register: u64) -> Self {
                register as $number
            }
        }
    )*};
}

from_reg_number!(u8 u16 u32 u64 usize i32 i64);

/// A value of a known set, or not: what [`FromReg`] let through can be checked where Linux checks it.
pub trait Known: Sized {
    /// The value if all of it is known to Linux.
    fn known(self) -> Option<Self>;

    /// The value, or `EINVAL` if Linux knows it not or knows one of its bits not.
    fn reject_unknown(self) -> Result<Self, crate::Errno> {
        self.known().ok_or(crate::Errno::EINVAL)
    }
}

/// How strace(1) prints a flags word or a value: by Linux's names.
pub trait Symbolic {
    /// Writes `O_WRONLY|O_CREAT`, `SEEK_SET`, or numbers for what has no name.
    fn write_symbolic(&self, out: &mut String);
}

/// Defines a `bitflags` type whose constants leave out the common prefix of Linux's names.
macro_rules! flags {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $bits:ty = $prefix:literal { $($flag:ident = $value:expr;)* }
    ) => {
        bitflags::bitflags! {
            $(#[$meta])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
            pub struct $name: $bits { $(const $flag = $value;)* }
        }

        impl $crate::macros::FromReg for $name {
            fn from_reg(register: u64) -> Self {
                $name::from_bits_retain(register as $bits)
            }
        }

        impl $crate::macros::Known for $name {
            fn known(self) -> Option<Self> {
                $name::from_bits(self.bits())
            }
        }

        impl $crate::macros::Symbolic for $name {
            fn write_symbolic(&self, out: &mut String) {
                $crate::macros::write_flags($prefix, self.iter_names().map(|(name, _)| name), self
                    .iter_names()
                    .fold(self.bits(), |left, (_, flag)| left & !flag.bits()) as u64, out);
            }
        }
    };
}

/// Writes flag names joined by `|`, then what is left as a number.
pub(crate) fn write_flags<'a>(
    prefix: &str,
    names: impl Iterator<Item = &'a str>,
    rest: u64,
    out: &mut String,
) {
    let start = out.len();
    for name in names {
        if out.len() > start {
            out.push('|');
        }
        out.push_str(prefix);
        out.push_str(name);
    }
    if out.len() == start && rest == 0 {
        out.push('0');
    } else if rest != 0 {
        if out.len() > start {
            out.push('|');
        }
        out.push_str(&format!("{rest:#x}"));
    }
}

/// Defines a number with named values: the type, one constant a value, and the way back to the name.
macro_rules! values {
    (
        $(#[$meta:meta])*
        pub struct $type:ident: $number:ty { $($name:ident = $value:expr;)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[repr(transparent)]
        pub struct $type(pub $number);

        $(pub const $name: $number = $value;)*

        impl $type {
            /// Linux's name for the value.
            #[allow(unreachable_patterns, reason = "Linux has some numbers under two names")]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($name => Some(stringify!($name)),)* _ => None }
            }
        }

        impl core::fmt::Debug for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#x}", self.0),
                }
            }
        }

        impl $crate::macros::FromReg for $type {
            fn from_reg(register: u64) -> Self {
                $type(register as $number)
            }
        }

        impl $crate::macros::Known for $type {
            fn known(self) -> Option<Self> {
                self.name().map(|_| self)
            }
        }

        impl $crate::macros::Symbolic for $type {
            fn write_symbolic(&self, out: &mut String) {
                match self.name() {
                    Some(name) => out.push_str(name),
                    None => out.push_str(&format!("{:#x}", self.0)),
                }
            }
        }
    };
}

/// Defines constants of one type.
macro_rules! consts {
    ($type:ty; $($name:ident = $value:expr;)*) => {
        $(pub const $name: $type = $value;)*
    };
}

/// Defines a structure of the kernel's ABI: `repr(C)`, plain bytes, its size asserted, zero by default.
macro_rules! layout {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident [$size:expr] { $($(#[$about:meta])* $field:ident: $type:ty,)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(C)]
        pub struct $name { $($(#[$about])* pub $field: $type,)* }

        const _: () = assert!(size_of::<$name>() == $size);

        impl Default for $name {
            fn default() -> Self {
                zerocopy::FromZeros::new_zeroed()
            }
        }
    )*};
}

pub(crate) use {consts, flags, layout, values};
