//! How long recovery took, by the commit times that PostgreSQL keeps of every row: nothing is polled for, so nothing is
//! rounded up or missed. Needs `track_commit_timestamp`, which scripts/postgres sets, and the tables of `audit`.

use chrono::{DateTime, Utc};
use std::time::{Duration, SystemTime};
use tokio_postgres::Client;

/// How recovery from a fault is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// From the end of the fault, or from the first event that was there to be stored if that was later, to the first row
    /// committed after it: of each affected partition.
    FirstRow,
    /// The longest time without a commit of an affected partition that touches these seconds from the fault's begin: for
    /// faults that have no end of their own, such as a panic.
    LongestPause(Duration),
    /// Not at all: the fault stops nothing by itself.
    Nothing,
}

/// A fault that was made to happen.
#[derive(Debug, Clone)]
pub struct Fault {
    pub began: SystemTime,
    /// The end of the fault, or the restart of what was killed.
    pub ended: SystemTime,
    /// Partitions whose recovery counts.
    pub affected: Vec<i32>,
    pub measure: Measure,
}

/// Makes the table that the questions below read.
pub async fn prepare(client: &Client) {
    client
        .batch_execute(
            "CREATE TEMP TABLE commits AS SELECT t.partition, t.committed_at, count(*) AS rows,
                 lag(t.committed_at) OVER (PARTITION BY t.partition ORDER BY t.committed_at) AS before,
                 min(s.confirmed_us) AS confirmed_us
                 FROM stored t LEFT JOIN sent s USING (id) GROUP BY t.partition, t.committed_at;
             CREATE INDEX ON commits (partition, committed_at); ANALYZE commits",
        )
        .await
        .unwrap();
}

/// How long a partition took to recover; `None` when it never did.
pub async fn recovery(client: &Client, fault: &Fault, partition: i32) -> Option<Duration> {
    let seconds: Option<f64> = match fault.measure {
        Measure::Nothing => Some(0.0),
        Measure::FirstRow => {
            // Nothing can be stored that is not there: the load may need longer than drover to find the brokers again.
            let sql = "SELECT greatest(0, extract(epoch FROM min(committed_at)) \
                       - greatest(extract(epoch FROM $2::timestamptz), min(confirmed_us) / 1e6))::float8 FROM commits \
                       WHERE partition = $1 AND committed_at > $2 HAVING count(*) > 0";
            let row = client.query_opt(sql, &[&partition, &utc(fault.ended)]).await.unwrap();
            row.map(|row| row.get(0))
        }
        Measure::LongestPause(window) => {
            let until = utc(fault.began + window);
            // Without any commit after the fault there is no recovery, however quiet it was before.
            let sql = "SELECT extract(epoch FROM max(committed_at - before))::float8 FROM commits \
                       WHERE partition = $1 AND committed_at > $2 AND before < $3";
            client.query_one(sql, &[&partition, &utc(fault.began), &until]).await.unwrap().get(0)
        }
    };
    seconds.map(Duration::from_secs_f64)
}

/// The longest time without a commit of any partition between two times.
pub async fn longest_pause(client: &Client, from: SystemTime, to: SystemTime) -> Duration {
    let sql = "SELECT extract(epoch FROM max(committed_at - before))::float8 FROM commits \
               WHERE committed_at > $1 AND before < $2";
    let seconds: Option<f64> = client.query_one(sql, &[&utc(from), &utc(to)]).await.unwrap().get(0);
    seconds.map_or(Duration::ZERO, Duration::from_secs_f64)
}

/// Rows a second of these partitions that were committed between two times.
pub async fn rate(client: &Client, partitions: &[i32], from: SystemTime, to: SystemTime) -> f64 {
    let sql = "SELECT coalesce(sum(rows), 0)::float8 FROM commits \
               WHERE partition = ANY($1) AND committed_at > $2 AND committed_at <= $3";
    let rows: f64 = client.query_one(sql, &[&partitions, &utc(from), &utc(to)]).await.unwrap().get(0);
    rows / to.duration_since(from).map_or(1.0, |time| time.as_secs_f64())
}

/// How often a partition changed from one consumer to another between two times: the most of any.
pub async fn moves(client: &Client, from: SystemTime, to: SystemTime) -> i64 {
    let sql = "SELECT coalesce(max(moves), 0) FROM (\
               SELECT partition, count(*) FILTER (WHERE consumer_id <> before) AS moves FROM (\
               SELECT partition, consumer_id, committed_at, \
               lag(consumer_id) OVER (PARTITION BY partition ORDER BY \"offset\") AS before FROM stored) AS owners \
               WHERE committed_at > $1 AND committed_at < $2 GROUP BY partition) AS counts";
    client.query_one(sql, &[&utc(from), &utc(to)]).await.unwrap().get(0)
}

fn utc(time: SystemTime) -> DateTime<Utc> {
    time.into()
}
