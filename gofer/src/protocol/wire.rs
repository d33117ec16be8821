// SPDX-License-Identifier: Apache-2.0
//! Bytes of messages: encoding, and decoding that believes nothing.
//!
//! Decoding allocates only what the frame really holds, and a frame is bounded.

use abi::Errno;
use zerocopy::{FromBytes, IntoBytes};

use super::{MAX_FRAME, MAX_NAME, attr};

/// The bytes are not a message. The peer is broken or hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

/// Takes a message's fields one by one into a frame.
#[derive(Debug)]
pub struct Writer<'a> {
    frame: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `frame`.
    pub fn new(frame: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { frame }
    }

    /// Appends bytes as they are.
    pub fn put(&mut self, bytes: &[u8]) {
        self.frame.extend_from_slice(bytes);
    }

    /// Whether the frame is still short enough to be sent.
    pub fn fits(&self) -> bool {
        self.frame.len() <= MAX_FRAME
    }
}

/// Gives a message's fields one by one.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all has been read: a message has nothing after its last field.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// What can stand in a message.
pub trait Wire: Sized {
    /// Appends it.
    fn encode(&self, writer: &mut Writer<'_>);
    /// Reads it.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed>;
}

macro_rules! wire_integers {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            fn encode(&self, writer: &mut Writer<'_>) {
                writer.put(&self.to_le_bytes());
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                let bytes = reader.take(size_of::<$type>())?;
                Ok(<$type>::from_le_bytes(bytes.try_into().map_err(|_| Malformed)?))
            }
        }
    )*};
}
wire_integers!(u8, u16, u32, u64, i64);

macro_rules! wire_plain {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            fn encode(&self, writer: &mut Writer<'_>) {
                writer.put(self.as_bytes());
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                Self::read_from_bytes(reader.take(size_of::<Self>())?).map_err(|_| Malformed)
            }
        }
    )*};
}
wire_plain!(attr::Attr, attr::Time, abi::mount::StatFs);

/// Names a node of the gofer. Never reused within a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl Wire for NodeId {
    fn encode(&self, writer: &mut Writer<'_>) {
        self.0.encode(writer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        u64::decode(reader).map(NodeId)
    }
}

/// Any bytes, with their length before them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl Wire for Bytes {
    fn encode(&self, writer: &mut Writer<'_>) {
        // A length beyond a frame makes a frame that is not sent, whatever the number says.
        u32::try_from(self.0.len()).unwrap_or(u32::MAX).encode(writer);
        writer.put(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let len = usize::try_from(u32::decode(reader)?).map_err(|_| Malformed)?;
        Ok(Bytes(reader.take(len)?.to_vec()))
    }
}

/// One component of a path: no slash, no NUL, neither `.` nor `..`, 1 to 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Vec<u8>);

impl Name {
    /// Checks a name: `ENOENT` if empty, `ENAMETOOLONG`, `EINVAL` for what no lookup may be asked.
    pub fn new(name: &[u8]) -> Result<Name, Errno> {
        match name {
            [] => Err(Errno::ENOENT),
            _ if name.len() > MAX_NAME => Err(Errno::ENAMETOOLONG),
            b"." | b".." => Err(Errno::EINVAL),
            _ if name.iter().any(|&byte| byte == b'/' || byte == 0) => Err(Errno::EINVAL),
            _ => Ok(Name(name.to_vec())),
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Wire for Name {
    fn encode(&self, writer: &mut Writer<'_>) {
        // Checked when the name was made: at most 255.
        u8::try_from(self.0.len()).unwrap_or(u8::MAX).encode(writer);
        writer.put(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let len = usize::from(u8::decode(reader)?);
        Name::new(reader.take(len)?).map_err(|_| Malformed)
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn encode(&self, writer: &mut Writer<'_>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).encode(writer);
        for item in self {
            item.encode(writer);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = u32::decode(reader)?;
        // Each item takes at least a byte: the count cannot exceed what is there to be read.
        if usize::try_from(count).map_err(|_| Malformed)? > reader.rest.len() {
            return Err(Malformed);
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(T::decode(reader)?);
        }
        Ok(items)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn encode(&self, writer: &mut Writer<'_>) {
        match self {
            None => 0u8.encode(writer),
            Some(value) => {
                1u8.encode(writer);
                value.encode(writer);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match u8::decode(reader)? {
            0 => Ok(None),
            1 => T::decode(reader).map(Some),
            _ => Err(Malformed),
        }
    }
}

impl Wire for attr::TimeUpdate {
    fn encode(&self, writer: &mut Writer<'_>) {
        match self {
            attr::TimeUpdate::Now => 0u8.encode(writer),
            attr::TimeUpdate::To(time) => {
                1u8.encode(writer);
                time.encode(writer);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match u8::decode(reader)? {
            0 => Ok(attr::TimeUpdate::Now),
            1 => attr::Time::decode(reader).map(attr::TimeUpdate::To),
            _ => Err(Malformed),
        }
    }
}

/// Declares message structs, whose bytes are their fields in order.
macro_rules! messages {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type),* }

        impl $crate::protocol::Wire for $name {
            fn encode(&self, _writer: &mut $crate::protocol::Writer<'_>) {
                $(self.$field.encode(_writer);)*
            }

            fn decode(
                _reader: &mut $crate::protocol::Reader<'_>,
            ) -> Result<Self, $crate::protocol::Malformed> {
                Ok($name { $($field: $crate::protocol::Wire::decode(_reader)?),* })
            }
        }
    )*};
}
pub(crate) use messages;

impl Wire for attr::SetAttr {
    fn encode(&self, writer: &mut Writer<'_>) {
        self.mode.encode(writer);
        self.uid.encode(writer);
        self.gid.encode(writer);
        self.size.encode(writer);
        self.accessed.encode(writer);
        self.modified.encode(writer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(attr::SetAttr {
            mode: Wire::decode(reader)?,
            uid: Wire::decode(reader)?,
            gid: Wire::decode(reader)?,
            size: Wire::decode(reader)?,
            accessed: Wire::decode(reader)?,
            modified: Wire::decode(reader)?,
        })
    }
}
