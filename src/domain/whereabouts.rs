//! Where an event is: what follows from what the store and Kafka say about one offset of a partition.
//!
//! Pure. The position must have been read before the store was asked for the record: then a record below it that is not there
//! is missing, not late.

use serde::{Deserialize, Serialize};

/// What became of one offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Whereabouts {
    /// It is a row.
    Stored,
    /// It is a dead letter.
    DeadLetter,
    /// It was read and is on its way into the store.
    BeingWritten,
    /// It waits in Kafka.
    NotReadYet,
    /// Kafka deleted it before it was read.
    Expired,
    /// It is not to be stored: Kafka never delivers it, somebody skipped it, or it lies before the beginning.
    Skipped,
    /// Nobody knows of it.
    Unknown,
}

/// What is known of an offset and its partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// A row has it.
    pub stored: bool,
    /// A dead letter has it.
    pub dead_letter: bool,
    /// The reason of the gap that it lies in.
    pub gap: Option<String>,
    /// First offset that belongs to the store, and first that is not stored yet; `None` for a partition that it does not know.
    pub progress: Option<(i64, i64)>,
    /// The next offset that is taken from Kafka, where the partition is read by this process.
    pub read_offset: Option<i64>,
    /// The oldest offset that Kafka has.
    pub low_offset: Option<i64>,
    /// The offset after the newest one that Kafka has.
    pub end_offset: Option<i64>,
}

/// What became of the offset, and a sentence for people.
#[must_use]
pub fn whereabouts(offset: i64, facts: &Facts) -> (Whereabouts, String) {
    use Whereabouts as W;
    if facts.stored {
        return (W::Stored, "it is stored".into());
    }
    if facts.dead_letter {
        return (W::DeadLetter, "it could not be stored and is a dead letter".into());
    }
    let Some((first, next)) = facts.progress else {
        return (W::Unknown, "no partition of this name and number is stored here".into());
    };
    if let Some(reason) = &facts.gap {
        return (W::Skipped, format!("it lies in a gap ({reason}): no record of it is to be stored"));
    }
    if offset < first {
        return (W::Skipped, format!("it lies before offset {first}, where storing this partition began"));
    }
    if offset < next {
        let found = format!("the partition is stored up to offset {next}, and neither row nor dead letter has it");
        return (W::Unknown, format!("{found}; run `drover audit`"));
    }
    if let Some(low) = facts.low_offset.filter(|&low| offset < low) {
        return (W::Expired, format!("Kafka deleted it before it was read; its oldest record has offset {low}"));
    }
    if let Some(end) = facts.end_offset.filter(|&end| offset >= end) {
        return (W::Unknown, format!("there is no such record yet: the partition ends before offset {end}"));
    }
    match facts.read_offset {
        Some(read) if offset < read => (W::BeingWritten, "it was read and is being written".into()),
        Some(read) => (W::NotReadYet, format!("{} records are read before it", offset - read)),
        None => (W::NotReadYet, format!("{} records are stored before it", offset - next)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_is_somewhere() {
        let known = || Facts {
            progress: Some((100, 200)),
            read_offset: Some(210),
            low_offset: Some(50),
            end_offset: Some(300),
            ..Facts::default()
        };
        let of = |offset: i64, change: fn(&mut Facts)| {
            let mut facts = known();
            change(&mut facts);
            whereabouts(offset, &facts).0
        };
        assert_eq!(of(150, |facts| facts.stored = true), Whereabouts::Stored);
        assert_eq!(of(150, |facts| facts.dead_letter = true), Whereabouts::DeadLetter);
        assert_eq!(of(150, |facts| facts.gap = Some("jump".into())), Whereabouts::Skipped);
        assert_eq!(of(99, |_| {}), Whereabouts::Skipped);
        assert_eq!(of(199, |_| {}), Whereabouts::Unknown);
        assert_eq!(of(200, |_| {}), Whereabouts::BeingWritten);
        assert_eq!(of(209, |_| {}), Whereabouts::BeingWritten);
        assert_eq!(of(210, |_| {}), Whereabouts::NotReadYet);
        assert_eq!(of(200, |facts| facts.read_offset = None), Whereabouts::NotReadYet);
        assert_eq!(of(299, |_| {}), Whereabouts::NotReadYet);
        assert_eq!(of(300, |_| {}), Whereabouts::Unknown);
        assert_eq!(of(300, |facts| facts.end_offset = None), Whereabouts::NotReadYet);
        assert_eq!(of(200, |facts| facts.low_offset = Some(201)), Whereabouts::Expired);
        assert_eq!(of(200, |facts| facts.progress = None), Whereabouts::Unknown);
    }
}
