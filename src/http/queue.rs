//! The queue monitor: how many records wait, are being written, are stored and are dead letters, and how long writing takes.
//! Reads the board and the metrics of this process. Cannot fail.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;
use crate::domain::status::PartitionStatus;
use crate::metrics::summary;

/// How long the transactions of batches took, in milliseconds.
#[derive(Serialize, ToSchema)]
struct Processing {
    /// Mean; null before the first.
    mean: Option<f64>,
    /// What 95 of 100 do not exceed, as exact as the buckets of the histogram are.
    p95: Option<f64>,
    /// Transactions.
    count: u64,
}

/// Where the records of this process are.
#[derive(Serialize, ToSchema)]
pub(super) struct Queue {
    /// Records in Kafka, in the partitions that this process owns; null while the end of one is not known.
    waiting: Option<i64>,
    /// Records that were taken from Kafka and are not stored yet.
    being_written: i64,
    /// Rows stored since the process started.
    stored: u64,
    /// Dead letters since the process started.
    dead_letters: u64,
    /// When the process started, in milliseconds since the epoch.
    since_ms: i64,
    /// How long the transactions of batches took.
    processing_ms: Processing,
}

/// How many records wait, are being written, are stored and are dead letters
///
/// Of the answering process. The records themselves are under `/api/v1/events`, by status and source.
#[utoipa::path(get, path = "/api/v1/queue", tag = "events",
    responses((status = 200, description = "The counts.", body = Queue)))]
pub(super) async fn queue(state: web::Data<HttpState>) -> HttpResponse {
    let consumers = state.board.consumers();
    let retired = state.board.retired();
    let partitions = || consumers.iter().flat_map(|consumer| &consumer.partitions);
    let (waiting, being_written) = waiting(partitions());
    let took = summary(&state.metrics.store_transaction_duration_seconds, "outcome", "stored");
    let ms = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1_000.0);
    HttpResponse::Ok().json(Queue {
        waiting,
        being_written,
        stored: retired.stored + consumers.iter().map(|one| one.stored).sum::<u64>(),
        dead_letters: retired.dead_letters + consumers.iter().map(|one| one.dead_letters).sum::<u64>(),
        since_ms: state.board.started_at_ms(),
        processing_ms: Processing { mean: ms(took.mean), p95: ms(took.p95), count: took.count },
    })
}

/// Records that wait in Kafka, and those that were taken and are not stored.
fn waiting<'p>(partitions: impl Iterator<Item = &'p PartitionStatus>) -> (Option<i64>, i64) {
    let (mut waiting, mut taken) = (Some(0), 0);
    for one in partitions {
        // Positions and ends are read at different moments.
        let in_hand = one.read_offset.map_or(0, |read| (read - one.next_offset).max(0));
        taken += in_hand;
        waiting = waiting.zip(one.lag).map(|(all, lag)| all + (lag - in_hand).max(0));
    }
    (waiting, taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_hand_does_not_wait_any_more() {
        let partition = |read_offset, lag| PartitionStatus {
            topic: "t".into(),
            partition: 0,
            next_offset: 100,
            read_offset,
            end_offset: None,
            newest_timestamp_ms: None,
            lag,
            stopped: None,
            held: None,
        };
        let all = [partition(Some(110), Some(30)), partition(None, Some(5)), partition(Some(90), Some(0))];
        assert_eq!(waiting(all.iter()), (Some(25), 10));
        assert_eq!(waiting([partition(Some(103), None)].iter()), (None, 3));
        assert_eq!(waiting([partition(Some(103), Some(1))].iter()), (Some(0), 3));
    }
}
