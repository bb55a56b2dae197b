//! Typed reading of the effective values.
//!
//! Owns the check of single values: a wrong one becomes a problem, the default stands in for it so that the rest is
//! checked too, and checks that compare it with others are passed over. Every path that is read is in the table.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{Problem, Source};
use super::keys::{Fallback, Kind};
use super::raw::{Entry, Layers, RawValue};
use super::units::{format_duration, format_size, parse_duration, parse_size};

/// Reads values and collects what is wrong with them.
pub(super) struct Reader<'a> {
    layers: &'a Layers,
    /// Paths whose value could not be used.
    wrong: BTreeSet<String>,
    /// What was wrong, in the order of reading.
    pub problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub fn new(layers: &'a Layers) -> Self {
        Self { layers, wrong: BTreeSet::new(), problems: Vec::new() }
    }

    /// The layers that are read.
    pub fn layers(&self) -> &'a Layers {
        self.layers
    }

    /// The effective entry of a path, if it has one.
    pub fn entry(&self, path: &str) -> Option<&'a Entry> {
        self.layers.entries.get(path)
    }

    pub fn text(&mut self, path: &str) -> String {
        self.optional_text(path).unwrap_or_default()
    }

    pub fn optional_text(&mut self, path: &str) -> Option<String> {
        self.optional(path, |value| match value {
            RawValue::Text(text) => Ok(text.clone()),
            _ => Err("is not a text".into()),
        })
    }

    pub fn list(&mut self, path: &str) -> Vec<String> {
        let items = self.optional(path, |value| match value {
            RawValue::List(values) if values.iter().any(|value| !matches!(value, RawValue::Text(_))) => {
                Err("has an element that is not a text".into())
            }
            RawValue::Bare(_) => Err("is not an array of texts".into()),
            value => Ok(value.items()),
        });
        items.unwrap_or_default()
    }

    pub fn flag(&mut self, path: &str) -> bool {
        let flag = self.scalar(path, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("is neither true nor false".into()),
        });
        flag.unwrap_or_default()
    }

    /// A whole number within `range`.
    pub fn whole<T: TryFrom<i64> + Default>(&mut self, path: &str, range: RangeInclusive<i64>) -> T {
        let number = self.scalar(path, |text| {
            let number: i64 = text.parse().map_err(|_| "is not a whole number".to_owned())?;
            let outside = || format!("is not between {} and {}", range.start(), range.end());
            range.contains(&number).then_some(number).and_then(|number| T::try_from(number).ok()).ok_or_else(outside)
        });
        number.unwrap_or_default()
    }

    /// A number within `range`.
    pub fn number(&mut self, path: &str, range: RangeInclusive<f64>) -> f64 {
        let number = self.scalar(path, |text| {
            let number: f64 = text.parse().map_err(|_| "is not a number".to_owned())?;
            let outside = || format!("is not between {} and {}", range.start(), range.end());
            range.contains(&number).then_some(number).ok_or_else(outside)
        });
        number.unwrap_or_default()
    }

    /// A size in bytes within `range`.
    pub fn size(&mut self, path: &str, range: RangeInclusive<usize>) -> usize {
        let size = self.scalar(path, |text| {
            let size = parse_size(text)?;
            let outside =
                || format!("is not between {} and {}", format_size(*range.start()), format_size(*range.end()));
            range.contains(&size).then_some(size).ok_or_else(outside)
        });
        size.unwrap_or_default()
    }

    /// A duration within `range`.
    pub fn duration(&mut self, path: &str, range: RangeInclusive<Duration>) -> Duration {
        let duration = self.scalar(path, |text| {
            let duration = parse_duration(text)?;
            let (start, end) = (format_duration(*range.start()), format_duration(*range.end()));
            range.contains(&duration).then_some(duration).ok_or_else(|| format!("is not between {start} and {end}"))
        });
        duration.unwrap_or_default()
    }

    /// One of the words of the setting.
    pub fn choice<T>(&mut self, path: &str, meaning: impl Fn(&str) -> Option<T>) -> T {
        let expects = self.entry(path).map_or_else(String::new, |entry| entry.key.kind.expects());
        let choice = self.scalar(path, |text| meaning(text).ok_or_else(|| format!("is not {expects}")));
        choice.expect("a choice has a default, and the default is one of its words")
    }

    /// Whether a check of these settings can be made: every value is one that could be read.
    pub fn usable(&self, paths: &[&str]) -> bool {
        let origin = |path: &str| self.entry(path).and_then(|entry| entry.derived);
        paths.iter().all(|path| !self.wrong.contains(origin(path).unwrap_or(path)))
    }

    /// Tells a problem of the values at `paths` unless `holds`, or unless one of them is wrong in itself. It is told of
    /// the value from the highest layer, the first of equals: that is the one its author wrote last.
    pub fn check(&mut self, paths: &[&str], holds: bool, what: impl Into<String>, remedy: impl Into<String>) {
        if holds || !self.usable(paths) {
            return;
        }
        let entries = paths.iter().rev().filter_map(|path| self.entry(path));
        if let Some(entry) = entries.max_by_key(|entry| entry.source.layer()) {
            self.tell(entry, what.into(), remedy.into());
        }
    }

    /// Tells that a setting which is needed has no value.
    pub fn missing(&mut self, path: &str, what: &str, remedy: &str) {
        let (key, what, remedy) = (path.into(), what.into(), remedy.into());
        self.problems.push(Problem { key, value: None, source: Source::Default, what, remedy });
    }

    /// Tells a problem of a value, once, and of the setting that somebody wrote when the value only follows from it.
    fn tell(&mut self, entry: &Entry, what: String, remedy: String) {
        let entry = entry.derived.and_then(|from| self.entry(from)).unwrap_or(entry);
        if self.wrong.insert(entry.path.clone()) {
            let (key, source) = (entry.path.clone(), entry.source.clone());
            self.problems.push(Problem { key, value: Some(entry.shown()), source, what, remedy });
        }
    }

    /// A value that is one word, number, flag or time.
    fn scalar<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.optional(path, |value| match value {
            RawValue::Text(text) | RawValue::Bare(text) => parse(text.trim()),
            RawValue::List(_) => Err("is an array".into()),
        })
    }

    /// Reads the value at `path`; when it is wrong, tells so and reads the default in its place.
    fn optional<T>(&mut self, path: &str, parse: impl Fn(&RawValue) -> Result<T, String>) -> Option<T> {
        let entry = self.entry(path)?;
        match parse(&entry.value) {
            Ok(value) => Some(value),
            Err(what) => {
                let remedy = match entry.key.kind {
                    // What is out of range has the right form already.
                    Kind::Whole | Kind::Number | Kind::Size | Kind::Duration if what.contains("between") => {
                        "Set a value within this range.".into()
                    }
                    kind => format!("Write {}.", kind.expects()),
                };
                self.tell(entry, what, remedy);
                match entry.key.default {
                    Fallback::Value(default) => parse(&RawValue::Text(default.into())).ok(),
                    Fallback::Unset | Fallback::Derived(_) => None,
                }
            }
        }
    }
}
