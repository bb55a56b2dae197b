//! Reads gaps again while Kafka still has them: what is delivered inside one was lost, not a gap.
//!
//! Owns one client that joins no group, for the time of a check. Blocks; each poll is bounded by the timeout. Reads over the
//! records between gaps that lie close together and seeks over the rest, so its cost follows the gaps.

use super::client::{LoggingContext, admin_client_config};
use super::error::{KafkaError, KafkaErrorKind, KafkaResult};
use super::offsets::{beginning_offsets, end_offsets};
use crate::config::KafkaConfig;
use crate::domain::audit::GapCheck;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as NativeError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;

/// Records that are read over rather than sought over: about what one fetch brings anyway.
const SEEK_OVER: i64 = 2_000;
/// Lost records that are listed; the rest is only counted.
const MAX_LISTED: usize = 100;

/// Checks the gaps `[first, next)` of a partition, in any order.
///
/// # Errors
/// Kafka does not answer in time, or does not know the partition.
pub fn check_gaps(
    kafka: &KafkaConfig,
    topic: &str,
    partition: i32,
    gaps: &[(i64, i64)],
    timeout: Duration,
) -> KafkaResult<GapCheck> {
    let doing = || format!("reading the gaps of topic \"{topic}\", partition {partition}, again");
    let native = |error: NativeError| KafkaError::native(doing(), &error);
    let consumer: BaseConsumer<LoggingContext> = admin_client_config(kafka, "drover-audit")
        // A client that reads must name a group; without a subscription and commits it is none.
        .set("group.id", "drover-audit")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create_with_context(LoggingContext::new("drover-audit"))
        .map_err(native)?;
    let low = single(beginning_offsets(&consumer, &[(topic, partition)], timeout)?)?;
    let end = single(end_offsets(&consumer, &[(topic, partition)], timeout)?)?;
    let mut check = GapCheck::default();
    let mut waiting: Vec<(i64, i64)> = Vec::new();
    for &(first, next) in gaps {
        if next <= low {
            check.expired += 1;
        } else {
            waiting.push((first.max(low), next));
        }
    }
    waiting.sort_unstable();
    let mut waiting = waiting.into_iter().peekable();
    let Some(&(start, _)) = waiting.peek() else {
        return Ok(check);
    };
    if start >= end {
        // Nothing is delivered from there on.
        check.confirmed += waiting.count() as u64;
        return Ok(check);
    }
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset(topic, partition, Offset::Offset(start)).map_err(native)?;
    consumer.assign(&assigned).map_err(native)?;
    // Something was delivered inside the gap that is looked at.
    let mut tainted = false;
    while waiting.peek().is_some() {
        let offset = match consumer.poll(timeout) {
            None => {
                return Err(KafkaError::new(
                    KafkaErrorKind::Unreachable,
                    doing(),
                    format!("no answer within {timeout:?}"),
                ));
            }
            Some(Err(NativeError::PartitionEOF(_))) => {
                check.confirmed += (waiting.count() as u64).saturating_sub(u64::from(tainted));
                break;
            }
            Some(Err(error)) if KafkaError::native("", &error).is_transient() => continue,
            Some(Err(error)) => return Err(native(error)),
            Some(Ok(record)) => record.offset(),
        };
        while waiting.peek().is_some_and(|&(_, next)| next <= offset) {
            check.confirmed += u64::from(!std::mem::take(&mut tainted));
            waiting.next();
        }
        match waiting.peek() {
            Some(&(first, next)) if (first..next).contains(&offset) => {
                check.lost += 1;
                tainted = true;
                if check.lost_offsets.len() < MAX_LISTED {
                    check.lost_offsets.push(offset);
                }
            }
            Some(&(first, _)) if first - offset > SEEK_OVER => {
                consumer.seek(topic, partition, Offset::Offset(first), timeout).map_err(native)?;
            }
            _ => {}
        }
    }
    Ok(check)
}

fn single(found: Vec<super::offsets::PartitionOffset>) -> KafkaResult<i64> {
    found.into_iter().next().expect("one partition was asked for").offset
}
