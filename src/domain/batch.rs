//! A batch: encoded rows, dead letters, gaps and the advance of positions that one transaction stores together.
//!
//! Pure. Bounded by the limits that its filler checks ([`Batch::bytes`], [`Batch::len`]); buffers are reused through
//! [`Batch::clear`]. Rows are kept only in the form that the store takes; where each begins, its timestamp and its headers
//! are kept beside them, so that a row that the database refuses can become a dead letter byte for byte.

use super::failure::Rejection;
use super::record::{OwnedRecord, RawRecord, RecordTimestamp, pack_headers};
use std::collections::BTreeMap;

/// Distinct event types of one partition and batch that are counted by name; the rest counts as [`OTHER_EVENT_TYPE`].
/// Hostile types would otherwise make a rollup row for each record.
pub const MAX_ROLLUP_TYPES: usize = 100;
/// The name that rollups give to event types past [`MAX_ROLLUP_TYPES`].
pub const OTHER_EVENT_TYPE: &str = "other";
/// Longest event type in the rollups, in bytes; a longer one is cut there, because the name is part of an index key.
pub const MAX_ROLLUP_TYPE_BYTES: usize = 200;

/// Copies of a dead letter while it is stored: its own, the encoded statement, and what the connection has not sent yet.
const DEAD_LETTER_COPIES: usize = 3;

/// The movement of one partition's position by a batch. A slot of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Incarnation of the topic.
    pub incarnation: i32,
    /// The position that this owner believes in.
    pub from: i64,
    /// The position after the batch.
    pub to: i64,
}

/// A range of offsets that Kafka never delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetGap {
    /// Slot of the partition.
    pub slot: u16,
    /// First offset of the gap.
    pub first: i64,
    /// First offset after the gap.
    pub next: i64,
    /// Why it is believed to be a gap: `jump` between delivered records, or `tail` passed by the client at the end of the log.
    pub reason: &'static str,
}

/// A record that cannot be a row, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Slot of the partition.
    pub slot: u16,
    /// The record, byte for byte.
    pub record: OwnedRecord,
    /// Why.
    pub rejection: Rejection,
    /// Tries of the processor before it was given up; 1 without a processor.
    pub attempts: u32,
}

/// What is kept of a row beside its encoded form.
#[derive(Debug, Clone, Copy)]
pub struct RowMeta {
    /// Where its encoded form begins in [`Batch::rows`].
    pub start: usize,
    /// Slot of the partition.
    pub slot: u16,
    /// Offset.
    pub offset: i64,
    /// Timestamp of the record.
    pub timestamp: RecordTimestamp,
    /// Where its packed headers begin in the arena.
    headers_start: u32,
    /// Bytes of its packed headers.
    headers_len: u32,
    /// Index into the rollups.
    rollup: u32,
}

/// How many rows of an event type a partition got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollup {
    /// Slot of the partition.
    pub slot: u16,
    /// Event type, or [`OTHER_EVENT_TYPE`].
    pub event_type: String,
    /// Rows.
    pub count: i64,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    consumer_id: String,
    rows: Vec<u8>,
    metas: Vec<RowMeta>,
    arena: Vec<u8>,
    advances: Vec<Advance>,
    /// The slot that was asked for last: records of a partition come in runs.
    last_slot: usize,
    rollups: Vec<Rollup>,
    /// For each slot its rollups. As many as there ever were slots, so that their room is used again.
    slot_rollups: Vec<Vec<u32>>,
    dead_letters: Vec<DeadLetter>,
    dead_letter_bytes: usize,
    gaps: Vec<OffsetGap>,
    /// Records as Kafka delivered them, where a processor changed what the row is made of, with its tries.
    originals: BTreeMap<(u16, i64), (OwnedRecord, u32)>,
    original_bytes: usize,
}

impl RowMeta {
    /// Index of the row's event type in [`Batch::rollups`].
    #[must_use]
    pub fn rollup(&self) -> usize {
        self.rollup as usize
    }
}

impl Batch {
    /// An empty batch of a consumer.
    #[must_use]
    pub fn new(consumer_id: &str) -> Self {
        Self { consumer_id: consumer_id.to_owned(), ..Self::default() }
    }

    /// The same batch, empty, for another consumer.
    #[must_use]
    pub fn of_consumer(mut self, consumer_id: &str) -> Self {
        self.consumer_id.clear();
        self.consumer_id.push_str(consumer_id);
        self
    }

    /// The consumer that filled it.
    #[must_use]
    pub fn consumer_id(&self) -> &str {
        &self.consumer_id
    }

    /// The slot of a partition, opened at `from` if the batch has none yet.
    pub fn slot(&mut self, topic: &str, partition: i32, incarnation: i32, from: i64) -> u16 {
        let is = |advance: &Advance| advance.partition == partition && advance.topic == topic;
        if !self.advances.get(self.last_slot).is_some_and(is) {
            self.last_slot = self.advances.iter().position(is).unwrap_or(self.advances.len());
        }
        if self.last_slot == self.advances.len() {
            self.advances.push(Advance { topic: topic.to_owned(), partition, incarnation, from, to: from });
            if self.slot_rollups.len() < self.advances.len() {
                self.slot_rollups.push(Vec::new());
            }
        }
        u16::try_from(self.last_slot).expect("a consumer owns fewer than 65,536 partitions")
    }

    /// Adds the row of `record`: `encode` appends its encoded form, and the slot's position moves past it.
    pub fn push_row(
        &mut self,
        slot: u16,
        record: &impl RawRecord,
        event_type: &str,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.rows.len();
        encode(&mut self.rows);
        let headers_start = self.arena.len();
        pack_headers(record, &mut self.arena);
        let rollup = self.count_type(slot, event_type);
        self.metas.push(RowMeta {
            start,
            slot,
            offset: record.offset(),
            timestamp: record.timestamp(),
            headers_start: u32::try_from(headers_start).unwrap_or(u32::MAX),
            headers_len: u32::try_from(self.arena.len() - headers_start).unwrap_or(u32::MAX),
            rollup,
        });
        debug_assert!(self.advances[usize::from(slot)].to <= record.offset(), "offsets of a slot ascend");
        self.advances[usize::from(slot)].to = record.offset() + 1;
    }

    /// Keeps the record that the last row was made of, for the case that the database refuses the row.
    pub fn keep_original(&mut self, slot: u16, original: OwnedRecord, attempts: u32) {
        self.original_bytes += original.bytes();
        self.originals.insert((slot, original.offset), (original, attempts));
    }

    /// Adds a dead letter; the slot's position moves past it.
    pub fn push_dead_letter(&mut self, slot: u16, record: OwnedRecord, rejection: Rejection, attempts: u32) {
        self.advances[usize::from(slot)].to = record.offset + 1;
        self.add_dead_letter(DeadLetter { slot, record, rejection, attempts });
    }

    /// Adds a gap that ends where the slot goes on; the slot's position moves to its end.
    pub fn push_gap(&mut self, slot: u16, next: i64, reason: &'static str) {
        let advance = &mut self.advances[usize::from(slot)];
        self.gaps.push(OffsetGap { slot, first: advance.to, next, reason });
        advance.to = next;
    }

    /// Takes out a row that the database refused and makes it a dead letter. `rebuild` gets the encoded row and gives back
    /// key and value of the record.
    pub fn refuse(
        &mut self,
        index: usize,
        rejection: Rejection,
        rebuild: impl FnOnce(&[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>),
    ) {
        let meta = self.metas[index];
        let end = self.metas.get(index + 1).map_or(self.rows.len(), |next| next.start);
        let (key, value) = rebuild(&self.rows[meta.start..end]);
        let headers_start = meta.headers_start as usize;
        let headers = super::record::PackedHeaders::from_packed(
            &self.arena[headers_start..headers_start + meta.headers_len as usize],
        );
        let advance = &self.advances[usize::from(meta.slot)];
        let record = OwnedRecord {
            topic: advance.topic.clone(),
            partition: advance.partition,
            offset: meta.offset,
            key,
            value,
            timestamp: meta.timestamp,
            headers,
        };
        self.rows.drain(meta.start..end);
        self.metas.remove(index);
        for later in &mut self.metas[index..] {
            later.start -= end - meta.start;
        }
        self.rollups[meta.rollup as usize].count -= 1;
        let (record, attempts) = self.originals.remove(&(meta.slot, meta.offset)).unwrap_or((record, 1));
        self.add_dead_letter(DeadLetter { slot: meta.slot, record, rejection, attempts });
    }

    fn add_dead_letter(&mut self, letter: DeadLetter) {
        self.dead_letter_bytes += letter.record.bytes();
        self.dead_letters.push(letter);
    }

    fn count_type(&mut self, slot: u16, event_type: &str) -> u32 {
        let mut end = event_type.len().min(MAX_ROLLUP_TYPE_BYTES);
        while !event_type.is_char_boundary(end) {
            end -= 1;
        }
        let name = &event_type[..end];
        let known = &self.slot_rollups[usize::from(slot)];
        let find = |name: &str| known.iter().copied().find(|&at| self.rollups[at as usize].event_type == name);
        let name = if known.len() >= MAX_ROLLUP_TYPES && find(name).is_none() { OTHER_EVENT_TYPE } else { name };
        let at = find(name).unwrap_or_else(|| {
            let at = u32::try_from(self.rollups.len()).expect("partitions times MAX_ROLLUP_TYPES + 1 at most");
            self.rollups.push(Rollup { slot, event_type: name.to_owned(), count: 0 });
            self.slot_rollups[usize::from(slot)].push(at);
            at
        });
        self.rollups[at as usize].count += 1;
        at
    }

    /// The encoded rows, one after the other, in the order of [`Batch::metas`].
    #[must_use]
    pub fn rows(&self) -> &[u8] {
        &self.rows
    }

    /// What is kept beside each row.
    #[must_use]
    pub fn metas(&self) -> &[RowMeta] {
        &self.metas
    }

    /// The encoded form of one row.
    #[must_use]
    pub fn row(&self, index: usize) -> &[u8] {
        let end = self.metas.get(index + 1).map_or(self.rows.len(), |next| next.start);
        &self.rows[self.metas[index].start..end]
    }

    /// The positions that move.
    #[must_use]
    pub fn advances(&self) -> &[Advance] {
        &self.advances
    }

    /// Rows per event type; entries may count zero after a refusal.
    #[must_use]
    pub fn rollups(&self) -> &[Rollup] {
        &self.rollups
    }

    /// The dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead_letters
    }

    /// The gaps.
    #[must_use]
    pub fn gaps(&self) -> &[OffsetGap] {
        &self.gaps
    }

    /// Rows and dead letters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.metas.len() + self.dead_letters.len()
    }

    /// Whether no position moves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.advances.iter().all(|advance| advance.from == advance.to)
    }

    /// Bytes of rows, headers and dead letters: what the batch counts for in `limits.memory`.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.len() + self.arena.len() + DEAD_LETTER_COPIES * self.dead_letter_bytes + self.original_bytes
    }

    /// Empties the batch and keeps its buffers, unless a large record made them larger than `keep_bytes`.
    pub fn clear(&mut self, keep_bytes: usize) {
        self.rows.clear();
        self.rows.shrink_to(keep_bytes);
        self.metas.clear();
        self.arena.clear();
        self.arena.shrink_to(keep_bytes);
        self.advances.clear();
        self.rollups.clear();
        for rollups in &mut self.slot_rollups {
            rollups.clear();
        }
        self.dead_letters.clear();
        self.dead_letter_bytes = 0;
        self.originals.clear();
        self.original_bytes = 0;
        self.gaps.clear();
    }
}
