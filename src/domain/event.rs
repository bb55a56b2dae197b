//! An event: what a record's document says, in the form of the columns of `events`.
//!
//! Pure. Text is borrowed from the record wherever its JSON needs no unescaping.

use std::borrow::Cow;

/// Which JSON fields fill the columns, and which must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Field of `event_type`.
    pub event_type: String,
    /// Field of `user_id`.
    pub user_id: String,
    /// Field of `element_id`.
    pub element_id: String,
    /// Field of `occurred_at`.
    pub timestamp: String,
    /// Fields that must be there and not null.
    pub required: Vec<String>,
    /// Whether a record without a value is a row with a null payload.
    pub store_tombstones: bool,
}

/// A decoded event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    /// Type; empty where the mapping does not require it and the document has none.
    pub event_type: Cow<'a, str>,
    /// User, as text.
    pub user_id: Option<Cow<'a, str>>,
    /// Element, as text.
    pub element_id: Option<Cow<'a, str>>,
    /// When it happened, in microseconds since the epoch: the document's timestamp, else the record's.
    pub occurred_at_us: Option<i64>,
    /// The whole document as it came; `None` for a stored tombstone.
    pub payload: Option<&'a [u8]>,
}

/// A row of `events`, ready to be encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow<'a> {
    /// Topic.
    pub topic: Cow<'a, str>,
    /// Partition.
    pub partition: i32,
    /// Incarnation of the topic.
    pub incarnation: i32,
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: Option<Cow<'a, [u8]>>,
    /// User.
    pub user_id: Option<Cow<'a, str>>,
    /// Type.
    pub event_type: Cow<'a, str>,
    /// Element.
    pub element_id: Option<Cow<'a, str>>,
    /// Microseconds since the epoch.
    pub occurred_at_us: Option<i64>,
    /// Document, or null.
    pub payload: Option<Cow<'a, [u8]>>,
    /// The consumer that stored it.
    pub consumer_id: Cow<'a, str>,
    /// Who produced it: the header `drover_source`.
    pub source: Option<Cow<'a, str>>,
}
