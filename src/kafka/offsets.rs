//! Where partitions begin and end: the one request that answers for many partitions at once.
//!
//! Owns nothing but, in [`OffsetReader`], a client that never joins a group. Everything here **blocks** until the brokers
//! answer or the timeout is over: call it in `spawn_blocking`. One request goes to each broker that leads a partition.

use super::client::{LoggingContext, admin_client_config};
use super::error::{KafkaError, KafkaResult};
use super::revive::look_after;
use crate::config::KafkaConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;

/// ListOffsets' timestamp for the end: with `isolation.level=read_committed` the last stable offset.
const LATEST: i64 = -1;
/// ListOffsets' timestamp for the first record that Kafka still has.
const EARLIEST: i64 = -2;

/// Reports that are looked through for the reason of a failure; while all brokers are away they never end.
const REPORTS: usize = 10;
/// How long a report is waited for.
const REPORT_WAIT: Duration = Duration::from_millis(20);

/// An offset of one partition, or why it is not known.
#[derive(Debug, Clone)]
pub struct PartitionOffset {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The offset; an error concerns this partition alone.
    pub offset: KafkaResult<i64>,
}

/// The ends of partitions, in the order asked: the offset that the next record gets, or, where a transaction is open, the
/// last stable offset (`isolation.level=read_committed`). Records are readable up to there.
///
/// # Errors
/// When no broker answers in time, or a topic or partition does not exist.
pub fn end_offsets<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    partitions: &[(&str, i32)],
    timeout: Duration,
) -> KafkaResult<Vec<PartitionOffset>> {
    list_offsets(consumer, partitions, LATEST, timeout)
}

/// The first offsets that Kafka still has, in the order asked. It is the end where a partition is empty.
///
/// # Errors
/// As [`end_offsets`].
pub fn beginning_offsets<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    partitions: &[(&str, i32)],
    timeout: Duration,
) -> KafkaResult<Vec<PartitionOffset>> {
    list_offsets(consumer, partitions, EARLIEST, timeout)
}

/// The offsets of the first records at or after `time_ms` (milliseconds since the epoch), in the order asked; the end where
/// there is no such record.
///
/// # Errors
/// As [`end_offsets`]; a negative time is refused.
pub fn offsets_at_time<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    partitions: &[(&str, i32)],
    time_ms: i64,
    timeout: Duration,
) -> KafkaResult<Vec<PartitionOffset>> {
    let mut found = list_offsets(consumer, partitions, time_ms.max(0), timeout)?;
    // The broker answers "none" with -1, which librdkafka shows as its end marker.
    let without: Vec<usize> =
        found.iter().enumerate().filter(|(_, one)| matches!(one.offset, Ok(-1))).map(|(at, _)| at).collect();
    if !without.is_empty() {
        let asked: Vec<_> = without.iter().map(|&at| partitions[at]).collect();
        for (at, end) in without.into_iter().zip(end_offsets(consumer, &asked, timeout)?) {
            found[at] = end;
        }
    }
    Ok(found)
}

fn list_offsets<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    partitions: &[(&str, i32)],
    timestamp: i64,
    timeout: Duration,
) -> KafkaResult<Vec<PartitionOffset>> {
    // librdkafka refuses an empty list.
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let doing = || match partitions {
        [(topic, partition)] => format!("asking for an offset of topic \"{topic}\", partition {partition}"),
        [(topic, _), ..] => {
            format!("asking for offsets of {} partitions, first of topic \"{topic}\"", partitions.len())
        }
        [] => String::new(),
    };
    let mut asked = TopicPartitionList::with_capacity(partitions.len());
    for &(topic, partition) in partitions {
        asked
            .add_partition_offset(topic, partition, Offset::from_raw(timestamp))
            .map_err(|error| KafkaError::native(doing(), &error))?;
    }
    let answered = consumer.offsets_for_times(asked, timeout).map_err(|error| KafkaError::native(doing(), &error))?;
    Ok(partitions
        .iter()
        .map(|&(topic, partition)| {
            let offset = match answered.find_partition(topic, partition) {
                Some(element) => element
                    .error()
                    .map(|()| element.offset().to_raw().unwrap_or(LATEST))
                    .map_err(|error| KafkaError::native(partition_doing(topic, partition), &error)),
                None => Err(KafkaError::from_code(
                    partition_doing(topic, partition),
                    rdkafka::types::RDKafkaErrorCode::UnknownPartition,
                )),
            };
            PartitionOffset { topic: topic.to_owned(), partition, offset }
        })
        .collect())
}

fn partition_doing(topic: &str, partition: i32) -> String {
    format!("asking for the offset of topic \"{topic}\", partition {partition}")
}

/// A client for looking at offsets and metadata beside the consumers. It belongs to no group.
pub struct OffsetReader {
    consumer: Arc<BaseConsumer<LoggingContext>>,
}

impl OffsetReader {
    /// Makes the client; it connects in the background.
    ///
    /// # Errors
    /// When a property is refused by librdkafka.
    pub fn new(kafka: &KafkaConfig, client_id: &str) -> KafkaResult<Self> {
        let consumer: BaseConsumer<_> = admin_client_config(kafka, client_id)
            .set("isolation.level", "read_committed")
            .create_with_context(LoggingContext::new(client_id))
            .map_err(|error| KafkaError::native("making a Kafka client", &error))?;
        let consumer = Arc::new(consumer);
        look_after(&consumer, |consumer| consumer.client(), consumer.context().all_down(), &kafka.brokers);
        Ok(Self { consumer })
    }

    /// See [`end_offsets`].
    ///
    /// # Errors
    /// As there.
    pub fn ends(&self, partitions: &[(&str, i32)], timeout: Duration) -> KafkaResult<Vec<PartitionOffset>> {
        end_offsets(&*self.consumer, partitions, timeout).map_err(|error| self.explain(error))
    }

    /// See [`beginning_offsets`].
    ///
    /// # Errors
    /// As there.
    pub fn beginnings(&self, partitions: &[(&str, i32)], timeout: Duration) -> KafkaResult<Vec<PartitionOffset>> {
        beginning_offsets(&*self.consumer, partitions, timeout).map_err(|error| self.explain(error))
    }

    /// See [`offsets_at_time`].
    ///
    /// # Errors
    /// As there.
    pub fn at_time(
        &self,
        partitions: &[(&str, i32)],
        time_ms: i64,
        timeout: Duration,
    ) -> KafkaResult<Vec<PartitionOffset>> {
        offsets_at_time(&*self.consumer, partitions, time_ms, timeout).map_err(|error| self.explain(error))
    }

    /// The id of the cluster, by which the store knows whose offsets it holds; `None` when no broker answers in time.
    #[must_use]
    pub fn cluster_id(&self, timeout: Duration) -> Option<String> {
        self.consumer.client().fetch_cluster_id(timeout)
    }

    /// The consumer, for the other modules of `kafka`.
    pub(super) fn consumer(&self) -> &BaseConsumer<LoggingContext> {
        &self.consumer
    }

    /// Adds what librdkafka reported in the background, such as "Connection refused" to a mere timeout.
    pub(super) fn explain(&self, error: KafkaError) -> KafkaError {
        // Errors wait in the queue until it is polled; this client fetches nothing, so no record can be lost here.
        for _ in 0..REPORTS {
            if self.consumer.poll(REPORT_WAIT).is_none() {
                break;
            }
        }
        error.because(self.consumer.context().take_last_error())
    }
}

#[cfg(test)]
#[path = "offsets_tests.rs"]
mod tests;
