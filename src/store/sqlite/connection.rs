//! The file: its path, the lock that keeps other processes from writing, and two connections, one to write, one to read.
//!
//! SQLite has one writer at a time, so all writers of the process share one connection and queue for it in order; readers
//! never wait for it (WAL). SQLite blocks, so each operation runs on tokio's blocking threads and takes its connection
//! along: when its caller gives up waiting, the operation still ends before the next one begins. After an error or a panic
//! the connection is closed and opened anew.
//!
//! `synchronous = NORMAL`: a crash of the process loses nothing; when the power goes, the last transactions may be gone,
//! rows and positions together, and they are read from Kafka again.

use super::error::Failure;
use crate::domain::failure::FailureClass;
use crate::store::StoreError;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;

/// How long a statement waits for another process, in milliseconds: a backup or a shell may hold the file for a moment.
const BUSY_TIMEOUT_MS: u32 = 5_000;
/// Memory for pages of one connection, in KiB.
const CACHE_KIB: u32 = 16_384;
/// Bytes that the WAL file keeps after a checkpoint.
const WAL_KEEP_BYTES: u32 = 64 << 20;

/// Which connection an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Takes the lock of the file, and makes the file when it is not there.
    Write,
    /// Works beside another process that writes.
    Read,
}

#[derive(Default)]
struct Slot {
    connection: Option<SqliteConnection>,
    /// Held from the first write until the store is dropped.
    lock: Option<File>,
}

/// See the module.
pub(super) struct Database {
    path: PathBuf,
    write: Arc<Mutex<Slot>>,
    read: Arc<Mutex<Slot>>,
}

impl Database {
    /// The database of `sqlite:PATH`; opens nothing yet.
    pub(super) fn of_url(url: &str) -> Result<Self, StoreError> {
        let wrong = |message: String| StoreError { class: FailureClass::Configuration, code: None, message };
        let path = url.strip_prefix("sqlite:").unwrap_or(url);
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains(":memory:") {
            return Err(wrong(format!(
                "store.url {url:?} names no file: a store in memory would forget what it has stored; use sqlite:PATH"
            )));
        }
        let path = std::path::absolute(path).map_err(|error| wrong(format!("store.url {url:?}: {error}")))?;
        if path.to_str().is_none_or(|path| path.contains('\0')) {
            return Err(wrong(format!("store.url {url:?}: the path must be UTF-8 without NUL")));
        }
        Ok(Self { path, write: Arc::default(), read: Arc::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on a blocking thread with the connection for `access`.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        access: Access,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let slot = match access {
            Access::Write => Arc::clone(&self.write),
            Access::Read => Arc::clone(&self.read),
        };
        let mut slot = slot.lock_owned().await;
        let path = self.path.clone();
        let task = tokio::task::spawn_blocking(move || {
            if access == Access::Write && slot.lock.is_none() {
                slot.lock = Some(lock(&path)?);
            }
            let mut connection = match slot.connection.take() {
                Some(connection) => connection,
                None => open(&path, access)?,
            };
            let done = work(&mut connection)?;
            slot.connection = Some(connection);
            Ok(done)
        });
        task.await.unwrap_or_else(|error| {
            Err(Failure::new(FailureClass::Bug, format!("the operation did not end by itself: {error}")))
        })
    }
}

/// Takes the right to write: an exclusive lock on a file beside the database, released by the system when the process ends.
fn lock(path: &Path) -> Result<File, Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |error: std::io::Error| {
        Failure::new(
            FailureClass::Breaker,
            format!("{}: {error}; the directory must exist and be writable for this user", name.display()),
        )
    };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            // For people who look into it; the lock itself is what counts.
            let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&name).unwrap_or_default();
            Err(Failure::new(
                FailureClass::Configuration,
                format!(
                    "another drover process (pid {}) writes to this file; SQLite serves one process: stop the other one, or use PostgreSQL",
                    holder.trim()
                ),
            ))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn open(path: &Path, access: Access) -> Result<SqliteConnection, Failure> {
    if access == Access::Read && !path.exists() {
        return Err(Failure::new(
            FailureClass::Configuration,
            "there is no such file; run `drover migrate`, or check store.url",
        ));
    }
    let path = path.to_str().expect("checked when the store was made");
    let mut connection = SqliteConnection::establish(path)?;
    let mode = match access {
        Access::Write => "PRAGMA journal_mode = WAL;",
        Access::Read => "PRAGMA query_only = ON;",
    };
    connection.batch_execute(&format!(
        "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}; {mode} PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; \
         PRAGMA cache_size = -{CACHE_KIB}; PRAGMA journal_size_limit = {WAL_KEEP_BYTES};"
    ))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_in_memory_is_refused() {
        for url in ["sqlite::memory:", "sqlite:", "sqlite://", "sqlite:file::memory:?cache=shared"] {
            assert!(Database::of_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn one_and_two_slashes_name_the_same_file() {
        for url in ["sqlite:/a/b.db", "sqlite:///a/b.db"] {
            let database = Database::of_url(url).expect("a path");
            assert_eq!(database.path(), Path::new("/a/b.db"), "{url}");
        }
    }
}
