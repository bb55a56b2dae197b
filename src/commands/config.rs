//! `drover config show` and `drover config check`.
//!
//! Owns how a configuration is printed; secrets are hidden before they come here. Fails with the
//! [`ConfigError`](crate::config::ConfigError) of a wrong configuration, which makes the process exit with 64.

use std::io::Write;

use crate::cli::{ConfigArgs, ConfigCommand};
use crate::config::units::format_size;
use crate::config::{Config, Inputs, Needs, Setting, hide_password, resolve};

/// Runs the command and writes to `out`. `show` needs no store; `check` checks what `drover run` would need.
///
/// # Errors
/// Everything that is wrong with the configuration, for `show` after the values; or `out` cannot be written.
pub fn run(args: &ConfigArgs, mut inputs: Inputs, out: &mut dyn Write) -> anyhow::Result<()> {
    inputs.needs = Needs { store: matches!(args.command, ConfigCommand::Check { .. }) };
    let resolution = resolve(&inputs);
    match &args.command {
        ConfigCommand::Show { json: true, .. } => {
            serde_json::to_writer_pretty(&mut *out, &resolution.settings)?;
            writeln!(out)?;
            resolution.outcome?;
        }
        ConfigCommand::Show { json: false, .. } => {
            table(&resolution.settings, out)?;
            resolution.outcome?;
        }
        ConfigCommand::Check { .. } => summary(&resolution.outcome?, out)?,
    }
    Ok(())
}

/// The settings in columns.
fn table(settings: &[Setting], out: &mut dyn Write) -> std::io::Result<()> {
    let rows: Vec<[String; 3]> = std::iter::once(["SETTING", "VALUE", "SOURCE"].map(str::to_owned))
        .chain(settings.iter().map(|setting| {
            let value = setting.value.as_deref().map_or("(not set)".into(), printable);
            [setting.key.clone(), value, setting.source.to_string()]
        }))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (keys, values) = (width(0), width(1));
    rows.iter().try_for_each(|[key, value, source]| writeln!(out, "{key:keys$}  {value:values$}  {source}"))
}

/// The text on one line, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn summary(config: &Config, out: &mut dyn Write) -> std::io::Result<()> {
    let (kafka, ids) = (&config.kafka, &config.consumers.ids);
    writeln!(out, "configuration is valid")?;
    writeln!(out, "  reads    {} from {} as group {}", kafka.topics.join(", "), kafka.brokers, kafka.group)?;
    writeln!(out, "  with     {} consumers: {}", ids.len(), ids.join(", "))?;
    writeln!(out, "  writes   {} with {} writers", hide_password(&config.store.url), config.store.writers)?;
    writeln!(out, "  within   {} of memory for queues and buffers", format_size(config.limits.memory))?;
    match config.http.enabled {
        true => writeln!(out, "  serves   http://{}", config.http.addr),
        false => writeln!(out, "  serves   no HTTP"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::config::{ConfigError, ConfigFile};

    fn output(arguments: &[&str], environment: &[(&str, &str)]) -> (String, anyhow::Result<()>) {
        let cli = Cli::parse_from(["drover", "config"].iter().chain(arguments));
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let needs = Needs { store: true };
        let inputs = Inputs { file: ConfigFile::None, environment, overrides: cli.overrides(), needs };
        let Command::Config(args) = cli.command else { panic!("not the config command") };
        let mut out = Vec::new();
        let result = run(&args, inputs, &mut out);
        (String::from_utf8(out).unwrap(), result)
    }

    #[test]
    fn show_prints_each_setting_with_value_and_source_and_hides_secrets() {
        let environment = [("DROVER_HTTP_TOKEN", "hunter2"), ("DATABASE_URL", "postgres://u:hunter2@h/db")];
        let (shown, result) = output(&["show", "--group", "g", "--log", "debug"], &environment);
        result.unwrap();
        let line = |key: &str| {
            let line = shown.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("kafka.group"), "kafka.group g flag --group");
        assert_eq!(line("log.filter"), "log.filter debug flag --log");
        assert_eq!(line("http.token"), "http.token *** environment DROVER_HTTP_TOKEN");
        assert_eq!(line("store.url"), "store.url postgres://u:***@h/db environment DATABASE_URL");
        assert_eq!(line("replica_id"), "replica_id (not set) default");
        assert!(!shown.contains("hunter2"));
    }

    #[test]
    fn show_prints_json_that_programs_can_read() {
        let (shown, result) = output(&["show", "--json", "--group", "g"], &[("TOPIC_PARTITIONS", "12")]);
        result.unwrap();
        let settings: Vec<serde_json::Value> = serde_json::from_str(&shown).unwrap();
        let setting = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap();
        assert_eq!(setting("kafka.partitions")["source"]["environment"]["name"], "TOPIC_PARTITIONS");
        assert_eq!(setting("kafka.group")["source"]["flag"]["name"], "--group");
        assert_eq!(setting("kafka.topics")["source"], "default");
        assert!(setting("http.token")["value"].is_null());
    }

    #[test]
    fn show_prints_what_is_effective_also_when_it_is_wrong() {
        let (shown, result) = output(&["show"], &[("MAX_CONSUMERS", "many")]);
        assert!(shown.contains("many") && result.unwrap_err().is::<ConfigError>());
    }

    #[test]
    fn check_fails_with_every_problem_or_says_what_is_valid() {
        let (_, result) = output(&["check"], &[("MAX_CONSUMERS", "many"), ("DROVER_KAFKA_GRP", "g")]);
        let error = result.unwrap_err().downcast::<ConfigError>().unwrap();
        assert_eq!(
            error.problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(),
            ["DROVER_KAFKA_GRP", "consumers.count", "store.url"]
        );
        let (shown, result) = output(&["check", "--database-url", "postgres://u:hunter2@h/db"], &[]);
        result.unwrap();
        assert!(shown.starts_with("configuration is valid\n") && !shown.contains("hunter2"), "{shown}");
    }
}
