//! Decoding: whatever bytes come, it never panics; what it accepts is a JSON object with the columns that it says, and a row
//! that the stores can read back.
//!
//! Input: one byte of choices, eight of the record's timestamp, then the value.

use drover::domain::decode::decode;
use drover::domain::event::{Event, EventRow, Mapping};
use drover::domain::record::{RecordTimestamp, TimestampType};
use drover::store::row;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Checks one input.
pub fn check(data: &[u8]) {
    let Some((&choices, rest)) = data.split_first() else { return };
    let Some((ms, value)) = rest.split_first_chunk::<8>() else { return };
    let kind = match choices & 3 {
        0 => TimestampType::NotAvailable,
        1 => TimestampType::LogAppendTime,
        _ => TimestampType::CreateTime,
    };
    let timestamp = RecordTimestamp { ms: i64::from_be_bytes(*ms), kind };
    let mapping = mapping(choices >> 2);
    let value = if value.is_empty() && choices & 128 != 0 { None } else { Some(value) };
    match decode(value, timestamp, &mapping) {
        Ok(event) => accepted(&event, value, timestamp, &mapping),
        Err(rejection) => {
            assert!(!rejection.message.is_empty() && !rejection.code.to_string().is_empty());
            assert!(!rejection.message.contains('\0'), "PostgreSQL's text takes no NUL: {:?}", rejection.message);
        }
    }
}

/// One of 16 mappings, some of them odd.
fn mapping(choice: u8) -> Mapping {
    let names: [&str; 4] = match choice & 3 {
        0 => ["event_type", "user_id", "element_id", "timestamp"],
        1 => ["a", "b", "c", "d"],
        2 => ["", "\u{e4}", "with \"quotes\"", "event_type"],
        _ => ["type", "user", "element", "at"],
    };
    let required: &[&str] = match (choice >> 2) & 3 {
        0 => &[],
        1 => &[names[0]],
        2 => &[names[0], names[1], names[3]],
        _ => &[names[0], "other"],
    };
    Mapping {
        event_type: names[0].to_owned(),
        user_id: names[1].to_owned(),
        element_id: names[2].to_owned(),
        timestamp: names[3].to_owned(),
        required: required.iter().map(|&name| name.to_owned()).collect(),
        store_tombstones: choice & 16 != 0,
    }
}

fn accepted(event: &Event<'_>, value: Option<&[u8]>, timestamp: RecordTimestamp, mapping: &Mapping) {
    assert_eq!(event.payload, value, "the document is kept as it came");
    let Some(bytes) = value else {
        assert!(mapping.store_tombstones, "a tombstone is stored only where the mapping says so");
        return;
    };
    let text = std::str::from_utf8(bytes).expect("what is accepted is UTF-8");
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).expect("what is accepted is a JSON object");
    for name in &mapping.required {
        assert_ne!(fields.get(name).expect("a required field is there").get(), "null", "{name}");
    }
    // Where a second parser takes the whole document, both say the same. It refuses deep nesting and numbers beyond f64.
    if let Ok(Value::Object(whole)) = serde_json::from_str(text) {
        let text_of = |name: &str| match whole.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(other) => panic!("{name} is {other}, which fills no text column"),
        };
        assert_eq!(event.event_type, text_of(&mapping.event_type).unwrap_or_default());
        assert_eq!(event.user_id.as_deref().map(str::to_owned), text_of(&mapping.user_id));
        assert_eq!(event.element_id.as_deref().map(str::to_owned), text_of(&mapping.element_id));
        if whole.get(&mapping.timestamp).is_none_or(Value::is_null) && timestamp.kind == TimestampType::NotAvailable {
            assert_eq!(event.occurred_at_us, None);
        }
    }
    let columns = [Some(event.event_type.as_ref()), event.user_id.as_deref(), event.element_id.as_deref()];
    assert!(columns.iter().flatten().all(|text| !text.contains('\0')), "a text column takes no NUL: {columns:?}");
    encoded(event, bytes);
}

/// The row is what COPY BINARY wants: twelve fields whose lengths add up, and the same row when read back.
fn encoded(event: &Event<'_>, payload: &[u8]) {
    let row = EventRow {
        topic: Cow::Borrowed("topic"),
        partition: 7,
        incarnation: 1,
        offset: i64::MAX,
        key: Some(Cow::Borrowed(payload)),
        user_id: event.user_id.as_deref().map(Cow::Borrowed),
        event_type: event.event_type.clone(),
        element_id: event.element_id.as_deref().map(Cow::Borrowed),
        occurred_at_us: event.occurred_at_us,
        payload: event.payload.map(Cow::Borrowed),
        consumer_id: Cow::Borrowed("consumer-1"),
        source: None,
    };
    let mut bytes = Vec::new();
    row::encode(&row, &mut bytes);
    assert_eq!(bytes[..2], 12_i16.to_be_bytes());
    let mut rest = &bytes[2..];
    for _ in 0..12 {
        let (length, after) = rest.split_first_chunk::<4>().expect("a field has a length");
        let length = i32::from_be_bytes(*length);
        assert!(length >= -1, "{length}");
        rest = after.get(usize::try_from(length).unwrap_or(0)..).expect("a field is as long as it says");
    }
    assert!(rest.is_empty(), "nothing follows the last field");
    assert_eq!(row::decode(&bytes), Some(row));
    // The reader of rows bears any bytes, those of a payload too.
    let _ = row::decode(payload);
}
