//! What stands under a key: a value, or that there is none.

use millpond_redis::Bytes;

/// The first byte of a value that was written by us.
const VALUE: u8 = b'v';

/// The whole entry that says that there is nothing to be had.
const NOTHING: &[u8] = b"n";

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
