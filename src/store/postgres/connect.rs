//! Connections to PostgreSQL: the URL that people write, TLS, and the settings of every session.
//!
//! Owns nothing: each call makes one connection and one task that drives it. A host that does not answer fails within
//! [`CONNECT_TIMEOUT`]; with several hosts in the URL the first that takes writes is used. Errors name host, database and
//! user, never the password.

use super::tls::{self, TlsMode};
use crate::domain::failure::{FailureClass, classify_sqlstate};
use crate::store::StoreError;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls};

/// How long one host may take to accept a connection. Shorter than any supervisor's patience, longer than a slow handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that vanished without a word is noticed after about idle + 3 intervals.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);

/// How to reach the store.
#[derive(Clone, PartialEq, Eq)]
pub struct PgSettings {
    /// The URL, with its password.
    pub url: String,
    /// Schema that is first in `search_path`.
    pub schema: String,
    /// Client-side deadline of a batch transaction.
    pub transaction_timeout: Duration,
    /// `lock_timeout` of every session.
    pub lock_timeout: Duration,
}

impl std::fmt::Debug for PgSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgSettings")
            .field("url", &crate::config::hide_password(&self.url))
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// A connection together with the task that drives it; dropping it closes the socket at once, even when the server is
/// frozen and would never answer.
pub struct Session {
    /// The connection.
    pub client: Client,
    task: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects; the driving task ends by itself when the client is dropped.
///
/// # Errors
/// See [`connect_session`].
pub async fn connect(settings: &PgSettings, application_name: &str) -> Result<Client, StoreError> {
    let (client, _task) = open(settings, application_name).await?;
    Ok(client)
}

/// Connects, and keeps the driving task with the client.
///
/// # Errors
/// Class configuration for a URL that cannot be read, a refused login or a missing database; class breaker for a server
/// that cannot be reached.
pub async fn connect_session(settings: &PgSettings, application_name: &str) -> Result<Session, StoreError> {
    let (client, task) = open(settings, application_name).await?;
    Ok(Session { client, task })
}

/// Connects, and gives the driving task away: it ends when the connection does.
pub(super) async fn open(
    settings: &PgSettings,
    application_name: &str,
) -> Result<(Client, JoinHandle<()>), StoreError> {
    let (url, tls_mode) = tls::split_url(&settings.url).map_err(configuration)?;
    let mut config: Config = url.parse().map_err(|error| {
        configuration(format!(
            "store.url cannot be read: {error}; expected postgres://user:password@host:port/database"
        ))
    })?;
    let options = session_options(&config, settings);
    config
        .application_name(application_name)
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(3)
        .options(options);
    if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    let what = format!("connecting to PostgreSQL at {}", address(&config));
    // connect_timeout bounds the socket alone; a server that accepts and says nothing must not hold a writer for ever.
    let limit = CONNECT_TIMEOUT * u32::try_from(config.get_hosts().len().max(1) + 1).unwrap_or(2);
    let establish = establish(config, tls_mode);
    match tokio::time::timeout(limit, establish).await {
        Ok(connected) => connected?.map_err(|error| error_from(&error, &what)),
        Err(_) => Err(StoreError {
            class: FailureClass::Breaker,
            code: None,
            message: format!("{what}: no answer within {limit:?}"),
        }),
    }
}

/// Makes the connection in the way that the URL asks for. The outer error is the configuration's.
async fn establish(
    mut config: Config,
    tls_mode: TlsMode,
) -> Result<Result<(Client, JoinHandle<()>), tokio_postgres::Error>, StoreError> {
    Ok(match tls_mode {
        TlsMode::Off => {
            config.ssl_mode(SslMode::Disable);
            config.connect(NoTls).await.map(|(client, connection)| (client, tokio::spawn(drive(connection))))
        }
        mode => {
            config.ssl_mode(if mode == TlsMode::Prefer { SslMode::Prefer } else { SslMode::Require });
            let connector = tls::connector(&mode).map_err(configuration)?;
            config.connect(connector).await.map(|(client, connection)| (client, tokio::spawn(drive(connection))))
        }
    })
}

async fn drive<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if let Err(error) = connection.await {
        // The statement that was waiting reports it too; this line is for connections that were idle.
        tracing::debug!(error = %error, "connection to PostgreSQL ended");
    }
}

/// Options of the session beside those of the URL: the schema first, and a bound on every lock wait.
fn session_options(config: &Config, settings: &PgSettings) -> String {
    let given = config.get_options().map(|options| format!("{options} ")).unwrap_or_default();
    format!(
        "{given}-c search_path={} -c lock_timeout={} -c client_min_messages=warning -c default_transaction_isolation=read\\ committed",
        settings.schema,
        settings.lock_timeout.as_millis(),
    )
}

/// Hosts, ports, database and user, for messages.
fn address(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(at, host)| {
            let name = match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            };
            let port = config.get_ports().get(at).or(config.get_ports().first()).copied().unwrap_or(5432);
            format!("{name}:{port}")
        })
        .collect();
    format!(
        "{} (database {}, user {})",
        hosts.join(","),
        config.get_dbname().unwrap_or("<user's>"),
        config.get_user().unwrap_or("<system's>")
    )
}

fn configuration(message: String) -> StoreError {
    StoreError { class: FailureClass::Configuration, code: None, message }
}

/// The store's error for an error of the driver. `what` says what was tried.
#[must_use]
pub fn error_from(error: &tokio_postgres::Error, what: &str) -> StoreError {
    if let Some(db) = error.as_db_error() {
        let code = db.code().code();
        return StoreError {
            class: classify_sqlstate(code),
            code: Some(code.to_owned()),
            // Detail and context may quote the row: message alone.
            message: format!("{what}: {} (SQLSTATE {code})", db.message()),
        };
    }
    // Without an answer of the server it is the way there that failed: closed, refused, timed out, not resolvable, no
    // host that takes writes.
    let mut message = format!("{what}: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !message.contains(&inner_text) {
            message = format!("{message}: {inner_text}");
        }
        source = inner.source();
    }
    StoreError { class: FailureClass::Breaker, code: None, message }
}
