//! `drover dead-letters`: lists the records that could not be rows, and shows one of them whole.
//!
//! Bytes are shown as text where they are text, else as base64; nothing reaches a terminal that it would obey.

use super::table::{print_table, printable};
use crate::cli::DeadLettersCommand;
use crate::store::{DeadLetterFilter, Store, StoredDeadLetter};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use std::io::Write;

/// Characters of a message in the list.
const MESSAGE_WIDTH: usize = 60;

/// Runs the command and writes to `out`.
///
/// # Errors
/// What the store says, a dead letter that is not there, or `out` cannot be written.
pub async fn run(command: &DeadLettersCommand, store: &dyn Store, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    match command {
        DeadLettersCommand::List { topic, code, limit, json, .. } => {
            let filter = DeadLetterFilter { topic: topic.clone(), code: code.clone(), limit: *limit };
            let letters = store.dead_letters(&filter).await?;
            match json {
                true => print_json(&Value::Array(letters.iter().map(to_json).collect()), out)?,
                false => print_list(&letters, out)?,
            }
        }
        DeadLettersCommand::Show { topic, partition, offset, json, .. } => {
            let Some(letter) = store.dead_letter(topic, *partition, *offset).await? else {
                anyhow::bail!("there is no dead letter of {topic} [{partition}] at offset {offset}");
            };
            match json {
                true => print_json(&to_json(&letter), out)?,
                false => print_one(&letter, out)?,
            }
        }
    }
    Ok(())
}

fn print_json(value: &Value, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

fn print_list(letters: &[StoredDeadLetter], out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    if letters.is_empty() {
        return writeln!(out, "no dead letters");
    }
    let rows = letters.iter().map(|letter| {
        let message = printable(&letter.message);
        let short: String = message.chars().take(MESSAGE_WIDTH).collect();
        let cut = if short.len() < message.len() { "..." } else { "" };
        vec![
            time(letter.failed_at_ms),
            printable(&letter.record.topic),
            letter.record.partition.to_string(),
            letter.record.offset.to_string(),
            printable(&letter.code),
            letter.publish_outcome.clone().unwrap_or_else(|| "waiting".to_owned()),
            format!("{short}{cut}"),
        ]
    });
    print_table(&["FAILED AT", "TOPIC", "PARTITION", "OFFSET", "CODE", "PUBLISHED", "MESSAGE"], rows.collect(), out)
}

fn print_one(letter: &StoredDeadLetter, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let record = &letter.record;
    let published = match (&letter.publish_outcome, letter.published_at_ms) {
        (Some(outcome), Some(at)) => format!("{outcome} at {}", time(at)),
        _ => "waiting".to_owned(),
    };
    let mut lines = vec![
        ("record", format!("{} [{}] offset {}", record.topic, record.partition, record.offset)),
        ("code", letter.code.clone()),
        ("message", letter.message.clone()),
        ("stage", format!("{}, attempt {}", letter.stage, letter.attempts)),
        ("failed at", format!("{} in {}", time(letter.failed_at_ms), letter.consumer_id)),
        ("published", published),
    ];
    if let Some(error) = &letter.publish_error {
        lines.push(("refused", error.clone()));
    }
    lines.push(("timestamp", format!("{} ({})", time(record.timestamp.ms), record.timestamp.kind.as_str())));
    lines.push(("key", readable(record.key.as_deref())));
    for (name, value) in record.headers.iter() {
        lines.push(("header", format!("{} = {}", readable(Some(name)), readable(value))));
    }
    lines.push(("value", readable(record.value.as_deref())));
    for (name, text) in lines {
        writeln!(out, "{name:<10} {}", printable(&text))?;
    }
    Ok(())
}

/// Bytes for people: text as it is, other bytes as base64, null by name.
fn readable(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "(null)".to_owned(),
        Some([]) => "(empty)".to_owned(),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
        },
    }
}

/// A time for people; a number that no calendar has stays a number.
fn time(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .map_or_else(|| format!("{ms} ms"), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn to_json(letter: &StoredDeadLetter) -> Value {
    let record = &letter.record;
    // Both forms: programs that need every byte take base64, others the text where there is one.
    let bytes = |bytes: Option<&[u8]>| {
        bytes.map(|bytes| json!({"base64": STANDARD.encode(bytes), "text": std::str::from_utf8(bytes).ok()}))
    };
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(name, value)| json!({"name": String::from_utf8_lossy(name), "value": bytes(value)}))
        .collect();
    json!({
        "id": letter.id,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "incarnation": letter.incarnation,
        "code": letter.code,
        "message": letter.message,
        "stage": letter.stage,
        "attempts": letter.attempts,
        "consumer_id": letter.consumer_id,
        "failed_at": time(letter.failed_at_ms),
        "published_at": letter.published_at_ms.map(time),
        "publish_outcome": letter.publish_outcome,
        "publish_error": letter.publish_error,
        "timestamp": record.timestamp.ms,
        "timestamp_type": record.timestamp.kind.as_str(),
        "key": bytes(record.key.as_deref()),
        "value": bytes(record.value.as_deref()),
        "headers": headers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_empty_text_and_bytes_are_told_apart() {
        assert_eq!(readable(None), "(null)");
        assert_eq!(readable(Some(b"")), "(empty)");
        assert_eq!(readable(Some("größe".as_bytes())), "größe");
        assert_eq!(readable(Some(&[0xff, 0])), "base64:/wA=");
    }

    #[test]
    fn a_timestamp_outside_the_calendar_is_shown_as_it_is() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(i64::MIN), format!("{} ms", i64::MIN));
    }
}
