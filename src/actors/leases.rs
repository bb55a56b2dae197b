//! The names that this process has in its group, on one session with the store.
//!
//! Owns the session and which names it holds. Whoever has a name watches it by itself: when the session is lost, the name
//! is taken again on a new one before work goes on, and when another process has it by then, that is the end. An outage of
//! the store is waited out: nothing can be written meanwhile. Bounded by the consumers of the process and one more.

use super::exit::ExitError;
use super::lifecycle::Control;
use crate::domain::failure::FailureClass;
use crate::store::lease::{LeaseHolder, LeaseSession, SessionName};
use crate::store::{Store, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a name that another process has is waited for: a process that is just being stopped or killed has gone by then, and
/// the server has noticed a host that vanished, which takes it 10 + 3 x 3 s (the keepalives of the session) and a little.
pub const WAIT: Duration = Duration::from_secs(25);
/// Time between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// The same while the store does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Why a name cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseError {
    /// Another process has it.
    #[error(
        "replica \"{replica_id}\" of group \"{group}\" has its consumer \"{consumer_id}\" in another process already: \
         {holder}. Two processes must not have the same replica_id and consumer id: stop that one, or give this one a \
         replica_id of its own"
    )]
    Taken {
        /// The replica.
        replica_id: String,
        /// The group.
        group: String,
        /// The consumer.
        consumer_id: String,
        /// Who has it.
        holder: Box<LeaseHolder>,
    },
    /// The store refuses to lend names.
    #[error(transparent)]
    Store(StoreError),
}

impl LeaseError {
    /// EX_TEMPFAIL of sysexits.h: it may be tried again, when the other process has gone.
    pub const EXIT_CODE: u8 = 75;
}

/// See the module.
pub struct Leases {
    store: Arc<dyn Store>,
    group: String,
    /// Process and host, for those who find a name taken.
    who: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    session: Option<Arc<dyn LeaseSession>>,
    /// Names that the session holds.
    names: BTreeSet<String>,
    /// The session before, which the server may not know to be gone.
    before: Option<SessionName>,
}

impl Leases {
    /// The names of this process in a group; none is held yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, group: &str, who: &str) -> Self {
        Self { store, group: group.to_owned(), who: who.to_owned(), held: Mutex::default() }
    }

    /// Takes a name, if it is free or held already; `Some` says who has it.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn take(&self, name: &str) -> Result<Option<LeaseHolder>, StoreError> {
        let mut held = self.held.lock().await;
        let session = match held.session.clone().filter(|session| !session.has_ended()) {
            Some(session) => session,
            None => {
                held.names.clear();
                held.session = None;
                let session = self.store.lease_session(&self.who, held.before.clone()).await?;
                held.before = session.name();
                held.session = Some(Arc::clone(&session));
                session
            }
        };
        if held.names.contains(name) {
            return Ok(None);
        }
        // When this is given up halfway nobody knows whether the name was taken: then the session goes.
        let names = std::mem::take(&mut held.names);
        held.session = None;
        let taken = session.take(name).await?;
        held.session = Some(session);
        held.names = names;
        if taken.is_none() {
            held.names.insert(name.to_owned());
        }
        Ok(taken)
    }

    /// Gives a name back that is not needed any more. The others stay, and so does the session.
    ///
    /// # Errors
    /// The store does not answer; others may find the name taken for as long as the session lives.
    pub async fn give_back(&self, name: &str) -> Result<(), StoreError> {
        let mut held = self.held.lock().await;
        let session = held.session.clone().filter(|session| !session.has_ended());
        match session.filter(|_| held.names.remove(name)) {
            Some(session) => session.give_back(name).await,
            None => Ok(()),
        }
    }

    /// Ready when a name is not held, at once or as soon as its session ends.
    pub async fn lost(&self, name: &str) {
        let session = {
            let held = self.held.lock().await;
            held.session.clone().filter(|_| held.names.contains(name))
        };
        if let Some(session) = session {
            session.ended().await;
        }
    }
}

/// The place of one consumer of a replica.
#[derive(Clone)]
pub struct Place {
    leases: Arc<Leases>,
    replica_id: String,
    consumer_id: String,
    name: String,
    is_held: Arc<AtomicBool>,
}

impl Place {
    /// The place of this consumer; not taken yet.
    #[must_use]
    pub fn new(leases: &Arc<Leases>, replica_id: &str, consumer_id: &str) -> Self {
        Self {
            name: format!("consumer {} {replica_id} {consumer_id}", leases.group),
            leases: Arc::clone(leases),
            replica_id: replica_id.to_owned(),
            consumer_id: consumer_id.to_owned(),
            is_held: Arc::default(),
        }
    }

    /// Whether it is held now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    /// Takes the place, waiting at most [`WAIT`] for another process to leave it, and for the store however long it is away.
    ///
    /// # Errors
    /// Another process keeps it, or the store refuses.
    pub async fn take(&self) -> Result<(), LeaseError> {
        let (mut deadline, mut unanswered) = (None, false);
        loop {
            let pause = match self.leases.take(&self.name).await {
                Ok(None) => {
                    self.is_held.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Ok(Some(holder)) => {
                    let now = Instant::now();
                    if now
                        >= *deadline.get_or_insert_with(|| {
                            tracing::warn!(
                                replica_id = %self.replica_id, consumer_id = %self.consumer_id, holder = %holder,
                                wait_s = WAIT.as_secs(), "another process has this place; waiting for it to leave"
                            );
                            now + WAIT
                        })
                    {
                        return Err(LeaseError::Taken {
                            replica_id: self.replica_id.clone(),
                            group: self.leases.group.clone(),
                            consumer_id: self.consumer_id.clone(),
                            holder: Box::new(holder),
                        });
                    }
                    TRY_AGAIN
                }
                Err(error) if matches!(error.class, FailureClass::Configuration | FailureClass::Bug) => {
                    return Err(LeaseError::Store(error));
                }
                Err(error) => {
                    if !std::mem::replace(&mut unanswered, true) {
                        tracing::warn!(consumer_id = %self.consumer_id, error = %error, "the place cannot be taken yet");
                    }
                    ASK_AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Gives the place up for good, when its consumer has ended.
    pub async fn give_back(&self) {
        self.is_held.store(false, Ordering::Relaxed);
        if let Err(error) = self.leases.give_back(&self.name).await {
            tracing::warn!(
                consumer_id = %self.consumer_id, error = %error,
                "the place of a consumer that was taken away could not be given back; another process may find it taken until \
                 this one ends"
            );
        }
    }

    /// The same for a consumer that starts: `false` when it was told to stop meanwhile.
    ///
    /// # Errors
    /// Fenced when another process keeps the place.
    pub async fn take_unless_stopped(&self, control: &Control) -> Result<bool, ExitError> {
        tokio::select! {
            biased;
            _ = control.drain_requested() => Ok(false),
            // However long the store is away: waiting for it is no stall, and the tries have deadlines of their own.
            taken = control.while_idle(self.take()) => taken.map(|()| true).map_err(exit),
        }
    }

    /// Watches the place for as long as it is polled: takes it again when its session was lost. Ready when that cannot be.
    pub async fn gone(&self) -> ExitError {
        loop {
            self.leases.lost(&self.name).await;
            self.is_held.store(false, Ordering::Relaxed);
            tracing::warn!(
                consumer_id = %self.consumer_id,
                "the session that holds this consumer's place was lost; nothing is written until it is taken again"
            );
            match self.take().await {
                Ok(()) => tracing::info!(consumer_id = %self.consumer_id, "this consumer's place was taken again"),
                Err(error) => return exit(error),
            }
        }
    }
}

fn exit(error: LeaseError) -> ExitError {
    match error {
        LeaseError::Taken { .. } => ExitError::fenced(error.to_string()),
        LeaseError::Store(error) => ExitError::error(error.message),
    }
}
