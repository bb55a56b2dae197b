//! Events as tests send them: each document carries a number of its own, so that a row that is missing or doubled is known.

/// A record to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// `None` lets the key decide.
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp_ms: Option<i64>,
}

/// A record that the brokers have.
#[derive(Debug, Clone)]
pub struct Sent {
    pub partition: i32,
    pub offset: i64,
    pub event: Event,
}

/// An ordinary event of about 240 bytes.
pub fn event(number: usize) -> Event {
    let value = format!(
        r#"{{"user_id":"user_{:04}","event_type":"button_click","element_id":"checkout_btn","timestamp":"2026-01-02T03:04:05.678+00:00","number":{number},"note":"{}"}}"#,
        number % 1_000,
        "n".repeat(90),
    );
    Event {
        key: Some(format!("user_{:04}", number % 1_000).into_bytes()),
        value: Some(value.into_bytes()),
        ..Event::default()
    }
}

/// Ordinary events with these numbers.
pub fn events(numbers: std::ops::Range<usize>) -> impl Iterator<Item = Event> {
    numbers.map(event)
}

/// The same, all to one partition.
pub fn events_to(partition: i32, numbers: std::ops::Range<usize>) -> impl Iterator<Item = Event> {
    events(numbers).map(move |event| Event { partition: Some(partition), ..event })
}

impl Event {
    /// Whether the value holds this text.
    pub fn value_has(&self, text: &str) -> bool {
        self.value.as_ref().is_some_and(|value| String::from_utf8_lossy(value).contains(text))
    }
}
