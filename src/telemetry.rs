//! Logging: one `tracing` subscriber for the process, to stderr, as text or JSON lines, and panics as log lines.
//!
//! Bound: nothing is buffered. Fails only at start, when the filter cannot be read or a subscriber exists already.

use std::io::{self, IsTerminal as _};

use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::config::{LogConfig, LogFormat};

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error(
        "log.filter = {filter:?} cannot be read: {source}; write a level (info) or pairs such as drover=debug,info"
    )]
    Filter {
        /// The value.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Another subscriber is in place.
    #[error("logging is set up already: {0}")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up logging to stderr for the whole process, and a panic hook that logs.
///
/// To be called first in `main`: the hook takes the place of the standard library's, which would print lines that are
/// no JSON. Hooks that are installed later wrap this one.
///
/// # Errors
/// When the filter cannot be read, or logging was set up before.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    subscriber(config, io::stderr, colours)?.try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The subscriber of [`init`] on any writer.
fn subscriber<W>(config: &LogConfig, writer: W, colours: bool) -> Result<impl Subscriber + use<W>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .map_err(|source| TelemetryError::Filter { filter: config.filter.clone(), source })?;
    let lines = fmt::layer().with_writer(writer);
    let lines = match config.format {
        LogFormat::Text => lines.with_ansi(colours).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    Ok(tracing_subscriber::registry().with(filter).with(lines))
}

/// Logs a panic with its thread and place.
fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let location = info.location().map_or_else(|| "unknown".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
    tracing::error!(
        thread = std::thread::current().name().unwrap_or("unnamed"),
        location,
        panic = info.payload_as_str().unwrap_or("a panic without a text"),
        "panicked"
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer that keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let config = LogConfig { filter: filter.into(), format };
        let subscriber = subscriber(&config, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_at_the_top() {
        let text = logged(LogFormat::Json, "info", || tracing::info!(rows = 7, "stored \"these\""));
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["message"], "stored \"these\"");
        assert_eq!(line["rows"], 7);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_holds_no_colours_where_nobody_sees_them_and_the_filter_holds_back() {
        let text = logged(LogFormat::Text, "warn", || {
            tracing::info!("not this");
            tracing::warn!(consumer_id = "c-1", "but this");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("WARN") && text.contains("but this") && text.contains("c-1"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named_with_its_value() {
        let config = LogConfig { filter: "drover=loud".into(), format: LogFormat::Text };
        let error = subscriber(&config, io::sink, false).err().unwrap().to_string();
        assert!(error.starts_with(r#"log.filter = "drover=loud" cannot be read"#), "{error}");
    }
}
