//! Events that are made up: for `drover produce`, the demo, benchmarks and tests. Good ones, and every kind of broken one.
//!
//! Pure: the same seed and times make the same events. Keeps one event at a time, in buffers that are used again.

use super::failure::DeadLetterCode;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Size of an event unless another is asked for, in bytes: what producers of user events send.
pub const DEFAULT_EVENT_BYTES: usize = 240;
/// Distinct users; the ones with low numbers are seen more often.
const USERS: u32 = 1_000;
/// Event types, their share in percent, and the elements that they concern.
const TYPES: [(&str, u32, &[&str]); 8] = [
    ("page_view", 40, &["home_page", "product_page", "category_page", "help_page"]),
    ("button_click", 25, &["checkout_btn", "login_btn", "search_btn", "menu_btn", "subscribe_btn"]),
    ("scroll", 12, &["product_list", "review_list", "news_feed"]),
    ("search", 8, &["search_box", "filter_panel"]),
    ("form_submit", 6, &["contact_form", "signup_form", "address_form"]),
    ("add_to_cart", 5, &["cart_btn", "wishlist_btn"]),
    ("video_play", 3, &["intro_video", "product_video"]),
    ("purchase", 1, &["pay_btn"]),
];
/// Letters from which filler is cut.
const FILLER_BYTES: usize = 4_096;

/// A made-up event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GeneratedEvent {
    /// User, such as `user_0042`.
    pub user_id: String,
    /// Type.
    pub event_type: &'static str,
    /// Element.
    pub element_id: &'static str,
    /// The document.
    pub value: Vec<u8>,
    timestamp: String,
}

/// Makes events.
#[derive(Debug, Clone)]
pub struct EventGenerator {
    rng: SmallRng,
    event_bytes: usize,
    filler: Vec<u8>,
    made: u64,
    time_ms: i64,
    event: GeneratedEvent,
}

impl EventGenerator {
    /// A generator of events of about `event_bytes` each; an event has some 170 bytes at least.
    #[must_use]
    pub fn new(seed: u64, event_bytes: usize) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let filler = (0..FILLER_BYTES).map(|_| rng.random_range(b'a'..=b'z')).collect();
        Self { rng, event_bytes, filler, made: 0, time_ms: i64::MIN, event: GeneratedEvent::default() }
    }

    /// The next event; `time_ms` becomes its timestamp, in milliseconds since the epoch.
    pub fn next_event(&mut self, time_ms: i64) -> &GeneratedEvent {
        // Squaring a share makes low numbers more frequent, as some users are busier than others.
        let share: f64 = self.rng.random();
        let user = (share * share * f64::from(USERS)) as u32 + 1;
        let (event_type, elements) = self.pick_type();
        let element_id = elements[self.rng.random_range(0..elements.len())];
        let session: u64 = self.rng.random();
        if time_ms != self.time_ms {
            self.time_ms = time_ms;
            self.event.timestamp = chrono::DateTime::from_timestamp_millis(time_ms)
                .unwrap_or_default()
                .to_rfc3339_opts(chrono::SecondsFormat::Millis, false);
        }
        let event = &mut self.event;
        event.event_type = event_type;
        event.element_id = element_id;
        event.user_id.clear();
        event.user_id.push_str("user_");
        push_digits(&mut event.user_id, u64::from(user), 4);
        let value = &mut event.value;
        value.clear();
        for (before, text) in [
            (r#"{"user_id":""#, event.user_id.as_str()),
            (r#"","event_type":""#, event_type),
            (r#"","element_id":""#, element_id),
            (r#"","timestamp":""#, event.timestamp.as_str()),
            (r#"","session_id":""#, ""),
        ] {
            value.extend_from_slice(before.as_bytes());
            value.extend_from_slice(text.as_bytes());
        }
        let mut digits = String::with_capacity(20);
        push_digits(&mut digits, session, 20);
        value.extend_from_slice(digits.as_bytes());
        value.extend_from_slice(br#"","sequence":"#);
        digits.clear();
        push_digits(&mut digits, self.made, 1);
        value.extend_from_slice(digits.as_bytes());
        self.made += 1;
        const NOTE: &[u8] = br#","note":""#;
        let mut missing = self.event_bytes.saturating_sub(value.len() + NOTE.len() + 2);
        if missing > 0 {
            value.extend_from_slice(NOTE);
            while missing > 0 {
                let start = self.rng.random_range(0..FILLER_BYTES);
                let end = (start + missing).min(FILLER_BYTES);
                value.extend_from_slice(&self.filler[start..end]);
                missing -= end - start;
            }
            value.push(b'"');
        }
        value.push(b'}');
        &self.event
    }

    /// The next event, broken in this way. The event's other fields stay what they would have been.
    pub fn next_poison(&mut self, kind: PoisonKind, time_ms: i64) -> (&GeneratedEvent, Option<Vec<u8>>) {
        self.next_event(time_ms);
        (&self.event, kind.value(&self.event))
    }

    fn pick_type(&mut self) -> (&'static str, &'static [&'static str]) {
        let mut left = self.rng.random_range(0..100);
        for (name, share, elements) in TYPES {
            if left < share {
                return (name, elements);
            }
            left -= share;
        }
        (TYPES[0].0, TYPES[0].2)
    }
}

/// Decimal digits with leading zeros, without the formatting machinery: it is called for every event.
fn push_digits(out: &mut String, number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let (mut rest, mut start) = (number, 20);
    while rest > 0 || 20 - start < width {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend(digits[start..].iter().map(|&digit| char::from(digit)));
}

/// A way in which a record can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PoisonKind {
    /// Text that is no JSON.
    NotJson,
    /// A document that ends in the middle.
    Truncated,
    /// An array instead of an object.
    Array,
    /// A number as event_type.
    EventTypeNumber,
    /// No event_type.
    EventTypeMissing,
    /// A timestamp that is none.
    TimestampInvalid,
    /// Bytes that are not UTF-8.
    InvalidUtf8,
    /// The escape `\u0000` in a string.
    NulEscape,
    /// Half of a surrogate pair in a string.
    LoneSurrogate,
    /// A null value.
    Tombstone,
    /// A number beyond PostgreSQL's numeric: it decodes, and only the database refuses it (SQLite stores it).
    NumberTooLarge,
}

impl PoisonKind {
    /// Every kind, in the order in which `--poison-every` takes them in turn.
    pub const ALL: [Self; 11] = [
        Self::NotJson,
        Self::Truncated,
        Self::Array,
        Self::EventTypeNumber,
        Self::EventTypeMissing,
        Self::TimestampInvalid,
        Self::InvalidUtf8,
        Self::NulEscape,
        Self::LoneSurrogate,
        Self::Tombstone,
        Self::NumberTooLarge,
    ];

    /// A name for summaries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::Truncated => "truncated",
            Self::Array => "array",
            Self::EventTypeNumber => "event_type_number",
            Self::EventTypeMissing => "event_type_missing",
            Self::TimestampInvalid => "timestamp_invalid",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NulEscape => "nul_escape",
            Self::LoneSurrogate => "lone_surrogate",
            Self::Tombstone => "tombstone",
            Self::NumberTooLarge => "number_too_large",
        }
    }

    /// The code of the dead letter that such a record becomes with the default mapping.
    #[must_use]
    pub fn expected_code(self) -> DeadLetterCode {
        match self {
            Self::NotJson | Self::Truncated => DeadLetterCode::JsonSyntax,
            Self::Array => DeadLetterCode::JsonNotObject,
            Self::EventTypeNumber => DeadLetterCode::FieldType,
            Self::EventTypeMissing => DeadLetterCode::FieldMissing,
            Self::TimestampInvalid => DeadLetterCode::TimestampInvalid,
            Self::InvalidUtf8 => DeadLetterCode::JsonEncoding,
            Self::NulEscape | Self::LoneSurrogate => DeadLetterCode::JsonText,
            Self::Tombstone => DeadLetterCode::ValueNull,
            // numeric_value_out_of_range
            Self::NumberTooLarge => DeadLetterCode::Database("22003".into()),
        }
    }

    /// The broken form of an event; `None` is a null value.
    #[must_use]
    pub fn value(self, event: &GeneratedEvent) -> Option<Vec<u8>> {
        let (user, element, time) = (&event.user_id, event.element_id, &event.timestamp);
        let kind = format!("\"event_type\":\"{}\",", event.event_type);
        let document = |kind: &str, time: &str, more: &str| {
            let text = format!(r#"{{"user_id":"{user}",{kind}"element_id":"{element}","timestamp":"{time}"{more}}}"#);
            Some(text.into_bytes())
        };
        match self {
            Self::NotJson => Some(format!("{user} did {} on {element}", event.event_type).into_bytes()),
            Self::Truncated => Some(event.value[..event.value.len() * 2 / 3].to_vec()),
            Self::Array => Some([b"[", event.value.as_slice(), b"]"].concat()),
            Self::EventTypeNumber => document("\"event_type\":42,", time, ""),
            Self::EventTypeMissing => document("", time, ""),
            Self::TimestampInvalid => document(&kind, "yesterday at noon", ""),
            Self::InvalidUtf8 => {
                let mut value = document(&kind, time, r#","note":"~""#)?;
                let at = value.iter().rposition(|&byte| byte == b'~')?;
                value[at] = 0xff;
                Some(value)
            }
            Self::NulEscape => document(&kind, time, r#","note":"a\u0000b""#),
            Self::LoneSurrogate => document(&kind, time, r#","note":"\ud83d""#),
            Self::Tombstone => None,
            Self::NumberTooLarge => document(&kind, time, r#","amount":1e999999"#),
        }
    }
}

#[cfg(test)]
#[path = "generator_tests.rs"]
mod tests;
