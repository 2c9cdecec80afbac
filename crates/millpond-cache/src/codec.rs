//! Converts values to bytes and back.

use millpond_core::BoxError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Converts values to bytes and back. The default is [`Json`].
pub trait Codec: Send + Sync + 'static {
    /// Writes a value.
    ///
    /// # Errors
    ///
    /// The error of the serializer.
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, BoxError>;

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// The error of the deserializer. The cache then counts the entry as missing.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BoxError>;
}

/// Values as JSON: readable with `redis-cli`, and by other languages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl Codec for Json {
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, BoxError> {
        Ok(serde_json::to_vec(value)?)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BoxError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}
