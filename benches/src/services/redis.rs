//! Redis: `GET` of a small value.

use crate::service::{Service, Turn};
use deadpool_redis::redis::AsyncTypedCommands;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::Builder;
use fred::types::config::Config;
use millpond_redis::{
    Command, RedisPool, RedisPoolOptions, SharedRedisPool, SharedRedisPoolOptions,
};

const KEY: &str = "pond";
const VALUE: &str = "mill";

fn get() -> Command {
    Command::new("GET").key(KEY)
}

/// Stores the value that is queried.
///
/// # Panics
///
/// If there is no Redis server.
pub async fn fill(url: &str) {
    let pool = RedisPoolOptions::new().connect(url).await.expect("the server is there");
    let set = Command::new("SET").key(KEY).arg(VALUE);
    let () = pool.run(set).await.expect("a server that takes writes");
    let _ = pool.close().await;
}

/// millpond: a connection for each borrower, default settings.
#[derive(Clone, Debug)]
pub struct Millpond(RedisPool);

impl Service for Millpond {
    const NAME: &'static str = "millpond";

    async fn open(url: &str, connections: u32) -> Self {
        Self(
            RedisPoolOptions::new()
                .max_connections(connections)
                .connect(url)
                .await
                .expect("the server is there"),
        )
    }

    async fn ask(&self, _: usize, _: Turn) {
        let mut lease = self.0.acquire().await.expect("millpond lends");
        let value: String = lease.run(get()).await.expect("an answer");
        assert_eq!(value, VALUE);
    }

    async fn close(self) {
        let _ = self.0.close().await;
    }
}

/// millpond: connections shared by all borrowers, default settings.
#[derive(Clone, Debug)]
pub struct Shared(SharedRedisPool);

impl Service for Shared {
    const NAME: &'static str = "millpond";

    async fn open(url: &str, connections: u32) -> Self {
        let options = SharedRedisPoolOptions::new().max_connections(connections);
        Self(options.connect(url).await.expect("the server is there"))
    }

    async fn ask(&self, _: usize, _: Turn) {
        let lease = self.0.acquire().await.expect("millpond lends");
        let value: String = lease.run(get()).await.expect("an answer");
        assert_eq!(value, VALUE);
    }

    async fn close(self) {
        let _ = self.0.close().await;
    }
}

/// millpond over redis-rs: a connection for each borrower.
#[derive(Clone, Debug)]
pub struct MillpondRs(Millpond);

impl Service for MillpondRs {
    const NAME: &'static str = "millpond-rs";

    async fn open(url: &str, connections: u32) -> Self {
        Self(Millpond::open(&over_redis_rs(url), connections).await)
    }

    async fn ask(&self, task: usize, turn: Turn) {
        self.0.ask(task, turn).await;
    }

    async fn close(self) {
        self.0.close().await;
    }
}

/// millpond over redis-rs: connections shared by all borrowers.
#[derive(Clone, Debug)]
pub struct SharedRs(Shared);

impl Service for SharedRs {
    const NAME: &'static str = "millpond-rs";

    async fn open(url: &str, connections: u32) -> Self {
        Self(Shared::open(&over_redis_rs(url), connections).await)
    }

    async fn ask(&self, task: usize, turn: Turn) {
        self.0.ask(task, turn).await;
    }

    async fn close(self) {
        self.0.close().await;
    }
}

fn over_redis_rs(url: &str) -> String {
    format!("{url}?driver=redis-rs")
}

/// deadpool-redis over redis-rs: default settings, with a ping before each loan.
#[derive(Clone, Debug)]
pub struct Deadpool(deadpool_redis::Pool);

impl Service for Deadpool {
    const NAME: &'static str = "deadpool";

    async fn open(url: &str, connections: u32) -> Self {
        let config = deadpool_redis::Config::from_url(url);
        let builder = config
            .builder()
            .expect("a URL of the servers for tests")
            .max_size(connections as usize);
        Self(builder.build().expect("no deadlines, so no runtime is asked for"))
    }

    async fn ask(&self, _: usize, _: Turn) {
        let mut lease = self.0.get().await.expect("deadpool lends");
        let value = lease.get(KEY).await.expect("an answer");
        assert_eq!(value.as_deref(), Some(VALUE));
    }

    async fn close(self) {
        self.0.close();
    }
}

/// fred's `ExclusivePool`: default settings, without checks and time limits.
#[derive(Clone, Debug)]
pub struct FredExclusive(fred::clients::ExclusivePool);

impl Service for FredExclusive {
    const NAME: &'static str = "fred";

    async fn open(url: &str, connections: u32) -> Self {
        let pool = fred_at(url)
            .build_exclusive_pool(connections as usize)
            .expect("settings that can be used");
        pool.init().await.expect("the server is there");
        Self(pool)
    }

    async fn ask(&self, _: usize, _: Turn) {
        let value: String = self.0.acquire().await.get(KEY).await.expect("an answer");
        assert_eq!(value, VALUE);
    }

    async fn close(self) {
        for client in self.0.clients() {
            client.lock().await.quit().await.expect("QUIT is answered");
        }
    }
}

/// fred's `Pool`, whose connections all callers share: default settings.
#[derive(Clone, Debug)]
pub struct Fred(fred::clients::Pool);

impl Service for Fred {
    const NAME: &'static str = "fred";

    async fn open(url: &str, connections: u32) -> Self {
        let pool =
            fred_at(url).build_pool(connections as usize).expect("settings that can be used");
        pool.init().await.expect("the server is there");
        Self(pool)
    }

    async fn ask(&self, _: usize, _: Turn) {
        let value: String = self.0.get(KEY).await.expect("an answer");
        assert_eq!(value, VALUE);
    }

    async fn close(self) {
        self.0.quit().await.expect("QUIT is answered");
    }
}

fn fred_at(url: &str) -> Builder {
    Builder::from_config(Config::from_url(url).expect("a URL of the servers for tests"))
}
