//! Faults of drover's own processes: killed, stopped, frozen.

use crate::row;
use crate::stage::{Row, Stage, Verdict};
use crate::trial::{RATE, Trial};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A killed process stores again so soon after its restart.
const RESTART_GOAL: Duration = Duration::from_secs(5);
/// Longer than the session that the zombie's group is given.
const FROZEN: Duration = Duration::from_secs(12);
const SESSION: &str = "6s";

pub fn rows() -> Vec<Row> {
    vec![
        row!("kill-9", "kill -9 of the process, 20 times; started again at once", kill_9, true),
        row!("sigterm", "SIGTERM in a burst of 100,000 events, 5 times; started again when it has ended", sigterm),
        row!("zombie", "SIGSTOP past the session while another process takes over, then SIGCONT; 3 times", zombie),
    ]
}

async fn kill_9(stage: Arc<Stage>) -> Verdict {
    let times = stage.either(20, 4);
    let mut trial = Trial::new(stage, "kill-9").await;
    trial.goal(RESTART_GOAL);
    let mut drover = trial.started().await;
    for time in 0..times {
        // At different places of its work each time.
        tokio::time::sleep(Duration::from_millis(700 + time * 137 % 900)).await;
        let began = SystemTime::now();
        drover.kill();
        let restarted = SystemTime::now();
        drover = trial.run().start("drover");
        trial.recovered(began, restarted).await;
    }
    trial.finish(vec![drover]).await
}

async fn sigterm(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(stage, "sigterm").await;
    trial.goal(RESTART_GOAL);
    let mut drover = trial.started().await;
    for _ in 0..5 {
        let before = trial.confirmed();
        trial.loads()[0].set_rate(20 * RATE);
        while trial.confirmed() < before + 50_000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let began = SystemTime::now();
        let stopping = drover.terminate();
        let (ended, ()) = futures::join!(stopping, async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            trial.loads()[0].set_rate(RATE);
        });
        trial.expect(ended.code == Some(0), || format!("SIGTERM ended with {:?}", ended.code));
        let restarted = SystemTime::now();
        drover = trial.run().start("drover");
        trial.recovered(began, restarted).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    trial.finish(vec![drover]).await
}

async fn zombie(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(stage, "zombie").await;
    trial.load().await;
    let consume = |id: &str| trial.consume(id).set("DROVER_KAFKA_SESSION_TIMEOUT", SESSION);
    let frozen = consume("zombie").start("zombie");
    trial.until_flowing().await;
    let heir = consume("heir").start("heir");
    let mut takeovers = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let began = SystemTime::now();
        frozen.signal("STOP");
        // The freeze itself, not a wait for anything.
        tokio::time::sleep(FROZEN).await;
        let awake = SystemTime::now();
        frozen.signal("CONT");
        // While it is frozen the other one must have taken over; when it wakes up, everything must go on.
        takeovers.push((began, awake));
        trial.recovered(began, awake).await;
    }
    let client = trial.close(vec![frozen, heir]).await;
    let mut longest = Duration::ZERO;
    for (from, to) in takeovers {
        longest = longest.max(crate::timing::longest_pause(&client, from, to).await);
    }
    trial.note(format!("longest pause of a partition, from the freeze until the other process stored: {longest:.1?} (session {SESSION})"));
    trial.end(&client).await
}
