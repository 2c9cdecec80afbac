//! The layers, merged by figment, which records where each value came from. No other module uses
//! figment.
//!
//! Each value is a separate provider, so that figment's provenance is exact: the variable, the
//! line, the preset. figment's own providers for TOML and the environment are not used: they guess
//! the type of a value, which changes or prints secrets.

use figment::value::{Dict, Empty, Map, Num, Tag, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use crate::error::SettingProblem;
use crate::raw::Raw;

/// A value of a layer.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// The path of an existing setting.
    pub(crate) path: &'static str,
    pub(crate) raw: Raw,
    /// The source of the value, as text.
    pub(crate) source: String,
}

/// The result of reading a layer: values and problems.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) problems: Vec<SettingProblem>,
}

/// All layers, merged.
pub(crate) struct Layers(Figment);

impl Layers {
    pub(crate) fn new() -> Self {
        Self(Figment::new())
    }

    /// Merges `leaves` on top of all layers so far.
    pub(crate) fn merge<'a>(self, leaves: impl IntoIterator<Item = &'a Leaf>) -> Self {
        Self(leaves.into_iter().fold(self.0, |figment, leaf| figment.merge(leaf)))
    }

    /// Returns the topmost value of a setting.
    pub(crate) fn value(&self, path: &str) -> Option<Raw> {
        match self.0.find_value(path).ok()? {
            Value::String(_, text) => Some(Raw::Text(text)),
            Value::Bool(_, flag) => Some(Raw::Flag(flag)),
            Value::Num(_, Num::I128(number)) => Some(Raw::Whole(number)),
            Value::Num(_, Num::F64(number)) => Some(Raw::Decimal(number)),
            Value::Empty(..) => Some(Raw::Unset),
            Value::Num(..) | Value::Char(..) | Value::Array(..) | Value::Dict(..) => None,
        }
    }

    /// Returns the source of the topmost value of a setting.
    pub(crate) fn source(&self, path: &str) -> String {
        self.0
            .find_metadata(path)
            .map_or_else(|| DEFAULT.to_owned(), |metadata| metadata.name.to_string())
    }
}

/// The source of values set with [`Loader::set`](crate::Loader::set).
pub(crate) const CODE: &str = "code";

/// The source of values that no layer sets.
pub(crate) const DEFAULT: &str = "default";

impl Provider for &Leaf {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let value = match &self.raw {
            Raw::Unset => Value::Empty(Tag::Default, Empty::None),
            Raw::Flag(flag) => Value::from(*flag),
            Raw::Whole(number) => Value::from(*number),
            Raw::Decimal(number) => Value::from(*number),
            Raw::Text(text) => Value::from(text.as_str()),
        };
        let dict = figment::util::nest(self.path, value).into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(raw: Raw, source: &str) -> Leaf {
        Leaf { path: "db.pool_size", raw, source: source.to_owned() }
    }

    #[test]
    fn the_topmost_value_wins_and_keeps_its_source() {
        let layers =
            Layers::new().merge(&[leaf(Raw::Whole(1), "low"), leaf(Raw::Whole(2), "high")]);
        assert!(layers.value("db.pool_size") == Some(Raw::Whole(2)));
        assert_eq!(layers.source("db.pool_size"), "high");
        assert_eq!(layers.source("db.max_overflow"), DEFAULT);
    }

    #[test]
    fn every_form_of_value_passes_through_unchanged() {
        let texts = ["12345", "true", "\"q\"", " x ", "", "[1]", "{a=1}", "1.0", "'", "é\u{0}"];
        let raws = [Raw::Unset, Raw::Flag(true), Raw::Whole(i128::MIN), Raw::Decimal(0.1)];
        for raw in texts.map(|text| Raw::Text(text.to_owned())).into_iter().chain(raws) {
            let layers = Layers::new().merge(&[leaf(raw.clone(), "here")]);
            assert!(layers.value("db.pool_size") == Some(raw));
        }
    }
}
