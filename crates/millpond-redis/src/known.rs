//! The commands that are asked for most, by the driver's own words for them.
//!
//! Of commands that wait for a connection together, the driver writes those that it knows at once, in one system call; one
//! that it only hands on by its name it writes alone.

use crate::arguments::Arguments;
use crate::value::Value;
use bytes::Bytes;
use fred::error::Error;
use fred::interfaces::KeysInterface;
use fred::types::{Expiration, Value as DriverValue};

/// A command that the driver knows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Get(Bytes),
    MGet(Vec<Bytes>),
    /// With its lifetime in milliseconds.
    Set(Bytes, Bytes, Option<i64>),
    Unlink(Vec<Bytes>),
    Del(Vec<Bytes>),
    Exists(Vec<Bytes>),
    PTtl(Bytes),
    Incr(Bytes),
}

impl Known {
    /// What the driver calls it; the arguments as they are if it does not know it in this form.
    pub(crate) fn of(name: &str, args: Arguments) -> Result<Self, Arguments> {
        match name {
            "GET" => args.only().map(Self::Get),
            "SET" => set(args),
            "PTTL" => args.only().map(Self::PTtl),
            "INCR" => args.only().map(Self::Incr),
            // The server complains about none.
            _ if args.len() == 0 => Err(args),
            "MGET" => Ok(Self::MGet(args.into_iter().collect())),
            "UNLINK" => Ok(Self::Unlink(args.into_iter().collect())),
            "DEL" => Ok(Self::Del(args.into_iter().collect())),
            "EXISTS" => Ok(Self::Exists(args.into_iter().collect())),
            _ => Err(args),
        }
    }

    /// Sends it and waits for its answer, however long that takes.
    ///
    /// # Errors
    ///
    /// The driver's; one of the server's stands in the details, in its own words.
    ///
    /// # Cancel safety
    ///
    /// What was sent is executed; its answer is read and thrown away.
    pub(crate) async fn send<C: KeysInterface + Sync>(self, client: &C) -> Result<Value, Error> {
        let value: DriverValue = match self {
            Self::Get(key) => client.get(key).await,
            Self::MGet(keys) => client.mget(keys).await,
            Self::Set(key, value, life) => client.set(key, value, life.map(Expiration::PX), None, false).await,
            Self::Unlink(keys) => client.unlink(keys).await,
            Self::Del(keys) => client.del(keys).await,
            Self::Exists(keys) => client.exists(keys).await,
            Self::PTtl(key) => client.pttl(key).await,
            Self::Incr(key) => client.incr(key).await,
        }?;
        Ok(Value::of_driver(value))
    }
}

fn set(args: Arguments) -> Result<Known, Arguments> {
    let known = match args.parts() {
        (Some(key), [value]) => Some(Known::Set(key.clone(), value.clone(), None)),
        (Some(key), [value, unit, span]) if unit.eq_ignore_ascii_case(b"PX") => {
            number(span).map(|millis| Known::Set(key.clone(), value.clone(), Some(millis)))
        }
        _ => None,
    };
    known.ok_or(args)
}

/// A number in the only form in which the driver would write it.
fn number(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Known, Arguments> {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        Known::of(name, words.map(|word| Bytes::copy_from_slice(word.as_bytes())).collect())
    }

    #[test]
    fn only_what_the_driver_would_write_in_the_same_words_is_left_to_it() {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
        assert_eq!(of("GET k"), Ok(Known::Get(key.clone())));
        assert_eq!(of("SET k v"), Ok(Known::Set(key.clone(), value.clone(), None)));
        assert_eq!(of("SET k v PX 60"), Ok(Known::Set(key.clone(), value.clone(), Some(60))));
        assert_eq!(of("MGET k v"), Ok(Known::MGet(vec![key, value])));
        for line in
            ["GET", "GET a b", "SET k v PX 060", "SET k v PX x", "SET k v EX 60", "SET k v NX", "MGET", "HGET a b"]
        {
            assert!(of(line).is_err_and(|args| args.len() == line.split(' ').count() - 1), "{line}");
        }
    }
}
