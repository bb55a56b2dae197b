//! Which row of a batch the database refuses: by the line that the error of COPY names, else by halving.
//!
//! Owns nothing; works on the writer's connection after its transaction was rolled back, and stores nothing itself. Halving
//! takes a transaction per step, about twice the logarithm of the rows.

use super::connect::error_from;
use super::statements::BEGIN;
use super::writer::{Connection, Way, copy_rows};
use crate::domain::batch::Batch;
use crate::domain::failure::FailureClass;
use crate::store::{StoreError, WriteError};
use std::ops::Range;
use tokio_postgres::Error;

impl Connection {
    /// The row behind an error of the COPY: by the line that the error names, else by halving.
    pub(super) async fn bad_row(&self, batch: &Batch, error: &Error, way: Way) -> WriteError {
        let store_error = error_from(error, "storing a batch");
        if store_error.class != FailureClass::Split {
            return WriteError::Store(store_error);
        }
        let Some(db) = error.as_db_error() else {
            return WriteError::Store(store_error);
        };
        let named = db.where_().and_then(copy_line).and_then(|line| line.checked_sub(1));
        if let Some(index) = named.filter(|&index| index < batch.metas().len()) {
            return WriteError::Row { index, code: db.code().code().to_owned(), message: db.message().to_owned() };
        }
        match self.halve(batch, way).await {
            Ok(Some(found)) => found,
            Ok(None) => WriteError::Store(StoreError {
                class: FailureClass::Unknown,
                message: format!("{}; no row is refused alone", store_error.message),
                ..store_error
            }),
            Err(error) => WriteError::Store(error_from(&error, "looking for a refused row")),
        }
    }

    /// Looks for the first row that is refused, in transactions that always roll back.
    async fn halve(&self, batch: &Batch, way: Way) -> Result<Option<WriteError>, Error> {
        let (mut low, mut high) = (0, batch.metas().len());
        let mut last = None;
        while low < high {
            let middle = if high - low == 1 { high } else { low + (high - low) / 2 };
            match self.refusal(batch, low..middle, way).await? {
                Some(refusal) => {
                    high = middle;
                    last = Some(refusal);
                    if middle - low == 1 {
                        break;
                    }
                }
                None => low = middle,
            }
        }
        Ok((low < high).then_some(last).flatten().map(|(code, message)| WriteError::Row { index: low, code, message }))
    }

    /// Tries some rows in the way in which the batch goes: a row that is stored already is refused by COPY for its key, and
    /// passed over by the staging table.
    async fn refusal(&self, batch: &Batch, range: Range<usize>, way: Way) -> Result<Option<(String, String)>, Error> {
        let client = &self.session.client;
        client.batch_execute(BEGIN).await?;
        let copied = match way {
            Way::Direct => copy_rows(self.copy_in(&self.statements.copy).await?, batch, range).await.map(|_| ()),
            Way::Staged => match copy_rows(self.stage().await?, batch, range).await {
                Ok(_) => self.merge_stage(batch).await.map(|_| ()),
                Err(error) => Err(error),
            },
        };
        client.batch_execute("ROLLBACK").await?;
        match copied {
            Ok(()) => Ok(None),
            Err(error) => match error.as_db_error() {
                Some(db) if error_from(&error, "").class == FailureClass::Split => {
                    Ok(Some((db.code().code().to_owned(), db.message().to_owned())))
                }
                _ => Err(error),
            },
        }
    }
}

/// The line that the context of a COPY error names: `COPY events, line 17, column payload`. It is the last line of the
/// context that begins so; what stands before it may quote the row.
fn copy_line(context: &str) -> Option<usize> {
    let rest = context.lines().rev().find(|line| line.starts_with("COPY "))?;
    let digits = &rest[rest.find(", line ")? + ", line ".len()..];
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::copy_line;

    #[test]
    fn the_line_of_a_copy_error_is_read() {
        assert_eq!(copy_line("COPY events, line 17, column payload"), Some(17));
        assert_eq!(copy_line("JSON data, line 1: {\nCOPY events, line 3"), Some(3));
        let quoted = "JSON data, line 1: {\"a\": \"\nCOPY x, line 9\nCOPY events, line 4, column payload";
        assert_eq!(copy_line(quoted), Some(4), "a payload cannot name a line");
        assert_eq!(copy_line("PL/pgSQL function f() line 3"), None);
    }
}
