// SPDX-License-Identifier: Apache-2.0
//! `/proc/<pid>/ns`.

use std::sync::Arc;

use abi::Errno;

use super::{
    process::{Subject, inode_number, node},
    view::NamespaceKind,
};
use crate::{
    creds::Credentials,
    fs::pseudo::{Body, Entries, Entry, Link, PseudoFilesystem, Tree},
    vfs::{FileKind, Inode, LinkTarget},
};

const NAMES: [(&str, &str, NamespaceKind); 10] = [
    ("cgroup", "cgroup", NamespaceKind::Cgroup),
    ("ipc", "ipc", NamespaceKind::Ipc),
    ("mnt", "mnt", NamespaceKind::Mount),
    ("net", "net", NamespaceKind::Network),
    ("pid", "pid", NamespaceKind::Pid),
    ("pid_for_children", "pid", NamespaceKind::Pid),
    ("time", "time", NamespaceKind::Time),
    ("time_for_children", "time", NamespaceKind::Time),
    ("user", "user", NamespaceKind::User),
    ("uts", "uts", NamespaceKind::Uts),
];

/// `ns`.
pub(super) struct Namespaces(pub(super) Subject);

impl Tree for Namespaces {
    fn lookup(
        &self,
        filesystem: &Arc<PseudoFilesystem>,
        name: &[u8],
    ) -> Result<Arc<dyn Inode>, Errno> {
        let found = (500u16..).zip(&NAMES).find(|(_, (known, _, _))| known.as_bytes() == name);
        let (number, (_, word, kind)) = found.ok_or(Errno::ENOENT)?;
        let body = Body::Link(Box::new(ToNamespace(self.0.clone(), word, *kind)));
        Ok(node(filesystem, &self.0, number, 0o777, body))
    }

    fn entries(&self, _filesystem: &Arc<PseudoFilesystem>) -> Result<Entries, Errno> {
        let entry = |(number, (name, _, _)): (u16, &(&str, &str, NamespaceKind))| Entry {
            name: name.as_bytes().to_vec(),
            number: inode_number(self.0.number, number),
            kind: FileKind::Symlink,
        };
        Ok((500u16..).zip(&NAMES).map(entry).collect())
    }
}

/// The text is Linux's; opening it to join the namespace is setns(2)'s affair and is not there yet.
struct ToNamespace(Subject, &'static str, NamespaceKind);

impl Link for ToNamespace {
    fn target(&self, asker: &Credentials) -> Result<LinkTarget, Errno> {
        self.0.check_access(asker)?;
        let number = self.0.task.namespace(self.2);
        Ok(LinkTarget::Text(format!("{}:[{number}]", self.1).into_bytes()))
    }
}
