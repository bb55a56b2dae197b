//! The closed lists of what can go wrong with a record, a batch or a partition, and what follows from each.
//!
//! Pure. The codes are stable: tables, headers, metrics, the API and docs/OPERATIONS.md carry them.

use std::fmt;

/// Why a record became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DeadLetterCode {
    /// The value is null (a tombstone) and the mapping does not store tombstones.
    ValueNull,
    /// Key, value and headers together are larger than `limits.record_bytes`.
    RecordTooLarge,
    /// The value is not UTF-8.
    JsonEncoding,
    /// The value is not JSON.
    JsonSyntax,
    /// The value is JSON, but not an object.
    JsonNotObject,
    /// A string holds `\u0000` or half of a surrogate pair, which no text column can take.
    JsonText,
    /// A required field is missing or null.
    FieldMissing,
    /// A field that fills a column has the wrong type.
    FieldType,
    /// The timestamp is neither RFC 3339 nor epoch milliseconds, or outside the years 1 to 9999.
    TimestampInvalid,
    /// The processor rejected the record for good.
    ProcessorRejected,
    /// The processor, or the decoder, panicked on the record.
    ProcessorPanic,
    /// The database refused the row for its data; the SQLSTATE says why.
    Database(String),
}

impl DeadLetterCode {
    /// All codes that do not carry an SQLSTATE.
    pub const FIXED: [Self; 11] = [
        Self::ValueNull,
        Self::RecordTooLarge,
        Self::JsonEncoding,
        Self::JsonSyntax,
        Self::JsonNotObject,
        Self::JsonText,
        Self::FieldMissing,
        Self::FieldType,
        Self::TimestampInvalid,
        Self::ProcessorRejected,
        Self::ProcessorPanic,
    ];

    /// The stage in which the record failed: `decode`, `process` or `store`. A label of metrics.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::ProcessorRejected | Self::ProcessorPanic => "process",
            Self::Database(_) => "store",
            _ => "decode",
        }
    }

    /// What the code means, in one line for people.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        match self {
            Self::ValueNull => "the value is null (a tombstone); set events.store_tombstones to store such records",
            Self::RecordTooLarge => "key, value and headers together are larger than limits.record_bytes",
            Self::JsonEncoding => "the value is not UTF-8",
            Self::JsonSyntax => "the value is not JSON",
            Self::JsonNotObject => "the value is JSON, but not an object",
            Self::JsonText => "a string holds \\u0000 or half of a surrogate pair, which no text column can take",
            Self::FieldMissing => "a required field is missing or null",
            Self::FieldType => "a field that fills a column has the wrong type",
            Self::TimestampInvalid => "the timestamp is neither RFC 3339 nor epoch milliseconds, or out of range",
            Self::ProcessorRejected => "the processor rejected the record",
            Self::ProcessorPanic => "the processor or the decoder panicked on the record",
            Self::Database(_) => "the database refused the row for its data; the code ends in the SQLSTATE",
        }
    }
}

impl fmt::Display for DeadLetterCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ValueNull => "value.null",
            Self::RecordTooLarge => "record.too_large",
            Self::JsonEncoding => "json.encoding",
            Self::JsonSyntax => "json.syntax",
            Self::JsonNotObject => "json.not_object",
            Self::JsonText => "json.text",
            Self::FieldMissing => "field.missing",
            Self::FieldType => "field.type",
            Self::TimestampInvalid => "timestamp.invalid",
            Self::ProcessorRejected => "processor.rejected",
            Self::ProcessorPanic => "processor.panic",
            Self::Database(sqlstate) => return write!(f, "db.{sqlstate}"),
        })
    }
}

/// Why a record cannot be a row: a stable code and a message for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The stable code.
    pub code: DeadLetterCode,
    /// What exactly is wrong, with the field or position; never the whole value.
    pub message: String,
}

impl Rejection {
    /// A rejection with this code and message.
    pub fn new(code: DeadLetterCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Why a partition is not read on. Each stops that partition alone, is shown until an operator acts, and skips nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopCode {
    /// The topic was deleted and created again: offsets mean other records than those stored.
    TopicRecreated,
    /// The topic does not exist, or may not be described: it was deleted, or a right was taken away.
    TopicMissing,
    /// Kafka holds a position that drover wrote, but the store does not know it: the database was dropped or replaced.
    PositionLost,
    /// Kafka no longer has the records from the stored position on: retention removed them before they were read.
    PositionExpired,
    /// The stored position lies after the end of the partition: the log was truncated.
    PositionAhead,
    /// A stored row differs from the record that Kafka has at its offset.
    RowDiffers,
    /// A record is larger than `limits.memory` leaves for one.
    RecordExceedsMemory,
}

impl StopCode {
    /// All codes.
    pub const ALL: [Self; 7] = [
        Self::TopicRecreated,
        Self::TopicMissing,
        Self::PositionLost,
        Self::PositionExpired,
        Self::PositionAhead,
        Self::RowDiffers,
        Self::RecordExceedsMemory,
    ];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TopicRecreated => "topic.recreated",
            Self::TopicMissing => "topic.missing",
            Self::PositionLost => "position.lost",
            Self::PositionExpired => "position.expired",
            Self::PositionAhead => "position.ahead",
            Self::RowDiffers => "row.differs",
            Self::RecordExceedsMemory => "record.exceeds_memory",
        }
    }

    /// What the code means, in one line for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::TopicRecreated => {
                "the topic was deleted and created again, so offsets mean other records than those stored"
            }
            Self::TopicMissing => "the topic does not exist, or drover may not describe it",
            Self::PositionLost => {
                "Kafka holds a position that a drover store committed, but this store does not know the topic"
            }
            Self::PositionExpired => "retention removed records before they were read",
            Self::PositionAhead => "the stored position lies after the end of the partition: the log was truncated",
            Self::RowDiffers => "a stored row differs from the record that Kafka has at its offset",
            Self::RecordExceedsMemory => "a record is larger than limits.memory leaves for one",
        }
    }
}

impl fmt::Display for StopCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an error of the store means for the batch that met it. A closed table: what is not in it waits and turns
/// readiness red, and never makes a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The data of a row is refused: the row is found and becomes a dead letter.
    Split,
    /// Concerns this batch alone: it is tried again.
    RetryBatch,
    /// Concerns the database: the breaker opens for all.
    Breaker,
    /// Another owner moved the position: the batch is dropped and the position read again.
    Fenced,
    /// A stored row differs from the record: the partition stops.
    RowDiffers,
    /// The configuration does not fit the database: the consumer stops loudly.
    Configuration,
    /// drover itself is wrong: the consumer stops loudly.
    Bug,
    /// Not in the table: wait and turn red.
    Unknown,
}

impl FailureClass {
    /// The name used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Split => "row",
            Self::RetryBatch => "retry",
            Self::Breaker => "breaker",
            Self::Fenced => "fenced",
            Self::RowDiffers => "row_differs",
            Self::Configuration => "configuration",
            Self::Bug => "bug",
            Self::Unknown => "unknown",
        }
    }
}

/// SQLSTATE that drover's own function raises when the compare-and-swap of a position fails.
pub const SQLSTATE_FENCED: &str = "DR001";

/// The class of an SQLSTATE. Codes: PostgreSQL documentation, appendix A.
#[must_use]
pub fn classify_sqlstate(code: &str) -> FailureClass {
    match code {
        SQLSTATE_FENCED => FailureClass::Fenced,
        // Serialization failure, deadlock, lock not available, query canceled, idle-in-transaction timeout.
        "40001" | "40P01" | "55P03" | "57014" | "25P03" => FailureClass::RetryBatch,
        // Became read-only (a failover, a full disk guarded by the provider).
        "25006" => FailureClass::Breaker,
        // The binary COPY stream is malformed: our encoder.
        "22P04" | "22P03" => FailureClass::Bug,
        _ => match code.get(..2) {
            Some("08" | "53" | "58") => FailureClass::Breaker,
            Some("57") => FailureClass::Breaker,
            Some("22" | "23" | "54") => FailureClass::Split,
            Some("42" | "28" | "3D" | "3F") => FailureClass::Configuration,
            _ => FailureClass::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_never_the_split_class() {
        for code in ["08006", "08001", "53100", "53300", "57P01", "57P03", "58030", "25006", "40P01", "55P03", "XX000"]
        {
            assert_ne!(classify_sqlstate(code), FailureClass::Split, "{code}");
        }
    }

    #[test]
    fn a_lost_race_is_not_taken_for_a_bad_row() {
        assert_eq!(classify_sqlstate(SQLSTATE_FENCED), FailureClass::Fenced);
        assert_eq!(classify_sqlstate("22012"), FailureClass::Split);
        assert_eq!(classify_sqlstate("22P04"), FailureClass::Bug);
        assert_eq!(classify_sqlstate("42P01"), FailureClass::Configuration);
        assert_eq!(classify_sqlstate(""), FailureClass::Unknown);
        assert_eq!(classify_sqlstate("é2"), FailureClass::Unknown);
    }
}
