//! A search among events: what is asked, in which order answers come, and where the next page begins.
//!
//! Pure. Events are ordered by [`EventKey`], newest first; a page ends with the key after which the next one goes on, so that
//! events that arrive meanwhile shift nothing.

use serde::{Deserialize, Serialize};

/// Longest text of a field that a search shows or compares, in characters: longer ones are shown cut and match nothing.
pub const FIELD_CHARACTERS: usize = 256;
/// Most events of one page.
pub const MAX_LIMIT: u32 = 200;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// A row of `events`.
    Stored,
    /// A row of `dead_letters`.
    DeadLetter,
}

impl EventStatus {
    /// The status of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "stored" => Some(Self::Stored),
            "dead_letter" => Some(Self::DeadLetter),
            _ => None,
        }
    }
}

/// The place of an event in the order of all events: by the time of storing, then by where it lies in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    /// When it was stored, in microseconds since the epoch.
    pub stored_at_us: i64,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Incarnation of the topic.
    pub incarnation: i32,
    /// Offset.
    pub offset: i64,
}

impl EventKey {
    /// The key as the text that a client gives back for the next page. Names of topics need no escaping in a URL.
    #[must_use]
    pub fn cursor(&self) -> String {
        format!("{}.{}.{}.{}.{}", self.stored_at_us, self.partition, self.incarnation, self.offset, self.topic)
    }

    /// The key of a text that [`EventKey::cursor`] made.
    #[must_use]
    pub fn from_cursor(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '.');
        let stored_at_us = parts.next()?.parse().ok()?;
        let partition = parts.next()?.parse().ok()?;
        let incarnation = parts.next()?.parse().ok()?;
        let offset = parts.next()?.parse().ok()?;
        let topic = parts.next().filter(|topic| is_topic(topic))?.to_owned();
        Some(Self { stored_at_us, topic, partition, incarnation, offset })
    }
}

/// Whether Kafka lets a topic have this name.
#[must_use]
pub fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// A record that was found: a row, or a dead letter with what could be read of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEvent {
    /// Where it lies and when it was stored.
    pub at: EventKey,
    /// Key of the record, cut.
    pub key: Option<Vec<u8>>,
    /// User, cut.
    pub user_id: Option<String>,
    /// Type, cut; `None` for a dead letter that has none.
    pub event_type: Option<String>,
    /// Element, cut.
    pub element_id: Option<String>,
    /// When it happened, in microseconds since the epoch.
    pub occurred_at_us: Option<i64>,
    /// The consumer that met it.
    pub consumer_id: String,
    /// Who produced it.
    pub source: Option<String>,
    /// What became of it.
    pub status: EventStatus,
    /// The code of a dead letter.
    pub code: Option<String>,
}

/// Which events are wanted; `None` wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this topic.
    pub topic: Option<String>,
    /// Of this partition.
    pub partition: Option<i32>,
    /// Of this user.
    pub user_id: Option<String>,
    /// Of this type.
    pub event_type: Option<String>,
    /// About this element.
    pub element_id: Option<String>,
    /// With this key.
    pub key: Option<String>,
    /// Produced by this one.
    pub source: Option<String>,
    /// Stored then or later, in microseconds since the epoch.
    pub since_us: Option<i64>,
    /// Stored then or before, in microseconds since the epoch.
    pub until_us: Option<i64>,
    /// What became of them.
    pub status: Option<EventStatus>,
}

impl EventFilter {
    /// Whether records of this partition are wanted.
    #[must_use]
    pub fn wants_partition(&self, topic: &str, partition: i32) -> bool {
        self.topic.as_deref().is_none_or(|wanted| wanted == topic) && self.partition.is_none_or(|p| p == partition)
    }

    /// Whether records that became this are wanted.
    #[must_use]
    pub fn wants_status(&self, status: EventStatus) -> bool {
        self.status.is_none_or(|wanted| wanted == status)
    }

    /// Whether a column is compared, so that many records may have to be looked at for one that is wanted.
    #[must_use]
    pub fn is_selective(&self) -> bool {
        [&self.user_id, &self.event_type, &self.element_id, &self.key, &self.source]
            .iter()
            .any(|wanted| wanted.is_some())
    }

    /// Whether this record is wanted.
    #[must_use]
    pub fn matches(&self, event: &FoundEvent) -> bool {
        let is = |wanted: &Option<String>, found: Option<&[u8]>| {
            wanted.as_ref().is_none_or(|wanted| found == Some(wanted.as_bytes()))
        };
        self.wants_partition(&event.at.topic, event.at.partition)
            && self.wants_status(event.status)
            && self.since_us.is_none_or(|since| event.at.stored_at_us >= since)
            && self.until_us.is_none_or(|until| event.at.stored_at_us <= until)
            && is(&self.user_id, event.user_id.as_deref().map(str::as_bytes))
            && is(&self.event_type, event.event_type.as_deref().map(str::as_bytes))
            && is(&self.element_id, event.element_id.as_deref().map(str::as_bytes))
            && is(&self.key, event.key.as_deref())
            && is(&self.source, event.source.as_deref().map(str::as_bytes))
    }
}

/// A page that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventSearch {
    /// Which events.
    pub filter: EventFilter,
    /// At most so many, 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// Only those that come after this place in the order, newest first.
    pub before: Option<EventKey>,
}

/// A page of events, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events.
    pub events: Vec<FoundEvent>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<EventKey>,
    /// Everything stored after this (microseconds since the epoch) was looked at; `None`: everything there is.
    pub looked_back_to_us: Option<i64>,
    /// False when the search stopped before the page was full because it had looked at enough.
    pub complete: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_comes_back_whole(us: i64, partition: i32, incarnation: i32, offset: i64, topic in "[a-zA-Z0-9._-]{1,40}") {
            let key = EventKey { stored_at_us: us, topic, partition, incarnation, offset };
            prop_assert_eq!(EventKey::from_cursor(&key.cursor()), Some(key));
        }

        #[test]
        fn any_other_text_is_refused_and_never_panics(text in ".{0,60}") {
            if let Some(key) = EventKey::from_cursor(&text) {
                prop_assert!(is_topic(&key.topic));
            }
        }
    }
}
