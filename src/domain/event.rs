//! An event: what a record's document says, in the form of the columns of `events`.
//!
//! Pure. Text is borrowed from the record wherever its JSON needs no unescaping.

use std::borrow::Cow;
use std::io::Write as _;
use std::ops::Deref;

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
    pub user_id: Option<Text<'a>>,
    /// Element, as text.
    pub element_id: Option<Text<'a>>,
    /// When it happened, in microseconds since the epoch: the document's timestamp, else the record's.
    pub occurred_at_us: Option<i64>,
    /// The whole document as it came; `None` for a stored tombstone.
    pub payload: Option<&'a [u8]>,
}

/// The text of a column that a string or an integer fills.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// A string.
    String(Cow<'a, str>),
    /// An integer, as its digits: without an allocation.
    Integer(Digits),
}

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        match self {
            Self::String(text) => text,
            Self::Integer(digits) => std::str::from_utf8(&digits.bytes[..digits.len]).expect("digits are ASCII"),
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// The digits of an integer of 64 bits, with its sign.
#[derive(Debug, Clone, Copy)]
pub struct Digits {
    bytes: [u8; 20],
    len: usize,
}

impl Digits {
    /// The digits of a number from the least `i64` to the greatest `u64`.
    #[must_use]
    pub fn of(number: i128) -> Self {
        let mut bytes = [0; 20];
        let mut rest = &mut bytes[..];
        write!(rest, "{number}").expect("64 bits have at most 20 digits, sign and all");
        let len = 20 - rest.len();
        Self { bytes, len }
    }
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
