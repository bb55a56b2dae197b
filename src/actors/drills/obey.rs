//! The processor that obeys `delay_seconds` and `should_fail`, which producers put into events to see slow and failing
//! messages. There only where drills are allowed; elsewhere both are plain payload.
//!
//! A delay is at most [`LONGEST_DELAY`]. An event that asks to fail fails [`TRIES`] times and is then rejected, so that it
//! becomes a dead letter with its tries counted. Memory: one entry per failing record, at most [`REMEMBERED`].

use crate::domain::record::OwnedRecord;
use crate::processor::{Processed, Processor, ProcessorError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest delay that is obeyed; below the time that one try of a processor has.
pub const LONGEST_DELAY: Duration = Duration::from_secs(20);
/// Tries of an event that asks to fail.
pub const TRIES: u32 = 3;
/// Failing records whose tries are remembered. Past it the count starts again, so that a flood of them costs no memory.
const REMEMBERED: usize = 10_000;

/// See the module.
pub struct Obedient {
    next: Option<Arc<dyn Processor>>,
    tries: Mutex<BTreeMap<(String, i32, i64), u32>>,
}

/// What an event asks for. Values of other types are plain payload.
#[derive(Debug, Default, PartialEq, Deserialize)]
struct Wishes {
    #[serde(default)]
    delay_seconds: serde_json::Value,
    #[serde(default)]
    should_fail: serde_json::Value,
}

impl Wishes {
    fn of(value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self::default() };
        // Most events ask for nothing: they are not parsed.
        let named = |name: &[u8]| memchr::memmem::find(value, name).is_some();
        if !named(b"delay_seconds") && !named(b"should_fail") {
            return Self::default();
        }
        serde_json::from_slice(value).unwrap_or_default()
    }

    fn delay(&self) -> Duration {
        let seconds = self.delay_seconds.as_f64().unwrap_or(0.0).clamp(0.0, LONGEST_DELAY.as_secs_f64());
        Duration::from_secs_f64(seconds)
    }

    fn fails(&self) -> bool {
        self.should_fail.as_bool().unwrap_or(false)
    }
}

impl Obedient {
    /// Obeys, then hands the record to `next`, if there is one.
    #[must_use]
    pub fn new(next: Option<Arc<dyn Processor>>) -> Self {
        Self { next, tries: Mutex::new(BTreeMap::new()) }
    }

    fn fail(&self, record: &OwnedRecord) -> ProcessorError {
        let place = (record.topic.clone(), record.partition, record.offset);
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if tries.len() >= REMEMBERED {
            tries.clear();
        }
        let tried = tries.entry(place.clone()).or_default();
        *tried += 1;
        if *tried < TRIES {
            return ProcessorError::Transient(format!("the event asks to fail (should_fail), try {tried} of {TRIES}"));
        }
        tries.remove(&place);
        ProcessorError::Permanent(format!("the event asks to fail (should_fail) and failed {TRIES} times"))
    }
}

impl Processor for Obedient {
    fn process(&self, record: OwnedRecord) -> Processed<'_> {
        Box::pin(async move {
            let wishes = Wishes::of(record.value.as_deref());
            let delay = wishes.delay();
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if wishes.fails() {
                return Err(self.fail(&record));
            }
            match &self.next {
                Some(next) => next.process(record).await,
                None => Ok(record),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]

    use super::*;

    fn record(value: &str) -> OwnedRecord {
        OwnedRecord { topic: "t".into(), offset: 7, value: Some(value.into()), ..OwnedRecord::default() }
    }

    #[test]
    fn only_a_number_delays_and_only_true_fails() {
        let wishes = |value: &str| {
            let wishes = Wishes::of(Some(value.as_bytes()));
            (wishes.delay(), wishes.fails())
        };
        assert_eq!(wishes(r#"{"event_type":"a"}"#), (Duration::ZERO, false));
        assert_eq!(wishes(r#"{"delay_seconds":1.5,"should_fail":true}"#), (Duration::from_millis(1500), true));
        assert_eq!(wishes(r#"{"delay_seconds":"1","should_fail":"true"}"#), (Duration::ZERO, false));
        assert_eq!(wishes(r#"{"delay_seconds":-1,"should_fail":null}"#), (Duration::ZERO, false));
        assert_eq!(wishes(r#"{"delay_seconds":1e300}"#), (LONGEST_DELAY, false));
        assert_eq!(wishes(r#"{"note":"should_fail"}"#), (Duration::ZERO, false));
    }

    #[tokio::test]
    async fn an_event_that_asks_to_fail_is_rejected_at_its_last_try() {
        let obedient = Obedient::new(None);
        let failing = record(r#"{"event_type":"a","should_fail":true}"#);
        for _ in 1..TRIES {
            let error = obedient.process(failing.clone()).await.unwrap_err();
            assert!(matches!(error, ProcessorError::Transient(_)), "{error}");
        }
        let error = obedient.process(failing).await.unwrap_err();
        assert!(matches!(error, ProcessorError::Permanent(_)), "{error}");
        assert!(obedient.tries.lock().unwrap().is_empty(), "nothing is remembered of it");
        let good = record(r#"{"event_type":"a"}"#);
        assert_eq!(obedient.process(good.clone()).await.unwrap(), good);
    }
}
