//! The configuration: whatever file and environment say, loading never panics, tells every problem with its source and
//! remedy, and shows no secret.
//!
//! Input: the text of the file, then, behind the first NUL, lines NAME=VALUE of the environment.

use drover::config::{ConfigFile, Inputs, Needs, Source, resolve};
use std::path::PathBuf;

/// Checks one input.
pub fn check(data: &[u8]) {
    let data = String::from_utf8_lossy(data);
    let (file, environment) = data.split_once('\0').unwrap_or((&data, ""));
    let environment: Vec<(String, String)> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for store in [false, true] {
        let inputs = Inputs {
            file: ConfigFile::Text { path: PathBuf::from("drover.toml"), text: file.to_owned() },
            environment: environment.clone(),
            overrides: Vec::new(),
            needs: Needs { store },
        };
        let resolution = resolve(&inputs);
        let lines = file.lines().count() + 1;
        for setting in &resolution.settings {
            assert!(!setting.key.is_empty());
            sourced(&setting.source, lines, &environment);
        }
        match &resolution.outcome {
            Ok(config) => {
                assert!(!store || !config.store.url.is_empty(), "a command that needs a store has one");
                assert!(!config.kafka.topics.is_empty() && !config.consumers.ids.is_empty());
                assert!(config.limits.batch_bytes <= config.limits.memory, "{:?}", config.limits);
                if config.http.token.is_some() {
                    assert!(format!("{:?}", config.http).contains("token: Some(\"***\")"), "a token is never shown");
                }
                // What was checked once is the same when it is checked again.
                assert_eq!(resolve(&inputs).outcome.as_ref().ok(), Some(config));
            }
            Err(error) => {
                assert!(!error.problems.is_empty() && !error.to_string().is_empty());
                for problem in &error.problems {
                    assert!(!problem.key.is_empty() && !problem.what.is_empty() && !problem.remedy.is_empty());
                    sourced(&problem.source, lines, &environment);
                }
            }
        }
    }
}

/// A source names something that was really there.
fn sourced(source: &Source, lines: usize, environment: &[(String, String)]) {
    match source {
        Source::Default => {}
        Source::File { path, line } => {
            assert_eq!(path.to_str(), Some("drover.toml"));
            assert!(line.is_none_or(|line| (1..=lines + 1).contains(&line)), "line {line:?} of {lines}");
        }
        Source::Environment { name } => assert!(environment.iter().any(|(given, _)| given == name), "{name}"),
        Source::Flag { name } => panic!("no flag was given, and {name} is named"),
    }
    assert!(!source.to_string().is_empty());
}
