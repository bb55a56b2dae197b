//! Decoding and checking of a value: one pass over its bytes, without building a tree.
//!
//! Pure. A document is accepted only when every text column and PostgreSQL's jsonb can take it, as far as that can be
//! seen cheaply; the rest (numbers beyond numeric, nesting beyond the server's stack) the store finds by isolation.

use super::event::{Digits, Event, Mapping, Text};
use super::failure::{DeadLetterCode as Code, Rejection};
use super::record::{RecordTimestamp, TimestampType};
use super::rfc3339::plain_micros;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// 0001-01-01T00:00:00Z in milliseconds: before it PostgreSQL would need BC.
const MIN_MS: i64 = -62_135_596_800_000;
/// 9999-12-31T23:59:59.999Z in milliseconds: RFC 3339 has four digits for the year.
const MAX_MS: i64 = 253_402_300_799_999;

/// Decodes the value of a record as [`decode`] does, where a panic would concern other records too.
///
/// # Errors
/// As [`decode`]; a panic is a rejection of this record.
pub fn decode_caught<'a>(
    value: Option<&'a [u8]>,
    timestamp: RecordTimestamp,
    mapping: &Mapping,
) -> Result<Event<'a>, Rejection> {
    let panicked = |_| Err(Rejection::new(Code::ProcessorPanic, "the decoder panicked on the record"));
    catch_unwind(AssertUnwindSafe(|| decode(value, timestamp, mapping))).unwrap_or_else(panicked)
}

/// Decodes the value of a record.
///
/// # Errors
/// A [`Rejection`] when the value cannot be a row; its message names the field or the position.
pub fn decode<'a>(
    value: Option<&'a [u8]>,
    timestamp: RecordTimestamp,
    mapping: &Mapping,
) -> Result<Event<'a>, Rejection> {
    let record_us = match timestamp.kind {
        TimestampType::NotAvailable => None,
        _ if !(MIN_MS..=MAX_MS).contains(&timestamp.ms) => None,
        _ => Some(timestamp.ms * 1000),
    };
    let Some(bytes) = value else {
        if mapping.store_tombstones {
            return Ok(Event {
                event_type: Cow::Borrowed("tombstone"),
                user_id: None,
                element_id: None,
                occurred_at_us: record_us,
                payload: None,
            });
        }
        return Err(Rejection::new(Code::ValueNull, "the value is null (a tombstone)"));
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Rejection::new(Code::JsonEncoding, format!("the value is not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    if !text.trim_ascii_start().starts_with('{') {
        // Tells a document of another shape from one that is no JSON at all.
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Rejection::new(Code::JsonNotObject, format!("the value is {}, not a JSON object", shape(text))),
            Err(error) => Rejection::new(Code::JsonSyntax, format!("the value is not JSON: {error}")),
        });
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let mut fields = FieldsSeed { mapping, seen: 0 }
        .deserialize(&mut json)
        .and_then(|fields| json.end().map(|()| fields))
        .map_err(|error| {
            // The parser calls half of a surrogate pair a syntax error; it has a code of its own.
            let syntax = || Rejection::new(Code::JsonSyntax, format!("the value is not JSON: {error}"));
            check_escapes(bytes).err().unwrap_or_else(syntax)
        })?;
    check_escapes(bytes)?;
    for (at, name) in mapping.required.iter().enumerate() {
        if fields.seen & (1 << at.min(63)) == 0 {
            return Err(Rejection::new(
                Code::FieldMissing,
                format!("the required field \"{name}\" is missing or null"),
            ));
        }
    }
    Ok(Event {
        event_type: match fields.event_type.take() {
            Scalar::Text(text) => text,
            Scalar::Null => Cow::Borrowed(""),
            other => return Err(wrong_type(&mapping.event_type, "a string", &other)),
        },
        user_id: fields.user_id.take().into_text(&mapping.user_id)?,
        element_id: fields.element_id.take().into_text(&mapping.element_id)?,
        occurred_at_us: match fields.timestamp.take() {
            Scalar::Null => record_us,
            given => Some(timestamp_us(&given, &mapping.timestamp)?),
        },
        payload: Some(bytes),
    })
}

fn shape(text: &str) -> &'static str {
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn wrong_type(name: &str, wanted: &str, found: &Scalar<'_>) -> Rejection {
    Rejection::new(Code::FieldType, format!("the field \"{name}\" must be {wanted}, it is {}", found.name()))
}

fn timestamp_us(given: &Scalar<'_>, name: &str) -> Result<i64, Rejection> {
    let invalid = |what: String| Rejection::new(Code::TimestampInvalid, what);
    match given {
        Scalar::Integer(ms) if (MIN_MS..=MAX_MS).contains(ms) => Ok(ms * 1000),
        Scalar::Integer(ms) => {
            Err(invalid(format!("the field \"{name}\" is {ms}: epoch milliseconds outside the years 1 to 9999")))
        }
        Scalar::Text(text) => {
            if let Some(micros) = plain_micros(text).filter(|micros| (MIN_MS * 1000..=MAX_MS * 1000).contains(micros)) {
                return Ok(micros);
            }
            let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|error| {
                let shown: String = text.chars().take(64).collect();
                invalid(format!("the field \"{name}\" is \"{shown}\", not an RFC 3339 time with offset: {error}"))
            })?;
            if !(MIN_MS..=MAX_MS).contains(&time.timestamp_millis()) {
                return Err(invalid(format!("the field \"{name}\" lies outside the years 1 to 9999")));
            }
            Ok(time.timestamp_micros())
        }
        other => Err(invalid(format!(
            "the field \"{name}\" must be an RFC 3339 time or epoch milliseconds, it is {}",
            other.name()
        ))),
    }
}

/// Refuses `\u0000` and halves of surrogate pairs, which jsonb and text refuse too. Other broken escapes are left to the
/// parser.
fn check_escapes(bytes: &[u8]) -> Result<(), Rejection> {
    let unit = |at: usize| -> Option<u16> {
        let digits = std::str::from_utf8(bytes.get(at + 2..at + 6)?).ok()?;
        if bytes.get(at..at + 2)? != b"\\u" {
            return None;
        }
        u16::from_str_radix(digits, 16).ok()
    };
    let bad = |at: usize, what: &str| Err(Rejection::new(Code::JsonText, format!("{what} at byte {at}")));
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &bytes[at..]) {
        at += found;
        if bytes.get(at + 1) != Some(&b'u') {
            at += 2;
            if at >= bytes.len() {
                break;
            }
            continue;
        }
        match unit(at) {
            Some(0) => return bad(at, "the escape \\u0000"),
            Some(0xD800..=0xDBFF) => {
                if !matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) {
                    return bad(at, "half of a surrogate pair");
                }
                at += 12;
            }
            Some(0xDC00..=0xDFFF) => return bad(at, "half of a surrogate pair"),
            Some(_) => at += 6,
            None => at += 2,
        }
        if at >= bytes.len() {
            break;
        }
    }
    Ok(())
}

/// A value of a field that fills a column.
#[derive(Debug, Default)]
enum Scalar<'a> {
    #[default]
    Null,
    Text(Cow<'a, str>),
    Integer(i64),
    Large(u64),
    Float,
    Boolean,
    Array,
    Object,
}

impl<'a> Scalar<'a> {
    fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text(_) => "a string",
            Self::Integer(_) | Self::Large(_) => "an integer",
            Self::Float => "a number with a fraction",
            Self::Boolean => "a boolean",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }

    fn into_text(self, name: &str) -> Result<Option<Text<'a>>, Rejection> {
        match self {
            Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(Text::String(text))),
            Self::Integer(number) => Ok(Some(Text::Integer(Digits::of(number.into())))),
            Self::Large(number) => Ok(Some(Text::Integer(Digits::of(number.into())))),
            other => Err(wrong_type(name, "a string or an integer", &other)),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Boolean)
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Scalar::Large(value), Scalar::Integer))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float)
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Array)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Object)
    }
}

#[derive(Default)]
struct Fields<'a> {
    event_type: Scalar<'a>,
    user_id: Scalar<'a>,
    element_id: Scalar<'a>,
    timestamp: Scalar<'a>,
    /// Bit n: the nth required field is there and not null. The configuration allows at most 64.
    seen: u64,
}

struct FieldsSeed<'m> {
    mapping: &'m Mapping,
    seen: u64,
}

/// Which columns a key fills, as bits, and which required fields it is.
#[derive(Clone, Copy)]
struct Key {
    columns: u8,
    required: u64,
}

const EVENT_TYPE: u8 = 1;
const USER_ID: u8 = 2;
const ELEMENT_ID: u8 = 4;
const TIMESTAMP: u8 = 8;

struct KeySeed<'m>(&'m Mapping);

impl KeySeed<'_> {
    fn find(&self, key: &str) -> Key {
        let mapping = self.0;
        let mut columns = 0;
        for (name, bit) in [
            (&mapping.event_type, EVENT_TYPE),
            (&mapping.user_id, USER_ID),
            (&mapping.element_id, ELEMENT_ID),
            (&mapping.timestamp, TIMESTAMP),
        ] {
            if name == key {
                columns |= bit;
            }
        }
        let mut required = 0;
        for (at, name) in mapping.required.iter().enumerate() {
            if name == key {
                required |= 1 << at.min(63);
            }
        }
        Key { columns, required }
    }
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(self.find(key))
    }
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_> {
    type Value = Fields<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields { seen: self.seen, ..Fields::default() };
        while let Some(key) = map.next_key_seed(KeySeed(self.mapping))? {
            if key.columns == 0 && key.required == 0 {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: Scalar<'de> = map.next_value()?;
            // A key that comes twice counts as it came last, as in jsonb.
            if matches!(value, Scalar::Null) {
                fields.seen &= !key.required;
            } else {
                fields.seen |= key.required;
            }
            match key.columns {
                0 => {}
                EVENT_TYPE => fields.event_type = value,
                USER_ID => fields.user_id = value,
                ELEMENT_ID => fields.element_id = value,
                TIMESTAMP => fields.timestamp = value,
                _ => return Err(serde::de::Error::custom("one field cannot fill two columns")),
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
