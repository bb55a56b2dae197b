//! The transaction of a batch: compare-and-swap of the positions, rows, dead letters, gaps and rollups, or nothing.
//!
//! The batch is copied, because the work runs on a blocking thread and may outlive the caller's patience; the copy is
//! bounded by the limits of the batch. What a record ended as when it was first stored stands when it is read again after
//! a rewind: an equal row or a dead letter that is there is counted as a duplicate, gaps are cut around it, and a row that
//! differs stops the partition.

use super::connection::{Access, Database};
use super::error::Failure;
use super::statements::{BoundRow, InsertRow, IsStored};
use super::{range, time};
use crate::domain::batch::{Advance, Batch, DeadLetter, OffsetGap, Rollup, RowMeta};
use crate::domain::failure::FailureClass;
use crate::store::tiles::uncovered;
use crate::store::{Receipt, Resolution, StoreError, StoreWriter, WriteError, headers, row};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::HashSet;
use std::sync::Arc;

/// A writer; all of a store share its one connection.
pub(super) struct SqliteWriter(pub(super) Arc<Database>);

impl StoreWriter for SqliteWriter {
    fn write<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Receipt, WriteError>> {
        async move {
            let job = Job::of(batch);
            self.0
                .run(Access::Write, move |connection| {
                    connection.immediate_transaction(|connection| job.store(connection))
                })
                .await
                .map_err(|failure| failure.of_write(batch, self.0.path()))
        }
        .boxed()
    }

    fn recover<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Resolution, StoreError>> {
        async move {
            let advances = batch.advances().to_vec();
            self.0
                .run(Access::Write, move |connection| {
                    connection.immediate_transaction(|connection| resolve(connection, &advances))
                })
                .await
                .map_err(|failure| failure.context("read the positions of a batch", self.0.path()))
        }
        .boxed()
    }
}

/// Where the positions of a batch are now. The connection is the writers' own, so an earlier transaction has ended.
fn resolve(connection: &mut SqliteConnection, advances: &[Advance]) -> Result<Resolution, Failure> {
    use super::schema::partition_progress::dsl;
    let (mut before, mut after) = (true, true);
    for advance in advances {
        let position: Option<(i32, i64)> = dsl::partition_progress
            .find((&advance.topic, advance.partition))
            .select((dsl::incarnation, dsl::next_offset))
            .first(connection)
            .optional()?;
        before &= position == Some((advance.incarnation, advance.from));
        after &= position == Some((advance.incarnation, advance.to));
    }
    // A batch that moves nothing is both; nothing of it is left to store.
    Ok(match (before, after) {
        (_, true) => Resolution::Committed,
        (true, false) => Resolution::NotCommitted,
        (false, false) => Resolution::Moved,
    })
}

/// A batch that owns its content.
struct Job {
    consumer_id: String,
    rows: Vec<u8>,
    metas: Vec<RowMeta>,
    advances: Vec<Advance>,
    rollups: Vec<Rollup>,
    dead_letters: Vec<DeadLetter>,
    gaps: Vec<OffsetGap>,
}

impl Job {
    fn of(batch: &Batch) -> Self {
        Self {
            consumer_id: batch.consumer_id().to_owned(),
            rows: batch.rows().to_vec(),
            metas: batch.metas().to_vec(),
            advances: batch.advances().to_vec(),
            rollups: batch.rollups().to_vec(),
            dead_letters: batch.dead_letters().to_vec(),
            gaps: batch.gaps().to_vec(),
        }
    }

    fn store(mut self, connection: &mut SqliteConnection) -> Result<Receipt, Failure> {
        let now = time::now();
        self.move_positions(connection, &now)?;
        let mut receipt = Receipt::default();
        self.insert_rows(connection, &now, &mut receipt)?;
        self.insert_dead_letters(connection, &now, &mut receipt)?;
        self.insert_gaps(connection, &now)?;
        self.add_rollups(connection, &now)?;
        Ok(receipt)
    }

    fn move_positions(&self, connection: &mut SqliteConnection, now: &str) -> Result<(), Failure> {
        use super::schema::partition_progress::dsl;
        for advance in &self.advances {
            let here = dsl::partition_progress
                .find((&advance.topic, advance.partition))
                .filter(dsl::incarnation.eq(advance.incarnation))
                .filter(dsl::next_offset.eq(advance.from));
            let moved = diesel::update(here)
                .set((dsl::next_offset.eq(advance.to), dsl::updated_at.eq(now)))
                .execute(connection)?;
            if moved != 1 {
                return Err(Failure::new(
                    FailureClass::Fenced,
                    format!(
                        "the position of {} [{}] is no longer {}: another owner moved it",
                        advance.topic, advance.partition, advance.from
                    ),
                ));
            }
        }
        Ok(())
    }

    fn insert_rows(
        &mut self,
        connection: &mut SqliteConnection,
        now: &str,
        receipt: &mut Receipt,
    ) -> Result<(), Failure> {
        let dead = self.stored_dead_letters(connection)?;
        for index in 0..self.metas.len() {
            let meta = self.metas[index];
            let end = self.metas.get(index + 1).map_or(self.rows.len(), |next| next.start);
            let row = row::decode(&self.rows[meta.start..end])
                .ok_or_else(|| Failure::new(FailureClass::Bug, format!("row {index} of the batch is not a row")))?;
            let bound = BoundRow::new(&row, now).ok_or_else(|| Failure::Row {
                index,
                code: "SQLITE_CONSTRAINT_CHECK",
                message: "the document is not UTF-8".to_owned(),
            })?;
            if !dead.contains(&(meta.slot, meta.offset))
                && InsertRow(&bound).execute(connection).map_err(|error| Failure::from(error).of_row(index))? == 1
            {
                receipt.rows += 1;
                continue;
            }
            if !dead.contains(&(meta.slot, meta.offset)) && IsStored(&bound).get_result::<i64>(connection)? == 0 {
                return Err(Failure::Differs {
                    topic: row.topic.into_owned(),
                    partition: row.partition,
                    offset: row.offset,
                });
            }
            receipt.duplicates += 1;
            self.rollups[meta.rollup()].count -= 1;
        }
        Ok(())
    }

    /// Dead letters that lie where this batch moves: none, but after a rewind.
    fn stored_dead_letters(&self, connection: &mut SqliteConnection) -> Result<HashSet<(u16, i64)>, Failure> {
        use super::schema::dead_letters::dsl;
        let mut found = HashSet::new();
        for (slot, advance) in (0_u16..).zip(&self.advances) {
            let offsets: Vec<i64> = dsl::dead_letters
                .filter(dsl::topic.eq(&advance.topic))
                .filter(dsl::partition.eq(advance.partition))
                .filter(dsl::incarnation.eq(advance.incarnation))
                .filter(dsl::offset.ge(advance.from).and(dsl::offset.lt(advance.to)))
                .select(dsl::offset)
                .load(connection)?;
            found.extend(offsets.into_iter().map(|offset| (slot, offset)));
        }
        Ok(found)
    }

    fn insert_dead_letters(
        &self,
        connection: &mut SqliteConnection,
        now: &str,
        receipt: &mut Receipt,
    ) -> Result<(), Failure> {
        for letter in &self.dead_letters {
            let record = &letter.record;
            let incarnation = self.advances[usize::from(letter.slot)].incarnation;
            let inserted = diesel::sql_query(
                "INSERT INTO dead_letters (topic, partition, incarnation, \"offset\", key, value, headers, \"timestamp\", \
                 timestamp_type, code, message, stage, attempts, consumer_id, failed_at) \
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15 WHERE NOT EXISTS (SELECT 1 FROM events \
                 WHERE (topic, partition, incarnation, \"offset\") = (?1, ?2, ?3, ?4)) \
                 ON CONFLICT (topic, partition, incarnation, \"offset\") DO NOTHING",
            )
            .bind::<Text, _>(&record.topic)
            .bind::<Integer, _>(record.partition)
            .bind::<Integer, _>(incarnation)
            .bind::<BigInt, _>(record.offset)
            .bind::<Nullable<Binary>, _>(record.key.as_deref())
            .bind::<Nullable<Binary>, _>(record.value.as_deref())
            .bind::<Text, _>(headers::to_json(&record.headers))
            .bind::<BigInt, _>(record.timestamp.ms)
            .bind::<Text, _>(record.timestamp.kind.as_str())
            .bind::<Text, _>(letter.rejection.code.to_string())
            .bind::<Text, _>(&letter.rejection.message)
            .bind::<Text, _>(letter.rejection.code.stage())
            .bind::<Integer, _>(i32::try_from(letter.attempts).unwrap_or(i32::MAX))
            .bind::<Text, _>(&self.consumer_id)
            .bind::<Text, _>(now)
            .execute(connection)?;
            match inserted {
                0 => receipt.duplicates += 1,
                _ => receipt.dead_letters += 1,
            }
        }
        Ok(())
    }

    fn insert_gaps(&self, connection: &mut SqliteConnection, now: &str) -> Result<(), Failure> {
        for gap in &self.gaps {
            let advance = &self.advances[usize::from(gap.slot)];
            let place =
                range::Place { topic: &advance.topic, partition: advance.partition, incarnation: advance.incarnation };
            let stored = range::tiles(connection, place, gap.first, gap.next)?;
            for (first, next) in uncovered(&stored, gap.first, gap.next) {
                diesel::sql_query(
                    "INSERT INTO offset_gaps (topic, partition, incarnation, first_offset, next_offset, reason, recorded_at) \
                     VALUES (?, ?, ?, ?, ?, ?, ?)",
                )
                .bind::<Text, _>(&advance.topic)
                .bind::<Integer, _>(advance.partition)
                .bind::<Integer, _>(advance.incarnation)
                .bind::<BigInt, _>(first)
                .bind::<BigInt, _>(next)
                .bind::<Text, _>(gap.reason)
                .bind::<Text, _>(now)
                .execute(connection)?;
            }
        }
        Ok(())
    }

    fn add_rollups(&self, connection: &mut SqliteConnection, now: &str) -> Result<(), Failure> {
        let minute = time::minute_of(now);
        for rollup in self.rollups.iter().filter(|rollup| rollup.count > 0) {
            let advance = &self.advances[usize::from(rollup.slot)];
            diesel::sql_query(
                "INSERT INTO event_rollups (minute, topic, partition, event_type, count) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT (minute, topic, partition, event_type) DO UPDATE SET count = count + excluded.count",
            )
            .bind::<Text, _>(&minute)
            .bind::<Text, _>(&advance.topic)
            .bind::<Integer, _>(advance.partition)
            .bind::<Text, _>(&rollup.event_type)
            .bind::<BigInt, _>(rollup.count)
            .execute(connection)?;
        }
        Ok(())
    }
}
