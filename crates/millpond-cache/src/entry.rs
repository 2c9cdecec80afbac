//! What stands under a key: a value, or that there is none.

use millpond_redis::Bytes;

/// The first byte of a value that was written by us.
const VALUE: u8 = b'v';

/// The whole entry that says that there is nothing to be had.
const NOTHING: &[u8] = b"n";

/// What Redis says is left of a key's time if the key is not there.
const GONE: i64 = -2;

/// What a look at a key has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    Fresh(Entry),
    /// It is past its time, and may be answered while it is loaded anew.
    Stale(Entry),
    Nothing,
    /// Redis is down.
    Blind,
}

impl Look {
    /// Of what Redis says of a key: what stands there and, if it was asked, what is left of its time; at the end of which
    /// an entry is stale for so many milliseconds.
    pub(crate) fn of(bytes: Option<Bytes>, left: Option<i64>, stale: u64) -> Self {
        match (bytes, left) {
            // It was there a moment ago, or GETRANGE says so of what is not.
            (None, _) | (_, Some(GONE)) => Self::Nothing,
            (Some(bytes), Some(left))
                if Entry::is_ours(&bytes) && u64::try_from(left).is_ok_and(|left| left <= stale) =>
            {
                Self::Stale(Entry::read(bytes))
            }
            (Some(bytes), _) => Self::Fresh(Entry::read(bytes)),
        }
    }

    /// What was found.
    pub(crate) fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Fresh(entry) | Self::Stale(entry) => Some(entry),
            Self::Nothing | Self::Blind => None,
        }
    }
}

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A value, as its codec wrote it.
    Value(Bytes),
    /// The loader has said that there is none.
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

    /// Whether it was written here, with a time to be stale: a counter and what others have written has none.
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
        for entry in [Entry::Nothing, Entry::Value(Bytes::from_static(b"null")), Entry::Value(Bytes::new())] {
            assert_eq!(Entry::read(entry.write()), entry);
        }
        assert_eq!(Entry::read(Bytes::from_static(b"42")), Entry::Value(Bytes::from_static(b"42")));
    }
}
