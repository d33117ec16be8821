// SPDX-License-Identifier: Apache-2.0
//! Configurations with something wrong in them: they are refused or understood, and nothing panics.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{bundle::Bundle, convert, template};
use crate::config::Config;

/// `RUNSC_FUZZ_ROUNDS` for longer runs by hand.
const ROUNDS: u64 = 4000;

/// xorshift64*: a fixed sequence is enough to choose by.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        usize::try_from(word).unwrap_or(0) % limit.max(1)
    }
}

/// Values that a field might not expect.
fn surprises() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(""),
        json!("/"),
        json!("../../.."),
        json!("a\u{0}b"),
        json!("\u{202e}\n"),
        json!("x".repeat(5000)),
        json!([]),
        json!({}),
        json!([null, 1, "x"]),
        json!([{"destination": "", "type": "bind", "source": "/", "options": ["rbind", "mode=9999999999"]}]),
        json!([{"type": "RLIMIT_NOFILE", "hard": 0, "soft": u64::MAX}]),
        json!([{"containerID": u32::MAX, "hostID": u32::MAX, "size": u32::MAX}]),
        json!({"uid": u32::MAX, "gid": u32::MAX, "additionalGids": [u32::MAX, 0]}),
    ]
}

/// Changes one place somewhere inside.
fn mutate(value: &mut Value, chance: &mut Chance, surprises: &[Value]) {
    let goes_deeper = chance.below(4) != 0;
    match value {
        Value::Object(fields) if goes_deeper && !fields.is_empty() => {
            let nth = chance.below(fields.len());
            if let Some((_, field)) = fields.iter_mut().nth(nth) {
                mutate(field, chance, surprises);
            }
        }
        Value::Array(items) if goes_deeper && !items.is_empty() => {
            let nth = chance.below(items.len());
            if let Some(item) = items.get_mut(nth) {
                mutate(item, chance, surprises);
            }
        }
        Value::Array(items) if chance.below(2) == 0 => {
            let copy = items.first().cloned().unwrap_or(Value::Null);
            items.extend(std::iter::repeat_n(copy, chance.below(300)));
        }
        _ => *value = surprises[chance.below(surprises.len())].clone(),
    }
}

/// Everything that is done with a configuration before a process is started.
fn is_understood(bundle: &Path, text: &[u8]) -> bool {
    fs::write(bundle.join("config.json"), text).unwrap();
    Bundle::open(bundle)
        .is_ok_and(|bundle| convert::plan("fuzz", &bundle, &Config::default()).is_ok())
}

fn whole() -> Value {
    let mut spec: Value = serde_json::from_str(&template::text(false, "/")).unwrap();
    spec["process"]["user"] = json!({"uid": 1, "gid": 2, "additionalGids": [3], "umask": 18});
    spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "hard": 10, "soft": 10}]);
    spec["annotations"] = json!({"a": "b"});
    spec["hooks"] = json!({"poststop": [{"path": "/bin/true", "timeout": 1}]});
    spec["linux"]["resources"] = json!({"memory": {"limit": 1 << 30}, "cpu": {"quota": 1, "period": 2},
        "pids": {"limit": 9}, "devices": [{"allow": false, "access": "rwm"}]});
    spec["linux"]["sysctl"] = json!({"kernel.domainname": "x"});
    spec["linux"]["devices"] = json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]);
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 100}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    spec
}

#[test]
fn nothing_in_a_configuration_makes_it_panic() {
    let bundle = tempfile::tempdir().unwrap();
    fs::create_dir(bundle.path().join("rootfs")).unwrap();
    let plain = serde_json::to_vec(&whole()).unwrap();
    assert!(is_understood(bundle.path(), &plain), "the one that all are made of is good");
    let rounds = std::env::var("RUNSC_FUZZ_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let (surprises, mut chance) = (surprises(), Chance(0x9e37_79b9_7f4a_7c15));
    let mut understood = 0;
    for round in 0..rounds {
        let text = if round % 4 == 0 {
            let mut text = plain.clone();
            for _ in 0..=chance.below(4) {
                let at = chance.below(text.len());
                text[at] = u8::try_from(chance.below(256)).unwrap_or(0);
            }
            text.truncate(text.len() - chance.below(3) * chance.below(text.len() / 2));
            text
        } else {
            let mut spec = whole();
            for _ in 0..=chance.below(3) {
                mutate(&mut spec, &mut chance, &surprises);
            }
            serde_json::to_vec(&spec).unwrap()
        };
        understood += u64::from(is_understood(bundle.path(), &text));
    }
    assert!(understood > rounds / 50 && understood < rounds, "{understood} of {rounds}");
}

#[test]
fn nesting_without_end_is_refused() {
    let bundle = tempfile::tempdir().unwrap();
    fs::create_dir(bundle.path().join("rootfs")).unwrap();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let text = format!("{}1{}", open.repeat(200_000), close.repeat(200_000));
        assert!(!is_understood(bundle.path(), text.as_bytes()));
    }
}
