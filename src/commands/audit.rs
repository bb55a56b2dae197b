//! `drover audit`: proves that every offset is accounted for, once, and says which ones are not.
//!
//! Gives back whether everything tiles; the exit code is 0 only then. Runs beside the consumers.

use super::table::{print_table, printable};
use crate::cli::AuditArgs;
use crate::config::KafkaConfig;
use crate::kafka::gap_check::{GapCheck, check_gaps};
use crate::store::Store;
use crate::store::audit::{AuditProgress, AuditReport, PartitionAudit, audit};
use std::io::Write;
use std::time::Duration;

/// Longest wait for one answer of Kafka while gaps are read again.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the command, writes the report to `out` and gives back whether everything tiles.
///
/// # Errors
/// What the store says, a topic that it does not know, or `out` cannot be written.
pub async fn run(
    args: &AuditArgs,
    kafka: &KafkaConfig,
    store: &dyn Store,
    out: &mut (dyn Write + Send),
    progress: &mut (dyn FnMut(AuditProgress) + Send),
) -> anyhow::Result<bool> {
    let report = audit(store, &args.topics, progress).await?;
    let gaps = read_gaps_again(&report, kafka).await;
    let lost: u64 = gaps.iter().flatten().map(|(_, check)| check.lost).sum();
    if args.json {
        let mut whole = serde_json::to_value(&report)?;
        whole["clean"] = (report.clean && lost == 0).into();
        whole["gaps_read_again"] = match &gaps {
            Ok(checks) => checks.iter().map(|(partition, check)| gap_json(partition, check)).collect(),
            Err(why) => serde_json::json!({ "error": why }),
        };
        serde_json::to_writer_pretty(&mut *out, &whole)?;
        writeln!(out)?;
    } else {
        print(&report, out)?;
        print_gaps(&gaps, out)?;
    }
    Ok(report.clean && lost == 0)
}

type GapChecks<'r> = Result<Vec<(&'r PartitionAudit, GapCheck)>, String>;

/// A gap is the one thing that the store cannot prove by itself: while Kafka has its offsets, it is read again.
async fn read_gaps_again<'r>(report: &'r AuditReport, kafka: &KafkaConfig) -> GapChecks<'r> {
    let mut checks = Vec::new();
    for partition in report.partitions.iter().filter(|partition| !partition.gaps.is_empty()) {
        let (kafka, topic, number, gaps) =
            (kafka.clone(), partition.topic.clone(), partition.partition, partition.gaps.clone());
        let check = tokio::task::spawn_blocking(move || check_gaps(&kafka, &topic, number, &gaps, KAFKA_TIMEOUT)).await;
        checks.push((partition, check.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?));
    }
    Ok(checks)
}

fn gap_json(partition: &PartitionAudit, check: &GapCheck) -> serde_json::Value {
    serde_json::json!({ "topic": partition.topic, "partition": partition.partition, "check": check })
}

fn print_gaps(gaps: &GapChecks<'_>, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let checks = match gaps {
        Ok(checks) => checks,
        Err(why) => return writeln!(out, "gaps were not read again from Kafka: {why}"),
    };
    for (partition, check) in checks {
        let place = format!("{} [{}]", printable(&partition.topic), partition.partition);
        writeln!(
            out,
            "{place}: {} gaps read again and confirmed, {} expired in Kafka",
            check.confirmed, check.expired
        )?;
        if check.lost > 0 {
            let offsets: Vec<String> = check.lost_offsets.iter().map(ToString::to_string).collect();
            writeln!(
                out,
                "NOT CLEAN: {place}: Kafka delivers {} records inside gaps: {}",
                check.lost,
                offsets.join(", ")
            )?;
        }
    }
    Ok(())
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
