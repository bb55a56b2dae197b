//! `drover run` and `drover consume`: everything until the stop, then the receipt.
//!
//! SIGTERM and Ctrl-C drain; a second one ends the process at once, which loses nothing that was committed.

use crate::app::{App, Options, Receipt};
use crate::config::{Config, Setting};
use anyhow::Context as _;
use std::io::Write;
use tokio::signal::unix::{SignalKind, signal};

/// Runs until stopped; gives back whether nothing was left. `settings` are what the configuration was made from.
///
/// # Errors
/// What kept drover from starting.
pub async fn run(config: Config, settings: Vec<Setting>, out: &mut impl Write) -> anyhow::Result<bool> {
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let app = tokio::select! {
        started = App::start(config, Options { settings, ..Options::default() }) => started?,
        // Nothing was taken yet.
        () = &mut stop => return Ok(true),
    };
    if let Some(addr) = app.http_addr() {
        tracing::info!(url = %format!("http://{addr}/"), "page, API and metrics");
    }
    let receipt = app.run_until_stopped(stop).await;
    print_receipt(&receipt, out)?;
    Ok(receipt.is_clean())
}

/// Prints and logs a receipt.
///
/// # Errors
/// When nobody reads the output any more.
pub fn print_receipt(receipt: &Receipt, out: &mut impl Write) -> anyhow::Result<()> {
    tracing::info!(
        stored = receipt.stored,
        dead_letters = receipt.dead_letters,
        duplicates = receipt.duplicates,
        left = receipt.left.len(),
        clean = receipt.is_clean(),
        "stopped"
    );
    write!(out, "{receipt}").context("printing the receipt")
}

/// Ready at the first SIGTERM or Ctrl-C; the second one ends the process.
///
/// # Errors
/// When the signals cannot be listened for.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        tokio::spawn(async move {
            next().await;
            eprintln!("drover: second signal, ending at once; what was committed stays committed");
            std::process::exit(1);
        });
    })
}
