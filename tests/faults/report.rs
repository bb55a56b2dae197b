//! The results: docs/reliability.json holds them, docs/RELIABILITY.md is rendered from it. A run replaces the rows that it
//! ran and keeps the others, so each row carries its own commit and date.

use crate::stage::{Row, Stage, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const BEGIN: &str = "<!-- begin matrix -->";
const END: &str = "<!-- end matrix -->";

/// What a result stands on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ground {
    pub machine: String,
    pub kafka: String,
    pub postgres: String,
    pub drover: String,
}

/// One row of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    pub fault: String,
    pub commit: String,
    pub date: String,
    /// How long the row took, in seconds.
    pub seconds: u64,
    pub ground: Ground,
    pub verdict: Verdict,
}

/// All results, by the name of the row.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub rows: BTreeMap<String, Entry>,
}

impl Results {
    fn path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.json")
    }

    /// Those of earlier runs.
    pub fn read() -> Self {
        match std::fs::read_to_string(Self::path()) {
            Ok(text) => serde_json::from_str(&text).expect("docs/reliability.json is not what this writes; remove it"),
            Err(_) => Self::default(),
        }
    }

    /// Writes both files, without rows that exist no longer.
    pub fn write(&mut self, rows: &[Row]) {
        self.rows.retain(|name, _| rows.iter().any(|row| row.name == name));
        let mut text = serde_json::to_string_pretty(self).unwrap();
        text.push('\n');
        std::fs::write(Self::path(), text).unwrap();
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/RELIABILITY.md");
        let text = std::fs::read_to_string(&document).unwrap();
        let (head, rest) = text.split_once(BEGIN).expect("docs/RELIABILITY.md has no begin of the matrix");
        let (_, tail) = rest.split_once(END).expect("docs/RELIABILITY.md has no end of the matrix");
        std::fs::write(&document, format!("{head}{BEGIN}\n{}{END}{tail}", self.render(rows))).unwrap();
    }

    fn render(&self, rows: &[Row]) -> String {
        let mut out = String::new();
        let grounds: BTreeSet<&Ground> = self.rows.values().map(|entry| &entry.ground).collect();
        for ground in grounds {
            let Ground { machine, kafka, postgres, drover } = ground;
            writeln!(out, "- {machine}. Kafka {kafka}, PostgreSQL {postgres}, {drover}.").unwrap();
        }
        let ran = |row: &&Row| self.rows.contains_key(row.name);
        let green = self.rows.values().filter(|entry| entry.passes()).count();
        let skipped = self.rows.values().filter(|entry| entry.verdict.skipped.is_some()).count();
        writeln!(
            out,
            "\n{green} of {} rows hold, {} do not, {skipped} were skipped, {} were never run.\n",
            rows.len(),
            self.rows.len() - green - skipped,
            rows.len() - rows.iter().filter(ran).count(),
        )
        .unwrap();
        out.push_str(
            "| | Fault | Events | Lost | Doubled | Dead letters, expected / found | Recovery, median / worst (goal) | \
             Measured besides | Repeat | Run |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for row in rows {
            match self.rows.get(row.name) {
                Some(entry) => out.push_str(&entry.render(row.name)),
                None => writeln!(out, "| never run | {} | | | | | | | `scripts/faults {}` | |", row.fault, row.name)
                    .unwrap(),
            }
        }
        let failing: Vec<_> = rows.iter().filter_map(|row| Some((row.name, self.rows.get(row.name)?))).collect();
        for (name, entry) in failing {
            if !entry.verdict.failures.is_empty() {
                writeln!(out, "\n`{name}` does not hold:\n").unwrap();
                for failure in &entry.verdict.failures {
                    writeln!(out, "- {}", cell(failure)).unwrap();
                }
            }
        }
        out
    }
}

impl Entry {
    /// A result of now.
    pub fn new(row: &Row, verdict: Verdict, seconds: u64, ground: &Ground) -> Self {
        Self {
            fault: row.fault.to_owned(),
            commit: commit(),
            date: chrono::Utc::now().format("%Y-%m-%d").to_string(),
            seconds,
            ground: ground.clone(),
            verdict,
        }
    }

    pub fn passes(&self) -> bool {
        self.verdict.skipped.is_none() && self.verdict.failures.is_empty()
    }

    fn render(&self, name: &str) -> String {
        let Verdict { events, lost, doubled, expected_dead_letters, dead_letters, .. } = &self.verdict;
        let run = format!("{}, {}, {} s", self.commit, self.date, self.seconds);
        let repeat = format!("`scripts/faults {name}`");
        if let Some(why) = &self.verdict.skipped {
            return format!("| skipped | {} | | | | | | {} | {repeat} | {run} |\n", self.fault, cell(why));
        }
        let holds = if self.passes() { "holds" } else { "**FAILS**" };
        let besides = cell(&self.besides().join("; "));
        format!(
            "| {holds} | {} | {events} | {lost} | {doubled} | {expected_dead_letters} / {dead_letters} | {} | {besides} | \
             {repeat} | {run} |\n",
            self.fault,
            self.recovery()
        )
    }

    fn recovery(&self) -> String {
        let mut all = self.verdict.recoveries_ms.clone();
        all.sort_unstable();
        let Some(worst) = all.last() else { return String::new() };
        let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1_000.0);
        let goal = self.verdict.goal_ms.map_or_else(|| "no goal".to_owned(), |goal| format!("≤ {}", seconds(goal)));
        match all.len() {
            1 => format!("{} ({goal})", seconds(*worst)),
            count => format!("{} / {} of {count} ({goal})", seconds(all[count / 2]), seconds(*worst)),
        }
    }

    fn besides(&self) -> Vec<String> {
        let peak = self.verdict.peak_rss_kb.map(|kb| format!("peak RSS {:.1} MB", kb as f64 * 1_024.0 / 1e6));
        peak.into_iter().chain(self.verdict.notes.iter().cloned()).collect()
    }

    /// The row in a line, for whoever watches the run.
    pub fn line(&self) -> String {
        if let Some(why) = &self.verdict.skipped {
            return format!("skipped: {why}");
        }
        let Verdict { events, lost, doubled, expected_dead_letters, dead_letters, .. } = &self.verdict;
        let holds = if self.passes() { "holds" } else { "FAILS" };
        format!(
            "{holds}: {events} events, {lost} lost, {doubled} doubled, dead letters {dead_letters} of \
             {expected_dead_letters}, recovery {}; {} ({} s)",
            self.recovery(),
            self.besides().join("; "),
            self.seconds
        )
    }
}

/// Text that fits a cell of the table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

impl Ground {
    /// What this run stands on.
    pub async fn of(stage: &Stage) -> Self {
        let database = crate::support::database::Database::of(&stage.postgres.url(), "public");
        let postgres = database.query("SHOW server_version", &[]).await[0].get::<_, String>(0);
        Self {
            machine: machine(),
            kafka: stage.kafka.version(),
            postgres: postgres.split_whitespace().next().unwrap_or_default().to_owned(),
            drover: said(Command::new(crate::support::drover::binary()).arg("--version")),
        }
    }
}

fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split([':', '=']).nth(1)?.trim().trim_matches('"').to_owned())
    };
    let cpu = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let memory: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
    let system = field(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned());
    format!(
        "{cores} cores ({cpu}), {:.0} GB of memory, {system}; brokers, database, load and drover share it",
        memory / 1e6
    )
}

/// The commit of the checkout, which is the binary's only when scripts/faults has built it.
fn commit() -> String {
    if std::env::var_os("DROVER_FAULTS_BUILT").is_none() {
        return "a binary that was given".to_owned();
    }
    let git = |args: &[&str]| said(Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")));
    let changed = !git(&["status", "--porcelain", "--", "src", "tests", "migrations", "Cargo.lock"]).is_empty();
    format!("{}{}", git(&["rev-parse", "--short", "HEAD"]), if changed { "+changes" } else { "" })
}

fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    output.unwrap_or_else(|_| "unknown".to_owned())
}
