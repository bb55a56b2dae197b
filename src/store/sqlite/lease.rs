//! Leases in SQLite: the lock of the file keeps every other process away, so every name is free.

use super::SqliteStore;
use super::connection::Access;
use crate::store::StoreError;
use crate::store::lease::{LeaseHolder, LeaseSession, LeaseStore, SessionName};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Lives as long as the process has the file.
struct FileSession;

impl LeaseSession for FileSession {
    fn take<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Option<LeaseHolder>, StoreError>> {
        async { Ok(None) }.boxed()
    }

    fn give_back<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        async { Ok(()) }.boxed()
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }

    fn has_ended(&self) -> bool {
        false
    }

    fn name(&self) -> Option<SessionName> {
        None
    }
}

impl LeaseStore for SqliteStore {
    fn lease_session<'a>(
        &'a self,
        _who: &'a str,
        _instead_of: Option<SessionName>,
    ) -> BoxFuture<'a, Result<Arc<dyn LeaseSession>, StoreError>> {
        async {
            // The first write takes the lock of the file.
            self.run("take the file", Access::Write, |_| Ok(())).await?;
            Ok(Arc::new(FileSession) as Arc<dyn LeaseSession>)
        }
        .boxed()
    }
}
