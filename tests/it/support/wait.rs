//! Waiting for a condition, never for a time: every wait has a deadline, and says what it waited for when it fails.

use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that goes well never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks until there is a value.
///
/// # Panics
/// When there is none after [`PATIENCE`].
pub async fn until_some<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Looks until the condition holds.
pub async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    until_some(what, async || look().await.then_some(())).await;
}
