//! The embedded broker of demo mode and of tests: librdkafka's mock cluster, on a thread of its own.
//!
//! Owns the cluster; bounded by it (5 MiB and 100,000 message sets per partition, older records are gone without a word).
//! It listens on a free port of 127.0.0.1 and keeps nothing beyond the process. It answers no administration: no topics
//! created, deleted or grown by clients, no configs, and no topic ids (DescribeTopics runs into its timeout, so ask for ids
//! only where the cluster id does not start with [`CLUSTER_ID_PREFIX`]). Offsets by time are always the end, and a
//! transaction that is open or aborted does not hold the last stable offset back.
//! The cluster is not safe to share between threads, so callers talk to its thread through a channel.

use super::error::{KafkaError, KafkaErrorKind, KafkaResult};
use rdkafka::mocking::MockCluster;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// Commands that wait for the broker's thread. Each caller waits for its answer, so more than one per caller never queue.
const COMMANDS: usize = 16;

/// The start of every embedded broker's cluster id; the rest differs with each start.
pub const CLUSTER_ID_PREFIX: &str = "mockCluster";

enum Command {
    CreateTopic { topic: String, partitions: i32, answer: mpsc::Sender<KafkaResult<()>> },
    SetDown { down: bool, answer: mpsc::Sender<KafkaResult<()>> },
}

/// A running embedded broker. It ends when this value is dropped.
pub struct EmbeddedBroker {
    bootstrap_servers: String,
    commands: Option<mpsc::SyncSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts a broker. Blocks for some milliseconds.
    ///
    /// # Errors
    /// When librdkafka cannot make it (no free port on loopback, no thread).
    pub fn start() -> KafkaResult<Self> {
        let (started, starting) = mpsc::channel();
        let (commands, inbox) = mpsc::sync_channel(COMMANDS);
        let thread = std::thread::Builder::new()
            .name("embedded-broker".into())
            .spawn(move || serve(&started, &inbox))
            .map_err(|error| failed("starting the embedded broker", error.to_string()))?;
        let bootstrap_servers =
            starting.recv().map_err(|_| failed("starting the embedded broker", "its thread ended".into()))??;
        Ok(Self { bootstrap_servers, commands: Some(commands), thread: Some(thread) })
    }

    /// The address for `kafka.brokers`.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Creates a topic. Clients cannot do it: the embedded broker does not know that request.
    ///
    /// # Errors
    /// When the topic exists or the broker has ended.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> KafkaResult<()> {
        let topic = topic.to_owned();
        self.ask("creating a topic on the embedded broker", |answer| Command::CreateTopic { topic, partitions, answer })
    }

    /// Makes the broker unreachable, or reachable again, with everything it holds: an outage for drills and tests.
    ///
    /// # Errors
    /// When the broker has ended.
    pub fn set_down(&self, down: bool) -> KafkaResult<()> {
        self.ask("an outage of the embedded broker", |answer| Command::SetDown { down, answer })
    }

    fn ask(&self, doing: &str, command: impl FnOnce(mpsc::Sender<KafkaResult<()>>) -> Command) -> KafkaResult<()> {
        let ended = || failed(doing, "it has ended".into());
        let (answer, answered) = mpsc::channel();
        self.commands.as_ref().ok_or_else(ended)?.send(command(answer)).map_err(|_| ended())?;
        answered.recv().map_err(|_| ended())?
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        // A closed channel ends the thread, which drops the cluster where it was made.
        drop(self.commands.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the embedded broker panicked");
        }
    }
}

fn failed(doing: &str, why: String) -> KafkaError {
    KafkaError::new(KafkaErrorKind::Other, doing, why)
}

/// The one broker's id.
const BROKER: i32 = 1;

fn serve(started: &mpsc::Sender<KafkaResult<String>>, inbox: &mpsc::Receiver<Command>) {
    let cluster = match MockCluster::new(1) {
        Ok(cluster) => cluster,
        Err(error) => {
            // The starter is waiting for this answer; if it is gone, there is nobody to tell.
            let _ = started.send(Err(KafkaError::native("starting the embedded broker", &error)));
            return;
        }
    };
    if started.send(Ok(cluster.bootstrap_servers())).is_err() {
        return;
    }
    while let Ok(command) = inbox.recv() {
        let (answer, outcome) = match command {
            Command::CreateTopic { topic, partitions, answer } => (
                answer,
                cluster.create_topic(&topic, partitions, 1).map_err(|error| {
                    KafkaError::native(format!("creating topic \"{topic}\" on the embedded broker"), &error)
                }),
            ),
            Command::SetDown { down, answer } => {
                let outcome = if down { cluster.broker_down(BROKER) } else { cluster.broker_up(BROKER) };
                (answer, outcome.map_err(|error| KafkaError::native("an outage of the embedded broker", &error)))
            }
        };
        // An asker that went away needs no answer.
        let _ = answer.send(outcome);
    }
}

#[cfg(test)]
#[path = "embedded_tests.rs"]
mod tests;
