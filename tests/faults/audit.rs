//! What was stored, compared with what was sent, in SQL of its own: by the id in each document, and by offset. It asks
//! nothing of drover but its tables.

use crate::load::{Fate, Sent};
use crate::support::database::Database;
use futures::SinkExt as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tokio_postgres::Client;

/// Examples that a finding shows.
const EXAMPLES: usize = 5;
/// Bytes that go to the server at once.
const PIECE: usize = 1 << 20;

/// What the audit found.
#[derive(Debug, Default)]
pub struct Found {
    pub events: i64,
    pub lost: i64,
    pub doubled: i64,
    pub expected_dead_letters: i64,
    pub dead_letters: i64,
    /// Everything that should not be, with first examples.
    pub findings: Vec<String>,
}

/// A question whose every row is something wrong. Its first column is the example that is shown.
struct Question {
    finding: &'static str,
    sql: &'static str,
}

const LOST: [Question; 3] = [
    Question {
        finding: "lost, by id: sent, and no row has the id",
        sql: "SELECT format('id %s at %s/%s', id, partition, \"offset\") FROM sent \
              WHERE fate = 'row' AND NOT EXISTS (SELECT FROM stored WHERE stored.id = sent.id)",
    },
    Question {
        finding: "lost, by id: broken, and no dead letter has its bytes",
        sql: "SELECT format('id %s at %s/%s', id, partition, \"offset\") FROM sent \
              WHERE fate = 'dead_letter' AND NOT EXISTS (SELECT FROM letters l \
              WHERE (l.partition, l.\"offset\") = (sent.partition, sent.\"offset\") AND l.value = sent.value)",
    },
    Question {
        finding: "lost, by offset: below the position, and nothing accounts for it",
        sql: "SELECT format('%s/%s', partition, \"offset\") FROM (\
              SELECT partition, generate_series(first_offset, next_offset - 1) AS \"offset\" FROM positions \
              EXCEPT SELECT partition, \"offset\" FROM accounted) AS holes ORDER BY partition, \"offset\"",
    },
];

const DOUBLED: [Question; 3] = [
    Question {
        finding: "doubled, by id: more than one row has the id",
        sql: "SELECT format('id %s: %s rows', id, count(*)) FROM stored GROUP BY id HAVING count(*) > 1",
    },
    Question {
        finding: "doubled, by id: more than one dead letter has the bytes",
        sql: "SELECT format('%s: %s times', encode(substring(value FOR 60), 'escape'), count(*)) FROM letters GROUP BY value HAVING count(*) > 1",
    },
    Question {
        finding: "doubled, by offset: accounted for more than once",
        sql: "SELECT format('%s/%s', partition, \"offset\") FROM accounted GROUP BY partition, \"offset\" HAVING count(*) > 1",
    },
];

const WRONG: [Question; 5] = [
    Question {
        finding: "a row that nobody sent, or that had to be none",
        sql: "SELECT format('id %s at %s/%s', id, partition, \"offset\") FROM stored WHERE NOT EXISTS (\
              SELECT FROM sent WHERE sent.id = stored.id AND sent.fate IN ('row', 'either'))",
    },
    Question {
        finding: "a row that lies elsewhere than it was sent",
        sql: "SELECT format('id %s sent to %s/%s, stored at %s/%s', id, s.partition, s.\"offset\", t.partition, t.\"offset\") \
              FROM sent s JOIN stored t USING (id) \
              WHERE s.fate = 'row' AND (s.partition, s.\"offset\") <> (t.partition, t.\"offset\")",
    },
    Question {
        finding: "a dead letter that was not injected",
        sql: "SELECT format('%s/%s %s', partition, \"offset\", code) FROM letters l WHERE NOT EXISTS (\
              SELECT FROM sent WHERE fate = 'dead_letter' AND (sent.partition, sent.\"offset\") = (l.partition, l.\"offset\"))",
    },
    Question {
        finding: "something outside the stored range",
        sql: "SELECT format('%s/%s', partition, \"offset\") FROM accounted a WHERE NOT EXISTS (\
              SELECT FROM positions p WHERE p.partition = a.partition \
              AND a.\"offset\" >= p.first_offset AND a.\"offset\" < p.next_offset)",
    },
    Question {
        finding: "the position is not at the end of the log",
        sql: "SELECT format('partition %s: position %s, end %s', e.partition, p.next_offset, e.end_offset) \
              FROM ends e LEFT JOIN positions p USING (partition) WHERE p.next_offset IS DISTINCT FROM e.end_offset",
    },
];

/// Audits a topic. The connection keeps its temporary tables, which `timing` reads as well.
pub async fn audit(
    database: &Database,
    client: &Client,
    topic: &str,
    sent: &[Sent],
    ends: &BTreeMap<i32, i64>,
) -> Found {
    prepare(client, database.schema(), topic, sent, ends).await;
    let count = |fate| i64::try_from(sent.iter().filter(|sent| sent.fate == fate).count()).unwrap_or(0);
    let mut found = Found {
        events: i64::try_from(sent.len()).unwrap_or(0),
        expected_dead_letters: count(Fate::DeadLetter),
        dead_letters: number(client, "SELECT count(*) FROM letters").await,
        ..Found::default()
    };
    // The same record is counted by id and by offset: the larger count is the number, not the sum.
    for question in &LOST {
        found.lost = found.lost.max(ask(client, question, &mut found.findings).await);
    }
    for question in &DOUBLED {
        found.doubled = found.doubled.max(ask(client, question, &mut found.findings).await);
    }
    for question in &WRONG {
        ask(client, question, &mut found.findings).await;
    }
    found
}

async fn ask(client: &Client, question: &Question, findings: &mut Vec<String>) -> i64 {
    let rows = client.query(question.sql, &[]).await.unwrap();
    if !rows.is_empty() {
        let examples: Vec<String> = rows.iter().take(EXAMPLES).map(|row| row.get(0)).collect();
        findings.push(format!("{}: {} ({})", question.finding, rows.len(), examples.join("; ")));
    }
    i64::try_from(rows.len()).unwrap_or(i64::MAX)
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Fills the temporary tables that the questions read.
async fn prepare(client: &Client, schema: &str, topic: &str, sent: &[Sent], ends: &BTreeMap<i32, i64>) {
    let of_topic = format!("WHERE topic = '{topic}'");
    // A drill may send events of its own, marked so: they count by offset only.
    let own = "source IS NULL";
    client
        .batch_execute(&format!(
            "CREATE TEMP TABLE sent (id bigint, partition integer, \"offset\" bigint, fate text, confirmed_us bigint, value bytea);
             CREATE TEMP TABLE ends (partition integer, end_offset bigint);
             CREATE TEMP TABLE stored AS SELECT partition, \"offset\", (payload->>'id')::bigint AS id, consumer_id,
                 pg_xact_commit_timestamp(xmin) AS committed_at FROM {schema}.events {of_topic} AND {own};
             CREATE TEMP TABLE letters AS SELECT partition, \"offset\", value, code FROM {schema}.dead_letters
                 {of_topic} AND NOT headers @> '[{{\"name\": \"drover_source\"}}]';
             CREATE TEMP TABLE positions AS SELECT partition, first_offset, next_offset
                 FROM {schema}.partition_progress {of_topic};
             CREATE TEMP TABLE accounted AS SELECT partition, \"offset\" FROM {schema}.events {of_topic}
                 UNION ALL SELECT partition, \"offset\" FROM {schema}.dead_letters {of_topic}
                 UNION ALL SELECT partition, generate_series(first_offset, next_offset - 1)
                     FROM {schema}.offset_gaps {of_topic};"
        ))
        .await
        .unwrap();
    copy(client, sent).await;
    for (partition, end) in ends {
        client.execute("INSERT INTO ends VALUES ($1, $2)", &[partition, end]).await.unwrap();
    }
    client
        .batch_execute(
            "CREATE INDEX ON sent (id); CREATE INDEX ON stored (id); CREATE INDEX ON sent (partition, \"offset\");
             ANALYZE sent; ANALYZE stored; ANALYZE letters; ANALYZE accounted",
        )
        .await
        .unwrap();
}

async fn copy(client: &Client, sent: &[Sent]) {
    let sink = client.copy_in("COPY sent FROM STDIN").await.unwrap();
    let mut sink = std::pin::pin!(sink);
    let mut text = String::new();
    for Sent { id, partition, offset, fate, confirmed_us, value } in sent {
        write!(text, "{id}\t{partition}\t{offset}\t{}\t", fate.name()).unwrap();
        match confirmed_us {
            None => text.push_str("\\N\t"),
            Some(at) => write!(text, "{at}\t").unwrap(),
        }
        match value {
            None => text.push_str("\\N"),
            Some(value) => {
                text.push_str("\\\\x");
                for byte in value {
                    write!(text, "{byte:02x}").unwrap();
                }
            }
        }
        text.push('\n');
        if text.len() > PIECE {
            sink.send(bytes::Bytes::from(std::mem::take(&mut text))).await.unwrap();
        }
    }
    sink.send(bytes::Bytes::from(text)).await.unwrap();
    sink.close().await.unwrap();
}
