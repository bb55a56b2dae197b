//! The batch transaction after a rewind: through a staging table, past what is stored already.
//!
//! Works on the writer's connection and owns nothing beyond the transaction. Fails as the ordinary way does; a row that the
//! database refuses is found in this way too.

use super::statements::{self, BEGIN, COMPARE_STAGE, CREATE_STAGE, MERGE_STAGE, Positions, copy_into};
use super::writer::{Connection, Flight, Way, copy_rows, differs, other_error};
use crate::domain::batch::Batch;
use crate::store::{Receipt, WriteError};
use bytes::Bytes;
use std::sync::atomic::Ordering;
use tokio_postgres::{CopyInSink, Error, Statement};

impl Connection {
    /// The way after a rewind: through a staging table, past what is there already. What a record ended as when it was first
    /// stored stands: a dead letter stays one, a row stays one and must be equal, and gaps are cut around both.
    pub(super) async fn write_staged(&self, batch: &Batch) -> Result<Receipt, WriteError> {
        let client = &self.session.client;
        let positions = Positions::of(batch);
        let run = async {
            client.batch_execute(BEGIN).await.map_err(Flight::Other)?;
            client
                .query_one(&self.statements.compare_and_swap, &positions.parameters())
                .await
                .map_err(Flight::Other)?;
            let sink = self.stage().await.map_err(Flight::Other)?;
            let staged = copy_rows(sink, batch, 0..batch.metas().len()).await.map_err(Flight::Rows)?;
            let inserted = self.merge_stage(batch).await.map_err(Flight::Rows)?;
            if let Some(row) = client.query_opt(COMPARE_STAGE, &[]).await.map_err(Flight::Other)? {
                return Err(Flight::Differs(row));
            }
            let letters =
                statements::write_dead_letters(client, &self.statements, batch).await.map_err(Flight::Other)?;
            statements::write_gaps(client, &self.statements, batch).await.map_err(Flight::Other)?;
            client.batch_execute("COMMIT").await.map_err(Flight::Other)?;
            let inserted = u64::try_from(inserted).unwrap_or(0);
            Ok(Receipt {
                rows: inserted,
                duplicates: staged - inserted + batch.dead_letters().len() as u64 - letters,
                dead_letters: letters,
            })
        };
        match run.await {
            Ok(receipt) => Ok(receipt),
            Err(flight) => {
                if !self.out_of_step.load(Ordering::Relaxed) {
                    self.roll_back().await;
                }
                Err(match flight {
                    Flight::Rows(error) => self.bad_row(batch, &error, Way::Staged).await,
                    Flight::Other(error) => WriteError::Store(other_error(&error)),
                    Flight::Differs(row) => {
                        differs(batch, &row).unwrap_or_else(|error| WriteError::Store(other_error(&error)))
                    }
                })
            }
        }
    }

    /// Makes the staging table of this transaction and begins to copy into it.
    pub(super) async fn stage(&self) -> Result<CopyInSink<Bytes>, Error> {
        let client = &self.session.client;
        client.batch_execute(CREATE_STAGE).await?;
        let copy: Statement = client.prepare(&copy_into("drover_stage")).await?;
        self.copy_in(&copy).await
    }

    /// Moves what was staged into `events`, past what is there, and gives back how many rows were new.
    pub(super) async fn merge_stage(&self, batch: &Batch) -> Result<i64, Error> {
        let (topics, partitions, types) = statements::rollup_names(batch);
        let merged = self.session.client.query_one(MERGE_STAGE, &[&topics, &partitions, &types]).await;
        merged.and_then(|row| row.try_get(0))
    }
}
