//! Drills: the faults that an instance can be made to meet, what is asked for, and what came of it.
//!
//! Pure. The names are a closed list; the API, the command line and docs/OPERATIONS.md carry them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A fault that can be rehearsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DrillName {
    /// A consumer's task is aborted.
    KillConsumer,
    /// A consumer's task panics.
    PanicConsumer,
    /// A consumer blocks its task.
    StallConsumer,
    /// A writer's task is aborted with a batch in hand.
    KillWriter,
    /// A writer's task panics with a batch in hand.
    PanicWriter,
    /// The dead-letter actor panics between publishing and marking.
    PanicDeadLetter,
    /// Some broken events among good ones.
    PoisonBurst,
    /// Broken events only, enough for the storm guard.
    PoisonStorm,
    /// The store refuses everything.
    DbDown,
    /// The store answers late.
    DbSlow,
    /// No broker answers.
    BrokerDown,
    /// A further member joins and leaves the group again and again.
    RebalanceStorm,
    /// A writer frozen with a batch in hand wakes after others stored it.
    Zombie,
}

impl DrillName {
    /// Every drill, in the order in which `--all` runs them.
    pub const ALL: [Self; 13] = [
        Self::KillConsumer,
        Self::PanicConsumer,
        Self::StallConsumer,
        Self::KillWriter,
        Self::PanicWriter,
        Self::PanicDeadLetter,
        Self::PoisonBurst,
        Self::PoisonStorm,
        Self::DbDown,
        Self::DbSlow,
        Self::BrokerDown,
        Self::RebalanceStorm,
        Self::Zombie,
    ];

    /// The name used everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KillConsumer => "kill-consumer",
            Self::PanicConsumer => "panic-consumer",
            Self::StallConsumer => "stall-consumer",
            Self::KillWriter => "kill-writer",
            Self::PanicWriter => "panic-writer",
            Self::PanicDeadLetter => "panic-dead-letter",
            Self::PoisonBurst => "poison-burst",
            Self::PoisonStorm => "poison-storm",
            Self::DbDown => "db-down",
            Self::DbSlow => "db-slow",
            Self::BrokerDown => "broker-down",
            Self::RebalanceStorm => "rebalance-storm",
            Self::Zombie => "zombie",
        }
    }

    /// The drill of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|drill| drill.as_str() == name)
    }

    /// What happens in it, in one line for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::KillConsumer => "aborts the task of a consumer; it is built again and reads on from the store",
            Self::PanicConsumer => "makes a consumer panic with records in hand; the others go on",
            Self::StallConsumer => "blocks the task of a consumer until the watchdog finds it and builds another",
            Self::KillWriter => "aborts a writer with a batch in hand, once before and once after its COMMIT",
            Self::PanicWriter => "makes a writer panic with a batch in hand, once before and once after its COMMIT",
            Self::PanicDeadLetter => {
                "makes the dead-letter actor panic after publishing; its letters are published again"
            }
            Self::PoisonBurst => "sends some broken events among good ones; each broken one becomes one dead letter",
            Self::PoisonStorm => {
                "sends broken events until the storm guard puts a partition into quarantine, then releases it"
            }
            Self::DbDown => "makes the store refuse everything for some seconds, as an outage would",
            Self::DbSlow => "makes the store answer late for some seconds",
            Self::BrokerDown => "lets no broker answer for some seconds",
            Self::RebalanceStorm => {
                "lets a further member join and leave the group every 2 s for a while, and a consumer leave with it"
            }
            Self::Zombie => "freezes a writer with a batch in hand until others stored it; then it must lose its race",
        }
    }

    /// How long the fault lasts unless told otherwise, in seconds; `None` where it has no length of its own.
    #[must_use]
    pub fn default_seconds(self) -> Option<f64> {
        match self {
            Self::DbDown | Self::DbSlow | Self::BrokerDown => Some(5.0),
            Self::RebalanceStorm => Some(12.0),
            _ => None,
        }
    }

    /// Whether it concerns one consumer, which may be named.
    #[must_use]
    pub fn takes_consumer(self) -> bool {
        matches!(
            self,
            Self::KillConsumer
                | Self::PanicConsumer
                | Self::StallConsumer
                | Self::KillWriter
                | Self::PanicWriter
                | Self::Zombie
        )
    }
}

impl fmt::Display for DrillName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Longest fault of a drill, in seconds: it is a rehearsal.
pub const MAX_SECONDS: f64 = 600.0;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillRequest {
    /// Which drill.
    pub name: String,
    /// The consumer that it concerns; without it one that owns partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_id: Option<String>,
    /// How long the fault lasts, in seconds, where it has a length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// How far a drill is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrillState {
    /// The fault is being made, or lasts.
    Injecting,
    /// The fault is over; everything must be as before.
    Recovering,
    /// Every offset is being accounted for.
    Auditing,
    /// Nothing lost, nothing doubled, recovered.
    Passed,
    /// Not so; the report says what.
    Failed,
}

impl DrillState {
    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Passed | Self::Failed)
    }
}

/// What was counted while a drill ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrillSeen {
    /// Children that were started again.
    pub restarts: u64,
    /// Positions that were taken from the store again.
    pub position_resets: u64,
    /// Rebalances, counted by each consumer.
    pub rebalances: u64,
    /// How often the breaker opened.
    pub breaker_trips: u64,
    /// Errors of the store.
    pub store_errors: u64,
    /// Records that were read again and skipped because they were stored already.
    pub duplicates_skipped: u64,
}

/// What came of a drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrillReport {
    /// Number within this process, from 1.
    pub number: u64,
    /// Which drill.
    pub name: DrillName,
    /// State.
    pub state: DrillState,
    /// The consumer that it concerned.
    pub consumer_id: Option<String>,
    /// When it started, in milliseconds since the epoch.
    pub started_at_ms: i64,
    /// When it ended, in milliseconds since the epoch.
    pub ended_at_ms: Option<i64>,
    /// Events that the drill sent itself, because it needed them or because there was no load.
    pub events_sent: u64,
    /// How long the fault lasted, in milliseconds.
    pub fault_ms: Option<u64>,
    /// From the end of the fault until every partition was stored past where its log ended then, all children ran and
    /// readiness was green; in milliseconds. `None` when that did not come about.
    pub recovery_ms: Option<u64>,
    /// Offsets that nothing accounts for; `None` before the audit.
    pub lost: Option<i64>,
    /// Offsets that are accounted for more than once, and batches that a zombie stored; `None` before the audit.
    pub doubled: Option<i64>,
    /// Broken events that the drill sent.
    pub dead_letters_expected: u64,
    /// Dead letters that they became.
    pub dead_letters_found: u64,
    /// What was counted.
    pub seen: DrillSeen,
    /// What happened, in order, in words.
    pub steps: Vec<String>,
    /// What was wrong; empty when it passed.
    pub problems: Vec<String>,
}

impl DrillReport {
    /// A drill that begins.
    #[must_use]
    pub fn new(number: u64, name: DrillName, started_at_ms: i64) -> Self {
        Self {
            number,
            name,
            state: DrillState::Injecting,
            consumer_id: None,
            started_at_ms,
            ended_at_ms: None,
            events_sent: 0,
            fault_ms: None,
            recovery_ms: None,
            lost: None,
            doubled: None,
            dead_letters_expected: 0,
            dead_letters_found: 0,
            seen: DrillSeen::default(),
            steps: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Writes down how it ended: it passed when everything was counted, nothing is missing and nothing was wrong.
    pub fn end(&mut self, at_ms: i64) {
        if self.dead_letters_found != self.dead_letters_expected {
            self.problems.push(format!(
                "{} dead letters were expected, {} found",
                self.dead_letters_expected, self.dead_letters_found
            ));
        }
        match (self.lost, self.doubled) {
            (Some(0), Some(0)) => {}
            (Some(lost), Some(doubled)) => self.problems.push(format!("{lost} offsets lost, {doubled} doubled")),
            _ => self.problems.push("it was not audited".to_owned()),
        }
        if self.recovery_ms.is_none() {
            self.problems.push("it did not recover in time".to_owned());
        }
        self.state = if self.problems.is_empty() { DrillState::Passed } else { DrillState::Failed };
        self.ended_at_ms = Some(at_ms);
    }
}

/// One drill as `GET /api/v1/drills` lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrillListed {
    /// Its name.
    pub name: DrillName,
    /// What happens in it.
    pub meaning: String,
    /// How long the fault lasts unless told otherwise, in seconds.
    pub default_seconds: Option<f64>,
    /// Whether a consumer may be named.
    pub takes_consumer: bool,
}

/// What can be run, what runs and what ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrillList {
    /// Every drill.
    pub drills: Vec<DrillListed>,
    /// The last reports, newest first; the first one may still be running.
    pub reports: Vec<DrillReport>,
}

impl DrillList {
    /// Every drill, with these reports.
    #[must_use]
    pub fn with(reports: Vec<DrillReport>) -> Self {
        let listed = |name: DrillName| DrillListed {
            name,
            meaning: name.meaning().to_owned(),
            default_seconds: name.default_seconds(),
            takes_consumer: name.takes_consumer(),
        };
        Self { drills: DrillName::ALL.into_iter().map(listed).collect(), reports }
    }
}

/// Why a drill was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrillRefused {
    /// This instance does not allow drills.
    #[error(
        "drills are not allowed here: they break things on purpose. Set drills.enabled = true (DROVER_DRILLS_ENABLED) on an instance that may be broken"
    )]
    NotAllowed,
    /// One runs already.
    #[error("drill {number} ({name}) is still running; one runs at a time")]
    Busy {
        /// Its number.
        number: u64,
        /// Which one.
        name: DrillName,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]

    use super::*;

    #[test]
    fn every_name_is_found_again_and_is_what_json_says() {
        for name in DrillName::ALL {
            assert_eq!(DrillName::from_name(name.as_str()), Some(name));
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
        assert_eq!(DrillName::from_name("no-such-drill"), None);
    }

    #[test]
    fn a_drill_passes_only_when_everything_was_counted_and_nothing_is_missing() {
        let passed = || {
            let mut report = DrillReport::new(1, DrillName::PoisonBurst, 0);
            (report.lost, report.doubled, report.recovery_ms) = (Some(0), Some(0), Some(10));
            (report.dead_letters_expected, report.dead_letters_found) = (3, 3);
            report
        };
        let state = |change: fn(&mut DrillReport)| {
            let mut report = passed();
            change(&mut report);
            report.end(5);
            report.state
        };
        assert_eq!(state(|_| {}), DrillState::Passed);
        assert_eq!(state(|report| report.lost = Some(1)), DrillState::Failed);
        assert_eq!(state(|report| report.doubled = Some(1)), DrillState::Failed);
        assert_eq!(state(|report| report.lost = None), DrillState::Failed);
        assert_eq!(state(|report| report.recovery_ms = None), DrillState::Failed);
        assert_eq!(state(|report| report.dead_letters_found = 2), DrillState::Failed);
        assert_eq!(state(|report| report.problems.push("a zombie".into())), DrillState::Failed);
    }
}
