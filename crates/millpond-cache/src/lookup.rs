//! Reads the entry of a key and whether it has expired.

use crate::cache::RedisCache;
use crate::codec::Codec;
use crate::entry::{Entry, Lookup};
use crate::error::CacheError;
use crate::event::CacheEvent;
use millpond_redis::{Bytes, Command, RedisError, SharedRedisLease};
use std::time::Duration;

impl<C: Codec> RedisCache<C> {
    /// Reads the entry of a key.
    pub(crate) async fn read_entry(&self, key: &str) -> Result<Lookup, CacheError> {
        let get = Command::new("GET").key(key).idempotent();
        let stale = self.shared.settings.stale_millis();
        let lookup = self.ask(key, |lease| {
            let get = get.clone();
            async move {
                match stale {
                    0 => Ok(Lookup::of(entry_of(&lease, get).await?, None, 0)),
                    _ => {
                        let (bytes, left) = with_time(&lease, get, key).await?;
                        Ok(Lookup::of(bytes, Some(left), stale))
                    }
                }
            }
        });
        Ok(lookup.await?.unwrap_or(Lookup::Blind))
    }

    /// Returns how long a value remains valid, without reading it: `Some(None)` if it does not
    /// expire.
    pub(crate) async fn remaining_ttl(
        &self,
        key: &str,
    ) -> Result<Option<Option<Duration>>, CacheError> {
        // Two bytes distinguish a value from a remembered absence and from a counter.
        let get = Command::new("GETRANGE").key(key).arg(0).arg(1).idempotent();
        let found = self.ask(key, |lease| {
            let get = get.clone();
            async move { with_time(&lease, get, key).await }
        });
        let Some((bytes, left)) = found.await? else { return Ok(None) };
        let stale = self.shared.settings.stale_millis();
        let is_ours = bytes.as_ref().is_some_and(Entry::is_ours);
        Ok(match Lookup::of(bytes, Some(left), stale) {
            Lookup::Fresh(Entry::Value(_)) => {
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
    pub(crate) fn emit_lookup(&self, lookup: &Lookup) {
        match lookup {
            Lookup::Fresh(Entry::Nothing) => self.emit(&CacheEvent::NegativeHit),
            Lookup::Fresh(Entry::Value(_)) => self.emit(&CacheEvent::Hit),
            Lookup::Stale(_) => self.emit(&CacheEvent::StaleHit),
            Lookup::Nothing | Lookup::Blind => {}
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
