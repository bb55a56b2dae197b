//! The breaker in front of the store: open while the database is away, for all writers and consumers at once.
//!
//! Whoever meets an error that concerns the database opens it; whoever gets an answer again closes it. While it is open
//! writers take no new batches, so lanes fill, and consumers pause their partitions and keep polling.

use crate::board::Board;
use crate::domain::status::BreakerStatus;
use crate::metrics::Metrics;
use crate::store::StoreError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// See the module.
pub struct Breaker {
    /// Writers that wait with a batch in hand. While there are any, only a stored batch closes the breaker: the store may
    /// answer a look and still refuse to write.
    waiting: AtomicUsize,
    status: watch::Sender<BreakerStatus>,
    board: Arc<Board>,
    metrics: Metrics,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(board: Arc<Board>, metrics: Metrics) -> Self {
        Self { waiting: AtomicUsize::new(0), status: watch::Sender::new(BreakerStatus::default()), board, metrics }
    }

    /// Opens it, or notes when the next probe is due while it is open.
    pub fn open(&self, error: &StoreError, next_probe: Duration) {
        let now = chrono::Utc::now().timestamp_millis();
        let mut tripped = false;
        self.status.send_modify(|status| {
            tripped = !status.open;
            if tripped {
                status.trips += 1;
                status.since_ms = Some(now);
            }
            status.open = true;
            status.cause = Some(error.message.clone());
            status.next_probe_ms = Some(now.saturating_add(i64::try_from(next_probe.as_millis()).unwrap_or(i64::MAX)));
        });
        if tripped {
            tracing::warn!(cause = %error.message, "breaker opened: the store is away, consumers wait");
            self.metrics.store_breaker_trips.inc();
            self.metrics.store_breaker_open.set(1);
            self.board.set_store_ok(false);
        }
        self.board.set_breaker(self.status.borrow().clone());
    }

    /// A writer waits with a batch, or no longer.
    pub fn set_waiting(&self, waits: bool) {
        if waits {
            self.waiting.fetch_add(1, Ordering::AcqRel);
        } else {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The store answered a look: closes the breaker unless a writer waits, who knows better.
    pub fn answered(&self) {
        if self.waiting.load(Ordering::Acquire) == 0 {
            self.close();
        }
    }

    /// Closes it: the store took a transaction, or refused it for its content.
    pub fn close(&self) {
        let closed = self.status.send_if_modified(|status| {
            let was_open = status.open;
            if was_open {
                *status = BreakerStatus { trips: status.trips, ..BreakerStatus::default() };
            }
            was_open
        });
        if closed {
            tracing::info!("breaker closed: the store answers again");
            self.metrics.store_breaker_open.set(0);
            self.board.set_breaker(self.status.borrow().clone());
        }
        self.board.set_store_ok(true);
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status.borrow().open
    }

    /// Waits until it is closed. Cancel safe.
    pub async fn closed(&self) {
        let mut status = self.status.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = status.wait_for(|status| !status.open).await;
    }
}
