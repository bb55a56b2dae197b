//! `drover audit`: proves that every offset is accounted for, once, and says which ones are not.
//!
//! Gives back whether everything tiles; the exit code is 0 only then. Runs beside the consumers.

use super::table::{print_table, printable};
use crate::cli::AuditArgs;
use crate::store::Store;
use crate::store::audit::{AuditProgress, AuditReport, PartitionAudit, audit};
use std::io::Write;

/// Runs the command, writes the report to `out` and gives back whether everything tiles.
///
/// # Errors
/// What the store says, a topic that it does not know, or `out` cannot be written.
pub async fn run(
    args: &AuditArgs,
    store: &dyn Store,
    out: &mut (dyn Write + Send),
    progress: &mut (dyn FnMut(AuditProgress) + Send),
) -> anyhow::Result<bool> {
    let report = audit(store, &args.topics, progress).await?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        print(&report, out)?;
    }
    Ok(report.clean)
}

fn print(report: &AuditReport, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let header =
        ["TOPIC", "PARTITION", "FROM", "TO", "ROWS", "DEAD LETTERS", "GAPS", "UNACCOUNTED", "OVERLAPPING", "AHEAD"];
    let rows = report.partitions.iter().map(|p| {
        let numbers = [
            i64::from(p.partition),
            p.first_offset,
            p.next_offset,
            p.rows,
            p.dead_letters,
            p.gap_offsets,
            p.unaccounted_offsets,
            p.overlapping,
            p.stored_ahead,
        ];
        std::iter::once(printable(&p.topic)).chain(numbers.iter().map(ToString::to_string)).collect()
    });
    print_table(&header, rows.collect(), out)?;
    for partition in report.partitions.iter().filter(|p| p.unaccounted_offsets > 0) {
        print_unaccounted(partition, out)?;
    }
    if report.partitions.iter().any(|p| p.stored_ahead > 0) {
        writeln!(out, "AHEAD: stored at or above the position, as after a rewind; it is read past them again")?;
    }
    let offsets: i64 = report.partitions.iter().map(|p| p.next_offset - p.first_offset).sum();
    match report.clean {
        true => writeln!(out, "clean: each of {offsets} offsets is accounted for, once"),
        false => writeln!(out, "NOT CLEAN: offsets are unaccounted for, or accounted for more than once"),
    }
}

fn print_unaccounted(partition: &PartitionAudit, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let ranges: Vec<String> =
        partition.unaccounted.iter().map(|range| format!("{} to {}", range.first, range.next - 1)).collect();
    writeln!(
        out,
        "{} [{}]: nothing accounts for {} offsets: {}",
        printable(&partition.topic),
        partition.partition,
        partition.unaccounted_offsets,
        ranges.join(", ")
    )
}
