// SPDX-License-Identifier: Apache-2.0
//! Properties that annotations ask for: `org.systemd.property.<name>`, with a value in GVariant's text
//! format, as runc's docs/systemd.md describes them.

use std::collections::BTreeMap;

use super::{
    super::CgroupError,
    wire::{Property, Value},
};

const PREFIX: &str = "org.systemd.property.";
/// So many types and arrays may stand before a value: more serve nobody.
const DEEPEST: usize = 4;

/// The properties that `annotations` ask for.
pub(super) fn properties(
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<Property>, CgroupError> {
    let ours = annotations.iter().filter_map(|(key, text)| Some((key.strip_prefix(PREFIX)?, text)));
    ours.map(|(name, text)| {
        property(name, text).map_err(|why| CgroupError::Field {
            field: format!("annotations.{PREFIX}{name}"),
            why: why.into(),
        })
    })
    .collect()
}

fn property(name: &str, text: &str) -> Result<Property, &'static str> {
    if name.len() < 3 || !name.chars().all(|it| it.is_ascii_alphabetic()) {
        return Err("it names no property of a unit: three letters at least, and letters alone");
    }
    let value = parse(text)?;
    // On the bus times are in microseconds.
    let Some(stem) =
        name.strip_suffix("Sec").filter(|it| it.ends_with(|it: char| it.is_ascii_lowercase()))
    else {
        return Ok(Property { name: name.into(), value });
    };
    let seconds = match value {
        Value::I16(it) => u64::try_from(it).ok(),
        Value::U16(it) => Some(it.into()),
        Value::I32(it) => u64::try_from(it).ok(),
        Value::U32(it) => Some(it.into()),
        Value::I64(it) => u64::try_from(it).ok(),
        Value::U64(it) => Some(it),
        _ => None,
    };
    let microseconds = seconds.and_then(|it| it.checked_mul(1_000_000));
    let value = Value::U64(microseconds.ok_or("it is no number of seconds")?);
    Ok(Property { name: format!("{stem}USec"), value })
}

/// One value, and nothing behind it.
fn parse(text: &str) -> Result<Value, &'static str> {
    let mut rest = text.trim();
    let value = value(&mut rest, None, DEEPEST)?;
    if rest.trim().is_empty() { Ok(value) } else { Err("there is more than one value") }
}

/// The value that `rest` begins with, and `rest` what follows it. `kind` is its type if that is known.
fn value(rest: &mut &str, kind: Option<&str>, depth: usize) -> Result<Value, &'static str> {
    *rest = rest.trim_start();
    if let Some(after) = rest.strip_prefix('@') {
        let end = after.find(char::is_whitespace).ok_or("a type without a value")?;
        let (kind, after) = after.split_at(end);
        let arrays = kind.len() - kind.trim_start_matches('a').len();
        let is_known = arrays <= DEEPEST
            && matches!(
                kind.get(arrays..),
                Some("y" | "b" | "n" | "q" | "i" | "u" | "x" | "t" | "s" | "o")
            );
        if !is_known {
            return Err("a type that is not supported");
        }
        *rest = after;
        return value(rest, Some(kind), less(depth)?);
    }
    match rest.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let text = string(rest, quote)?;
            match kind.unwrap_or("s") {
                "s" => Ok(Value::Text(text)),
                "o" => Ok(Value::Path(text)),
                _ => Err("a string where there should be none"),
            }
        }
        Some('[') => array(rest, kind, depth),
        _ => {
            let end = rest.find(|it: char| it.is_whitespace() || matches!(it, ',' | ']'));
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            *rest = after;
            match word {
                "true" | "false" if kind.unwrap_or("b") == "b" => Ok(Value::Bool(word == "true")),
                _ => match keyword(word) {
                    Some(kind) => value(rest, Some(kind), less(depth)?),
                    None => number(word, kind.unwrap_or("i")),
                },
            }
        }
    }
}

fn less(depth: usize) -> Result<usize, &'static str> {
    depth.checked_sub(1).ok_or("too many types or arrays before a value")
}

/// The type that a word stands for.
fn keyword(word: &str) -> Option<&'static str> {
    Some(match word {
        "boolean" => "b",
        "byte" => "y",
        "int16" => "n",
        "uint16" => "q",
        "int32" => "i",
        "uint32" => "u",
        "int64" => "x",
        "uint64" => "t",
        "string" => "s",
        "objectpath" => "o",
        _ => return None,
    })
}

fn number(word: &str, kind: &str) -> Result<Value, &'static str> {
    let (sign, digits) = word.strip_prefix('-').map_or((1, word), |digits| (-1, digits));
    let is_octal = digits.len() > 1 && digits.starts_with('0');
    let (digits, radix) = match digits.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if is_octal => (digits, 8),
        None => (digits, 10),
    };
    if !digits.starts_with(|it: char| it.is_ascii_hexdigit()) {
        return Err("it is no value of a type that is supported");
    }
    let number = i128::from(
        u64::from_str_radix(digits, radix)
            .map_err(|_| "it is no value of a type that is supported")?,
    ) * sign;
    fn fit<T: TryFrom<i128>>(number: i128, make: fn(T) -> Value) -> Result<Value, &'static str> {
        T::try_from(number).map(make).map_err(|_| "the number is out of its type's range")
    }
    match kind {
        "y" => fit(number, Value::Byte),
        "n" => fit(number, Value::I16),
        "q" => fit(number, Value::U16),
        "i" => fit(number, Value::I32),
        "u" => fit(number, Value::U32),
        "x" => fit(number, Value::I64),
        "t" => fit(number, Value::U64),
        _ => Err("a number where there should be none"),
    }
}

fn string(rest: &mut &str, quote: char) -> Result<String, &'static str> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\0' => break,
            letter if letter == quote => {
                *rest = rest.get(at + 1..).unwrap_or_default();
                return Ok(text);
            }
            '\\' => match letters.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, letter @ ('\\' | '\'' | '"'))) => text.push(letter),
                _ => return Err("an escape that is not supported"),
            },
            letter => text.push(letter),
        }
    }
    Err("a string without an end")
}

fn array(rest: &mut &str, kind: Option<&str>, depth: usize) -> Result<Value, &'static str> {
    let depth = less(depth)?;
    let mut kind = match kind {
        Some(kind) => {
            Some(kind.strip_prefix('a').ok_or("an array where there should be none")?.to_string())
        }
        None => None,
    };
    *rest = rest.get(1..).unwrap_or_default();
    let mut all = Vec::new();
    loop {
        *rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(']') {
            *rest = after;
            let kind = kind.ok_or("an empty array whose type is not said")?;
            return Ok(Value::Array(kind, all));
        }
        if !all.is_empty() {
            *rest = rest.strip_prefix(',').ok_or("an array without an end")?;
        }
        let one = value(rest, kind.as_deref(), depth)?;
        if kind.get_or_insert_with(|| one.signature()) != &one.signature() {
            return Err("an array of several types");
        }
        all.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_gvariants() {
        let text = |it: &str| Value::Text(it.into());
        for (from, want) in [
            ("true", Value::Bool(true)),
            ("5", Value::I32(5)),
            ("-0x10", Value::I32(-16)),
            ("uint64 18446744073709551615", Value::U64(u64::MAX)),
            ("@t 5", Value::U64(5)),
            ("byte 0x1f", Value::Byte(31)),
            ("int16 -3", Value::I16(-3)),
            ("'a b'", text("a b")),
            (r#" "it's \"\\\n" "#, text("it's \"\\\n")),
            ("objectpath '/a'", Value::Path("/a".into())),
            ("['a', 'b']", Value::Array("s".into(), vec![text("a"), text("b")])),
            ("[uint32 1,2]", Value::Array("u".into(), vec![Value::U32(1), Value::U32(2)])),
            ("@as []", Value::Array("s".into(), Vec::new())),
        ] {
            assert_eq!(parse(from), Ok(want), "{from}");
        }
        for bad in [
            "",
            "uint64",
            "uint64 -1",
            "byte 256",
            "yes",
            "'a",
            "['a', 1]",
            "[",
            "[1",
            "[1 2]",
            "[]",
            "1 2",
            "@as 5",
            "[[[[[[1]]]]]]",
            "5.0",
            "-",
            "0x",
            "'\\x'",
            "-+5",
            "@t",
            "'a' b",
            "string 5",
            "uint64 true",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in ["byte ", "@t ", "[", "@aaaaaas ", "@z ", "@as"] {
            assert!(parse(&bad.repeat(1 << 18)).is_err(), "{bad}");
        }
    }

    #[test]
    fn seconds_are_microseconds_on_the_bus() {
        let of = |name, text| property(name, text).map(|it| (it.name, it.value));
        assert_eq!(
            of("TimeoutStopSec", "90"),
            Ok(("TimeoutStopUSec".into(), Value::U64(90_000_000)))
        );
        assert_eq!(
            of("CollectMode", "'inactive'"),
            Ok(("CollectMode".into(), Value::Text("inactive".into())))
        );
        for (name, text) in [
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "'x'"),
            ("ab", "1"),
            ("a-b-c", "1"),
            ("TimeoutStopSec", "18446744073709551615"),
        ] {
            assert!(of(name, text).is_err(), "{name} {text}");
        }
    }

    #[test]
    fn a_bad_one_is_named() {
        let all = [
            ("org.systemd.property.Abc".to_string(), "?".to_string()),
            ("other".into(), "?".into()),
        ];
        let error = properties(&all.into()).unwrap_err().to_string();
        assert!(error.starts_with("annotations.org.systemd.property.Abc: "), "{error}");
    }
}
