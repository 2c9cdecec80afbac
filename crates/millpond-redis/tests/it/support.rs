//! The servers that the environment names, commands, and what is asked of connections.

use millpond_redis::{
    Command, Limits, RedisLease, RedisPool, RedisPoolOptions, SharedRedisPoolOptions, Value,
};
use millpond_testkit::variable;
use std::time::Duration;

/// A healthy server answers within this time, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The URL of a single server.
pub fn single() -> Option<String> {
    variable("MILLPOND_TEST_REDIS_URL")
}

/// The URL of a cluster.
pub fn cluster() -> Option<String> {
    variable("MILLPOND_TEST_CLUSTER_URL")
}

/// Options of a pool of so many connections, below the range.
pub fn few(connections: u32) -> RedisPoolOptions {
    own().max_connections(connections).limits(Limits::Off)
}

/// Options of a pool of exclusive connections.
pub fn own() -> RedisPoolOptions {
    RedisPoolOptions::new().command_timeout(PATIENCE)
}

/// Options of a pool of connections that many use at once.
pub fn shared() -> SharedRedisPoolOptions {
    SharedRedisPoolOptions::new().command_timeout(PATIENCE)
}

/// A key that no other test uses.
pub fn key(name: &str) -> String {
    format!("millpond:{name}:{:x}", fastrand::u64(..))
}

pub fn get(key: &str) -> Command {
    Command::new("GET").key(key).idempotent()
}

pub fn set(key: &str, value: impl millpond_redis::Argument) -> Command {
    Command::new("SET").key(key).arg(value)
}

pub fn echo(text: &str) -> Command {
    Command::new("ECHO").arg(text)
}

/// The number that the server has given to this connection.
pub async fn id(lease: &mut RedisLease) -> i64 {
    lease.run(Command::new("CLIENT").arg("ID")).await.unwrap()
}

/// What the server says of all its clients, seen past the pools.
pub async fn clients(url: &str) -> String {
    let pool = few(1).connect(url).await.unwrap();
    let text = pool.run(Command::new("CLIENT").arg("LIST")).await.unwrap();
    let _ = pool.close().await;
    text
}

/// The next borrower gets a connection whose session is as new, and is answered with what it asked.
pub async fn next_is_clean(pool: &RedisPool) -> i64 {
    let mut lease = pool.acquire().await.unwrap();
    let nonce = key("nonce");
    assert_eq!(lease.run::<String>(echo(&nonce)).await.unwrap(), nonce);
    let info: String = lease.run(Command::new("CLIENT").arg("INFO")).await.unwrap();
    for wanted in ["db=0", "sub=0", "psub=0", "multi=-1", "name= "] {
        assert!(info.contains(wanted), "{wanted} is not in {info}");
    }
    assert!(!info.contains("watch=") || info.contains("watch=0"), "{info}");
    id(&mut lease).await
}

/// Whatever came.
pub async fn any(lease: &mut RedisLease, command: Command) -> Value {
    lease.run(command).await.unwrap()
}

/// The URL with another parameter.
pub fn with(url: &str, parameter: &str) -> String {
    format!("{url}{}{parameter}", if url.contains('?') { '&' } else { '?' })
}

/// The URL for each driver that is built in, with each version of the protocol.
pub fn by_each_driver(url: &str) -> Vec<String> {
    let mut urls = vec![url.to_owned(), with(url, "protocol=2")];
    if cfg!(all(feature = "fred", feature = "redis-rs")) {
        urls.extend(urls.clone().iter().map(|url| with(url, "driver=redis-rs")));
    }
    urls
}

/// Whether a connection over this URL's driver can subscribe.
pub fn can_subscribe(url: &str) -> bool {
    cfg!(feature = "fred") && !url.contains("driver=redis-rs")
}
