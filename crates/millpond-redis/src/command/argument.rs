//! What can be an argument of a command.

use bytes::Bytes;

/// What can be an argument or a key: text, bytes and numbers.
pub trait Argument {
    /// Returns the bytes to send.
    fn into_bytes(self) -> Bytes;
}

impl Argument for Bytes {
    fn into_bytes(self) -> Bytes {
        self
    }
}

impl Argument for &Bytes {
    fn into_bytes(self) -> Bytes {
        self.clone()
    }
}

impl Argument for String {
    fn into_bytes(self) -> Bytes {
        Bytes::from(self)
    }
}

impl Argument for Vec<u8> {
    fn into_bytes(self) -> Bytes {
        Bytes::from(self)
    }
}

impl Argument for &str {
    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

impl Argument for &String {
    fn into_bytes(self) -> Bytes {
        self.as_str().into_bytes()
    }
}

impl Argument for &[u8] {
    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

/// Numbers are sent in decimal.
macro_rules! numbers {
    ($($Number:ty),*) => {$(
        impl Argument for $Number {
            fn into_bytes(self) -> Bytes {
                Bytes::from(self.to_string())
            }
        }
    )*};
}

numbers!(i32, i64, u16, u32, u64, usize, f64);
