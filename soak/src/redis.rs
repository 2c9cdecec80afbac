//! millpond's Redis pool under soak, with either driver: blocking commands, transactions, watched
//! keys and selected databases are dropped half-way as well.

use crate::plan::Action;
use crate::subject::{Failure, LONG, PLACES, SHORT, Subject};
use millpond_core::Status;
use millpond_redis::{
    Command, Driver, Limits, RedisConnectOptions, RedisError, RedisLease, RedisPool,
    RedisPoolOptions,
};

/// The number of values that are read at once.
const VALUES: usize = 300;

/// The pool, with fred or with redis-rs.
#[derive(Debug, Clone)]
pub struct Redis<const REDIS_RS: bool>(RedisPool);

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        if matches!(error, RedisError::Decode { .. }) { Self::Wrong } else { Self::Connection }
    }
}

impl<const REDIS_RS: bool> Subject for Redis<REDIS_RS> {
    type Lease = RedisLease;

    const NAME: &'static str = if REDIS_RS { "redis over redis-rs" } else { "redis" };
    const LEFT: &'static str = "sessions";

    async fn lease(&self) -> Result<RedisLease, Failure> {
        self.0.acquire().await.map_err(|_| Failure::Connection)
    }

    async fn look(lease: &mut RedisLease, nonce: i64) -> Result<(i64, bool), Failure> {
        let info: String = lease.run(Command::new("CLIENT").arg("INFO")).await?;
        let is_new = ["db=0", "sub=0", "psub=0", "multi=-1", "flags=N"];
        let is_stale =
            is_new.iter().any(|wanted| !info.split_ascii_whitespace().any(|word| word == *wanted));
        Ok((echo(lease, nonce).await?, is_stale))
    }

    async fn act(lease: &mut RedisLease, action: Action, nonce: i64) -> Result<i64, Failure> {
        let key = format!("soak:{nonce}");
        match action {
            Action::Ask(variant) if variant % 4 == 0 => {
                lease.run::<()>(Command::new("SET").key(&key).arg(nonce).args(["EX", "5"])).await?;
                Ok(lease.run(Command::new("GET").key(&key)).await?)
            }
            // No value is ever pushed: the command waits at the server.
            Action::Ask(variant) if variant % 4 == 1 => {
                let nothing: Option<Vec<String>> =
                    lease.run(Command::new("BLPOP").key(&key).arg("0.02")).await?;
                if nothing.is_none() { echo(lease, nonce).await } else { Err(Failure::Wrong) }
            }
            Action::Ask(_) => echo(lease, nonce).await,
            Action::Rows => {
                let script = "local all = {} for i = 1, tonumber(ARGV[2]) do all[i] = ARGV[1] \
                    end return all";
                let eval = Command::new("EVAL").arg(script).arg(1).key(&key).arg(nonce).arg(VALUES);
                let values: Vec<i64> = lease.run(eval).await?;
                let other = values.iter().find(|value| **value != nonce);
                if values.len() == VALUES {
                    Ok(other.copied().unwrap_or(nonce))
                } else {
                    Err(Failure::Wrong)
                }
            }
            Action::Begin => {
                lease.run::<()>(Command::new("WATCH").key(&key)).await?;
                let set = Command::new("SET").key(&key).arg(nonce).args(["EX", "5"]);
                let done: Option<(String, i64)> =
                    lease.transaction([set, Command::new("GET").key(&key)]).await?;
                done.map(|(_, answer)| answer).ok_or(Failure::Wrong)
            }
            // The pool must undo these.
            Action::Script => {
                lease.run::<()>(Command::new("SELECT").arg(3)).await?;
                lease.run::<()>(Command::new("WATCH").key(&key)).await?;
                echo(lease, nonce).await
            }
        }
    }

    async fn begin(&self) -> Result<(), Failure> {
        Ok(self.0.run(Command::new("PING")).await?)
    }

    fn status(&self) -> Option<Status> {
        Some(self.0.status())
    }
}

async fn echo(lease: &mut RedisLease, nonce: i64) -> Result<i64, Failure> {
    Ok(lease.run(Command::new("ECHO").arg(nonce)).await?)
}

/// Builds a pool over the Redis server at this URL, with fred.
///
/// # Errors
///
/// Returns what is wrong with the URL.
pub fn redis(url: &str) -> Result<Redis<false>, RedisError> {
    pool(url, Driver::Fred).map(Redis)
}

/// Builds a pool over the Redis server at this URL, with redis-rs.
///
/// # Errors
///
/// Returns what is wrong with the URL.
pub fn redis_by_redis_rs(url: &str) -> Result<Redis<true>, RedisError> {
    pool(url, Driver::RedisRs).map(Redis)
}

fn pool(url: &str, driver: Driver) -> Result<RedisPool, RedisError> {
    let options: RedisConnectOptions = url.parse().map_err(|error: millpond_redis::UrlError| {
        RedisError::Setup { reason: error.to_string() }
    })?;
    let mut config = millpond_redis::PoolConfig::default();
    (config.ping_timeout, config.connect_timeout) = (SHORT, SHORT * 2);
    let sizes = RedisPoolOptions::new().config(config).limits(Limits::Off).max_connections(PLACES);
    sizes.command_timeout(SHORT).pool_timeout(LONG).connect_lazy_with(options.driver(driver))
}
