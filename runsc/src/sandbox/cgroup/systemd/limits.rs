// SPDX-License-Identifier: Apache-2.0
//! What is written into a cgroup's files, as properties of its unit: systemd writes its own values again
//! whenever it is told to reload.

use super::{
    super::{Version, write::Write},
    wire::{Property, Value},
};

/// The first release with `CPUQuotaPeriodUSec`.
const WITH_PERIOD: u32 = 242;
/// The first release with `AllowedCPUs` and `AllowedMemoryNodes`.
const WITH_CPUSETS: u32 = 244;
/// systemd keeps quotas in hundredths of a processor: what is asked for must fit in.
const HUNDREDTH_US: u64 = 10_000;
/// No more processors or memory nodes are named one by one.
const MOST: usize = 1 << 16;
/// A longer list has no property.
const LONGEST: usize = 4096;

/// The properties that say the same as `writes`, as far as `release` has any.
pub(super) fn properties(version: Version, writes: &[Write], release: u32) -> Vec<Property> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: Option<Value>| {
        all.extend(value.map(|value| Property::new(name, value)));
    };
    let (mut quota, mut period) = (None, None);
    for write in writes {
        let value = &*write.value;
        match (version, &*write.file) {
            (Version::V1, "memory.limit_in_bytes") => add("MemoryLimit", number(value)),
            (Version::V1, "cpu.shares") => add("CPUShares", number(value)),
            (Version::V1, "cpu.cfs_quota_us") => quota = amount(value),
            (Version::V1, "cpu.cfs_period_us") => period = amount(value),
            (Version::V1, "blkio.weight") => add("BlockIOWeight", number(value)),
            (_, "pids.max") => add("TasksMax", number(value)),
            (Version::V2, "memory.max") => add("MemoryMax", number(value)),
            (Version::V2, "memory.high") => add("MemoryHigh", number(value)),
            (Version::V2, "memory.low") => add("MemoryLow", number(value)),
            (Version::V2, "memory.min") => add("MemoryMin", number(value)),
            (Version::V2, "memory.swap.max") => add("MemorySwapMax", number(value)),
            (Version::V2, "cpu.weight") => add("CPUWeight", number(value)),
            (Version::V2, "cpu.max") => {
                let mut words = value.split_whitespace();
                quota = words.next().and_then(amount);
                period = words.next().and_then(amount);
            }
            (Version::V2, "cpuset.cpus") if release >= WITH_CPUSETS => {
                add("AllowedCPUs", mask(value));
            }
            (Version::V2, "cpuset.mems") if release >= WITH_CPUSETS => {
                add("AllowedMemoryNodes", mask(value));
            }
            // For the rest systemd has no property, or one that needs more than the file does.
            _ => {}
        }
    }
    if release >= WITH_PERIOD {
        add("CPUQuotaPeriodUSec", period.map(Value::U64));
    }
    let per_second = quota.map(|quota| {
        let exact =
            quota.checked_mul(1_000_000).map(|it| it.div_ceil(period.unwrap_or(100_000).max(1)));
        exact.and_then(|it| it.checked_next_multiple_of(HUNDREDTH_US)).unwrap_or(u64::MAX)
    });
    add("CPUQuotaPerSecUSec", per_second.map(Value::U64));
    all
}

fn number(text: &str) -> Option<Value> {
    amount(text).map(Value::U64)
}

/// A number of something; the greatest of all is no limit.
fn amount(text: &str) -> Option<u64> {
    match text.trim() {
        "max" | "-1" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

/// `0-3,7` as the bits of bytes.
fn mask(list: &str) -> Option<Value> {
    if list.len() > LONGEST {
        return None;
    }
    let mut bytes: Vec<u8> = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST {
            return None;
        }
        for number in first..=last {
            let at = number / 8;
            if bytes.len() <= at {
                bytes.resize(at + 1, 0);
            }
            *bytes.get_mut(at)? |= 1 << (number % 8);
        }
    }
    Some(Value::Array("y".into(), bytes.into_iter().map(Value::Byte).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::super::{v1, v2},
        *,
    };

    fn of(version: Version, value: serde_json::Value, release: u32) -> Vec<(String, Value)> {
        let resources = serde_json::from_value(value).unwrap();
        let writes = match version {
            Version::V1 => v1::writes(&resources),
            Version::V2 => v2::writes(&resources),
        };
        let all = properties(version, &writes.unwrap(), release);
        all.into_iter().map(|it| (it.name, it.value)).collect()
    }

    #[test]
    fn what_is_asked_for_has_a_property() {
        let asked = json!({
            "memory": {"limit": 100, "swap": 150, "reservation": 50},
            "cpu": {"shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0-1,9", "mems": "0"},
            "pids": {"limit": 20}, "blockIO": {"weight": 500},
        });
        let bytes =
            |all: &[u8]| Value::Array("y".into(), all.iter().copied().map(Value::Byte).collect());
        let named = |all: Vec<(&str, Value)>| -> Vec<(String, Value)> {
            all.into_iter().map(|(name, value)| (name.into(), value)).collect()
        };
        let number = Value::U64;
        assert_eq!(
            of(Version::V2, asked.clone(), 252),
            named(vec![
                ("MemorySwapMax", number(50)),
                ("MemoryMax", number(100)),
                ("MemoryLow", number(50)),
                ("CPUWeight", number(39)),
                ("AllowedCPUs", bytes(&[3, 2])),
                ("AllowedMemoryNodes", bytes(&[1])),
                ("TasksMax", number(336)),
                ("CPUQuotaPeriodUSec", number(100_000)),
                ("CPUQuotaPerSecUSec", number(500_000)),
            ])
        );
        assert_eq!(
            of(Version::V1, asked, 241),
            named(vec![
                ("MemoryLimit", number(100)),
                ("CPUShares", number(1024)),
                ("TasksMax", number(20)),
                ("BlockIOWeight", number(500)),
                ("CPUQuotaPerSecUSec", number(500_000)),
            ])
        );
    }

    #[test]
    fn quotas_are_rounded_up_and_may_be_lifted() {
        let quota = |quota: i64, period: u64| {
            let all = of(Version::V2, json!({"cpu": {"quota": quota, "period": period}}), 252);
            all.into_iter().find(|it| it.0 == "CPUQuotaPerSecUSec").unwrap().1
        };
        assert_eq!(quota(33_333, 100_000), Value::U64(340_000));
        assert_eq!(quota(i64::MAX, 1000), Value::U64(u64::MAX));
        assert_eq!(quota(-1, 100_000), Value::U64(u64::MAX));
    }
}
