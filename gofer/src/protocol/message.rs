// SPDX-License-Identifier: Apache-2.0
//! Every request with its reply.
//!
//! A new request is one entry in `requests!`, its struct and its reply's struct above it, and one arm
//! in `server/handlers.rs`, which the compiler asks for.

use super::{Attr, Bytes, Malformed, Name, NodeId, Reader, SetAttr, Wire, Writer, wire::messages};

/// A request: what it is called on the wire and what answers it.
pub trait Call: Wire {
    /// Its number.
    const KIND: u16;
    /// What comes back.
    type Reply: Wire;
}

macro_rules! requests {
    ($($(#[doc = $doc:literal])* $kind:literal $name:ident => $reply:ty;)*) => {
        /// Any request, as the server reads it.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Request {
            $($(#[doc = $doc])* $name($name),)*
        }

        impl Request {
            /// Reads the body of a request of this kind.
            pub fn decode(kind: u16, body: &[u8]) -> Result<Request, Malformed> {
                let mut reader = Reader::new(body);
                let request = match kind {
                    $($kind => Request::$name($name::decode(&mut reader)?),)*
                    _ => return Err(Malformed),
                };
                reader.finish()?;
                Ok(request)
            }

            /// Its name, for logs.
            pub fn name(&self) -> &'static str {
                match self { $(Request::$name(_) => stringify!($name),)* }
            }
        }

        $(impl Call for $name {
            const KIND: u16 = $kind;
            type Reply = $reply;
        })*
    };
}

requests! {
    /// Makes another channel: a socket of its own, served by a thread of its own.
    1 OpenChannel => Nothing;
    /// The root node of an attach point.
    2 Attach => Attached;
    /// Nodes along a path.
    3 Walk => Walked;
    /// Attributes.
    4 GetAttr => Attr;
    /// Changes of attributes.
    5 ChangeAttr => Attr;
    /// A donated descriptor.
    6 Open => Nothing;
    /// A new regular file, opened.
    7 Create => Entry;
    /// A new directory.
    8 MakeDirectory => Entry;
    /// A new fifo, socket name, regular file or whiteout.
    9 MakeNode => Entry;
    /// A new symbolic link.
    10 MakeSymlink => Entry;
    /// Another name for a node.
    11 Link => Attr;
    /// Takes a name away.
    12 Unlink => Nothing;
    /// Moves a name.
    13 Rename => Nothing;
    /// A symbolic link's text.
    14 ReadLink => Bytes;
    /// A directory's first entries, and more of it if there is more.
    15 OpenDirectory => DirectoryOpened;
    /// Some entries.
    16 ReadDirectory => Entries;
    /// File-system statistics.
    17 GetStatFs => abi::mount::StatFs;
    /// An extended attribute's value.
    18 GetXattr => Bytes;
    /// Sets an extended attribute.
    19 SetXattr => Nothing;
    /// Names of extended attributes, each with a NUL behind it.
    20 ListXattr => Bytes;
    /// Removes an extended attribute.
    21 RemoveXattr => Nothing;
    /// Writes a node to the disk.
    22 Sync => Nothing;
    /// A donated socket, connected to a host socket.
    23 Connect => Nothing;
    /// A donated socket, bound to a new name.
    24 Bind => Entry;
    /// Only releases the nodes in its header.
    25 Release => Nothing;
    /// An unnamed regular file, opened (`O_TMPFILE`).
    26 CreateUnnamed => Entry;
    /// Whether names still lead to the files they led to.
    27 Revalidate => Revalidated;
    /// Several children of one directory.
    28 WalkSiblings => Siblings;
}

/// An entry's kind in a directory (`DT_*`).
pub type EntryKind = u8;

messages! {
    /// No more than the header says.
    Nothing {}

    /// See [`Request::OpenChannel`]. The reply donates a socket.
    OpenChannel {}

    /// See [`Request::Attach`].
    Attach {
        /// [`super::VERSION`].
        version: u32,
        /// Which attach point.
        root: u32,
    }
    /// The root of an attach point.
    Attached {
        /// The node.
        node: NodeId,
        /// [`super::Policy`]'s bits.
        policy: u32,
        /// Its attributes.
        attr: Attr,
    }

    /// See [`Request::Walk`]. Symbolic links are not followed: a link ends the walk, and is its last step.
    Walk {
        /// Where it begins.
        directory: NodeId,
        /// What it passes, at most [`super::MAX_WALK`].
        names: Vec<Name>,
    }
    /// How far a walk came.
    Walked {
        /// A node for each component that is there.
        steps: Vec<Entry>,
        /// Why it ended early: an errno, or zero.
        stop: u16,
        /// The text of the last step, if that is a symbolic link.
        link: Option<Bytes>,
    }
    /// A node and its attributes.
    Entry {
        /// The node.
        node: NodeId,
        /// Its attributes.
        attr: Attr,
    }

    /// See [`Request::WalkSiblings`]. As so many walks of one name each.
    WalkSiblings {
        /// Where.
        directory: NodeId,
        /// Which, at most [`super::MAX_WALK`].
        names: Vec<Name>,
    }
    /// What became of each name: a node, or nothing where there is none or it cannot be had.
    Siblings {
        /// In the order of the names.
        entries: Vec<Option<Entry>>,
    }

    /// See [`Request::GetAttr`].
    GetAttr {
        /// Whose.
        node: NodeId,
    }
    /// See [`Request::ChangeAttr`].
    ChangeAttr {
        /// Whose.
        node: NodeId,
        /// What.
        change: SetAttr,
    }

    /// See [`Request::Open`].
    Open {
        /// What.
        node: NodeId,
        /// open(2)'s flags: access mode and status flags.
        flags: u32,
    }
    /// See [`Request::Create`].
    Create {
        /// Where.
        directory: NodeId,
        /// Under which name.
        name: Name,
        /// open(2)'s flags: access mode and status flags.
        flags: u32,
        /// Permissions.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    }
    /// See [`Request::CreateUnnamed`].
    CreateUnnamed {
        /// In which directory's file system.
        directory: NodeId,
        /// open(2)'s flags: access mode and status flags.
        flags: u32,
        /// Permissions.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    }
    /// See [`Request::MakeDirectory`].
    MakeDirectory {
        /// Where.
        directory: NodeId,
        /// Under which name.
        name: Name,
        /// Permissions.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    }
    /// See [`Request::MakeNode`].
    MakeNode {
        /// Where.
        directory: NodeId,
        /// Under which name.
        name: Name,
        /// Type and permissions.
        mode: u32,
        /// Device number.
        device: u64,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    }
    /// See [`Request::MakeSymlink`].
    MakeSymlink {
        /// Where.
        directory: NodeId,
        /// Under which name.
        name: Name,
        /// Its text.
        target: Bytes,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    }
    /// See [`Request::Link`].
    Link {
        /// Where.
        directory: NodeId,
        /// Under which name.
        name: Name,
        /// What.
        node: NodeId,
    }
    /// See [`Request::Unlink`].
    Unlink {
        /// Where.
        directory: NodeId,
        /// Which name.
        name: Name,
        /// Not zero: it is a directory.
        is_directory: u8,
    }
    /// See [`Request::Rename`].
    Rename {
        /// From where.
        directory: NodeId,
        /// Which name.
        name: Name,
        /// To where.
        new_directory: NodeId,
        /// Under which name.
        new_name: Name,
        /// renameat2(2)'s flags.
        flags: u32,
    }
    /// See [`Request::ReadLink`].
    ReadLink {
        /// Of which link.
        node: NodeId,
    }

    /// See [`Request::OpenDirectory`].
    OpenDirectory {
        /// Which.
        node: NodeId,
    }
    /// The first entries of a directory. If there are more, an open directory to read on in, which is to be
    /// released like a node.
    DirectoryOpened {
        /// Its number, unless `entries` are all.
        directory: Option<NodeId>,
        /// `.` and `..` among them.
        entries: Vec<DirectoryEntry>,
    }
    /// See [`Request::ReadDirectory`].
    ReadDirectory {
        /// An open directory.
        directory: NodeId,
        /// From which position; zero is the beginning.
        position: u64,
        /// The most bytes of entries wanted.
        limit: u32,
    }
    /// Entries; none at the end.
    Entries {
        /// They, `.` and `..` among them.
        entries: Vec<DirectoryEntry>,
    }
    /// One entry.
    DirectoryEntry {
        /// Inode number.
        inode: u64,
        /// The position behind it.
        next: u64,
        /// `DT_*`.
        kind: EntryKind,
        /// Its name.
        name: Bytes,
    }

    /// See [`Request::GetStatFs`].
    GetStatFs {
        /// Any node in it.
        node: NodeId,
    }
    /// See [`Request::GetXattr`].
    GetXattr {
        /// Whose.
        node: NodeId,
        /// With its namespace.
        name: Bytes,
    }
    /// See [`Request::SetXattr`].
    SetXattr {
        /// Whose.
        node: NodeId,
        /// With its namespace.
        name: Bytes,
        /// The value.
        value: Bytes,
        /// `XATTR_CREATE`, `XATTR_REPLACE`.
        flags: u32,
    }
    /// See [`Request::ListXattr`].
    ListXattr {
        /// Whose.
        node: NodeId,
    }
    /// See [`Request::RemoveXattr`].
    RemoveXattr {
        /// Whose.
        node: NodeId,
        /// With its namespace.
        name: Bytes,
    }

    /// See [`Request::Sync`].
    Sync {
        /// Which node.
        node: NodeId,
        /// Not zero: its whole file system.
        is_whole_filesystem: u8,
    }
    /// See [`Request::Connect`].
    Connect {
        /// A socket's name.
        node: NodeId,
        /// `SOCK_STREAM`, `SOCK_DGRAM` or `SOCK_SEQPACKET`.
        socket_type: u32,
    }
    /// See [`Request::Bind`].
    Bind {
        /// Where.
        directory: NodeId,
        /// Under which name.
        name: Name,
        /// `SOCK_STREAM`, `SOCK_DGRAM` or `SOCK_SEQPACKET`.
        socket_type: u32,
        /// Permissions.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    }
    /// See [`Request::Release`].
    Release {}

    /// See [`Request::Revalidate`].
    Revalidate {
        /// Where the first name is looked up; each further name in what the one before it led to.
        directory: NodeId,
        /// The names with the node that each led to.
        known: Vec<Known>,
    }
    /// A name and what it led to.
    Known {
        /// The name.
        name: Name,
        /// The node it led to.
        node: NodeId,
    }
    /// How many of the names, from the first on, still lead to the same files.
    Revalidated {
        /// The present attributes of each of those.
        attrs: Vec<Attr>,
    }
}

/// A request's header, before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Comes back in the reply.
    pub id: u32,
    /// [`Call::KIND`].
    pub kind: u16,
    /// The processor that the caller runs on: whoever serves it does best there. A hint.
    pub cpu: u32,
    /// Nodes that the sentry no longer uses.
    pub releases: Vec<NodeId>,
}

impl Wire for RequestHeader {
    fn encode(&self, writer: &mut Writer<'_>) {
        self.id.encode(writer);
        self.kind.encode(writer);
        self.cpu.encode(writer);
        self.releases.encode(writer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let id = u32::decode(reader)?;
        let kind = u16::decode(reader)?;
        let cpu = u32::decode(reader)?;
        let releases = Vec::decode(reader)?;
        if releases.len() > super::MAX_RELEASES {
            return Err(Malformed);
        }
        Ok(RequestHeader { id, kind, cpu, releases })
    }
}

messages! {
    /// A reply's header, before its body. With an errno there is no body.
    ReplyHeader {
        /// The request's.
        id: u32,
        /// Zero, or what went wrong.
        errno: u16,
    }
}
