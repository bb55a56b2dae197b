//! What is wrong with a configuration: every problem at once, each with key, value, source and remedy.
//!
//! Owns the wording. Holds no secrets: whoever makes a [`Problem`] has hidden them already.

use std::fmt;
use std::path::PathBuf;

/// Where the value of a setting came from; the later ones in this list win over the earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// drover's own default.
    Default,
    /// The configuration file.
    File {
        /// The file as it was named.
        #[schema(value_type = String)]
        path: PathBuf,
        /// The line, from 1, when it is known.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        name: String,
    },
    /// A command line flag.
    Flag {
        /// The flag with its dashes.
        name: String,
    },
}

impl Source {
    /// The layer of this source: default 0, file 1, environment 2, flag 3.
    #[must_use]
    pub fn layer(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Environment { .. } => 2,
            Self::Flag { .. } => 3,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}, line {line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment { name } => write!(f, "environment {name}"),
            Self::Flag { name } => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong, in the words of the person who has to repair it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the setting, such as `limits.memory`.
    pub key: String,
    /// The value as it was given; `None` when there is none or when it must not be shown. Secrets are hidden.
    pub value: Option<String>,
    /// Where the value came from.
    pub source: Source,
    /// What is wrong, as the end of a sentence that starts with the setting.
    pub what: String,
    /// What to do, as a sentence.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value} ({}) {}. {}", self.key, self.source, self.what, self.remedy),
            None => write!(f, "{} ({}) {}. {}", self.key, self.source, self.what, self.remedy),
        }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The problems, at least one, in the order of layers and settings.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// Exit code of a process that was configured wrongly (`EX_USAGE` of sysexits).
    pub const EXIT_CODE: u8 = 64;
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "the configuration has a problem:")?,
            count => write!(f, "the configuration has {count} problems:")?,
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n\n{problem}"))
    }
}
