//! `drover drill`: makes a running instance meet a fault, waits for its recovery, and tells what was lost and doubled.
//!
//! Gives back whether every drill passed: nothing lost, nothing doubled, recovered; the exit code is 0 only then. The drill
//! itself runs in the instance and goes on when this command is stopped.

use super::consumers::connect;
use super::table::print_table;
use crate::cli::DrillArgs;
use crate::client::{Client, ClientError};
use crate::domain::drill::{DrillList, DrillName, DrillReport, DrillRequest, DrillState};
use std::io::Write;
use std::time::Duration;

/// Time between two looks at a drill that runs.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the command.
///
/// # Errors
/// No answer, a refusal, or `out` cannot be written.
pub async fn run(args: &DrillArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<bool> {
    let client = &connect(&args.server)?;
    if args.list {
        return list(args, client, out).await.map(|()| true);
    }
    let names: Vec<String> = match &args.name {
        Some(name) => vec![name.clone()],
        None => DrillName::ALL.iter().map(ToString::to_string).collect(),
    };
    let mut reports = Vec::new();
    for name in names {
        let request = DrillRequest { name, consumer_id: args.consumer.clone(), seconds: args.seconds };
        let report = drill(client, &request).await?;
        if !args.json {
            print(&report, out)?;
        }
        reports.push(report);
    }
    if args.json {
        match &reports[..] {
            [only] if !args.all => serde_json::to_writer_pretty(&mut *out, only)?,
            all => serde_json::to_writer_pretty(&mut *out, all)?,
        }
        writeln!(out)?;
    }
    Ok(reports.iter().all(|report| report.state == DrillState::Passed))
}

/// Starts a drill and waits until it is over.
async fn drill(client: &Client, request: &DrillRequest) -> Result<DrillReport, ClientError> {
    let mut report: DrillReport = client.post(&["drills"], request).await?;
    while !report.state.is_over() {
        tokio::time::sleep(LOOK).await;
        report = client.get(&["drills", &report.number.to_string()]).await?;
    }
    Ok(report)
}

async fn list(args: &DrillArgs, client: &Client, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let listed: DrillList = client.get(&["drills"]).await?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &listed)?;
        writeln!(out)?;
        return Ok(());
    }
    let rows = listed.drills.iter().map(|drill| vec![drill.name.to_string(), drill.meaning.clone()]);
    print_table(&["DRILL", "WHAT IT DOES"], rows.collect(), out)?;
    for report in listed.reports.iter().rev() {
        writeln!(out)?;
        print(report, out)?;
    }
    Ok(())
}

/// A report for people.
fn print(report: &DrillReport, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let DrillReport { number, name, seen, .. } = report;
    let outcome = match report.state {
        DrillState::Passed => "passed",
        DrillState::Failed => "FAILED",
        DrillState::Injecting | DrillState::Recovering | DrillState::Auditing => "running",
    };
    writeln!(out, "{name}: {outcome} (drill {number})")?;
    for step in &report.steps {
        writeln!(out, "  {step}")?;
    }
    let count = |count: Option<i64>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let recovered = match report.recovery_ms {
        Some(ms) => format!("recovered {ms} ms after the fault"),
        None => "not recovered".to_owned(),
    };
    writeln!(
        out,
        "  lost {}, doubled {}, dead letters {} of {}, {recovered}",
        count(report.lost),
        count(report.doubled),
        report.dead_letters_found,
        report.dead_letters_expected
    )?;
    writeln!(
        out,
        "  seen: {} restarts, {} position resets, {} rebalances, {} breaker trips, {} store errors, {} duplicates skipped",
        seen.restarts,
        seen.position_resets,
        seen.rebalances,
        seen.breaker_trips,
        seen.store_errors,
        seen.duplicates_skipped
    )?;
    for problem in &report.problems {
        writeln!(out, "  PROBLEM: {problem}")?;
    }
    Ok(())
}
