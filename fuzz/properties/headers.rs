//! Headers of dead letters: they come back byte for byte from the table's JSON, and those that are published hold the
//! record's own, in order, then Spring Kafka's in its encodings.
//!
//! Input: any bytes, as packed headers, as JSON text, and as the parts of a list of headers.

use drover::actors::dead_letter;
use drover::domain::record::{OwnedRecord, PackedHeaders, RecordTimestamp, TimestampType};
use drover::store::{StoredDeadLetter, headers};

/// Checks one input.
pub fn check(data: &[u8]) {
    // Bytes that nobody packed: reading ends, and what was read is kept.
    round_trip(&list_of(&PackedHeaders::from_packed(data)));
    round_trip(&parts(data));
    if let Ok(text) = std::str::from_utf8(data) {
        round_trip(&list_of(&headers::from_json(text)));
    }
    published(data);
}

type List = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn list_of(headers: &PackedHeaders) -> List {
    headers.iter().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect()
}

fn packed(list: &List) -> PackedHeaders {
    let mut headers = PackedHeaders::default();
    for (name, value) in list {
        headers.push(name, value.as_deref());
    }
    headers
}

fn round_trip(list: &List) {
    let headers = packed(list);
    assert_eq!(list_of(&headers), *list);
    assert_eq!(headers.is_empty(), list.is_empty());
    let text = headers::to_json(&headers);
    let parsed: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let texts = parsed.as_array().into_iter().flatten().flat_map(|header| header.as_object().into_iter().flatten());
    let has_nul = |value: &serde_json::Value| value.as_str().is_some_and(|text| text.contains('\0'));
    assert!(texts.into_iter().all(|(_, value)| !has_nul(value)), "jsonb takes no NUL: {text}");
    assert_eq!(headers::from_json(&text), headers, "{text}");
}

/// A list of headers: before each name and each value stands a byte of its length; 255 is a null value.
fn parts(mut data: &[u8]) -> List {
    let mut list = List::new();
    while let Some((&length, rest)) = data.split_first() {
        let (name, rest) = rest.split_at(usize::from(length).min(rest.len()));
        let Some((&length, rest)) = rest.split_first() else {
            list.push((name.to_vec(), Some(Vec::new())));
            break;
        };
        if length == 255 {
            list.push((name.to_vec(), None));
            data = rest;
        } else {
            let (value, rest) = rest.split_at(usize::from(length).min(rest.len()));
            list.push((name.to_vec(), Some(value.to_vec())));
            data = rest;
        }
    }
    list
}

fn published(data: &[u8]) {
    let mut numbers = [0; 28];
    let used = data.len().min(28);
    numbers[..used].copy_from_slice(&data[..used]);
    let long = |at: usize| i64::from_be_bytes(*numbers[at..].first_chunk().expect("28 bytes hold three numbers"));
    let own = parts(&data[used..]);
    let partition = i32::from_be_bytes(*numbers[24..].first_chunk().expect("28 bytes hold a fourth"));
    let message = String::from_utf8_lossy(&data[used..]).into_owned();
    let letter = StoredDeadLetter {
        id: long(0),
        record: OwnedRecord {
            topic: "user_events".to_owned(),
            partition,
            offset: long(0),
            key: None,
            value: Some(data.to_vec()),
            timestamp: RecordTimestamp { ms: long(8), kind: TimestampType::CreateTime },
            headers: packed(&own),
        },
        incarnation: 1,
        code: "json.syntax".to_owned(),
        message: message.clone(),
        stage: "decode".to_owned(),
        attempts: partition,
        consumer_id: "consumer-1".to_owned(),
        failed_at_ms: long(16),
        published_at_ms: None,
        publish_outcome: None,
        publish_error: None,
    };
    let all = list_of(&dead_letter::headers(&letter, "group"));
    assert_eq!(all[..own.len()], own[..], "the record's own headers come first, byte for byte");
    let added = &all[own.len()..];
    let value = |name: &str| {
        let mut found = added.iter().filter(|(given, _)| given == name.as_bytes());
        let value = found.next().and_then(|(_, value)| value.clone());
        assert!(found.next().is_none(), "{name} is there once");
        value.unwrap_or_else(|| panic!("{name} is missing"))
    };
    assert_eq!(value("kafka_dlt-original-topic"), b"user_events");
    assert_eq!(value("kafka_dlt-original-partition"), partition.to_be_bytes());
    assert_eq!(value("kafka_dlt-original-offset"), long(0).to_be_bytes());
    assert_eq!(value("kafka_dlt-original-timestamp"), long(8).to_be_bytes());
    assert_eq!(value("kafka_dlt-exception-message"), message.as_bytes());
    assert_eq!(value("drover_original_offset"), long(0).to_string().as_bytes());
    assert!(!value("drover_failed_at").is_empty());
}
