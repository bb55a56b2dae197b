//! The configuration file: TOML, flattened to the paths of the table, each value with its line.
//!
//! Owns the shape of the file. A file that cannot be read or is not TOML is a problem with its line; error texts never
//! repeat a line of the file, because it may hold a secret.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Problem, Source};
use super::keys;
use super::raw::{Entry, Layers, RawValue, unknown_key};

/// Which file is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigFile {
    /// None.
    None,
    /// This one when it exists.
    IfPresent(PathBuf),
    /// This one; it is a problem when it does not exist.
    Required(PathBuf),
    /// This text, as if it were the content of the file `path`: for programs that have it from elsewhere.
    Text {
        /// The name under which problems are told.
        path: PathBuf,
        /// The content.
        text: String,
    },
}

impl ConfigFile {
    /// The file of `--config`, or `drover.toml` in the working directory when it exists.
    #[must_use]
    pub fn from_flag(flag: Option<&Path>) -> Self {
        match flag {
            Some(path) => Self::Required(path.into()),
            None => Self::IfPresent("drover.toml".into()),
        }
    }
}

impl Layers {
    /// The file over what is there.
    pub fn file(&mut self, file: &ConfigFile) {
        let path = match file {
            ConfigFile::None => return,
            ConfigFile::Text { path, text } => return self.text(path, text),
            ConfigFile::IfPresent(path) if !path.exists() => return,
            ConfigFile::IfPresent(path) | ConfigFile::Required(path) => path,
        };
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(path, &text),
            Err(error) => self.problems.push(Problem {
                key: "the configuration file".into(),
                value: None,
                source: Source::File { path: path.clone(), line: None },
                what: format!("cannot be read: {error}"),
                remedy: "Name a readable TOML file with --config.".into(),
            }),
        }
    }

    /// The text of the file `path` over what is there.
    pub fn text(&mut self, path: &Path, text: &str) {
        let mut walk = Walk { layers: self, path, text };
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let source = walk.source(error.span().map_or(0, |span| span.start));
            walk.layers.problems.push(Problem {
                key: "the configuration file".into(),
                value: None,
                source,
                what: format!("is not valid TOML: {}", error.message()),
                remedy: "Correct this line; texts stand in double quotes.".into(),
            });
        }
        // What the parser recovered from a broken file would only raise problems that follow from the first.
        if walk.layers.problems.iter().all(|problem| problem.key != "the configuration file") {
            walk.table(&mut Vec::new(), root.get_ref());
        }
    }
}

/// The walk through the tables of one file.
struct Walk<'a> {
    layers: &'a mut Layers,
    path: &'a Path,
    text: &'a str,
}

impl Walk<'_> {
    fn source(&self, at: usize) -> Source {
        let before = self.text.as_bytes().iter().take(at);
        Source::File { path: self.path.into(), line: Some(1 + before.filter(|byte| **byte == b'\n').count()) }
    }

    fn table(&mut self, segments: &mut Vec<String>, table: &DeTable<'_>) {
        for (key, value) in table {
            segments.push(key.get_ref().to_string());
            self.value(segments, key.span().start, value);
            segments.pop();
        }
    }

    fn value(&mut self, segments: &mut Vec<String>, at: usize, value: &Spanned<DeValue<'_>>) {
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        let setting = keys::find(&names);
        if let DeValue::Table(table) = value.get_ref()
            && (keys::is_table(&names) || (setting.is_none() && !table.is_empty()))
        {
            // An unknown table is told by what is in it, which is what its author looks for.
            return self.table(segments, table);
        }
        let source = self.source(at);
        match (setting, raw(value.get_ref())) {
            (Some((key, path)), Some(value)) => self.layers.set(Entry::new(key, path, value, source)),
            (Some((key, path)), None) => self.layers.problems.push(Problem {
                key: path,
                value: None,
                source,
                what: "holds a table".into(),
                remedy: format!("Write {}.", key.kind.expects()),
            }),
            (None, _) => self.layers.problems.push(match keys::is_table(&names) {
                true => Problem {
                    key: names.join("."),
                    value: None,
                    source,
                    what: "is a table of settings, not a value".into(),
                    remedy: format!("Write [{}] and the settings below it.", names.join(".")),
                },
                false => unknown_key(&names.join("."), &names, source),
            }),
        }
    }
}

/// A TOML value as the layers keep it; `None` when a table is in it.
fn raw(value: &DeValue<'_>) -> Option<RawValue> {
    Some(match value {
        DeValue::String(text) => RawValue::Text(text.to_string()),
        DeValue::Integer(number) => RawValue::Bare(match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.to_string(),
            Err(_) => number.to_string(),
        }),
        DeValue::Float(number) => RawValue::Bare(number.to_string()),
        DeValue::Boolean(flag) => RawValue::Bare(flag.to_string()),
        DeValue::Datetime(time) => RawValue::Bare(time.to_string()),
        DeValue::Array(values) => {
            RawValue::List(values.iter().map(|value| raw(value.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(_) => return None,
    })
}
