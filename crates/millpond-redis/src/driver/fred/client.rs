//! fred's own client beside a connection, for who asks for it, and the end of its task and sockets.

use super::settings;
use crate::connect::options::RedisConnectOptions;
use crate::error::RedisError;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::ConnectHandle;
use std::sync::Arc;

/// How many handles to a client there are while nobody outside holds one: this one, and its task's.
const HANDLES: usize = 2;

/// A client of fred. Whoever drops it ends its task, and its sockets with it: the driver would keep both for ever.
pub(crate) struct FredClient {
    client: Client,
    task: ConnectHandle,
}

impl FredClient {
    /// Begins to connect: commands wait until it has.
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

    /// Whether somebody outside holds a handle.
    pub(crate) fn has_escaped(&self) -> bool {
        Arc::strong_count(self.client.inner()) > HANDLES
    }
}

impl Drop for FredClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}
