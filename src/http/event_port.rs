//! What the HTTP server asks of the running process about events: to find them, to count them and to send some.
//!
//! Until the process has a store and a cluster the port is empty and every question is answered with 503. One place, set once.
//! Cannot fail.

use std::sync::{Arc, OnceLock};

use actix_web::http::StatusCode;
use futures::future::BoxFuture;

use super::error::Problem;
use crate::domain::burst::{BurstPlan, BurstReport};
use crate::domain::command::CommandError;
use crate::domain::event_search::{EventPage, EventSearch};
use crate::domain::whereabouts::{Facts, Whereabouts};
use crate::store::StoredDeadLetter;
use crate::store::events::StoredEvent;
use crate::store::statistics::StoredStatistics;

/// An answer that comes later. A future that is dropped does not stop what was begun.
pub type Later<T> = BoxFuture<'static, Result<T, CommandError>>;

/// Where an event is, with all that is known of it.
#[derive(Debug, Clone)]
pub struct Location {
    /// What became of it.
    pub whereabouts: Whereabouts,
    /// The same as a sentence.
    pub detail: String,
    /// Its row.
    pub event: Option<StoredEvent>,
    /// Its dead letter.
    pub dead_letter: Option<StoredDeadLetter>,
    /// What the answer follows from.
    pub facts: Facts,
}

/// An event to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Where to; `None` is the first topic that is read.
    pub topic: Option<String>,
    /// Key of the record.
    pub key: Option<String>,
    /// Value of the record.
    pub value: Vec<u8>,
}

/// A record that Kafka has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentEvent {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Finds, counts and sends events.
pub trait EventPort: Send + Sync + 'static {
    /// A page of events, newest first.
    fn search(&self, search: EventSearch) -> Later<EventPage>;

    /// Where one event is.
    fn locate(&self, topic: String, partition: i32, offset: i64) -> Later<Location>;

    /// What was stored in the last so many minutes, whole ones and the present one.
    fn statistics(&self, minutes: u32) -> Later<StoredStatistics>;

    /// Sends one event, and answers when Kafka has confirmed it.
    fn send(&self, event: NewEvent) -> Later<SentEvent>;

    /// Starts a burst, unless one is under way. A plan without a topic means the first that is read.
    ///
    /// # Errors
    /// The topic is not read here, one is under way, or there is no producer.
    fn start_burst(&self, plan: BurstPlan) -> Result<BurstReport, CommandError>;

    /// How a burst goes, as long as it is kept.
    fn burst(&self, id: u64) -> Option<BurstReport>;
}

/// The place of whoever knows of events. Clones share it.
#[derive(Clone, Default)]
pub struct EventSlot(Arc<OnceLock<Arc<dyn EventPort>>>);

impl EventSlot {
    /// Takes questions from now on. A second port is ignored: a process has one.
    pub fn set(&self, port: Arc<dyn EventPort>) {
        // Only a second call is refused, see above.
        let _ = self.0.set(port);
    }

    /// The port, once there is one.
    pub(super) fn get(&self) -> Result<Arc<dyn EventPort>, Problem> {
        self.0.get().cloned().ok_or_else(|| {
            let detail = "drover is still starting and knows of no events yet; /health/ready tells what it waits for";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }
}
