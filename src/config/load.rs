//! Loading: from files, environment and flags to a [`Config`], or to everything that is wrong with them.
//!
//! Owns the order of the layers and what `drover config show` tells. Reads one file and nothing else; the environment
//! comes in as pairs, so that tests need not change that of the process.

use std::path::Path;

use super::Config;
use super::error::{ConfigError, Source};
use super::file::ConfigFile;
use super::keys::Fallback;
use super::raw::{Layers, Override};
use super::table::KEYS;
use super::validate::{Needs, validate};

/// Where a configuration comes from.
#[derive(Clone)]
pub struct Inputs {
    /// The file.
    pub file: ConfigFile,
    /// The environment as pairs of name and value; names that are not drover's are passed over.
    pub environment: Vec<(String, String)>,
    /// What the flags say.
    pub overrides: Vec<Override>,
    /// What the command needs.
    pub needs: Needs,
}

impl Inputs {
    /// The inputs of this process: `--config` or `drover.toml`, its environment, and the flags.
    #[must_use]
    pub fn of_process(config_flag: Option<&Path>, overrides: Vec<Override>, needs: Needs) -> Self {
        // A variable that is not Unicode is not one of drover's, or it is refused for the replaced characters.
        let lossy = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        };
        let environment = std::env::vars_os().map(lossy).collect();
        Self { file: ConfigFile::from_flag(config_flag), environment, overrides, needs }
    }
}

/// One effective setting, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Setting {
    /// Path of the setting.
    pub key: String,
    /// Its value, secrets hidden; `None` when it has none.
    pub value: Option<String>,
    /// Where the value came from.
    pub source: Source,
}

/// What loading came to.
#[derive(Debug)]
pub struct Resolution {
    /// Every effective setting in the order of the table, also those that are wrong.
    pub settings: Vec<Setting>,
    /// The configuration, or everything that is wrong with it.
    pub outcome: Result<Config, ConfigError>,
}

/// Loads and checks a configuration, and tells where each value came from.
#[must_use]
pub fn resolve(inputs: &Inputs) -> Resolution {
    let mut layers = Layers::defaults();
    layers.file(&inputs.file);
    layers.environment(inputs.environment.iter().cloned());
    layers.flags(&inputs.overrides);
    layers.derive();
    Resolution { settings: settings(&layers), outcome: validate(&layers, inputs.needs) }
}

/// Loads and checks a configuration.
///
/// # Errors
/// Every problem at once.
pub fn load(inputs: &Inputs) -> Result<Config, ConfigError> {
    resolve(inputs).outcome
}

fn settings(layers: &Layers) -> Vec<Setting> {
    let mut settings = Vec::new();
    for key in KEYS {
        let set = layers.entries.values().filter(|entry| std::ptr::eq(entry.key, key));
        let before = settings.len();
        settings.extend(set.map(|entry| Setting {
            key: entry.path.clone(),
            value: Some(entry.shown()),
            source: entry.source.clone(),
        }));
        // Of a family that takes its names from the user there is nothing to show before one is set.
        if settings.len() == before && matches!(key.default, Fallback::Unset) {
            let unset = |path| Setting { key: path, value: None, source: Source::Default };
            settings.extend(key.paths().into_iter().map(unset));
        }
    }
    settings
}
