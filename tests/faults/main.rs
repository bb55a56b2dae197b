//! The fault matrix: every fault that this kind of system meets is made to happen to the real binary, on a real Kafka and
//! a real PostgreSQL, under load; then what was stored is compared with what was sent.
//!
//! `scripts/faults [ROW...]` runs it and writes docs/RELIABILITY.md. Under `cargo test` only the quick rows run, in a short
//! form, and nothing is written. One file for each family of faults; a row is a name, the fault in words, and a function.
#![allow(missing_docs, reason = "names and the module's first lines say it")]
#![allow(clippy::unwrap_used, reason = "a missing value is the failure of the row")]

mod audit;
mod link;
mod load;
mod log;
mod report;
mod servers;
mod stage;
mod support;
mod timing;
mod trial;

mod brokers;
mod databases;
mod groups;
mod memory;
mod networks;
mod processes;
mod records;
mod refusals;
mod supervision;

use futures::FutureExt as _;
use report::{Entry, Ground, Results};
use servers::Scripts;
use stage::{Row, Stage, Verdict};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// The matrix, in the order of the table.
fn rows() -> Vec<Row> {
    [
        processes::rows(),
        supervision::rows(),
        brokers::rows(),
        databases::rows(),
        refusals::rows(),
        networks::rows(),
        groups::rows(),
        records::rows(),
        memory::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let rows = rows();
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        // `cargo test -- --list` asks every binary for its tests in this form.
        rows.iter().for_each(|row| println!("{}: test", row.name));
        return ExitCode::SUCCESS;
    }
    let whole = args.first().is_some_and(|arg| arg == "--matrix");
    if whole {
        args.remove(0);
    }
    // Whatever else cargo passes on to all binaries is for the others.
    args.retain(|arg| !arg.starts_with("--"));
    if let Some(unknown) = args.iter().find(|arg| whole && !rows.iter().any(|row| row.name == **arg)) {
        eprintln!("there is no row {unknown}; --list shows all");
        return ExitCode::from(2);
    }
    let Some(scripts) = Scripts::find() else {
        println!("skipped: DROVER_TEST_KAFKA_SCRIPT or DROVER_TEST_POSTGRES_SCRIPT is not set; scripts/test sets them");
        return ExitCode::SUCCESS;
    };
    let chosen: Vec<&Row> = rows
        .iter()
        .filter(|row| whole || row.quick)
        .filter(|row| args.is_empty() || args.iter().any(|arg| arg == row.name))
        .collect();
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    if run(&rows, &chosen, scripts, whole).await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the chosen rows, one after the other; whether all of them hold.
async fn run(rows: &[Row], chosen: &[&Row], scripts: Scripts, whole: bool) -> bool {
    let started = Instant::now();
    let logs = std::env::var_os("DROVER_FAULTS_LOGS")
        .map_or_else(|| std::env::temp_dir().join(format!("drover-faults-{}", std::process::id())), PathBuf::from);
    let stage = Arc::new(Stage::start(scripts, !whole, logs));
    let ground = Ground::of(&stage).await;
    let form = if whole { "" } else { " in their short form" };
    println!("{} rows{form}; {}; logs in {}", chosen.len(), ground.drover, stage.logs.display());
    let mut failed = Vec::new();
    for (number, row) in chosen.iter().enumerate() {
        println!("[{}/{}] {}: {}", number + 1, chosen.len(), row.name, row.fault);
        let row_started = Instant::now();
        // Whatever breaks off a row ends that row alone.
        let judged = AssertUnwindSafe((row.run)(Arc::clone(&stage))).catch_unwind().await;
        let verdict = judged.unwrap_or_else(|panic| Verdict::broken(panic_text(&*panic)));
        let entry = Entry::new(row, verdict, row_started.elapsed().as_secs(), &ground);
        println!("    {}", entry.line());
        entry.verdict.failures.iter().for_each(|failure| println!("    {failure}"));
        let row_failed = !entry.verdict.failures.is_empty();
        stage.tidy(row.name, row_failed);
        if row_failed {
            println!("    logs: {}", stage.logs.join(row.name).display());
            failed.push(row.name);
        }
        if whole {
            // After each row, so that a run that is broken off leaves what it found.
            let mut results = Results::read();
            results.rows.insert(row.name.to_owned(), entry);
            results.write(rows);
        }
    }
    println!("{} of {} rows hold, {} s", chosen.len() - failed.len(), chosen.len(), started.elapsed().as_secs());
    if failed.is_empty() && !whole {
        let _ = std::fs::remove_dir_all(&stage.logs);
    } else if !failed.is_empty() {
        println!("these do not: {}", failed.join(", "));
    }
    failed.is_empty()
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the row broke off: {}", text.unwrap_or("a panic without a message"))
}
