//! The entry of a key: a value, or the knowledge that there is none.

use millpond_redis::Bytes;

/// The first byte of a value that this crate wrote.
const VALUE: u8 = b'v';

/// The whole entry that says that there is no value.
const NOTHING: &[u8] = b"n";

/// What PTTL returns for a key that does not exist.
const GONE: i64 = -2;

/// What reading a key found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup {
    Fresh(Entry),
    /// An expired entry that may be returned while it is reloaded.
    Stale(Entry),
    Nothing,
    /// Redis is down.
    Blind,
}

impl Lookup {
    /// Interprets the bytes of a key and, if known, its remaining time in milliseconds. An entry is
    /// stale during the last `stale` milliseconds of its time.
    pub(crate) fn of(bytes: Option<Bytes>, left: Option<i64>, stale: u64) -> Self {
        match (bytes, left) {
            // The key expired between the two commands, or GETRANGE returned an empty string for
            // it.
            (None, _) | (_, Some(GONE)) => Self::Nothing,
            (Some(bytes), Some(left))
                if Entry::is_ours(&bytes)
                    && u64::try_from(left).is_ok_and(|left| left <= stale) =>
            {
                Self::Stale(Entry::read(bytes))
            }
            (Some(bytes), _) => Self::Fresh(Entry::read(bytes)),
        }
    }

    /// The entry that was found, stale or not.
    pub(crate) fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Fresh(entry) | Self::Stale(entry) => Some(entry),
            Self::Nothing | Self::Blind => None,
        }
    }
}

/// The entry of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A value, as its codec wrote it.
    Value(Bytes),
    /// A loader found no value.
    Nothing,
}

impl Entry {
    pub(crate) fn read(bytes: Bytes) -> Self {
        match bytes.first() {
            Some(&VALUE) => Self::Value(bytes.slice(1..)),
            _ if bytes == NOTHING => Self::Nothing,
            // A counter: digits and nothing else.
            _ => Self::Value(bytes),
        }
    }

    /// True if this crate wrote the entry and it can therefore be stale. A counter, and what other
    /// programs wrote, cannot.
    pub(crate) fn is_ours(bytes: &Bytes) -> bool {
        bytes.first() == Some(&VALUE) || bytes == NOTHING
    }

    pub(crate) fn write(&self) -> Bytes {
        match self {
            Self::Nothing => Bytes::from_static(NOTHING),
            Self::Value(value) => {
                let mut bytes = Vec::with_capacity(value.len().saturating_add(1));
                bytes.push(VALUE);
                bytes.extend_from_slice(value);
                bytes.into()
            }
        }
    }

    /// The value.
    pub(crate) fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_a_counter_as_its_digits() {
        for entry in
            [Entry::Nothing, Entry::Value(Bytes::from_static(b"null")), Entry::Value(Bytes::new())]
        {
            assert_eq!(Entry::read(entry.write()), entry);
        }
        assert_eq!(Entry::read(Bytes::from_static(b"42")), Entry::Value(Bytes::from_static(b"42")));
    }
}
