//! The holds that this process obeys: the store's list, as it was read last, and what is not written down yet.
//!
//! Shared by all consumers. An order of this process wakes its consumers at once, one of another replica arrives with the
//! next [`Holds::refresh`], which the metrics actor calls once a second. While the store is away the last list stands.
//! Bounded by the partitions and consumers of the group.

use crate::domain::hold::{Hold, HoldKind, HoldScope};
use crate::store::{Store, StoreError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::watch;

/// See the module.
pub struct Holds {
    store: Arc<dyn Store>,
    /// As the replica actor found it free.
    replica_id: RwLock<Arc<str>>,
    list: watch::Sender<Arc<Vec<Hold>>>,
    /// Quarantines that are obeyed already but that the store does not have yet.
    unwritten: Mutex<Vec<Hold>>,
    /// Moves with every order of this process: a list that was read across one is thrown away.
    orders: AtomicU64,
    /// The last refresh failed, and the log has said so.
    failing: AtomicBool,
}

impl Holds {
    /// No holds yet, for the process with this replica id.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, replica_id: &str) -> Self {
        Self {
            store,
            replica_id: RwLock::new(replica_id.into()),
            list: watch::Sender::default(),
            unwritten: Mutex::default(),
            orders: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        }
    }

    /// The id of this process, as scopes of its consumers name it.
    #[must_use]
    pub fn replica_id(&self) -> Arc<str> {
        Arc::clone(&self.replica_id.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The process has another name: two on one host have a number each, and an order to one must not hold the other.
    pub fn set_replica_id(&self, replica_id: &str) {
        *self.replica_id.write().unwrap_or_else(PoisonError::into_inner) = replica_id.into();
        // Whoever obeys looks again.
        self.list.send_modify(|_| {});
    }

    /// The present list.
    #[must_use]
    pub fn current(&self) -> Arc<Vec<Hold>> {
        self.list.borrow().clone()
    }

    /// A receiver that wakes at every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Vec<Hold>>> {
        self.list.subscribe()
    }

    /// Places a hold: in the store, then here.
    ///
    /// # Errors
    /// The store does not take it; then nothing is held.
    pub async fn place(&self, hold: Hold) -> Result<(), StoreError> {
        self.store.place_hold(&hold).await?;
        self.order(|list| put(list, hold));
        Ok(())
    }

    /// Releases a hold: in the store, then here. Gives back whether there was one.
    ///
    /// # Errors
    /// The store does not answer; then it stays.
    pub async fn release(&self, scope: &HoldScope, kind: HoldKind) -> Result<bool, StoreError> {
        // First: a refresh that is writing it down must find that nobody wants it any more.
        let unwritten: Vec<Hold> = self.unwritten().extract_if(.., |hold| hold.is_same(scope, kind)).collect();
        let mut held = match self.store.release_hold(scope, kind).await {
            Ok(stored) => stored || !unwritten.is_empty(),
            Err(error) => {
                for hold in unwritten {
                    put(&mut self.unwritten(), hold);
                }
                return Err(error);
            }
        };
        self.order(|list| {
            let before = list.len();
            list.retain(|hold| !hold.is_same(scope, kind));
            held |= list.len() < before;
        });
        Ok(held)
    }

    /// Places a hold that cannot wait for the store: obeyed at once, written down by the next refresh that can.
    pub fn insist(&self, hold: Hold) {
        put(&mut self.unwritten(), hold.clone());
        self.order(|list| put(list, hold));
    }

    /// Writes down what is not, releases what is over, and reads the list.
    ///
    /// # Errors
    /// The store does not answer, or does not take a hold; what could be read counts, else the last list stands.
    pub async fn refresh(&self, now_ms: i64) -> Result<(), StoreError> {
        let refreshed = self.read_again(now_ms).await;
        match (&refreshed, self.failing.swap(refreshed.is_err(), Ordering::AcqRel)) {
            (Err(error), false) => {
                tracing::warn!(error = %error, "holds are not all read and written; they are tried again")
            }
            (Ok(()), true) => tracing::info!("holds are read and written again"),
            _ => {}
        }
        refreshed
    }

    async fn read_again(&self, now_ms: i64) -> Result<(), StoreError> {
        // First: an order that comes while the store answers makes what it answers stale.
        let orders = self.orders.load(Ordering::Acquire);
        let waiting = self.unwritten().clone();
        let mut unwritten = Ok(());
        for hold in &waiting {
            unwritten = unwritten.and(self.write_down(hold).await);
        }
        let mut list = self.store.holds().await?;
        let over: Vec<Hold> = list.extract_if(.., |hold| hold.is_over(now_ms)).collect();
        for hold in over.iter().filter(|hold| self.list.borrow().contains(hold)) {
            tracing::info!(hold = %hold.scope, kind = hold.kind.as_str(), "the time of a hold is over");
        }
        // What the store does not take is held all the same.
        let kept = |hold: &&Hold| !hold.is_over(now_ms);
        self.unwritten().iter().filter(kept).for_each(|hold| put(&mut list, hold.clone()));
        self.list.send_if_modified(|now| {
            let stale = self.orders.load(Ordering::Acquire) != orders;
            let changed = !stale && **now != list;
            if changed {
                *now = Arc::new(list);
            }
            changed
        });
        if !over.is_empty() {
            // Last: a role that may not delete must not keep the list from being read.
            self.store.release_holds_over(now_ms).await?;
        }
        unwritten
    }

    async fn write_down(&self, hold: &Hold) -> Result<(), StoreError> {
        self.store.place_hold(hold).await?;
        if !self.written(hold) {
            // Released meanwhile.
            self.store.release_hold(&hold.scope, hold.kind).await?;
        }
        Ok(())
    }

    /// Notes that a hold is in the store; false when nobody wants it there any more.
    fn written(&self, hold: &Hold) -> bool {
        let mut unwritten = self.unwritten();
        let known = unwritten.len();
        unwritten.retain(|other| other != hold);
        unwritten.len() < known
    }

    fn unwritten(&self) -> MutexGuard<'_, Vec<Hold>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, change: impl FnOnce(&mut Vec<Hold>)) {
        self.list.send_modify(|now| {
            self.orders.fetch_add(1, Ordering::AcqRel);
            let mut list = now.as_ref().clone();
            change(&mut list);
            *now = Arc::new(list);
        });
    }
}

fn put(list: &mut Vec<Hold>, hold: Hold) {
    list.retain(|other| !other.is_same(&hold.scope, hold.kind));
    list.push(hold);
}
