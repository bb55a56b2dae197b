//! `drover consumers`: sees and drives the consumers of a running drover, through its API.
//!
//! Prints what the server says. Fails as the client does, with its exit codes.

mod all;
mod list;

use super::actor::actor;
use crate::cli::{ConsumersCommand, ServerFlags, TargetFlags};
use crate::client::{Client, ClientError};
use serde_json::{Map, Value, json};
use std::io::Write;

/// Runs the command.
///
/// # Errors
/// No answer, or the server refuses.
pub async fn run(command: &ConsumersCommand, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let said = match command {
        ConsumersCommand::List { all: true, json, server } => return all::run(&connect(server)?, *json, out).await,
        ConsumersCommand::List { all: false, json, server } => return list::run(&connect(server)?, *json, out).await,
        ConsumersCommand::Pause { target, reason, server } => {
            hold(target, "pause", json!({ "reason": reason }), server).await?
        }
        ConsumersCommand::Resume { target, server } => hold(target, "resume", json!({}), server).await?,
        ConsumersCommand::Restart { id, server } => {
            connect(server)?.post(&["children", id, "restart"], &json!({})).await?
        }
        ConsumersCommand::Quarantine { partition, lasts, reason, server } => {
            // A fraction of a second would be none.
            let seconds = lasts.map(|lasts| lasts.as_secs().max(1));
            let body = json!({ "reason": reason, "for_seconds": seconds });
            let number = partition.partition.to_string();
            connect(server)?.post(&["partitions", &partition.topic, &number, "quarantine"], &body).await?
        }
        ConsumersCommand::Release { partition, server } => {
            let number = partition.partition.to_string();
            connect(server)?.post(&["partitions", &partition.topic, &number, "release"], &json!({})).await?
        }
        ConsumersCommand::Scale { consumers, writers, server } => {
            connect(server)?.post(&["scale"], &json!({ "consumers": consumers, "writers": writers })).await?
        }
    };
    print_done(&said, out)
}

/// The client of the server that the flags name, with the token of the environment or of the file.
///
/// # Errors
/// The URL is none, or the file cannot be read.
pub fn connect(server: &ServerFlags) -> Result<Client, ClientError> {
    let token = match &server.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ClientError::Usage(format!("--token-file {}: {error}", path.display())))?;
            Some(text.trim().to_owned())
        }
        None => std::env::var("DROVER_HTTP_TOKEN").ok(),
    };
    Client::new(&server.url, token.as_deref().filter(|token| !token.is_empty()), &actor())
}

async fn hold(target: &TargetFlags, order: &str, mut body: Value, server: &ServerFlags) -> Result<Value, ClientError> {
    let client = connect(server)?;
    match (&target.id, &target.topic, target.partition) {
        (owner, Some(topic), Some(partition)) => {
            if let (Some(owner), Some(fields)) = (owner, body.as_object_mut()) {
                fields.insert("consumer_id".into(), owner.as_str().into());
            }
            client.post(&["partitions", topic, &partition.to_string(), order], &body).await
        }
        (Some(id), ..) => client.post(&["consumers", id, order], &body).await,
        _ => Err(ClientError::Usage("name a consumer, or --topic and --partition".into())),
    }
}

fn print_done(said: &Value, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let none = Map::new();
    let message = said.as_object().unwrap_or(&none).get("message").and_then(Value::as_str);
    writeln!(out, "{}", message.unwrap_or("done"))?;
    Ok(())
}
