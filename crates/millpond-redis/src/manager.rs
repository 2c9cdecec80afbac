//! Managers: open, ping, reset and close Redis connections.

use crate::client::RedisClient;
use crate::connect::node::Node;
use crate::connect::options::RedisConnectOptions;
use crate::connection::RedisConnection;
use crate::error::RedisError;
use crate::error_class;
use crate::failover_count::FailoverCounter;
use crate::link::{Link, Use};
use crate::topology::Topology;
use millpond_core::{ConnectInfo, ErrorClass, Manager, Triage};
use std::sync::Arc;
use std::time::Duration;

/// The manager of exclusive connections. [`RedisPoolOptions`](crate::RedisPoolOptions) creates one;
/// use it directly to build a pool of the core, or of your own.
#[derive(Debug)]
pub struct RedisManager {
    opener: Opener,
    failovers: FailoverCounter,
}

impl RedisManager {
    /// Creates a manager that connects with these options.
    pub fn new(options: RedisConnectOptions) -> Self {
        Self { opener: Opener::new(options), failovers: FailoverCounter::default() }
    }
}

impl Manager for RedisManager {
    type Connection = RedisConnection;
    type Error = RedisError;

    async fn connect(&self, info: &ConnectInfo) -> Result<RedisConnection, RedisError> {
        // Taken first: a failover while the connection is opened outdates it.
        let failovers = self.failovers.now();
        let link = self.opener.open(Use::Exclusive, info.limit).await?;
        Ok(RedisConnection::new(link, failovers, Arc::clone(&self.opener.options)))
    }

    async fn ping(&self, conn: &mut RedisConnection) -> Result<(), RedisError> {
        conn.ping().await
    }

    fn triage(&self, conn: &mut RedisConnection) -> Triage {
        conn.triage()
    }

    async fn reset(&self, conn: &mut RedisConnection) -> Result<(), RedisError> {
        conn.restore().await
    }

    fn undoes_on_connect(&self, conn: &mut RedisConnection) -> bool {
        conn.take_database_restored()
    }

    async fn close(&self, conn: RedisConnection) -> Result<(), RedisError> {
        conn.close().await;
        Ok(())
    }

    fn classify(&self, error: &RedisError) -> ErrorClass {
        error_class::classify(error)
    }
}

/// The manager of connections that many borrowers use at once.
#[derive(Debug)]
pub struct SharedRedisManager {
    opener: Opener,
    failovers: FailoverCounter,
}

impl SharedRedisManager {
    /// Creates a manager that connects with these options.
    pub fn new(options: RedisConnectOptions) -> Self {
        Self { opener: Opener::new(options), failovers: FailoverCounter::default() }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.opener.options.is_cluster()
    }

    /// Returns the node of the cluster that owns a slot, if it is known.
    pub(crate) fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        self.opener.topology.owner(slot)
    }
}

impl Manager for SharedRedisManager {
    type Connection = Arc<RedisClient>;
    type Error = RedisError;

    async fn connect(&self, info: &ConnectInfo) -> Result<Arc<RedisClient>, RedisError> {
        let failovers = self.failovers.now();
        let link = self.opener.open(Use::Shared, info.limit).await?;
        Ok(Arc::new(RedisClient::new(link, failovers)))
    }

    async fn ping(&self, conn: &mut Arc<RedisClient>) -> Result<(), RedisError> {
        conn.ping().await
    }

    async fn close(&self, conn: Arc<RedisClient>) -> Result<(), RedisError> {
        conn.abort();
        Ok(())
    }

    fn classify(&self, error: &RedisError) -> ErrorClass {
        error_class::classify(error)
    }
}

/// Opens the connections of one manager.
#[derive(Debug)]
struct Opener {
    options: Arc<RedisConnectOptions>,
    /// What its connections know together.
    topology: Arc<Topology>,
}

impl Opener {
    fn new(options: RedisConnectOptions) -> Self {
        let options = Arc::new(options);
        Self { topology: Topology::new(Arc::clone(&options)), options }
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// The reason why there is no connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt.
    async fn open(&self, purpose: Use, limit: Duration) -> Result<Link, RedisError> {
        Box::pin(Link::open(&self.topology, purpose, limit)).await
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.topology.end();
    }
}
