//! What the four layers say, before it is checked: defaults < file < environment < flags, each value with its source.
//!
//! Owns the merge. Nothing is passed over: an unknown key or variable is a problem with the nearest known name.

use std::collections::BTreeMap;
use std::fmt;

use super::error::{Problem, Source};
use super::keys::{self, Fallback, Key};
use super::{forbidden, table};

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawValue {
    /// A text: quoted in the file, or anything in the environment and in flags.
    Text(String),
    /// Written in the file without quotes: number, flag or time.
    Bare(String),
    /// An array of the file.
    List(Vec<RawValue>),
}

impl fmt::Display for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Bare(text) => f.write_str(text),
            Self::List(values) => {
                let mut values = values.iter();
                values.next().map_or(Ok(()), |first| write!(f, "{first}"))?;
                values.try_for_each(|value| write!(f, ",{value}"))
            }
        }
    }
}

/// One effective value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its setting in the table.
    pub key: &'static Key,
    /// Its path, with names in the place of the patterns.
    pub path: String,
    /// What was written.
    pub value: RawValue,
    /// By whom.
    pub source: Source,
    /// The setting that it follows from, when nobody wrote it; it carries the source of that one.
    pub derived: Option<&'static str>,
}

impl Entry {
    pub fn new(key: &'static Key, path: String, value: RawValue, source: Source) -> Self {
        Self { key, path, value, source, derived: None }
    }

    /// The value as it may be shown.
    pub fn shown(&self) -> String {
        self.key.shown(&self.path, &self.value)
    }
}

/// A value that a flag of the command line gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Path of the setting.
    pub key: &'static str,
    /// The value, lists comma separated.
    pub value: String,
    /// The flag with its dashes.
    pub flag: &'static str,
}

/// The effective values by path, and what was wrong with the layers.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub entries: BTreeMap<String, Entry>,
    pub problems: Vec<Problem>,
}

impl Layers {
    /// The lowest layer: the defaults of the table.
    pub fn defaults() -> Self {
        let mut layers = Self::default();
        for key in table::KEYS {
            let Fallback::Value(value) = key.default else { continue };
            for path in key.paths() {
                layers.set(Entry::new(key, path, RawValue::Text(value.into()), Source::Default));
            }
        }
        layers
    }

    /// Puts a value over those of the layers below.
    pub fn set(&mut self, entry: Entry) {
        self.entries.insert(entry.path.clone(), entry);
    }

    /// The environment over what is there. An empty variable counts as not set, as compose files write
    /// `${NAME:-}`; variables for tests and development of drover itself are not settings.
    pub fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let mut found = Vec::new();
        for (name, value) in variables {
            // Not for settings: the address that commands speak to, and what tests and scripts are told.
            let other = name == "DROVER_URL" || name.starts_with("DROVER_TEST_") || name.starts_with("DROVER_DEV_");
            if value.is_empty() || other {
                continue;
            }
            if let Some((key, path)) = keys::find_environment(&name) {
                found.push((key.legacy == Some(name.as_str()), name, Some((key, path)), value));
            } else if name.starts_with("DROVER_") {
                found.push((false, name, None, String::new()));
            }
        }
        // The older name first, so that the DROVER_ form of the same key wins; names in order, so that problems are.
        found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        for (_, name, setting, value) in found {
            match setting {
                Some((key, path)) => {
                    self.set(Entry::new(key, path, RawValue::Text(value), Source::Environment { name }));
                }
                None => self.problems.push(unknown_variable(name)),
            }
        }
    }

    /// The flags over what is there.
    pub fn flags(&mut self, overrides: &[Override]) {
        for Override { key: path, value, flag } in overrides {
            let source = Source::Flag { name: (*flag).into() };
            let segments: Vec<&str> = path.split('.').collect();
            match keys::find(&segments) {
                Some((key, path)) => self.set(Entry::new(key, path, RawValue::Text(value.clone()), source)),
                None => self.problems.push(unknown_key(path, &segments, source)),
            }
        }
    }

    /// Fills in what follows from other settings.
    pub fn derive(&mut self) {
        self.derive_consumers();
        if !self.entries.contains_key("events.required") {
            self.derive_from("events.event_type", "events.required", Clone::clone);
        }
    }

    /// Of count and ids the higher layer says who there is; the other one follows. Within one layer both stay, to be
    /// compared: `MAX_CONSUMERS=3` in a compose file does not contradict `--consumer-id`, but two lines of one file do.
    fn derive_consumers(&mut self) {
        let layer = |path: &str| self.entries.get(path).map(|entry| entry.source.layer());
        match (layer("consumers.count"), layer("consumers.ids")) {
            (Some(count), Some(ids)) if ids > count => {
                self.derive_from("consumers.ids", "consumers.count", |ids| {
                    RawValue::Text(ids.items().len().to_string())
                });
            }
            (Some(count), ids) if ids.is_none_or(|ids| count > ids) => {
                self.derive_from("consumers.count", "consumers.ids", |count| {
                    // A count out of range makes no ids; it is a problem of its own.
                    let count =
                        count.to_string().trim().parse().ok().filter(|count| *count <= super::validate::MOST_CONSUMERS);
                    let ids = (1..=count.unwrap_or(0)).map(|number| RawValue::Text(format!("consumer-{number}")));
                    RawValue::List(ids.collect())
                });
            }
            _ => {}
        }
    }

    fn derive_from(&mut self, from: &'static str, to: &'static str, value: impl FnOnce(&RawValue) -> RawValue) {
        let segments: Vec<&str> = to.split('.').collect();
        if let (Some(origin), Some((key, path))) = (self.entries.get(from), keys::find(&segments)) {
            let entry =
                Entry { derived: Some(from), ..Entry::new(key, path, value(&origin.value), origin.source.clone()) };
            self.set(entry);
        }
    }
}

impl RawValue {
    /// The texts of a list: an array's elements, or what commas separate.
    pub(super) fn items(&self) -> Vec<String> {
        match self {
            Self::List(values) => values.iter().map(ToString::to_string).collect(),
            Self::Text(text) | Self::Bare(text) => {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
            }
        }
    }
}

/// The problem of a path that no setting has. It does not show the value, which may be a secret under a misspelt name.
pub(super) fn unknown_key(path: &str, segments: &[&str], source: Source) -> Problem {
    let remedy = match keys::nearest(segments) {
        _ if segments.starts_with(&["events", "topics"]) && segments.len() > 4 => {
            "The name of a topic with dots stands in quotes: [events.topics.\"a.b\"].".into()
        }
        Some(near) => format!("Did you mean {near}?"),
        None => "`drover config show` lists the settings that there are.".into(),
    };
    Problem { key: path.into(), value: None, source, what: "is not a setting".into(), remedy }
}

/// The problem of a `DROVER_*` variable that no setting has.
fn unknown_variable(name: String) -> Problem {
    let remedy = match keys::nearest_environment(&name) {
        _ if name.starts_with("DROVER_EVENTS_TOPICS_") => {
            "The fields of a single topic can only be set in the file, under [events.topics.\"name\"].".into()
        }
        Some(near) => format!("Did you mean {near}?"),
        None => "Unset it; `drover config show` lists the settings that there are.".into(),
    };
    let source = Source::Environment { name: name.clone() };
    Problem { key: name, value: None, source, what: "is not a setting".into(), remedy }
}

/// The librdkafka properties that were set for one kind of client, and a problem for each one that is refused.
pub(super) fn properties(
    layers: &Layers,
    client: forbidden::Client,
    consumer_protocol: bool,
) -> (BTreeMap<String, String>, Vec<Problem>) {
    let (mut properties, mut problems) = (BTreeMap::new(), Vec::new());
    let family = client.family();
    for (path, entry) in layers.entries.range(family.to_owned()..) {
        let Some(name) = path.strip_prefix(family) else { break };
        let refusal = match &entry.value {
            RawValue::List(_) => Some((format!("is not {}", entry.key.kind.expects()), "Write one value.".to_owned())),
            value => forbidden::refusal(client, name, &value.to_string(), consumer_protocol),
        };
        match refusal {
            Some((what, remedy)) => problems.push(Problem {
                key: path.clone(),
                value: Some(entry.shown()),
                source: entry.source.clone(),
                what,
                remedy,
            }),
            None => {
                properties.insert(name.to_owned(), entry.value.to_string());
            }
        }
    }
    (properties, problems)
}
