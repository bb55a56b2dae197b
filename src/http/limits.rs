//! How many requests that change something one address may send: a bucket for each, filled again with time.
//!
//! Bound: [`MOST_ADDRESSES`] buckets; past that, those that are full again are forgotten, and if none is, all share one. Whoever
//! takes too much is told when to come back. Cannot fail.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests at once: a person with many tabs, or a script that drives every consumer of a process.
const BURST: f64 = 100.0;
/// Requests a second after that.
const PER_SECOND: f64 = 20.0;
/// Addresses that are told apart.
const MOST_ADDRESSES: usize = 1_024;
/// The bucket of all others.
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn filled(&self, now: Instant) -> f64 {
        (self.left + now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND).min(BURST)
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Limits(Mutex<HashMap<IpAddr, Bucket>>);

impl Limits {
    /// Takes one request of this address.
    ///
    /// # Errors
    /// It has none left; how long it must wait for one.
    pub(super) fn take(&self, from: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut from = from.unwrap_or(OTHERS);
        if buckets.len() >= MOST_ADDRESSES && !buckets.contains_key(&from) {
            buckets.retain(|_, bucket| bucket.filled(now) < BURST);
            if buckets.len() >= MOST_ADDRESSES {
                from = OTHERS;
            }
        }
        let bucket = buckets.entry(from).or_insert(Bucket { left: BURST, at: now });
        let left = bucket.filled(now);
        if left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - left) / PER_SECOND));
        }
        *bucket = Bucket { left: left - 1.0, at: now };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
    }

    #[test]
    fn an_address_that_takes_too_much_waits_and_no_other_does() {
        let (limits, now) = (Limits::default(), Instant::now());
        for _ in 0..100 {
            limits.take(address(1), now).unwrap();
        }
        assert_eq!(limits.take(address(1), now), Err(Duration::from_millis(50)));
        limits.take(address(2), now).unwrap();
        let later = now + Duration::from_millis(60);
        limits.take(address(1), later).unwrap();
        limits.take(address(1), later).unwrap_err();
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let (limits, now) = (Limits::default(), Instant::now());
        for number in 0..3_000 {
            // Those past the bound share what one may take.
            let taken = limits.take(address(number), now);
            assert_eq!(taken.is_ok(), number < 1_024 + 100, "{number}");
        }
        assert!(limits.0.lock().unwrap().len() <= MOST_ADDRESSES + 1);
        limits.take(address(2_999), now + Duration::from_secs(60)).unwrap();
        assert!(limits.0.lock().unwrap().len() < 10, "those that are full again are forgotten");
    }
}
