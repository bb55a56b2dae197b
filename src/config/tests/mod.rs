//! Tests of the whole configuration, through the door that commands use.
#![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]

use super::*;

mod layers;
mod problems;
mod secrets;

/// A file, an environment and flags to load from.
#[derive(Default)]
struct Given<'a> {
    file: &'a str,
    environment: &'a [(&'a str, &'a str)],
    flags: &'a [(&'static str, &'a str, &'static str)],
}

impl Given<'_> {
    fn resolve(&self) -> Resolution {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drover.toml");
        std::fs::write(&path, self.file).unwrap();
        let environment = self.environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let flag =
            |(key, value, flag): &(&'static str, &str, &'static str)| Override { key, value: (*value).into(), flag };
        let overrides = self.flags.iter().map(flag).collect();
        let file = ConfigFile::Required(path);
        let mut resolution = resolve(&Inputs { file, environment, overrides, needs: Needs { store: false } });
        // The temporary directory would differ from run to run.
        let name = |source: &mut Source| {
            if let Source::File { path, .. } = source {
                *path = "drover.toml".into();
            }
        };
        resolution.settings.iter_mut().for_each(|setting| name(&mut setting.source));
        if let Err(error) = &mut resolution.outcome {
            error.problems.iter_mut().for_each(|problem| name(&mut problem.source));
        }
        resolution
    }

    fn config(&self) -> Config {
        self.resolve().outcome.unwrap_or_else(|error| panic!("{error}"))
    }

    fn problems(&self) -> Vec<Problem> {
        self.resolve().outcome.expect_err("the configuration has a problem").problems
    }

    fn setting(&self, key: &str) -> Setting {
        self.resolve().settings.into_iter().find(|setting| setting.key == key).unwrap()
    }
}

fn file(text: &str) -> Given<'_> {
    Given { file: text, ..Given::default() }
}

fn environment<'a>(variables: &'a [(&'a str, &'a str)]) -> Given<'a> {
    Given { environment: variables, ..Given::default() }
}
