//! fred's own client, opened beside a connection on request.

use super::settings;
use crate::connect::options::RedisConnectOptions;
use crate::error::RedisError;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::ConnectHandle;
use std::sync::Arc;

/// The handles to a client that are ours: this one, and that of its task.
const HANDLES: usize = 2;

/// A client of fred. Dropping it ends its task and closes its sockets, which fred alone would keep.
pub(crate) struct FredClient {
    client: Client,
    task: ConnectHandle,
}

impl FredClient {
    /// Starts to connect; commands wait for that.
    ///
    /// # Errors
    ///
    /// [`RedisError::Setup`].
    pub(crate) fn open(options: &RedisConnectOptions) -> Result<Self, RedisError> {
        let client = settings::client(options)?;
        let task = client.connect();
        Ok(Self { client, task })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns whether a clone of the client exists outside.
    pub(crate) fn has_escaped(&self) -> bool {
        Arc::strong_count(self.client.inner()) > HANDLES
    }
}

impl Drop for FredClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}
