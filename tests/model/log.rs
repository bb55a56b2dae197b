//! The logs of the partitions: records of every kind and the offsets that are never delivered. They only grow.

use drover::domain::record::{HeaderVisitor, RawRecord, RecordTimestamp, TimestampType};
use std::sync::Arc;

pub const TOPIC: &str = "events";

/// What stands at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Becomes a row.
    Good,
    /// Cannot be decoded: becomes a dead letter.
    Poison,
    /// The database refuses its row: becomes a dead letter.
    Refused,
    /// A transaction marker, an aborted record, or compacted away: becomes a gap.
    Hole,
}

/// The log of one partition.
#[derive(Debug, Clone)]
pub struct Log {
    pub first: i64,
    entries: Vec<Entry>,
}

impl Log {
    pub fn new(first: i64) -> Self {
        Self { first, entries: Vec::new() }
    }

    pub fn append(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub fn end(&self) -> i64 {
        self.first + i64::try_from(self.entries.len()).unwrap()
    }

    pub fn at(&self, offset: i64) -> Option<Entry> {
        self.entries.get(usize::try_from(offset - self.first).ok()?).copied()
    }

    /// The first record at or behind an offset.
    pub fn next_record(&self, from: i64) -> Option<i64> {
        (from.max(self.first)..self.end()).find(|&offset| self.at(offset) != Some(Entry::Hole))
    }
}

/// The value of a record; it tells where it came from.
pub fn value(partition: i32, offset: i64, entry: Entry) -> Vec<u8> {
    match entry {
        Entry::Good => format!(r#"{{"event_type":"e","at":"{partition}/{offset}"}}"#),
        Entry::Refused => format!(r#"{{"event_type":"refused","at":"{partition}/{offset}"}}"#),
        Entry::Poison | Entry::Hole => format!("{{broken {partition}/{offset}"),
    }
    .into_bytes()
}

/// A record that the simulated client hands over.
pub struct SimRecord {
    pub partition: i32,
    pub offset: i64,
    pub value: Arc<[u8]>,
}

impl RawRecord for SimRecord {
    fn topic(&self) -> &str {
        TOPIC
    }
    fn partition(&self) -> i32 {
        self.partition
    }
    fn offset(&self) -> i64 {
        self.offset
    }
    fn key(&self) -> Option<&[u8]> {
        None
    }
    fn value(&self) -> Option<&[u8]> {
        Some(&self.value)
    }
    fn timestamp(&self) -> RecordTimestamp {
        RecordTimestamp { ms: 1_700_000_000_000 + self.offset, kind: TimestampType::CreateTime }
    }
    fn for_each_header<'r>(&'r self, _: &mut HeaderVisitor<'r, '_>) {}
}
