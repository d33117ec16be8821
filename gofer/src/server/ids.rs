// SPDX-License-Identifier: Apache-2.0
//! Ids of users and groups, where the guest's are not the host's.

use abi::Errno;

use crate::protocol::Attr;

/// Whoever the map does not know is shown as this one (`/proc/sys/kernel/overflowuid`).
const OVERFLOW: u32 = 65_534;

/// Ids that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first as the guest knows it.
    pub guest: u32,
    /// The first as the host knows it.
    pub host: u32,
    /// How many.
    pub count: u32,
}

/// The ranges of one kind of id; without any, ids are the same on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map(Vec<Range>);

impl Map {
    /// A map of these ranges.
    pub fn new(ranges: impl IntoIterator<Item = Range>) -> Map {
        Map(ranges.into_iter().collect())
    }

    fn to_guest(&self, id: u32) -> u32 {
        self.translate(id, |range| (range.host, range.guest)).unwrap_or(OVERFLOW)
    }

    fn to_host(&self, id: u32) -> Option<u32> {
        self.translate(id, |range| (range.guest, range.host))
    }

    fn translate(&self, id: u32, sides: fn(&Range) -> (u32, u32)) -> Option<u32> {
        if self.0.is_empty() {
            return Some(id);
        }
        self.0.iter().find_map(|range| {
            let (from, to) = sides(range);
            let index = id.checked_sub(from).filter(|index| *index < range.count)?;
            to.checked_add(index)
        })
    }
}

/// The maps of users and groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    /// Of users.
    pub users: Map,
    /// Of groups.
    pub groups: Map,
}

impl Ids {
    /// Whether ids are the same on both sides.
    pub fn is_identity(&self) -> bool {
        self.users.0.is_empty() && self.groups.0.is_empty()
    }

    /// Attributes as the guest sees them.
    pub(super) fn shown(&self, mut attr: Attr) -> Attr {
        attr.uid = self.users.to_guest(attr.uid);
        attr.gid = self.groups.to_guest(attr.gid);
        attr
    }

    /// The host's ids of the owner that the guest wants; `EINVAL`, as in a user namespace, for ids
    /// that the map does not know.
    pub(super) fn owner(&self, user: u32, group: u32) -> Result<(u32, u32), Errno> {
        let host = (self.users.to_host(user), self.groups.to_host(group));
        host.0.zip(host.1).ok_or(Errno::EINVAL)
    }

    /// One of both, where only one is to change.
    pub(super) fn change(
        &self,
        user: Option<u32>,
        group: Option<u32>,
    ) -> Result<(Option<u32>, Option<u32>), Errno> {
        let user = user.map(|id| self.users.to_host(id).ok_or(Errno::EINVAL)).transpose()?;
        let group = group.map(|id| self.groups.to_host(id).ok_or(Errno::EINVAL)).transpose()?;
        Ok((user, group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_both_ways_and_strangers_are_nobody() {
        let range = |guest, host, count| Range { guest, host, count };
        let map = Map::new([range(0, 100_000, 10), range(1000, 5, 1)]);
        assert_eq!((map.to_guest(100_009), map.to_guest(100_010)), (9, OVERFLOW));
        assert_eq!((map.to_guest(5), map.to_guest(0)), (1000, OVERFLOW));
        assert_eq!((map.to_host(3), map.to_host(10)), (Some(100_003), None));
        assert_eq!(map.to_host(1000), Some(5));
        let all = Map::default();
        assert_eq!((all.to_guest(7), all.to_host(u32::MAX)), (7, Some(u32::MAX)));
        let end = Map::new([range(0, u32::MAX - 1, 5)]);
        assert_eq!((end.to_host(1), end.to_host(2)), (Some(u32::MAX), None));
    }
}
