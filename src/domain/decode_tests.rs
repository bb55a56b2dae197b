//! Decoding against documents that producers send, and against serde_json's own tree on anything else.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use proptest::prelude::*;

fn mapping() -> Mapping {
    Mapping {
        event_type: "event_type".into(),
        user_id: "user_id".into(),
        element_id: "element_id".into(),
        timestamp: "timestamp".into(),
        required: vec!["event_type".into()],
        store_tombstones: false,
    }
}

fn at(ms: i64) -> RecordTimestamp {
    RecordTimestamp { ms, kind: TimestampType::CreateTime }
}

fn code(value: &[u8]) -> String {
    decode(Some(value), at(5), &mapping()).map_or_else(|r| r.code.to_string(), |_| "ok".into())
}

#[test]
fn the_event_of_the_design_fills_all_columns() {
    let value = br#"{"user_id": "user_0042", "event_type": "button_click", "element_id": "checkout_btn", "timestamp": "2026-01-02T03:04:05.678+00:00", "x": [1]}"#;
    let event = decode(Some(value), at(5), &mapping()).unwrap();
    assert_eq!(event.event_type, "button_click");
    assert_eq!(event.user_id.as_deref(), Some("user_0042"));
    assert_eq!(event.element_id.as_deref(), Some("checkout_btn"));
    assert_eq!(event.occurred_at_us, Some(1_767_323_045_678_000));
    assert_eq!(event.payload, Some(&value[..]));
    assert!(matches!(event.user_id, Some(Text::String(Cow::Borrowed(_)))), "no allocation for plain text");
}

#[test]
fn an_integer_user_is_text_and_the_record_gives_the_missing_time() {
    let event = decode(Some(br#"{"event_type":"a","user_id":18446744073709551615}"#), at(7), &mapping()).unwrap();
    assert_eq!(event.user_id.as_deref(), Some("18446744073709551615"));
    let event = decode(Some(br#"{"event_type":"a","user_id":-9223372036854775808}"#), at(7), &mapping()).unwrap();
    assert_eq!(event.user_id.as_deref(), Some("-9223372036854775808"));
    assert_eq!(event.occurred_at_us, Some(7000));
    let event = decode(Some(br#"{"event_type":"a","timestamp":1767323045678}"#), at(7), &mapping()).unwrap();
    assert_eq!(event.occurred_at_us, Some(1_767_323_045_678_000));
}

#[test]
fn escapes_of_a_column_become_its_text() {
    let value = br#"{"event_type":"b\u00fctton\tclick","user_id":"\"a\"","element_id":"\ud83d\ude00","timestamp":"2026\u002d01-02T03:04:05.678Z"}"#;
    let event = decode(Some(value), at(5), &mapping()).unwrap();
    assert_eq!(event.event_type, "b\u{fc}tton\tclick");
    assert_eq!(event.user_id.as_deref(), Some("\"a\""));
    assert_eq!(event.element_id.as_deref(), Some("\u{1f600}"));
    assert_eq!(event.occurred_at_us, Some(1_767_323_045_678_000));
}

#[test]
fn every_kind_of_broken_value_has_its_code() {
    for (value, expected) in [
        (&b"\xff\xfe{"[..], "json.encoding"),
        (b"{\"event_type\":", "json.syntax"),
        (b"{\"event_type\":\"a\"} x", "json.syntax"),
        (b"", "json.syntax"),
        (b"hello", "json.syntax"),
        (b"[1,2]", "json.not_object"),
        (b"\"text\"", "json.not_object"),
        (b"null", "json.not_object"),
        (b"{}", "field.missing"),
        (b"{\"event_type\":null}", "field.missing"),
        (b"{\"event_type\":\"a\",\"event_type\":null}", "field.missing"),
        (b"{\"event_type\":7}", "field.type"),
        (b"{\"event_type\":\"a\",\"user_id\":{\"a\":1}}", "field.type"),
        (b"{\"event_type\":\"a\",\"user_id\":1.5}", "field.type"),
        (b"{\"event_type\":\"a\",\"user_id\":-0}", "field.type"),
        (b"{\"event_type\":\"a\",\"user_id\":18446744073709551616}", "field.type"),
        (b"{\"event_type\":\"a\",\"user_id\":[1]}", "field.type"),
        (b"{\"event_type\":\"a\",\"user_id\":\"\\x\"}", "json.syntax"),
        (b"{\"event_type\":\"a\",\"user_id\":\"\\u0000\"}", "json.text"),
        (b"{\"event_type\":\"a\",\"user_id\":\"\\ud83d\"}", "json.text"),
        (b"{\"event_type\":\"a\",\"timestamp\":\"yesterday\"}", "timestamp.invalid"),
        (b"{\"event_type\":\"a\",\"timestamp\":99999999999999999}", "timestamp.invalid"),
        (b"{\"event_type\":\"a\",\"timestamp\":true}", "timestamp.invalid"),
        (b"{\"event_type\":\"a\",\"x\":\"\\u0000\"}", "json.text"),
        (b"{\"event_type\":\"a\",\"x\":\"\\ud800\"}", "json.text"),
        (b"{\"event_type\":\"a\",\"\\udc00\":1}", "json.text"),
        (b"{\"event_type\":\"a\",\"x\":\"\\\\u0000 \\ud83d\\ude00\"}", "ok"),
    ] {
        assert_eq!(code(value), expected, "{}", String::from_utf8_lossy(value));
    }
    assert_eq!(decode(None, at(5), &mapping()).unwrap_err().code, Code::ValueNull);
    let stored = Mapping { store_tombstones: true, ..mapping() };
    assert_eq!(decode(None, at(5), &stored).unwrap().payload, None);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::hash_map("event_type|user_id|element_id|[a-z]{1,6}", inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(Some(&bytes), at(1), &mapping());
    }

    #[test]
    fn a_document_is_accepted_exactly_when_its_tree_says_so(document in json()) {
        let text = document.to_string();
        let got = decode(Some(text.as_bytes()), at(1), &mapping());
        let expected = document.as_object().is_some_and(|map| {
            let text_or_integer = |name: &str| map.get(name).is_none_or(|v| v.is_string() || v.is_i64() || v.is_null());
            map.get("event_type").is_some_and(serde_json::Value::is_string)
                && text_or_integer("user_id") && text_or_integer("element_id")
        });
        // A generated \u0000 cannot occur: \PC has no control characters.
        prop_assert_eq!(got.is_ok(), expected, "{}: {:?}", text, got);
    }
}
