//! Events that are typed: a few questions each, or a whole JSON document on one line.
//!
//! Owns the questions. Input comes from a thread of its own, one line at a time, because a read from a terminal cannot be
//! called off. Works as well when lines are piped in: then there are no prompts, and a refused event makes the command fail.

use super::{Stops, Target, now_ms};
use crate::domain::event::Mapping;
use std::io::{BufRead, Write};
use tokio::sync::mpsc;

/// One run of the questions.
pub(super) struct Session<'a> {
    pub(super) target: &'a Target,
    pub(super) mapping: &'a Mapping,
    pub(super) stops: &'a Stops,
    pub(super) prompts: bool,
}

/// The lines of the input; the next is read when this one was taken.
struct Lines(mpsc::Receiver<std::io::Result<String>>);

impl Lines {
    fn of(input: impl BufRead + Send + 'static) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(1);
        std::thread::Builder::new().name("produce-input".into()).spawn(move || {
            for line in input.lines() {
                let failed = line.is_err();
                if sender.blocking_send(line).is_err() || failed {
                    break;
                }
            }
        })?;
        Ok(Self(receiver))
    }
}

impl Session<'_> {
    /// Asks and sends until the input ends, an empty line or `quit` is the answer to the first question, or Ctrl-C comes.
    pub(super) async fn run(
        &self,
        input: impl BufRead + Send + 'static,
        out: &mut (dyn Write + Send),
    ) -> anyhow::Result<()> {
        let mut lines = Lines::of(input)?;
        let (mut sent, mut refused) = (0_u64, 0_u64);
        if self.prompts {
            writeln!(
                out,
                "Events for topic {}. A line that starts with {{ is a whole event; nothing ends.",
                self.target.topic
            )?;
        }
        while let Some(document) = self.ask_event(&mut lines, out).await? {
            let outcome = match document {
                Ok(document) => self.target.send_checked(document.as_bytes(), self.mapping, self.stops).await,
                Err(refusal) => Err(refusal),
            };
            match outcome {
                Ok(delivered) => {
                    sent += 1;
                    writeln!(out, "partition {}, offset {}", delivered.partition, delivered.offset)?;
                }
                Err(error) => {
                    refused += 1;
                    writeln!(out, "not sent: {error:#}")?;
                }
            }
            out.flush()?;
        }
        writeln!(out, "sent {sent}, refused {refused}")?;
        if refused > 0 && !self.prompts {
            anyhow::bail!("{refused} of {} events were not sent", sent + refused);
        }
        Ok(())
    }

    /// The next event as JSON, or why it is none; nothing at the end.
    async fn ask_event(
        &self,
        lines: &mut Lines,
        out: &mut (dyn Write + Send),
    ) -> anyhow::Result<Option<anyhow::Result<String>>> {
        let mapping = self.mapping;
        let Some(first) = self.ask(&format!("{} or {{...}}", mapping.event_type), lines, out).await? else {
            return Ok(None);
        };
        if first.is_empty() || first == "quit" {
            return Ok(None);
        }
        if first.starts_with('{') {
            return Ok(Some(Ok(first)));
        }
        let mut answers = Vec::new();
        for question in [&mapping.user_id, &mapping.element_id] {
            let answer = self.ask(question, lines, out).await?.unwrap_or_default();
            answers.push((question.clone(), answer));
        }
        let more = self.ask("more fields as {...}, or nothing", lines, out).await?.unwrap_or_default();
        Ok(Some(self.compose(&first, &answers, &more)))
    }

    fn compose(&self, event_type: &str, answers: &[(String, String)], more: &str) -> anyhow::Result<String> {
        let mut document = serde_json::Map::new();
        for (name, answer) in answers {
            if !answer.is_empty() {
                document.insert(name.clone(), answer.as_str().into());
            }
        }
        document.insert(self.mapping.event_type.clone(), event_type.into());
        document.insert(self.mapping.timestamp.clone(), now_ms().into());
        if !more.is_empty() {
            let more: serde_json::Map<String, serde_json::Value> = serde_json::from_str(more)
                .map_err(|error| anyhow::anyhow!("the fields are not a JSON object: {error}"))?;
            document.extend(more);
        }
        Ok(serde_json::Value::Object(document).to_string())
    }

    /// One answer without the space around it; nothing at the end of the input and after Ctrl-C.
    async fn ask(
        &self,
        question: &str,
        lines: &mut Lines,
        out: &mut (dyn Write + Send),
    ) -> anyhow::Result<Option<String>> {
        if self.prompts {
            write!(out, "{question}: ")?;
            out.flush()?;
        }
        let line = tokio::select! {
            line = lines.0.recv() => line,
            () = self.stops.first() => None,
        };
        Ok(line.transpose()?.map(|line| line.trim().to_owned()))
    }
}
