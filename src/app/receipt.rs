//! The receipt of a stop: what was stored, where every partition stands, what was left and why.

use crate::actors::supervisor::Verdict;
use crate::board::Board;
use crate::domain::status::{ChildKind, ChildState, ChildStatus, ExitReason, PartitionStatus};
use serde::Serialize;
use std::fmt;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Receipt {
    /// Rows stored since the start.
    pub stored: u64,
    /// Dead letters stored since the start.
    pub dead_letters: u64,
    /// Duplicates skipped since the start.
    pub duplicates: u64,
    /// Position of each partition that was owned at the stop.
    pub partitions: Vec<PartitionStatus>,
    /// What was not finished, and why. Nothing of it is lost: it is read again at the next start.
    pub left: Vec<String>,
    /// Why the supervisor ended the process, if it did.
    pub verdict: Option<String>,
}

impl Receipt {
    pub(super) fn of(
        board: &Board,
        children: &[ChildStatus],
        unfinished: Vec<String>,
        verdict: Option<Verdict>,
    ) -> Self {
        let (consumers, retired) = (board.consumers(), board.retired());
        let mut partitions: Vec<PartitionStatus> =
            consumers.iter().flat_map(|consumer| consumer.partitions.clone()).collect();
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let mut left: Vec<String> = Vec::new();
        for id in unfinished {
            let cause = children.iter().find(|child| child.id == id).and_then(|child| child.last_exit.as_ref());
            left.push(match cause {
                Some(exit) => format!("{id}: {}", exit.message),
                None => format!("{id}: did not finish within shutdown.grace"),
            });
        }
        for child in children.iter().filter(|child| child.kind == ChildKind::Consumer) {
            let failed = child.state == ChildState::Failed
                || child.last_exit.as_ref().is_some_and(|exit| {
                    exit.generation == child.generation
                        && matches!(exit.reason, ExitReason::Panicked | ExitReason::Error)
                });
            let named = left.iter().any(|line| line.starts_with(&format!("{}: ", child.id)));
            if failed && !named {
                let why = child.last_exit.as_ref().map_or("it failed", |exit| exit.message.as_str());
                left.push(format!("{}: {why}", child.id));
            }
        }
        for partition in partitions.iter().filter(|partition| partition.stopped.is_some()) {
            let stop = partition.stopped.as_ref().map_or("", |stop| stop.message.as_str());
            left.push(format!("partition {}/{} is stopped: {stop}", partition.topic, partition.partition));
        }
        let all = || consumers.iter().chain(std::iter::once(&retired));
        Self {
            stored: all().map(|consumer| consumer.stored).sum(),
            dead_letters: all().map(|consumer| consumer.dead_letters).sum(),
            duplicates: all().map(|consumer| consumer.duplicates).sum(),
            partitions,
            left,
            verdict: verdict.map(|verdict| verdict.to_string()),
        }
    }

    /// Whether nothing was left and the stop was asked for.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.left.is_empty() && self.verdict.is_none()
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "receipt: {} stored, {} dead letters, {} duplicates skipped",
            self.stored, self.dead_letters, self.duplicates
        )?;
        for partition in &self.partitions {
            write!(f, "  {}/{} next offset {}", partition.topic, partition.partition, partition.next_offset)?;
            match partition.lag {
                Some(lag) => writeln!(f, ", {lag} behind")?,
                None => writeln!(f)?,
            }
        }
        if let Some(verdict) = &self.verdict {
            writeln!(f, "ended by the supervisor: {verdict}")?;
        }
        if self.left.is_empty() {
            writeln!(f, "nothing was left")
        } else {
            self.left.iter().try_for_each(|line| writeln!(f, "left: {line}"))
        }
    }
}
