//! Leases in PostgreSQL: session advisory locks on a connection of their own.
//!
//! The server gives a lock back when the session ends. So that it notices a host that vanished, the session asks for
//! keepalives of its own: the system's default would keep the names of a dead host for two hours.

use super::PostgresStore;
use super::connect::{PgSettings, error_from, open};
use super::statements::END_SESSION;
use crate::domain::failure::FailureClass;
use crate::store::StoreError;
use crate::store::lease::{LeaseHolder, LeaseSession, LeaseStore, SessionName};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

/// What the session's name begins with; who opened it follows.
const APPLICATION: &str = "drover/lease ";

/// The server notices a peer that vanished after about 10 + 3 x 3 s, and does not end a session for being idle.
const SETTINGS: &str = "
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3;
    SELECT set_config('idle_session_timeout', '0', false) WHERE current_setting('server_version_num')::int >= 140000";

const OWN_SESSION: &str = "
    SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint, application_name
    FROM pg_stat_activity WHERE pid = pg_backend_pid()";

/// Two deployments share a database in schemas of their own, and so do their names.
const TAKE: &str = "
    SELECT pg_try_advisory_lock(hashtextextended('drover lease ' || current_schema() || ' ' || $1, 0))";

const GIVE_BACK: &str = "
    SELECT pg_advisory_unlock(hashtextextended('drover lease ' || current_schema() || ' ' || $1, 0))";

const HOLDER: &str = "
    SELECT a.pid, a.application_name, host(a.client_addr), (extract(epoch FROM a.backend_start) * 1000)::bigint
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((l.classid::bigint << 32) | l.objid::bigint)
          = hashtextextended('drover lease ' || current_schema() || ' ' || $1, 0)";

struct PgLeaseSession {
    client: Client,
    /// Drives the connection; aborting it closes the socket.
    driver: AbortHandle,
    ended: CancellationToken,
    name: SessionName,
    timeout: Duration,
}

impl Drop for PgLeaseSession {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl PgLeaseSession {
    async fn open(settings: &PgSettings, who: &str, instead_of: Option<SessionName>) -> Result<Self, StoreError> {
        const WHAT: &str = "opening the session for leases";
        let (client, task) = open(settings, &format!("{APPLICATION}{who}")).await?;
        let (driver, ended) = (task.abort_handle(), CancellationToken::new());
        let end = ended.clone();
        tokio::spawn(async move {
            // Aborted or ended by itself: both are the end.
            let _ = task.await;
            end.cancel();
        });
        // From here on its drop closes the connection, also when a question below is not answered.
        let nameless = SessionName { pid: 0, started_us: 0, application_name: String::new() };
        let mut session = Self { client, driver, ended, name: nameless, timeout: settings.transaction_timeout };
        let (timeout, client) = (session.timeout, &session.client);
        session.name = bounded(timeout, WHAT, async {
            client.batch_execute(SETTINGS).await?;
            let own = client.query_one(OWN_SESSION, &[]).await?;
            Ok(SessionName { pid: own.get(0), started_us: own.get(1), application_name: own.get(2) })
        })
        .await?;
        if let Some(SessionName { pid, started_us, application_name }) = instead_of {
            bounded(timeout, WHAT, async {
                let started = std::time::UNIX_EPOCH + Duration::from_micros(started_us.unsigned_abs());
                client.query(END_SESSION, &[&pid, &started, &application_name]).await.map(drop)
            })
            .await?;
        }
        Ok(session)
    }
}

async fn bounded<T>(
    timeout: Duration,
    what: &str,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(timeout, answer).await {
        Ok(answer) => answer.map_err(|error| error_from(&error, what)),
        Err(_) => Err(StoreError {
            class: FailureClass::Breaker,
            code: None,
            message: format!("{what}: PostgreSQL did not answer within {timeout:?}"),
        }),
    }
}

impl LeaseSession for PgLeaseSession {
    fn take<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<LeaseHolder>, StoreError>> {
        async move {
            bounded(self.timeout, "taking a lease", async {
                if self.client.query_one(TAKE, &[&name]).await?.get(0) {
                    return Ok(None);
                }
                // It may have been given back meanwhile: then nobody is known, and the next try finds it free.
                let holder = self.client.query_opt(HOLDER, &[&name]).await?;
                Ok(Some(holder.map_or_else(LeaseHolder::default, |row| {
                    LeaseHolder {
                        session: row.get(0),
                        who: row
                            .get::<_, Option<String>>(1)
                            .and_then(|name| name.strip_prefix(APPLICATION).map(str::to_owned)),
                        address: row.get(2),
                        since_ms: row.get(3),
                    }
                })))
            })
            .await
        }
        .boxed()
    }

    fn give_back<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        // `false` says that the session did not hold it: then there is nothing to give back either.
        bounded(self.timeout, "giving a lease back", async move {
            self.client.query_one(GIVE_BACK, &[&name]).await.map(drop)
        })
        .boxed()
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        self.ended.cancelled().boxed()
    }

    fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    fn name(&self) -> Option<SessionName> {
        Some(self.name.clone())
    }
}

impl LeaseStore for PostgresStore {
    fn lease_session<'a>(
        &'a self,
        who: &'a str,
        instead_of: Option<SessionName>,
    ) -> BoxFuture<'a, Result<Arc<dyn LeaseSession>, StoreError>> {
        async move {
            let session = PgLeaseSession::open(self.pool.settings(), who, instead_of).await?;
            Ok(Arc::new(session) as Arc<dyn LeaseSession>)
        }
        .boxed()
    }
}
