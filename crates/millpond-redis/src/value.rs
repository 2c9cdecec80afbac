//! Answers of Redis, and how they become Rust values.

use crate::error::RedisError;
use bytes::Bytes;
use std::collections::HashMap;
use std::hash::Hash;

/// An answer of Redis.
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
    /// A string of any bytes; also `OK`.
    Bytes(Bytes),
    /// A list.
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

/// A type that an answer can be converted to.
pub trait FromValue: Sized {
    /// Converts an answer.
    ///
    /// # Errors
    ///
    /// [`RedisError::Decode`] if the answer is of another kind. The error does not show the answer.
    fn from_value(value: Value) -> Result<Self, RedisError>;
}

fn mismatch<T>(wanted: &'static str, value: &Value) -> Result<T, RedisError> {
    Err(RedisError::Decode { wanted, got: value.kind() })
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
            Value::Double(number) => Ok(Bytes::from(number.to_string())),
            value => mismatch("text", &value),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        let bytes = Bytes::from_value(value)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| RedisError::Decode { wanted: "UTF-8 text", got: "bytes" })?;
        Ok(text.to_owned())
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

macro_rules! integers {
    ($($Number:ty),*) => {$(
        impl FromValue for $Number {
            fn from_value(value: Value) -> Result<Self, RedisError> {
                let wanted = concat!("a number that fits ", stringify!($Number));
                let number = match &value {
                    Value::Int(number) => <$Number>::try_from(*number).ok(),
                    Value::Bytes(text) => {
                        std::str::from_utf8(text).ok().and_then(|text| text.parse().ok())
                    }
                    _ => None,
                };
                number.map_or_else(|| mismatch(wanted, &value), Ok)
            }
        }
    )*};
}

integers!(i32, i64, u16, u32, u64, usize);

impl FromValue for f64 {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        let number = match &value {
            Value::Double(number) => Some(*number),
            Value::Bytes(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
            _ => None,
        };
        number.map_or_else(|| mismatch("a floating point number", &value), Ok)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        if value == Value::Nil { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        match value {
            Value::List(values) => values.into_iter().map(T::from_value).collect(),
            Value::Nil => Ok(Vec::new()),
            value => mismatch("a list", &value),
        }
    }
}

/// From pairs, or from a list of alternating keys and values.
impl<K: FromValue + Eq + Hash, V: FromValue> FromValue for HashMap<K, V> {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        let pairs: Vec<(Value, Value)> = match value {
            Value::Map(pairs) => pairs,
            Value::Nil => Vec::new(),
            Value::List(values) if values.len() % 2 == 0 => {
                let mut values = values.into_iter();
                std::iter::from_fn(|| Some((values.next()?, values.next()?))).collect()
            }
            value => return mismatch("pairs", &value),
        };
        pairs
            .into_iter()
            .map(|(key, value)| Ok((K::from_value(key)?, V::from_value(value)?)))
            .collect()
    }
}

macro_rules! tuples {
    ($(($count:literal: $($T:ident),*)),*) => {$(
        impl<$($T: FromValue),*> FromValue for ($($T,)*) {
            fn from_value(value: Value) -> Result<Self, RedisError> {
                match value {
                    Value::List(values) if values.len() == $count => {
                        let mut values = values.into_iter();
                        Ok(($($T::from_value(values.next().unwrap_or(Value::Nil))?,)*))
                    }
                    value => mismatch(concat!("a list of ", $count), &value),
                }
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
}
