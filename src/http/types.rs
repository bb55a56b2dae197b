//! What the server says of events, as JSON: the types of the answers, made from what the store and the process know.
//!
//! Pure. Texts are cut, and masked fields hidden, before they are here. Times that end in `_ms` are milliseconds since the epoch.

use serde::Serialize;
use utoipa::ToSchema;

use super::event_port::Location;
use crate::domain::event_search::{EventPage, EventStatus, FIELD_CHARACTERS, FoundEvent};
use crate::domain::mask::{Mask, Texts};
use crate::domain::whereabouts::{Facts, Whereabouts};
use crate::store::StoredDeadLetter;
use crate::store::events::{PAYLOAD_CHARACTERS, StoredEvent};

/// Headers of a dead letter that are shown, at most.
const MOST_HEADERS: usize = 100;

/// A record that was stored, or could not be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Event {
    /// Topic.
    topic: String,
    /// Partition.
    partition: i32,
    /// Offset.
    offset: i64,
    /// Key of the record; bytes that are no text are replaced.
    key: Option<String>,
    /// User.
    user_id: Option<String>,
    /// Type; null for a dead letter that has none.
    event_type: Option<String>,
    /// Element.
    element_id: Option<String>,
    /// When it happened.
    occurred_at_ms: Option<i64>,
    /// When it was stored, or found to be a dead letter.
    stored_at_ms: i64,
    /// The consumer that met it.
    consumer_id: String,
    /// Who produced it: the header `drover_source`.
    source: Option<String>,
    /// What became of it.
    status: EventStatus,
    /// The code of a dead letter.
    code: Option<String>,
}

/// A text that may be shown; what was longer ends with an ellipsis.
fn shown(text: String) -> String {
    match text.char_indices().nth(FIELD_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Event {
    fn new(found: FoundEvent, mask: &Mask) -> Self {
        let FoundEvent { at, key, user_id, event_type, element_id, occurred_at_us, consumer_id, source, status, code } =
            found;
        let mut event = Self {
            topic: at.topic,
            partition: at.partition,
            offset: at.offset,
            key: key.map(|key| shown(String::from_utf8_lossy(&key).into_owned())),
            user_id: user_id.map(shown),
            event_type: event_type.map(shown),
            element_id: element_id.map(shown),
            occurred_at_ms: occurred_at_us.map(|us| us.div_euclid(1_000)),
            stored_at_ms: at.stored_at_us.div_euclid(1_000),
            consumer_id,
            source: source.map(shown),
            status,
            code,
        };
        if mask.hides(Some(&event.topic), "occurred_at") {
            event.occurred_at_ms = None;
        }
        let Self { topic, key, user_id, event_type, element_id, .. } = &mut event;
        mask.event(topic, status == EventStatus::Stored, Texts { key, event_type, user_id, element_id });
        event
    }
}

/// A page of events, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Events {
    /// The events.
    events: Vec<Event>,
    /// What to give as `before` for the next page; null when there is none.
    next: Option<String>,
    /// Everything that was stored after this was looked at; null: everything there is.
    looked_back_to_ms: Option<i64>,
    /// False when the search stopped before its page was full, because it had looked at enough; `next` goes on from there.
    complete: bool,
}

impl Events {
    /// The page as it is shown.
    pub(super) fn new(page: EventPage, mask: &Mask) -> Self {
        Self {
            next: page.next.map(|next| next.cursor()),
            looked_back_to_ms: page.looked_back_to_us.map(|us| us.div_euclid(1_000)),
            complete: page.complete,
            events: page.events.into_iter().map(|event| Event::new(event, mask)).collect(),
        }
    }
}

/// A stored record with its document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventDetail {
    #[serde(flatten)]
    event: Event,
    /// The document as text, cut at 65536 characters; null for a tombstone.
    payload: Option<String>,
    /// Whether it was cut.
    payload_truncated: bool,
    /// Incarnation of the topic: above 1 for one that was deleted and created again.
    incarnation: i32,
    /// From its happening to its storing, in milliseconds.
    latency_ms: Option<i64>,
}

impl EventDetail {
    fn new(stored: StoredEvent, mask: &Mask) -> Self {
        let incarnation = stored.event.at.incarnation;
        let event = Event::new(stored.event, mask);
        let payload =
            stored.payload.map(|payload| String::from_utf8_lossy(&mask.document(payload.as_bytes())).into_owned());
        Self {
            latency_ms: event.occurred_at_ms.map(|at| event.stored_at_ms.saturating_sub(at)),
            payload,
            payload_truncated: stored.payload_truncated,
            incarnation,
            event,
        }
    }
}

/// A header of a record.
#[derive(Debug, Serialize, ToSchema)]
struct Header {
    /// Its name; bytes that are no text are replaced.
    name: String,
    /// Its value, likewise.
    value: Option<String>,
}

/// A record that could not be stored, and what was done about it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadLetterDetail {
    /// Why, as a stable code.
    code: String,
    /// Why, for people.
    message: String,
    /// Stage that refused it: decode, process or store.
    stage: String,
    /// Tries before it was given up.
    attempts: i32,
    /// The consumer that met it.
    consumer_id: String,
    /// Incarnation of the topic.
    incarnation: i32,
    /// When it was found.
    failed_at_ms: i64,
    /// When the dead-letter topic took or refused it; null while it waits.
    published_at_ms: Option<i64>,
    /// `published` or `refused`.
    publish_outcome: Option<String>,
    /// Why it was refused.
    publish_error: Option<String>,
    /// Key of the record; bytes that are no text are replaced.
    key: Option<String>,
    /// Value of the record, likewise, cut at 65536 characters.
    value: Option<String>,
    /// Whether it was cut.
    value_truncated: bool,
    /// How long the value is, in bytes.
    value_bytes: Option<usize>,
    /// The record's own time.
    timestamp_ms: Option<i64>,
    /// Its headers, at most 100.
    headers: Vec<Header>,
}

impl DeadLetterDetail {
    fn new(letter: StoredDeadLetter, mask: &Mask) -> Self {
        let StoredDeadLetter { record, .. } = letter;
        let value_bytes = record.value.as_ref().map(Vec::len);
        let value = record.value.map(|value| String::from_utf8_lossy(&mask.document(&value)).into_owned());
        let cut = |text: String| match text.char_indices().nth(PAYLOAD_CHARACTERS) {
            Some((end, _)) => (text[..end].to_owned(), true),
            None => (text, false),
        };
        let (value, value_truncated) = value.map(cut).map_or((None, false), |(value, is_cut)| (Some(value), is_cut));
        let mut key = record.key.map(|key| shown(String::from_utf8_lossy(&key).into_owned()));
        let (event_type, user_id, element_id) = (&mut None, &mut None, &mut None);
        mask.event(&record.topic, false, Texts { key: &mut key, event_type, user_id, element_id });
        let text = |bytes: &[u8]| shown(String::from_utf8_lossy(bytes).into_owned());
        let header = |(name, value): (&[u8], Option<&[u8]>)| {
            let name = text(name);
            Header { value: mask.header(&name, value.map(text)), name }
        };
        Self {
            code: letter.code,
            message: mask.quoting(letter.message),
            stage: letter.stage,
            attempts: letter.attempts,
            consumer_id: letter.consumer_id,
            incarnation: letter.incarnation,
            failed_at_ms: letter.failed_at_ms,
            published_at_ms: letter.published_at_ms,
            publish_outcome: letter.publish_outcome,
            publish_error: letter.publish_error,
            key,
            value,
            value_truncated,
            value_bytes,
            timestamp_ms: Some(record.timestamp.ms).filter(|&ms| ms >= 0),
            headers: record.headers.iter().take(MOST_HEADERS).map(header).collect(),
        }
    }
}

/// Where a partition stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Position {
    /// First offset that belongs to the store.
    first_offset: i64,
    /// First offset that is not stored yet.
    next_offset: i64,
    /// Next offset that is taken from Kafka; null where this process does not read the partition.
    read_offset: Option<i64>,
    /// Oldest offset that Kafka has; null when it does not say.
    low_offset: Option<i64>,
    /// Offset after the newest one that Kafka has; null when it does not say.
    end_offset: Option<i64>,
}

/// Where one event is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventLocation {
    /// What became of it.
    status: Whereabouts,
    /// The same as a sentence.
    detail: String,
    /// Its row.
    event: Option<EventDetail>,
    /// Its dead letter.
    dead_letter: Option<DeadLetterDetail>,
    /// Where its partition stands; null for one that is not stored here.
    position: Option<Position>,
}

impl EventLocation {
    /// The answer as it is shown.
    pub(super) fn new(found: Location, mask: &Mask) -> Self {
        let Facts { progress, read_offset, low_offset, end_offset, .. } = found.facts;
        Self {
            status: found.whereabouts,
            detail: found.detail,
            event: found.event.map(|event| EventDetail::new(event, mask)),
            dead_letter: found.dead_letter.map(|letter| DeadLetterDetail::new(letter, mask)),
            position: progress.map(|(first_offset, next_offset)| Position {
                first_offset,
                next_offset,
                read_offset,
                low_offset,
                end_offset,
            }),
        }
    }
}
