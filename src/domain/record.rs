//! A record as Kafka delivers it: borrowed while it is decoded, owned only where it must outlive its fetch.
//!
//! Pure. Nothing here allocates except [`OwnedRecord`] and the arena that headers are packed into.

/// Who set the timestamp of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The record carries no timestamp.
    #[default]
    NotAvailable,
    /// The producer set it.
    CreateTime,
    /// The broker set it when it appended the record.
    LogAppendTime,
}

impl TimestampType {
    /// The name that Kafka's own tools and Spring's headers use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAvailable => "NoTimestampType",
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        }
    }

    /// The type with this name; an unknown name is [`TimestampType::NotAvailable`].
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "CreateTime" => Self::CreateTime,
            "LogAppendTime" => Self::LogAppendTime,
            _ => Self::NotAvailable,
        }
    }
}

/// The timestamp of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordTimestamp {
    /// Milliseconds since the epoch; meaningless where `kind` is [`TimestampType::NotAvailable`].
    pub ms: i64,
    /// Who set it.
    pub kind: TimestampType,
}

/// What looks at the headers of a record: gets name and value of each, which live as long as the record.
pub type HeaderVisitor<'r, 'v> = dyn FnMut(&'r [u8], Option<&'r [u8]>) + 'v;

/// What decoding and batching need of a record, whichever client delivered it.
pub trait RawRecord {
    /// Source topic.
    fn topic(&self) -> &str;
    /// Source partition.
    fn partition(&self) -> i32;
    /// Source offset.
    fn offset(&self) -> i64;
    /// Key bytes; `None` is Kafka's null, which differs from an empty key.
    fn key(&self) -> Option<&[u8]>;
    /// Value bytes; `None` is a tombstone.
    fn value(&self) -> Option<&[u8]>;
    /// Timestamp.
    fn timestamp(&self) -> RecordTimestamp;
    /// Calls `visit` with name and value of each header, in order. Names are bytes: Kafka does not check their encoding.
    fn for_each_header<'r>(&'r self, visit: &mut HeaderVisitor<'r, '_>);
}

/// A record that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnedRecord {
    /// Source topic.
    pub topic: String,
    /// Source partition.
    pub partition: i32,
    /// Source offset.
    pub offset: i64,
    /// Key bytes, or null.
    pub key: Option<Vec<u8>>,
    /// Value bytes, or null.
    pub value: Option<Vec<u8>>,
    /// Timestamp.
    pub timestamp: RecordTimestamp,
    /// Headers in order, packed.
    pub headers: PackedHeaders,
}

impl OwnedRecord {
    /// A copy of everything that `record` holds.
    pub fn copy_of(record: &impl RawRecord) -> Self {
        Self {
            topic: record.topic().to_owned(),
            partition: record.partition(),
            offset: record.offset(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            timestamp: record.timestamp(),
            headers: PackedHeaders::copy_of(record),
        }
    }

    /// Bytes of key, value and headers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len) + self.headers.packed_len()
    }
}

impl RawRecord for OwnedRecord {
    fn topic(&self) -> &str {
        &self.topic
    }
    fn partition(&self) -> i32 {
        self.partition
    }
    fn offset(&self) -> i64 {
        self.offset
    }
    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }
    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }
    fn timestamp(&self) -> RecordTimestamp {
        self.timestamp
    }
    fn for_each_header<'r>(&'r self, visit: &mut HeaderVisitor<'r, '_>) {
        for (name, value) in self.headers.iter() {
            visit(name, value);
        }
    }
}

/// An ordered list of headers in one buffer: for each, name length (u32), name, value length (i32, -1 is null), value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackedHeaders(Vec<u8>);

impl PackedHeaders {
    /// The headers of a record.
    pub fn copy_of(record: &impl RawRecord) -> Self {
        let mut packed = Vec::new();
        pack_headers(record, &mut packed);
        Self(packed)
    }

    /// Headers that were packed by [`pack_headers`].
    #[must_use]
    pub fn from_packed(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// Adds a header at the end.
    pub fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        pack_header(name, value, &mut self.0);
    }

    /// Name and value of each header, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (name_len, after) = rest.split_first_chunk::<4>()?;
            let (name, after) = after.split_at_checked(u32::from_be_bytes(*name_len) as usize)?;
            let (value_len, after) = after.split_first_chunk::<4>()?;
            let value_len = i32::from_be_bytes(*value_len);
            let (value, after) = match usize::try_from(value_len) {
                Ok(len) => {
                    let (value, after) = after.split_at_checked(len)?;
                    (Some(value), after)
                }
                Err(_) => (None, after),
            };
            rest = after;
            Some((name, value))
        })
    }

    /// Whether there is no header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that the packed form takes.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        self.0.len()
    }
}

/// Appends the headers of `record` to `arena`, in the form of [`PackedHeaders`].
pub fn pack_headers(record: &impl RawRecord, arena: &mut Vec<u8>) {
    record.for_each_header(&mut |name, value| pack_header(name, value, arena));
}

fn pack_header(name: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    // Kafka bounds a record far below 2 GiB (message.max.bytes is an int32), so the lengths fit.
    out.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(name);
    match value {
        Some(value) => {
            out.extend_from_slice(&i32::try_from(value.len()).unwrap_or(i32::MAX).to_be_bytes());
            out.extend_from_slice(value);
        }
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packed_headers_come_back_as_they_went_in(
            headers in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..20), prop::option::of(prop::collection::vec(any::<u8>(), 0..40))), 0..8)
        ) {
            let mut packed = PackedHeaders::default();
            for (name, value) in &headers {
                packed.push(name, value.as_deref());
            }
            let back: Vec<_> = packed.iter().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(back, headers);
        }
    }
}
