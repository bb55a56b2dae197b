//! Headers as the JSON that `dead_letters.headers` holds: an ordered list, bytes and nulls exact.
//!
//! Each header is `{"name": text, "value": base64 or null}`; a name that is not UTF-8 is `{"name_base64": base64, ...}`.
//! Pure; text of another form reads as no headers.

use crate::domain::record::PackedHeaders;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// The JSON text of these headers.
#[must_use]
pub fn to_json(headers: &PackedHeaders) -> String {
    let list = headers.iter().map(|(name, value)| {
        let mut header = Map::new();
        // Text columns cannot hold NUL, so such a name takes the other form too.
        match std::str::from_utf8(name) {
            Ok(name) if !name.contains('\0') => header.insert("name".into(), name.into()),
            _ => header.insert("name_base64".into(), STANDARD.encode(name).into()),
        };
        header.insert("value".into(), value.map(|value| STANDARD.encode(value)).into());
        Value::Object(header)
    });
    Value::Array(list.collect()).to_string()
}

/// The headers that this JSON text holds.
#[must_use]
pub fn from_json(text: &str) -> PackedHeaders {
    let mut headers = PackedHeaders::default();
    let Ok(Value::Array(list)) = serde_json::from_str(text) else {
        return headers;
    };
    for header in &list {
        let name = match (header.get("name").and_then(Value::as_str), header.get("name_base64").and_then(Value::as_str))
        {
            (Some(name), _) => name.as_bytes().to_vec(),
            (None, Some(encoded)) => STANDARD.decode(encoded).unwrap_or_default(),
            (None, None) => continue,
        };
        let value = header.get("value").and_then(Value::as_str).map(|value| STANDARD.decode(value).unwrap_or_default());
        headers.push(&name, value.as_deref());
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_keep_order_bytes_and_nulls() {
        let mut headers = PackedHeaders::default();
        headers.push(b"a", Some(b"1"));
        headers.push(b"a", None);
        headers.push(&[0xff, 0x00], Some(&[0, 1, 255]));
        headers.push(b"", Some(b""));
        assert_eq!(from_json(&to_json(&headers)), headers);
        assert!(from_json("not json").is_empty());
    }
}
