//! What of an event is never shown (`http.masked_fields`): fields of documents, and the columns that they fill.
//!
//! Pure. A document keeps its text but for the masked values, which become `"***"`; one that is no JSON could hold a masked
//! value anywhere, so nothing of it is shown. Bounded by the document; nesting costs a counter, not a stack. Cannot fail.

use super::event::Mapping;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What stands in the place of a masked text.
pub const MASKED: &str = "***";

/// Which columns of a topic are masked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Columns {
    event_type: bool,
    user_id: bool,
    element_id: bool,
    timestamp: bool,
}

/// See the module. Empty, it hides nothing and costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    fields: BTreeSet<String>,
    default: Columns,
    topics: BTreeMap<String, Columns>,
}

/// The texts of an event that may have to be hidden.
#[derive(Debug)]
pub struct Texts<'a> {
    /// Key of the record.
    pub key: &'a mut Option<String>,
    /// Column `event_type`.
    pub event_type: &'a mut Option<String>,
    /// Column `user_id`.
    pub user_id: &'a mut Option<String>,
    /// Column `element_id`.
    pub element_id: &'a mut Option<String>,
}

impl Mask {
    /// Masks these fields; the mappings, of topics with one of their own and of all others, tell which columns they fill.
    #[must_use]
    pub fn new(fields: &[String], default: &Mapping, topics: &BTreeMap<String, Mapping>) -> Self {
        let fields: BTreeSet<String> = fields.iter().cloned().collect();
        let of = |mapping: &Mapping| Columns {
            event_type: fields.contains(&mapping.event_type),
            user_id: fields.contains(&mapping.user_id),
            element_id: fields.contains(&mapping.element_id),
            timestamp: fields.contains(&mapping.timestamp),
        };
        Self {
            default: of(default),
            topics: topics.iter().map(|(topic, mapping)| (topic.clone(), of(mapping))).collect(),
            fields,
        }
    }

    /// Whether nothing is hidden.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether the values of a column (`user_id`, `event_type`, `element_id` or `occurred_at`) of a topic are hidden; of no topic: whether
    /// those of any are.
    #[must_use]
    pub fn hides(&self, topic: Option<&str>, column: &str) -> bool {
        let is = |columns: &Columns| match column {
            "event_type" => columns.event_type,
            "user_id" => columns.user_id,
            "element_id" => columns.element_id,
            "occurred_at" => columns.timestamp,
            _ => false,
        };
        match topic {
            Some(topic) => is(self.of(topic)),
            None => is(&self.default) || self.topics.values().any(is),
        }
    }

    /// Hides what is to be hidden of an event of this topic. The key too, where it is the text of a hidden column, where a field
    /// called `key` is masked, and where nobody knows what it is made of, because the record could not be decoded.
    pub fn event(&self, topic: &str, decoded: bool, texts: Texts<'_>) {
        if self.is_empty() {
            return;
        }
        let columns = *self.of(topic);
        let Texts { key, event_type, user_id, element_id } = texts;
        let mut hide_key = !decoded || self.fields.contains("key");
        for (hidden, text) in
            [(columns.event_type, event_type), (columns.user_id, user_id), (columns.element_id, element_id)]
        {
            if hidden && text.is_some() {
                hide_key |= alike(text.as_deref(), key.as_deref());
                *text = Some(MASKED.to_owned());
            }
        }
        if hide_key && key.is_some() {
            *key = Some(MASKED.to_owned());
        }
    }

    /// The document as it may be shown.
    #[must_use]
    pub fn document<'d>(&self, document: &'d [u8]) -> Cow<'d, [u8]> {
        if self.is_empty() {
            return Cow::Borrowed(document);
        }
        if serde_json::from_slice::<IgnoredAny>(document).is_err() {
            return Cow::Borrowed(MASKED.as_bytes());
        }
        let mut shown = Vec::with_capacity(document.len());
        let mut rest = Scan { json: document, at: 0 };
        let mut copied = 0;
        while let Some(name) = rest.next_name() {
            // Escapes may hide a name; the parser knows them all.
            let Ok(name) = serde_json::from_slice::<Cow<'_, str>>(name) else { continue };
            if self.fields.contains(&*name) {
                let value = rest.skip_value();
                shown.extend_from_slice(&document[copied..value.start]);
                shown.extend_from_slice(b"\"***\"");
                copied = value.end;
            }
        }
        shown.extend_from_slice(&document[copied..]);
        Cow::Owned(shown)
    }

    /// A text that may quote what came, such as why a record is a dead letter.
    #[must_use]
    pub fn quoting(&self, text: String) -> String {
        if self.is_empty() { text } else { MASKED.to_owned() }
    }

    /// The value of a header, which is hidden as a field of its name is.
    #[must_use]
    pub fn header(&self, name: &str, value: Option<String>) -> Option<String> {
        if self.fields.contains(name) { value.map(|_| MASKED.to_owned()) } else { value }
    }

    fn of(&self, topic: &str) -> &Columns {
        self.topics.get(topic).unwrap_or(&self.default)
    }
}

/// Goes over a text that is JSON.
struct Scan<'d> {
    json: &'d [u8],
    at: usize,
}

impl<'d> Scan<'d> {
    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Past the string that begins here.
    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }

    /// The next name of a field, in its quotes; the scan then stands before the field's value.
    fn next_name(&mut self) -> Option<&'d [u8]> {
        loop {
            if self.peek()? != b'"' {
                self.at += 1;
                continue;
            }
            let start = self.at;
            self.skip_string();
            let string = &self.json[start..self.at];
            self.skip_space();
            // Only a name is followed by a colon.
            if self.peek() == Some(b':') {
                self.at += 1;
                self.skip_space();
                return Some(string);
            }
        }
    }

    /// Past the value that begins here, which is given back as its range.
    fn skip_value(&mut self) -> std::ops::Range<usize> {
        let start = self.at;
        let mut open = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.skip_string(),
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                }
                b'}' | b']' if open > 0 => {
                    open -= 1;
                    self.at += 1;
                }
                // The end of a number or word, which the field around it goes on after.
                b',' | b'}' | b']' if open == 0 => break,
                byte if open == 0 && byte.is_ascii_whitespace() => break,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            if open == 0 {
                break;
            }
        }
        start..self.at
    }
}

/// Whether two texts begin alike. They may have been cut in different places, so that more than this cannot be compared.
fn alike(one: Option<&str>, other: Option<&str>) -> bool {
    const COMPARED: usize = 64;
    match (one, other) {
        (Some(one), Some(other)) => one.chars().take(COMPARED).eq(other.chars().take(COMPARED)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn mapping(user_id: &str) -> Mapping {
        Mapping {
            event_type: "event_type".into(),
            user_id: user_id.into(),
            element_id: "element_id".into(),
            timestamp: "timestamp".into(),
            required: Vec::new(),
            store_tombstones: false,
        }
    }

    fn mask(fields: &[&str]) -> Mask {
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        Mask::new(&fields, &mapping("user_id"), &BTreeMap::from([("other".to_owned(), mapping("customer"))]))
    }

    fn shown(fields: &[&str], document: &str) -> String {
        String::from_utf8(mask(fields).document(document.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn a_masked_field_is_hidden_wherever_it_stands_and_the_rest_keeps_its_text() {
        for (document, expected) in [
            (r#"{"a": 1,  "email": "x@y", "b":[1.0]}"#, r#"{"a": 1,  "email": "***", "b":[1.0]}"#),
            (r#"{"email":{"of":["x",{"y":2}]},"z":null}"#, r#"{"email":"***","z":null}"#),
            (r#"{"deep":[{"email":12}, {"email" : true }]}"#, r#"{"deep":[{"email":"***"}, {"email" : "***" }]}"#),
            (r#"{"\u0065mail":"x"}"#, r#"{"\u0065mail":"***"}"#),
            (r#"{"a":"\"email\": \"x\"","email\\":"y"}"#, r#"{"a":"\"email\": \"x\"","email\\":"y"}"#),
            (r#"{"a":"email","b":["email"]}"#, r#"{"a":"email","b":["email"]}"#),
            (r#"{"email":"a\\\"}b","c":1}"#, r#"{"email":"***","c":1}"#),
            (r#"{"email":1,"email":2}"#, r#"{"email":"***","email":"***"}"#),
        ] {
            assert_eq!(shown(&["email"], document), expected, "{document}");
        }
    }

    #[test]
    fn a_masked_time_is_hidden_as_its_column_a_header_by_its_name_and_what_may_quote_as_a_whole() {
        let some = mask(&["timestamp", "trace"]);
        assert!(some.hides(Some("t"), "occurred_at") && !some.hides(Some("t"), "user_id"));
        assert_eq!(some.header("trace", Some("x".into())).as_deref(), Some(MASKED));
        assert_eq!(some.header("trace", None), None);
        assert_eq!(some.header("other", Some("x".into())).as_deref(), Some("x"));
        assert_eq!(some.quoting("the timestamp \"secret\" is none".into()), MASKED);
        let none = Mask::default();
        assert!(!none.hides(Some("t"), "occurred_at"));
        assert_eq!(none.quoting("why".into()), "why");
    }

    #[test]
    fn a_key_that_was_cut_in_another_place_than_its_column_is_hidden_too() {
        let long = "\u{e4}".repeat(300);
        let (mut user_id, mut key) = (Some(long[..512].to_owned()), Some(long[..256].to_owned()));
        let (event_type, element_id) = (&mut None, &mut None);
        mask(&["user_id"]).event("t", true, Texts { key: &mut key, event_type, user_id: &mut user_id, element_id });
        assert_eq!((key.as_deref(), user_id.as_deref()), (Some(MASKED), Some(MASKED)));
    }

    #[test]
    fn of_what_is_no_json_nothing_is_shown_and_without_masked_fields_everything() {
        assert_eq!(shown(&["email"], r#"{"email":"x@y""#), "***");
        assert_eq!(shown(&["email"], "email=x@y"), "***");
        assert_eq!(shown(&[], "email=x@y"), "email=x@y");
        let deep = format!("{}{{\"email\":1}}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(shown(&["email"], &deep), deep.replace("\"email\":1", "\"email\":\"***\""));
    }

    #[test]
    fn the_column_that_a_masked_field_fills_is_hidden_and_the_key_that_repeats_it() {
        let event = |mask: &Mask, topic: &str, decoded: bool| {
            let (mut key, mut event_type) = (Some("u1".to_owned()), Some("click".to_owned()));
            let (mut user_id, mut element_id) = (Some("u1".to_owned()), None);
            let texts = Texts {
                key: &mut key,
                event_type: &mut event_type,
                user_id: &mut user_id,
                element_id: &mut element_id,
            };
            mask.event(topic, decoded, texts);
            assert_eq!((event_type.as_deref(), element_id), (Some("click"), None));
            (key.unwrap(), user_id.unwrap())
        };
        let of = |key: &str, user_id: &str| (key.to_owned(), user_id.to_owned());
        assert_eq!(event(&mask(&["user_id"]), "user_events", true), of("***", "***"));
        assert_eq!(event(&mask(&["user_id"]), "other", true), of("u1", "u1"), "another field fills it there");
        assert_eq!(event(&mask(&["customer"]), "other", true), of("***", "***"));
        assert_eq!(event(&mask(&["email"]), "user_events", true), of("u1", "u1"));
        assert_eq!(event(&mask(&["email"]), "user_events", false), of("***", "u1"), "nobody knows what the key is");
        assert_eq!(event(&mask(&["key"]), "user_events", true), of("***", "u1"));
        assert_eq!(event(&mask(&[]), "user_events", false), of("u1", "u1"));
        assert!(mask(&["customer"]).hides(None, "user_id") && !mask(&["customer"]).hides(Some("t"), "user_id"));
    }

    fn hidden(value: &Value) -> Value {
        match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), if name == "a" { MASKED.into() } else { hidden(value) }))
                .collect(),
            Value::Array(values) => values.iter().map(hidden).collect(),
            other => other.clone(),
        }
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a\"\\\\{}:, ]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab\"\\\\]{1,2}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The same as hiding in the tree of the document.
        #[test]
        fn every_document_is_masked_as_its_tree_says(document in documents(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
            let masked: Value = serde_json::from_str(&shown(&["a"], &text.unwrap())).unwrap();
            prop_assert_eq!(masked, hidden(&document));
        }
    }
}
