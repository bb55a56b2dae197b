//! `drover audit`: proves that every offset is accounted for, once, and says which ones are not.
//!
//! Gives back whether everything tiles; the exit code is 0 only then. Runs beside the consumers, changes nothing but the
//! marks from which the next audit goes on, and repairs nothing.

use super::actor::actor;
use super::table::{print_table, printable};
use crate::actors::audit::{AuditKafka, audit_now, result_of};
use crate::cli::AuditArgs;
use crate::config::KafkaConfig;
use crate::domain::audit::GapReason;
use crate::kafka::lookup::Lookup;
use crate::store::Store;
use crate::store::audit::{AuditProgress, AuditReport, AuditScope, PartitionAudit};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait for one answer of Kafka.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the command, writes the report to `out` and gives back whether everything tiles.
///
/// # Errors
/// What the store says, a topic that it does not know, or `out` cannot be written.
pub async fn run(
    args: &AuditArgs,
    kafka: &KafkaConfig,
    store: &Arc<dyn Store>,
    out: &mut (dyn Write + Send),
    progress: &mut (dyn FnMut(AuditProgress) + Send),
) -> anyhow::Result<bool> {
    let began = Instant::now();
    store.check_schema().await?;
    let kafka = AuditKafka { config: Arc::new(kafka.clone()), lookup: Arc::new(Lookup::new(kafka, ASK_TIMEOUT)?) };
    let scope = AuditScope { topics: args.topics.clone(), full: args.full, gentle: false };
    let report = audit_now(store, &kafka, &scope, progress).await?;
    let finished_at_ms = chrono::Utc::now().timestamp_millis();
    let result = result_of(&report, &actor(), finished_at_ms, began.elapsed());
    if scope.topics.is_empty()
        && let Err(error) = store.set_audit_result(&result).await
    {
        // Beside the process that owns a SQLite file nothing can be written.
        tracing::debug!(error = %error, "the result of the audit was not written down");
    }
    if args.json {
        let mut whole = serde_json::to_value(&report)?;
        whole["finished_at_ms"] = finished_at_ms.into();
        whole["took_ms"] = result.took_ms.into();
        whole["unaccounted"] = result.unaccounted.into();
        whole["overlapping"] = result.overlapping.into();
        serde_json::to_writer_pretty(&mut *out, &whole)?;
        writeln!(out)?;
    } else {
        print(&report, out)?;
    }
    // Dropping its client blocks for a moment.
    drop(tokio::task::spawn_blocking(move || drop(kafka)));
    Ok(report.clean)
}

fn print(report: &AuditReport, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let header =
        ["TOPIC", "PARTITION", "FROM", "TO", "ROWS", "DEAD LETTERS", "GAPS", "UNACCOUNTED", "OVERLAPPING", "AHEAD"];
    let rows = report.partitions.iter().map(|p| {
        let numbers = [
            i64::from(p.partition),
            p.from,
            p.next_offset,
            p.rows,
            p.dead_letters,
            p.gap_offsets,
            p.unaccounted_offsets,
            p.overlapping,
            p.stored_ahead,
        ];
        let topic = printable(&p.topic);
        let topic = if p.past { format!("{topic} (incarnation {})", p.incarnation) } else { topic };
        std::iter::once(topic).chain(numbers.iter().map(ToString::to_string)).collect()
    });
    print_table(&header, rows.collect(), out)?;
    for partition in &report.partitions {
        print_partition(partition, out)?;
    }
    if report.partitions.iter().any(|p| p.stored_ahead > 0) {
        writeln!(out, "AHEAD: stored at or above the position, as after a rewind; it is read past them again")?;
    }
    if !report.full && report.partitions.iter().any(|p| p.from > p.first_offset) {
        writeln!(out, "what lies before FROM was found clean by an earlier audit; --full looks at it again")?;
    }
    match report.clean {
        true => writeln!(out, "clean: each of {} offsets is accounted for, once", report.offsets),
        false => writeln!(out, "NOT CLEAN: offsets are unaccounted for, or accounted for more than once"),
    }
}

fn print_partition(partition: &PartitionAudit, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let place = format!("{} [{}]", printable(&partition.topic), partition.partition);
    if partition.gap_offsets > 0 {
        let reasons: Vec<String> = partition
            .gap_offsets_by_reason
            .iter()
            .map(|(reason, offsets)| format!("{offsets} {}", meaning(*reason)))
            .collect();
        writeln!(out, "{place}: offsets in gaps: {}", reasons.join(", "))?;
    }
    if let Some(check) = &partition.gaps_read_again {
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
    if let Some(why) = &partition.gaps_not_read {
        writeln!(out, "{place}: gaps were not read again from Kafka: {why}")?;
    }
    if let Some(from) = partition.gaps_left_from {
        writeln!(
            out,
            "{place}: gaps from {from} on were not read again, they are too many; the next audit goes on there"
        )?;
    }
    if partition.unaccounted_offsets > 0 {
        let ranges: Vec<String> =
            partition.unaccounted.iter().map(|range| format!("{} to {}", range.first, range.next - 1)).collect();
        let offsets = partition.unaccounted_offsets;
        writeln!(out, "{place}: nothing accounts for {offsets} offsets: {}", ranges.join(", "))?;
    }
    Ok(())
}

fn meaning(reason: GapReason) -> &'static str {
    match reason {
        GapReason::Jump => "never delivered (markers, aborted records, compaction)",
        GapReason::Tail => "never delivered at the end of the log",
        GapReason::Skipped => "given up by an operator (a known loss)",
        GapReason::Expired => "removed by retention before they were read (a known loss)",
        GapReason::Other => "for a reason that this version does not know",
    }
}
