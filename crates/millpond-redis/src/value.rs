//! Answers of Redis, and how they become Rust values.

use crate::error::RedisError;
use bytes::Bytes;
use std::collections::HashMap;
use std::hash::Hash;
use std::str::FromStr;

/// An answer of Redis, in the form of the [`Protocol`](crate::Protocol) that the server speaks.
/// Only RESP3 has floating point numbers, booleans and pairs; RESP2 has texts, integers and lists
/// of alternating keys and values instead.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing: no such key, or a wait that ended without a result.
    Nil,
    /// An integer.
    Int(i64),
    /// A floating point number (RESP3).
    Double(f64),
    /// A boolean (RESP3).
    Bool(bool),
    /// A string of any bytes; also `OK`, and an integer that does not fit 64 bits.
    Bytes(Bytes),
    /// A list, or a set (RESP3).
    List(Vec<Value>),
    /// Pairs (RESP3).
    Map(Vec<(Value, Value)>),
    /// An error inside a list, of one of several commands.
    Error(String),
}

impl Value {
    /// Names its kind, for errors that must not show the value.
    fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Int(_) => "a number",
            Self::Double(_) => "a floating point number",
            Self::Bool(_) => "a boolean",
            Self::Bytes(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Error(_) => "an error",
        }
    }
}

/// A type that an answer can be converted to. The types here accept what either version of the
/// protocol sends: a score as text or as a number, pairs as a map, as a list of pairs or as a list
/// of alternating keys and values.
pub trait FromValue: Sized {
    /// Converts an answer.
    ///
    /// # Errors
    ///
    /// [`RedisError::Decode`] if the answer is of another kind. The error does not show the answer.
    /// [`RedisError::Server`] if the answer contains an error, as that of a script may.
    fn from_value(value: Value) -> Result<Self, RedisError>;

    /// Converts the elements of a list. Overridden by types that one list has in a row and another
    /// in pairs.
    ///
    /// # Errors
    ///
    /// As [`from_value`](Self::from_value).
    #[doc(hidden)]
    fn from_elements(elements: Vec<Value>) -> Result<Vec<Self>, RedisError> {
        elements.into_iter().map(Self::from_value).collect()
    }
}

fn mismatch<T>(expected: &'static str, value: &Value) -> Result<T, RedisError> {
    Err(match value {
        Value::Error(text) => RedisError::of_server(text),
        value => RedisError::Decode { expected, got: value.kind() },
    })
}

/// Returns the elements of pairs, if a list consists of pairs.
fn flat_pairs(elements: Vec<Value>) -> Vec<Value> {
    let is_pair = |value: &Value| matches!(value, Value::List(pair) if pair.len() == 2);
    if elements.is_empty() || !elements.iter().all(is_pair) {
        return elements;
    }
    let parts = |value| if let Value::List(pair) = value { pair } else { Vec::new() };
    elements.into_iter().flat_map(parts).collect()
}

/// Returns keys and values in turn.
fn alternating(pairs: Vec<(Value, Value)>) -> Vec<Value> {
    pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
}

/// Returns the number that a text spells.
fn parsed<T: FromStr>(text: &Bytes) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Writes a number as Redis does over RESP2, except for the plus sign of an exponent.
fn format_double(number: f64) -> String {
    let is_short = number == 0.0 || (1e-5..1e17).contains(&number.abs()) || !number.is_finite();
    if is_short { number.to_string() } else { format!("{number:e}") }
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        Ok(value)
    }
}

/// Accepts any answer.
impl FromValue for () {
    fn from_value(_value: Value) -> Result<Self, RedisError> {
        Ok(())
    }
}

impl FromValue for Bytes {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        match value {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Int(number) => Ok(Bytes::from(number.to_string())),
            Value::Double(number) => Ok(Bytes::from(format_double(number))),
            Value::Bool(value) => Ok(Bytes::from_static(if value { b"1" } else { b"0" })),
            value => mismatch("text", &value),
        }
    }

    fn from_elements(elements: Vec<Value>) -> Result<Vec<Self>, RedisError> {
        flat_pairs(elements).into_iter().map(Self::from_value).collect()
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        let bytes = Bytes::from_value(value)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| RedisError::Decode { expected: "UTF-8 text", got: "bytes" })?;
        Ok(text.to_owned())
    }

    fn from_elements(elements: Vec<Value>) -> Result<Vec<Self>, RedisError> {
        flat_pairs(elements).into_iter().map(Self::from_value).collect()
    }
}

/// `1`, `OK` and true are `true`; `0`, nil and false are `false`.
impl FromValue for bool {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        match &value {
            Value::Bool(value) => Ok(*value),
            Value::Int(number @ (0 | 1)) => Ok(*number == 1),
            Value::Nil => Ok(false),
            Value::Bytes(text) if matches!(&text[..], b"OK" | b"1") => Ok(true),
            Value::Bytes(text) if &text[..] == b"0" => Ok(false),
            value => mismatch("yes or no", value),
        }
    }
}

/// Returns the integer that a number is, if it is one.
fn exact_integer(number: f64) -> Option<i128> {
    // Beyond this not every integer is a floating point number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is an integer within the range")]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i128)
}

macro_rules! integers {
    ($($Number:ty),*) => {$(
        impl FromValue for $Number {
            fn from_value(value: Value) -> Result<Self, RedisError> {
                let expected = concat!("a number that fits ", stringify!($Number));
                let number = match &value {
                    Value::Int(number) => <$Number>::try_from(*number).ok(),
                    Value::Bytes(text) => parsed(text),
                    Value::Double(number) => {
                        exact_integer(*number).and_then(|number| number.try_into().ok())
                    }
                    Value::Bool(value) => Some(<$Number>::from(*value)),
                    _ => None,
                };
                number.map_or_else(|| mismatch(expected, &value), Ok)
            }

            fn from_elements(elements: Vec<Value>) -> Result<Vec<Self>, RedisError> {
                flat_pairs(elements).into_iter().map(Self::from_value).collect()
            }
        }
    )*};
}

integers!(i32, i64, u16, u32, u64, usize);

impl FromValue for f64 {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        #[expect(clippy::cast_precision_loss, reason = "as a text of these digits would be read")]
        let number = match &value {
            Value::Double(number) => Some(*number),
            Value::Int(number) => Some(*number as f64),
            Value::Bytes(text) => parsed(text),
            _ => None,
        };
        number.map_or_else(|| mismatch("a floating point number", &value), Ok)
    }

    fn from_elements(elements: Vec<Value>) -> Result<Vec<Self>, RedisError> {
        flat_pairs(elements).into_iter().map(Self::from_value).collect()
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        if value == Value::Nil { Ok(None) } else { T::from_value(value).map(Some) }
    }

    fn from_elements(elements: Vec<Value>) -> Result<Vec<Self>, RedisError> {
        if elements.contains(&Value::Nil) {
            return elements.into_iter().map(Self::from_value).collect();
        }
        Ok(T::from_elements(elements)?.into_iter().map(Some).collect())
    }
}

/// From a list, a set, or pairs.
impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        match value {
            Value::List(elements) => T::from_elements(elements),
            Value::Map(pairs) => T::from_elements(
                pairs.into_iter().map(|(key, value)| Value::List(vec![key, value])).collect(),
            ),
            Value::Nil => Ok(Vec::new()),
            value => mismatch("a list", &value),
        }
    }
}

/// From pairs, from a list of pairs, or from a list of alternating keys and values.
impl<K: FromValue + Eq + Hash, V: FromValue> FromValue for HashMap<K, V> {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        let alternating = match value {
            Value::Map(pairs) => alternating(pairs),
            Value::Nil => Vec::new(),
            // No key is a list.
            Value::List(values) if matches!(values.first(), Some(Value::List(_))) => {
                let count = values.len();
                let row = flat_pairs(values);
                if row.len() != count * 2 {
                    return mismatch("pairs", &Value::List(row));
                }
                row
            }
            Value::List(values) if values.len() % 2 == 0 => values,
            value => return mismatch("pairs", &value),
        };
        let mut values = alternating.into_iter();
        std::iter::from_fn(|| Some((values.next()?, values.next()?)))
            .map(|(key, value)| Ok((K::from_value(key)?, V::from_value(value)?)))
            .collect()
    }
}

/// Returns the elements of a list of this length, also if they are the only element of a list or
/// the only pairs of a map.
fn elements(value: Value, count: usize) -> Result<Vec<Value>, Value> {
    match value {
        Value::List(mut values) if values.len() == 1 => match values.pop() {
            Some(Value::List(values)) if values.len() == count => Ok(values),
            only => Err(Value::List(only.into_iter().collect())),
        },
        Value::List(values) if values.len() == count => Ok(values),
        Value::Map(pairs) if pairs.len() * 2 == count => Ok(alternating(pairs)),
        value => Err(value),
    }
}

macro_rules! tuples {
    ($(($count:literal: $($T:ident),*)),*) => {$(
        impl<$($T: FromValue),*> FromValue for ($($T,)*) {
            fn from_value(value: Value) -> Result<Self, RedisError> {
                match elements(value, $count) {
                    Ok(values) => {
                        let mut values = values.into_iter();
                        Ok(($($T::from_value(values.next().unwrap_or(Value::Nil))?,)*))
                    }
                    Err(value) => mismatch(concat!("a list of ", $count), &value),
                }
            }

            fn from_elements(elements: Vec<Value>) -> Result<Vec<Self>, RedisError> {
                let is_flat = !matches!(elements.first(), Some(Value::List(_)));
                if !is_flat || elements.len() % $count != 0 {
                    return elements.into_iter().map(Self::from_value).collect();
                }
                let rows = elements.chunks($count).map(|row| Value::List(row.to_vec()));
                rows.map(Self::from_value).collect()
            }
        }
    )*};
}

tuples!((2: A, B), (3: A, B, C), (4: A, B, C, D), (5: A, B, C, D, E));

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Value {
        Value::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn answers_become_what_is_asked_for() {
        assert_eq!(String::from_value(text("mill")).unwrap(), "mill");
        assert_eq!(i64::from_value(text("7")).unwrap(), 7);
        assert_eq!(Option::<i64>::from_value(Value::Nil).unwrap(), None);
        assert!(bool::from_value(text("OK")).unwrap());
        let list = Value::List(vec![text("a"), Value::Int(1)]);
        assert_eq!(<(String, i64)>::from_value(list.clone()).unwrap(), ("a".to_owned(), 1));
        assert_eq!(HashMap::<String, u32>::from_value(list).unwrap()["a"], 1);
        assert_eq!(
            Vec::<Option<String>>::from_value(Value::List(vec![Value::Nil])).unwrap(),
            [None]
        );
        assert_eq!(f64::from_value(text("1.5")).unwrap(), 1.5);
    }

    #[test]
    fn an_answer_of_another_kind_is_an_error_that_does_not_show_it() {
        let error = u32::from_value(text("secret")).unwrap_err().to_string();
        assert!(error.contains("a number that fits u32") && !error.contains("secret"), "{error}");
        assert!(u32::from_value(Value::Int(-1)).is_err());
        assert!(bool::from_value(Value::Int(2)).is_err());
        assert!(<(String, i64)>::from_value(Value::List(vec![])).is_err());
    }

    fn list<const N: usize>(values: [Value; N]) -> Value {
        Value::List(values.into())
    }

    #[test]
    fn scores_are_read_from_what_either_version_of_the_protocol_sends() {
        let second = list([text("a"), text("1.5"), text("b"), text("2")]);
        let third =
            list([list([text("a"), Value::Double(1.5)]), list([text("b"), Value::Double(2.0)])]);
        for answer in [second, third] {
            let pairs = Vec::<(String, f64)>::from_value(answer.clone()).unwrap();
            assert_eq!(pairs, [("a".to_owned(), 1.5), ("b".to_owned(), 2.0)]);
            let row = Vec::<String>::from_value(answer.clone()).unwrap();
            assert_eq!(row, ["a", "1.5", "b", "2"]);
            let map = HashMap::<String, f64>::from_value(answer).unwrap();
            assert_eq!((map["a"], map["b"]), (1.5, 2.0));
        }
        for one in [list([text("a"), text("2")]), list([list([text("a"), Value::Double(2.0)])])] {
            assert_eq!(<(String, i64)>::from_value(one).unwrap(), ("a".to_owned(), 2));
        }
        assert_eq!(String::from_value(Value::Double(3.0)).unwrap(), "3");
        assert_eq!(String::from_value(Value::Double(f64::INFINITY)).unwrap(), "inf");
        assert_eq!(String::from_value(Value::Double(1e300)).unwrap(), "1e300");
        assert_eq!(u64::from_value(Value::Double(3.0)).unwrap(), 3);
        assert!(u64::from_value(Value::Double(1.5)).is_err());
        assert!(u64::from_value(Value::Double(-1.0)).is_err());
        assert!(i64::from_value(Value::Double(f64::NAN)).is_err());
        assert_eq!(f64::from_value(Value::Int(3)).unwrap(), 3.0);
        assert_eq!(i64::from_value(Value::Bool(true)).unwrap(), 1);
        assert_eq!(String::from_value(Value::Bool(false)).unwrap(), "0");
    }

    #[test]
    fn pairs_are_read_from_what_either_version_of_the_protocol_sends() {
        let second = list([text("a"), text("1"), text("b"), text("2")]);
        let third = Value::Map(vec![(text("a"), text("1")), (text("b"), text("2"))]);
        for answer in [second, third] {
            assert_eq!(HashMap::<String, u32>::from_value(answer.clone()).unwrap()["b"], 2);
            assert_eq!(Vec::<String>::from_value(answer.clone()).unwrap(), ["a", "1", "b", "2"]);
            let pairs = Vec::<(String, i64)>::from_value(answer).unwrap();
            assert_eq!(pairs, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        }
        let entries = || list([list([text("1-0"), list([text("field"), text("value")])])]);
        let second = list([list([text("stream"), entries()]), list([text("other"), entries()])]);
        let third = Value::Map(vec![(text("stream"), entries()), (text("other"), entries())]);
        type Entries = Vec<(String, HashMap<String, String>)>;
        for answer in [second, third] {
            let streams = HashMap::<String, Entries>::from_value(answer.clone()).unwrap();
            assert_eq!(streams["other"][0].1["field"], "value");
            let streams = Vec::<(String, Entries)>::from_value(answer).unwrap();
            assert_eq!((streams.len(), streams[0].0.as_str()), (2, "stream"));
        }
        assert!(Vec::<(String, i64)>::from_value(list([text("a")])).is_err());
        assert!(HashMap::<String, i64>::from_value(list([text("a")])).is_err());
        assert!(HashMap::<String, i64>::from_value(list([list([text("a")])])).is_err());
        assert_eq!(Vec::<(String, i64)>::from_value(list([])).unwrap(), []);
    }

    #[test]
    fn an_error_inside_an_answer_has_the_words_of_the_server() {
        let error = || Value::Error("WRONGTYPE Operation against a key".to_owned());
        for outcome in [
            Vec::<String>::from_value(list([text("a"), error()])).map(drop),
            <(String, i64)>::from_value(list([text("a"), error()])).map(drop),
            HashMap::<String, i64>::from_value(list([text("a"), error()])).map(drop),
            Vec::<Vec<i64>>::from_value(list([list([error()])])).map(drop),
            Option::<bool>::from_value(error()).map(drop),
        ] {
            assert_eq!(outcome.unwrap_err().code(), Some("WRONGTYPE"));
        }
    }
}
