// SPDX-License-Identifier: Apache-2.0
//! Users and groups by name, as the guest's own `/etc/passwd` and `/etc/group` have them.
//!
//! Both files are the image's: any kind of file, of any size and content.

use std::sync::Arc;

use abi::{Errno, cred::Capabilities, fcntl::OpenFlags};
use sentry::{
    creds::Credentials,
    io::SliceSink,
    vfs::{FileKind, Lookup, MountNamespace, ResolveContext, resolve},
    wait::Try,
};
use tracing::debug;

/// No more of either file is read.
const LIMIT: usize = 1 << 20;

/// A name that stands for nobody.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum UserError {
    /// No user has it.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    /// No group has it.
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
}

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    name: Vec<u8>,
    uid: u32,
    gid: u32,
    home: Vec<u8>,
}

/// A line of `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: Vec<u8>,
    gid: u32,
    members: Vec<Vec<u8>>,
}

/// Both files, as far as they make sense.
#[derive(Debug, Default)]
pub(super) struct Users {
    users: Vec<User>,
    groups: Vec<Group>,
}

/// Who somebody is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The user.
    pub(super) uid: u32,
    /// The group, unless only a number was given.
    pub(super) gid: Option<u32>,
    /// The further groups that a user given by name is in.
    pub(super) groups: Vec<u32>,
}

impl Users {
    /// Reads the files. One that is missing or unreadable has no entries.
    pub(super) fn of(tree: &Arc<MountNamespace>) -> Users {
        let read = |path: &str| {
            read(tree, path).unwrap_or_else(|errno| {
                debug!("{path} of the guest: {}", errno.message());
                Vec::new()
            })
        };
        Users::parse(&read("/etc/passwd"), &read("/etc/group"))
    }

    fn parse(passwd: &[u8], group: &[u8]) -> Users {
        Users {
            users: lines(passwd).filter_map(user).collect(),
            groups: lines(group).filter_map(self::group).collect(),
        }
    }

    /// The home of a user; `/` if nobody knows it.
    pub(super) fn home(&self, uid: u32) -> &[u8] {
        let user = self.users.iter().find(|user| user.uid == uid);
        user.map(|user| &*user.home).filter(|home| !home.is_empty()).unwrap_or(b"/")
    }

    /// Who is meant by a name or number of a user and perhaps of a group.
    pub(super) fn identity(&self, user: &str, group: Option<&str>) -> Result<Identity, UserError> {
        let known = self.users.iter().find(|it| it.name == user.as_bytes());
        let gid = group.map(|group| self.gid(group)).transpose()?;
        match (known, user.parse()) {
            (Some(known), _) => {
                let is_member = |group: &&Group| group.members.contains(&known.name);
                let groups = self.groups.iter().filter(is_member).map(|group| group.gid);
                let gid = Some(gid.unwrap_or(known.gid));
                Ok(Identity { uid: known.uid, gid, groups: groups.collect() })
            }
            (None, Ok(uid)) => Ok(Identity { uid, gid, groups: Vec::new() }),
            (None, Err(_)) => Err(UserError::User(user.into())),
        }
    }

    fn gid(&self, group: &str) -> Result<u32, UserError> {
        let known = self.groups.iter().find(|it| it.name == group.as_bytes());
        match (known, group.parse()) {
            (Some(known), _) => Ok(known.gid),
            (None, Ok(gid)) => Ok(gid),
            (None, Err(_)) => Err(UserError::Group(group.into())),
        }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':').collect())
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn user(fields: Vec<&[u8]>) -> Option<User> {
    let name = fields.first()?.to_vec();
    let (uid, gid) = (number(fields.get(2)?)?, number(fields.get(3)?)?);
    let home = fields.get(5).copied().unwrap_or_default().to_vec();
    (!name.is_empty()).then_some(User { name, uid, gid, home })
}

fn group(fields: Vec<&[u8]>) -> Option<Group> {
    let name = fields.first()?.to_vec();
    let gid = number(fields.get(2)?)?;
    let members = fields.get(3).copied().unwrap_or_default();
    let members = members.split(|byte| *byte == b',').filter(|name| !name.is_empty());
    let members = members.map(<[u8]>::to_vec).collect();
    (!name.is_empty()).then_some(Group { name, gid, members })
}

fn read(tree: &Arc<MountNamespace>, path: &str) -> Result<Vec<u8>, Errno> {
    let root = tree.root();
    let creds = Arc::new(Credentials::root(Capabilities::all()));
    let cx = ResolveContext { start: root.clone(), root, creds: Arc::clone(&creds) };
    let place = resolve::walk(&cx, path.as_bytes(), Lookup::FOLLOW)?;
    let inode = place.inode();
    if inode.kind() != FileKind::Regular {
        return Err(Errno::EINVAL);
    }
    let file = Arc::clone(inode).open(OpenFlags::empty(), &creds)?;
    let mut text = Vec::new();
    let mut room = vec![0; 16 * 1024];
    while text.len() < LIMIT {
        let at = abi::num::to_u64(text.len());
        match file.read_at(&mut SliceSink::new(&mut room), at)? {
            Try::Done(0) => break,
            Try::Done(count) => text.extend(room.iter().take(count)),
            Try::WouldBlock => return Err(Errno::EIO),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        Users::parse(
            b"root:x:0:0:root:/root:/bin/sh\nbroken\n:x:5:5::/:\nann:x:1000:100:Ann:/home/ann:/bin/sh\n\
              huge:x:99999999999:1::/:\nnohome:x:7:7\n1000:x:42:42::/n:",
            b"root:x:0:\nstaff:x:50:ann,root\nusers:x:100:\nwheel:x:10:ann\nbad:x:-1:ann",
        )
    }

    #[test]
    fn names_and_numbers() {
        let users = users();
        let who = |user: &str, group: Option<&str>| users.identity(user, group);
        let is = |uid, gid, groups: &[u32]| Ok(Identity { uid, gid, groups: groups.to_vec() });
        assert_eq!(who("ann", None), is(1000, Some(100), &[50, 10]));
        assert_eq!(who("ann", Some("wheel")), is(1000, Some(10), &[50, 10]));
        assert_eq!(who("33", None), is(33, None, &[]));
        assert_eq!(who("33", Some("44")), is(33, Some(44), &[]));
        // A name of digits is a name, as useradd(8) and Docker have it.
        assert_eq!(who("1000", None), is(42, Some(42), &[]));
        assert_eq!(who("bob", None), Err(UserError::User("bob".into())));
        assert_eq!(who("huge", None), Err(UserError::User("huge".into())));
        assert_eq!(who("0", Some("bad")), Err(UserError::Group("bad".into())));
        assert_eq!(who("-1", None), Err(UserError::User("-1".into())));
    }

    #[test]
    fn homes() {
        let users = users();
        assert_eq!(users.home(0), b"/root");
        assert_eq!(users.home(7), b"/");
        assert_eq!(users.home(12345), b"/");
    }
}
