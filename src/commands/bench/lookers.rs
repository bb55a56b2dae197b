//! Clients that look at the live stream of the process that is measured, and do nothing with what they see.
//!
//! Each has a connection of its own. They end when they are told to; one that ends before is an error, because the run would
//! then not have been looked at as it says.

use crate::client::Client;
use anyhow::{Context as _, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long all of them may take to see something.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks at them.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// See the module.
pub struct Lookers {
    tasks: JoinSet<String>,
    bytes: Vec<Arc<AtomicU64>>,
}

impl Lookers {
    /// Starts so many and waits until each has seen something.
    ///
    /// # Errors
    /// One of them ended, or saw nothing in time.
    pub async fn start(client: &Client, count: u32) -> anyhow::Result<Self> {
        let mut lookers = Self { tasks: JoinSet::new(), bytes: Vec::new() };
        for _ in 0..count {
            let (client, bytes) = (client.clone(), Arc::<AtomicU64>::default());
            lookers.bytes.push(Arc::clone(&bytes));
            lookers.tasks.spawn(async move {
                let followed = client.follow(|piece| {
                    bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                });
                followed.await.map_or_else(|error| error.to_string(), |()| "the server ended it".to_owned())
            });
        }
        let seen = async {
            while lookers.bytes.iter().any(|bytes| bytes.load(Ordering::Relaxed) == 0) {
                lookers.check()?;
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(START_TIMEOUT, seen).await.context("the live stream told its clients nothing")??;
        Ok(lookers)
    }

    fn check(&mut self) -> anyhow::Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(why) => bail!("a client of the live stream ended early: {}", why.context("it panicked")?),
        }
    }

    /// Ends them; gives back how many bytes they have read together.
    ///
    /// # Errors
    /// One of them had ended before.
    pub fn stop(mut self) -> anyhow::Result<u64> {
        self.check()?;
        Ok(self.bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum())
    }
}
