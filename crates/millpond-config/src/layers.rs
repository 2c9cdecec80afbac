//! The layers: figment merges them and remembers where each value came from. Nothing else names
//! figment.
//!
//! One provider a value, so that figment's provenance is exact: the variable, the line, the preset.
//! Its own providers for TOML and the environment are not used: they guess at the type of a value,
//! which changes or prints secrets.

use figment::value::{Dict, Empty, Map, Num, Tag, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use crate::error::SettingProblem;
use crate::raw::Raw;

/// One value of one layer.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// The setting, which exists.
    pub(crate) path: &'static str,
    pub(crate) raw: Raw,
    /// Where it came from, in words.
    pub(crate) source: String,
}

/// What reading a layer brings: values, and whatever could not be one.
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

    /// Puts `leaves` on top of everything so far.
    pub(crate) fn merge<'a>(self, leaves: impl IntoIterator<Item = &'a Leaf>) -> Self {
        Self(leaves.into_iter().fold(self.0, |figment, leaf| figment.merge(leaf)))
    }

    /// The topmost value of a setting.
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

    /// Where the topmost value of a setting came from.
    pub(crate) fn source(&self, path: &str) -> String {
        self.0
            .find_metadata(path)
            .map_or_else(|| DEFAULT.to_owned(), |metadata| metadata.name.to_string())
    }
}

/// The source of what [`Loader::set`](crate::Loader::set) has set.
pub(crate) const CODE: &str = "code";

/// The source of a value that nobody has set.
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
