//! Reads the entry of a key and whether it has expired.

use crate::cache::RedisCache;
use crate::codec::Codec;
use crate::entry::{Entry, Look};
use crate::error::CacheError;
use crate::event::CacheEvent;
use millpond_redis::{Bytes, Command, RedisError, SharedRedisLease};
use std::time::Duration;

impl<C: Codec> RedisCache<C> {
    /// Reads the entry of a key.
    pub(crate) async fn look(&self, key: &str) -> Result<Look, CacheError> {
        let get = Command::new("GET").key(key).idempotent();
        let stale = self.inside.settings.stale_millis();
        let look = self.ask(key, |lease| {
            let get = get.clone();
            async move {
                match stale {
                    0 => Ok(Look::of(entry_of(&lease, get).await?, None, 0)),
                    _ => {
                        let (bytes, left) = with_time(&lease, get, key).await?;
                        Ok(Look::of(bytes, Some(left), stale))
                    }
                }
            }
        });
        Ok(look.await?.unwrap_or(Look::Blind))
    }

    /// Returns how long a value remains valid, without reading it: `Some(None)` if it does not
    /// expire.
    pub(crate) async fn glance(&self, key: &str) -> Result<Option<Option<Duration>>, CacheError> {
        // Two bytes distinguish a value from a remembered absence and from a counter.
        let get = Command::new("GETRANGE").key(key).arg(0).arg(1).idempotent();
        let found = self.ask(key, |lease| {
            let get = get.clone();
            async move { with_time(&lease, get, key).await }
        });
        let Some((bytes, left)) = found.await? else { return Ok(None) };
        let stale = self.inside.settings.stale_millis();
        let is_ours = bytes.as_ref().is_some_and(Entry::is_ours);
        Ok(match Look::of(bytes, Some(left), stale) {
            Look::Fresh(Entry::Value(_)) => {
                let left = u64::try_from(left).ok();
                Some(
                    left.map(|left| {
                        Duration::from_millis(if is_ours { left - stale } else { left })
                    }),
                )
            }
            _ => None,
        })
    }

    /// Reports as an event what a caller found.
    pub(crate) fn tell_look(&self, look: &Look) {
        match look {
            Look::Fresh(Entry::Nothing) => self.tell(&CacheEvent::NegativeHit),
            Look::Fresh(Entry::Value(_)) => self.tell(&CacheEvent::Hit),
            Look::Stale(_) => self.tell(&CacheEvent::StaleHit),
            Look::Nothing | Look::Blind => {}
        }
    }
}

/// Runs `get` and PTTL together: the entry, and its remaining time by the server's clock.
async fn with_time(
    lease: &SharedRedisLease,
    get: Command,
    key: &str,
) -> Result<(Option<Bytes>, i64), RedisError> {
    let left = Command::new("PTTL").key(key).idempotent();
    tokio::try_join!(entry_of(lease, get), lease.run::<i64>(left))
}

/// Runs `get`. A list or a hash that another program has stored is no entry, as for MGET.
async fn entry_of(lease: &SharedRedisLease, get: Command) -> Result<Option<Bytes>, RedisError> {
    match lease.run(get).await {
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
        outcome => outcome,
    }
}
