// SPDX-License-Identifier: Apache-2.0
//! Messages of D-Bus, little-endian, with the types that systemd's manager needs.
//!
//! The format is that of the D-Bus Specification, "Marshaling" and "Message Format". What comes in is read
//! with care: nothing is believed that its length does not allow.

use serde::{Deserialize, Serialize};

/// A longer message is not for us: those that we wait for have some hundred bytes.
const LONGEST: usize = 1 << 20;
/// What stands before the header's fields: the fixed part and the fields' length.
pub(super) const FIXED: usize = 16;

/// A value that says its own type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the types'")]
pub(super) enum Value {
    Byte(u8),
    Bool(bool),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Text(String),
    Path(String),
    /// The signature of the elements, and they.
    Array(String, Vec<Value>),
}

impl Value {
    /// Its type, as the specification writes it.
    pub(super) fn signature(&self) -> String {
        let code = match self {
            Value::Byte(_) => "y",
            Value::Bool(_) => "b",
            Value::I16(_) => "n",
            Value::U16(_) => "q",
            Value::I32(_) => "i",
            Value::U32(_) => "u",
            Value::I64(_) => "x",
            Value::U64(_) => "t",
            Value::Text(_) => "s",
            Value::Path(_) => "o",
            Value::Array(element, _) => return format!("a{element}"),
        };
        code.into()
    }
}

/// The property of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Property {
    /// Its name, as org.freedesktop.systemd1(5) lists them.
    pub(super) name: String,
    /// Its value.
    pub(super) value: Value,
}

impl Property {
    /// A property.
    pub(super) fn new(name: &str, value: Value) -> Property {
        Property { name: name.into(), value }
    }
}

/// The body of a message that is being written.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
}

impl Body {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.bytes.extend(bytes);
    }

    /// A string or an object path.
    pub(super) fn text(mut self, text: &str) -> Body {
        self.put_text(text);
        self
    }

    /// A truth value.
    pub(super) fn truth(mut self, value: bool) -> Body {
        self.number(u32::from(value).to_le_bytes());
        self
    }

    /// `a(sv)`.
    pub(super) fn properties(mut self, all: &[Property]) -> Body {
        self.put_array(8, |body| {
            for Property { name, value } in all {
                body.align(8);
                body.put_text(name);
                body.put_variant(value);
            }
        });
        self
    }

    /// An array without elements, of structures.
    pub(super) fn nothing(mut self) -> Body {
        self.put_array(8, |_| {});
        self
    }

    fn put_text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn put_signature(&mut self, text: &str) {
        self.bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn put_array(&mut self, alignment: usize, fill: impl FnOnce(&mut Body)) {
        self.number([0; 4]);
        let length_ends = self.bytes.len();
        self.align(alignment);
        let start = self.bytes.len();
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(place) = self.bytes.get_mut(length_ends - length.len()..length_ends) {
            place.copy_from_slice(&length);
        }
    }

    fn put_variant(&mut self, value: &Value) {
        self.put_signature(&value.signature());
        self.put_value(value);
    }

    fn put_value(&mut self, value: &Value) {
        match value {
            Value::Byte(it) => self.number(it.to_le_bytes()),
            Value::Bool(it) => self.number(u32::from(*it).to_le_bytes()),
            Value::I16(it) => self.number(it.to_le_bytes()),
            Value::U16(it) => self.number(it.to_le_bytes()),
            Value::I32(it) => self.number(it.to_le_bytes()),
            Value::U32(it) => self.number(it.to_le_bytes()),
            Value::I64(it) => self.number(it.to_le_bytes()),
            Value::U64(it) => self.number(it.to_le_bytes()),
            Value::Text(it) | Value::Path(it) => self.put_text(it),
            Value::Array(element, all) => self.put_array(alignment(element), |body| {
                for value in all {
                    body.put_value(value);
                }
            }),
        }
    }
}

/// How the elements of an array with this signature are aligned.
fn alignment(signature: &str) -> usize {
    match signature.bytes().next() {
        Some(b'y') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't') => 8,
        _ => 4,
    }
}

/// The call of a method.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// Whose. Nobody's where there is no bus between.
    pub(super) destination: Option<&'a str>,
    /// The object.
    pub(super) path: &'a str,
    /// The interface.
    pub(super) interface: &'a str,
    /// The method.
    pub(super) member: &'a str,
    /// The types of its arguments.
    pub(super) signature: &'a str,
    /// Its arguments.
    pub(super) body: Body,
}

impl Call<'_> {
    /// The message with this number.
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut out = Body::default();
        out.bytes.extend([b'l', METHOD_CALL, 0, 1]);
        out.number(u32::try_from(self.body.bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.number(serial.to_le_bytes());
        let fields = [
            (PATH, "o", Some(self.path)),
            (INTERFACE, "s", Some(self.interface)),
            (MEMBER, "s", Some(self.member)),
            (DESTINATION, "s", self.destination),
            (SIGNATURE, "g", Some(self.signature).filter(|it| !it.is_empty())),
        ];
        out.put_array(8, |out| {
            for (code, kind, text) in fields {
                let Some(text) = text else { continue };
                out.align(8);
                out.bytes.push(code);
                out.put_signature(kind);
                if kind == "g" { out.put_signature(text) } else { out.put_text(text) }
            }
        });
        out.align(8);
        out.bytes.extend(&self.body.bytes);
        out.bytes
    }
}

const METHOD_CALL: u8 = 1;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A message that is not as the specification has it, or is not for us.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed message: {0}")]
pub(crate) struct Malformed(&'static str);

/// A message that came in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    kind: u8,
    /// The number of the call that it answers.
    pub(super) reply_to: Option<u32>,
    /// The method or signal.
    pub(super) member: String,
    /// The error's name.
    pub(super) error: String,
    signature: String,
    body: Vec<u8>,
}

impl Message {
    /// How long a message is that begins so, the fixed part included.
    pub(super) fn length(fixed: &[u8; FIXED]) -> Result<usize, Malformed> {
        let [order, _, _, version, ..] = fixed;
        if *order != b'l' || *version != 1 {
            return Err(Malformed("another byte order or version"));
        }
        let mut reader = Reader { bytes: fixed, at: 4 };
        let (body, _, fields) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let length = |it: u32| usize::try_from(it).unwrap_or(usize::MAX);
        (FIXED.checked_add(length(fields)))
            .and_then(|head| head.checked_next_multiple_of(8)?.checked_add(length(body)))
            .filter(|length| *length <= LONGEST)
            .ok_or(Malformed("it is too long"))
    }

    /// The message that these bytes are.
    pub(super) fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
        let mut reader = Reader { bytes, at: 1 };
        let kind = reader.byte()?;
        reader.at = 12;
        let fields = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let end = reader.at.checked_add(fields).ok_or(Malformed("its fields do not end"))?;
        let mut message = Message { kind, ..Message::default() };
        while reader.at < end {
            reader.align(8);
            let code = reader.byte()?;
            match (code, &*reader.signature()?) {
                (_, "u") => {
                    let number = reader.u32()?;
                    if code == REPLY_SERIAL {
                        message.reply_to = Some(number);
                    }
                }
                (SIGNATURE, "g") => message.signature = reader.signature()?,
                (_, "s" | "o") => {
                    let text = reader.text()?;
                    match code {
                        MEMBER => message.member = text,
                        ERROR_NAME => message.error = text,
                        _ => {}
                    }
                }
                _ => return Err(Malformed("a field of a type that no field has")),
            }
        }
        let body = end.next_multiple_of(8);
        message.body = bytes.get(body..).ok_or(Malformed("it ends before its body"))?.into();
        Ok(message)
    }

    /// Whether it is an error's.
    pub(super) fn is_error(&self) -> bool {
        self.kind == ERROR
    }

    /// Whether it is a signal.
    pub(super) fn is_signal(&self) -> bool {
        self.kind == SIGNAL
    }

    /// Its strings and object paths, numbers and one variant around it left out.
    pub(super) fn texts(&self) -> Result<Vec<String>, Malformed> {
        let mut reader = Reader { bytes: &self.body, at: 0 };
        let mut texts = Vec::new();
        for code in self.signature.bytes() {
            match code {
                b's' | b'o' => texts.push(reader.text()?),
                b'u' => drop(reader.u32()?),
                b'v' if reader.signature()? == "s" => texts.push(reader.text()?),
                _ => return Err(Malformed("a type that is not expected")),
            }
        }
        Ok(texts)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(Malformed("it ends too early"))?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1)?.first().copied().ok_or(Malformed("it ends too early"))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4);
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed("it ends too early"))?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let length = self.u32()?;
        self.words(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn signature(&mut self) -> Result<String, Malformed> {
        let length = self.byte()?;
        self.words(length.into())
    }

    fn words(&mut self, length: usize) -> Result<String, Malformed> {
        let text = self.take(length)?.to_vec();
        self.take(1)?;
        String::from_utf8(text).map_err(|_| Malformed("a text that is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_as_the_specification_has_it() {
        let call = Call {
            destination: Some("a.b"),
            path: "/c",
            interface: "d.e",
            member: "F",
            signature: "s",
            body: Body::default().text("x"),
        };
        let mut want = b"l\x01\0\x01\x06\0\0\0\x07\0\0\0\x47\0\0\0".to_vec();
        want.extend(b"\x01\x01o\0\x02\0\0\0/c\0\0\0\0\0\0");
        want.extend(b"\x02\x01s\0\x03\0\0\0d.e\0\0\0\0\0");
        want.extend(b"\x03\x01s\0\x01\0\0\0F\0\0\0\0\0\0\0");
        want.extend(b"\x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0");
        want.extend(b"\x08\x01g\0\x01s\0\0");
        want.extend(b"\x01\0\0\0x\0");
        assert_eq!(call.encode(7), want);
    }

    #[test]
    fn each_type_is_where_it_is_aligned() {
        let body = Body::default().properties(&[
            Property::new("A", Value::U64(5)),
            Property::new("B", Value::Array("u".into(), vec![Value::U32(1), Value::U32(2)])),
            Property::new("C", Value::Array("y".into(), vec![Value::Byte(3)])),
            Property::new("D", Value::Bool(true)),
        ]);
        let mut want = b"\x58\0\0\0\0\0\0\0".to_vec();
        want.extend(b"\x01\0\0\0A\0\x01t\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0");
        want.extend(b"\x01\0\0\0B\0\x02au\0\0\0\x08\0\0\0\x01\0\0\0\x02\0\0\0");
        want.extend(b"\x01\0\0\0C\0\x02ay\0\0\0\x01\0\0\0\x03\0\0\0\0\0\0\0");
        want.extend(b"\x01\0\0\0D\0\x01b\0\0\0\0\x01\0\0\0");
        assert_eq!(body.bytes, want);
    }

    fn reply() -> Vec<u8> {
        let mut bytes = b"l\x02\x01\x01\x0a\0\0\0\x09\0\0\0\x0f\0\0\0".to_vec();
        bytes.extend(b"\x05\x01u\0\x07\0\0\0");
        bytes.extend(b"\x08\x01g\0\x01o\0\0");
        bytes.extend(b"\x05\0\0\0/j/12\0");
        bytes
    }

    #[test]
    fn a_reply_is_read() {
        let bytes = reply();
        let fixed: [u8; FIXED] = bytes[..FIXED].try_into().unwrap();
        assert_eq!(Message::length(&fixed), Ok(bytes.len()));
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.reply_to, Some(7));
        assert_eq!(message.texts().unwrap(), ["/j/12"]);
        assert!(!message.is_error() && !message.is_signal());
    }

    #[test]
    fn whatever_comes_is_no_panic() {
        let good = reply();
        for at in 0..good.len() {
            let _ = Message::decode(&good[..at]).map(|it| it.texts());
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = Message::length(&bad[..FIXED].try_into().unwrap());
                let _ = Message::decode(&bad).map(|it| it.texts());
            }
        }
        let huge = b"l\x02\0\x01\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff";
        assert!(Message::length(huge).is_err());
    }
}
