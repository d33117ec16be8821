// SPDX-License-Identifier: Apache-2.0
//! `linux.uidMappings` and `linux.gidMappings`: whose ids on the host the guest's are.

use oci_spec::runtime::{LinuxIdMapping, Spec};

use super::{bundle::BundleError, namespaces};
use crate::sandbox::plan::{IdMaps, IdRange, Process};

/// Linux takes no more lines.
const RANGES: usize = 340;

/// The maps, checked as the kernel checks them; none without a user namespace.
pub(crate) fn check(spec: &Spec, process: &Process) -> Result<IdMaps, BundleError> {
    let Some(linux) = spec.linux() else { return Ok(IdMaps::default()) };
    let maps = IdMaps {
        uids: convert("linux.uidMappings", linux.uid_mappings().as_deref())?,
        gids: convert("linux.gidMappings", linux.gid_mappings().as_deref())?,
    };
    let has_namespace = namespaces::has_user_namespace(spec);
    let is_mapped = !maps.uids.is_empty() || !maps.gids.is_empty();
    if is_mapped && !has_namespace {
        let why =
            "User namespace mappings specified, but USER namespace isn't enabled in the config";
        return Err(BundleError::field("linux.uidMappings", why));
    }
    if !is_mapped {
        return Ok(maps);
    }
    for (field, map, id) in [
        ("process.user.uid", &maps.uids, process.uid),
        ("process.user.gid", &maps.gids, process.gid),
    ] {
        if !has(map, id) {
            let why = format!("cannot set {id}: it is not mapped in the user namespace");
            return Err(BundleError::field(field, why));
        }
    }
    if process.groups.iter().any(|group| !has(&maps.gids, *group)) {
        let why = "cannot set additional groups that are not mapped in the user namespace";
        return Err(BundleError::field("process.user.additionalGids", why));
    }
    Ok(maps)
}

fn has(map: &[IdRange], id: u32) -> bool {
    map.iter().any(|range| id >= range.guest && id - range.guest < range.count)
}

/// Ranges that do not overlap on either side.
pub(crate) fn convert(
    field: &str,
    list: Option<&[LinuxIdMapping]>,
) -> Result<Vec<IdRange>, BundleError> {
    let list = list.unwrap_or_default();
    if list.len() > RANGES {
        return Err(BundleError::field(field, format!("more than {RANGES} ranges")));
    }
    let mut ranges: Vec<IdRange> = Vec::new();
    for (index, mapping) in list.iter().enumerate() {
        let range = IdRange {
            guest: mapping.container_id(),
            host: mapping.host_id(),
            count: mapping.size(),
        };
        let fits = |first: u32| first.checked_add(range.count).is_some();
        let overlaps = |one: u32, other: u32, count: u32| {
            one < other.saturating_add(count) && other < one.saturating_add(range.count)
        };
        let is_taken = ranges.iter().any(|other| {
            overlaps(range.guest, other.guest, other.count)
                || overlaps(range.host, other.host, other.count)
        });
        let why = if range.count == 0 {
            "is empty"
        } else if !fits(range.guest) || !fits(range.host) {
            "goes beyond the last id"
        } else if is_taken {
            "overlaps another range"
        } else {
            ranges.push(range);
            continue;
        };
        return Err(BundleError::field(format!("{field}[{index}]"), why));
    }
    Ok(ranges)
}

/// What a mount whose ids are mapped shows: an id on disk is what the mount's mapping calls it inside, and
/// becomes what it calls it outside; that is what the user namespace then maps.
pub(crate) fn through(mount: &[IdRange], namespace: &[IdRange]) -> Vec<IdRange> {
    if namespace.is_empty() {
        let turned = |it: &IdRange| IdRange { guest: it.host, host: it.guest, count: it.count };
        return mount.iter().map(turned).collect();
    }
    let mut ranges = Vec::new();
    for outer in mount {
        for inner in namespace {
            let first = outer.host.max(inner.host);
            let end = |range: &IdRange| range.host.saturating_add(range.count);
            let end = end(outer).min(end(inner));
            if first < end {
                ranges.push(IdRange {
                    guest: inner.guest + (first - inner.host),
                    host: outer.guest + (first - outer.host),
                    count: end - first,
                });
            }
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mapped_mount_shows_what_is_on_disk() {
        let namespace = [IdRange { guest: 0, host: 100_000, count: 65_536 }];
        // The same mapping: ids on disk are those of the guest.
        let same = through(&namespace, &namespace);
        assert_eq!(same, [IdRange { guest: 0, host: 0, count: 65_536 }]);
        let one = [IdRange { guest: 1000, host: 100_005, count: 1 }];
        assert_eq!(through(&one, &namespace), [IdRange { guest: 5, host: 1000, count: 1 }]);
        assert_eq!(through(&one, &[]), [IdRange { guest: 100_005, host: 1000, count: 1 }]);
        let outside = [IdRange { guest: 0, host: 5, count: 10 }];
        assert_eq!(through(&outside, &namespace), []);
    }

    #[test]
    fn ranges_are_checked() {
        let of = |value: serde_json::Value| {
            let list: Vec<LinuxIdMapping> = serde_json::from_value(value).unwrap();
            convert("x", Some(&list)).map_err(|error| error.to_string())
        };
        let range = |guest: u32, host: u32, size: u32| json!({ "containerID": guest, "hostID": host, "size": size });
        assert_eq!(of(json!([range(0, 1000, 1), range(1, 100_000, 65_535)])).unwrap().len(), 2);
        assert_eq!(of(json!([range(0, 0, 0)])).unwrap_err(), "x[0]: is empty");
        for overlap in [range(5, 500, 10), range(100, 5, 1)] {
            let error = of(json!([range(0, 0, 10), overlap])).unwrap_err();
            assert_eq!(error, "x[1]: overlaps another range");
        }
        assert!(of(json!([range(1, 0, u32::MAX)])).unwrap_err().contains("beyond"));
    }
}
