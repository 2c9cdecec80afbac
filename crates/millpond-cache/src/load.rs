//! `get_or_load`: one load for a thousand who ask.
//!
//! Whoever finds nothing boards a flight for the key. Its leader looks once more, since another may have landed between his
//! first look and his boarding; then he loads, stores and tells all who wait. A leader who goes away leaves the load to one
//! of them.

use crate::cache::RedisCache;
use crate::codec::Codec;
use crate::entry::Entry;
use crate::error::CacheError;
use crate::event::CacheEvent;
use crate::flight::{Lead, Outcome, Role, follow};
use crate::lock::{LOOK, Lock};
use millpond_core::{BoxError, SharedError};
use millpond_redis::{Bytes, Command};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use tokio::time::Instant;

/// What a look at a key has found.
enum Look {
    Fresh(Entry),
    /// It is past its time, and may be answered while it is loaded anew.
    Stale(Entry),
    Nothing,
    /// Redis is down.
    Blind,
}

impl<C: Codec> RedisCache<C> {
    /// The value of a key; if there is none, what the loader says, which is stored for the next one.
    ///
    /// - In this process one loader at a time is at work for a key, whoever else asks waits for it and shares its value or
    ///   error; with [`lock_across_processes`](crate::CacheBuilder::lock_across_processes) in all processes.
    /// - A loader that finds nothing (`None`) is believed for [`negative_ttl`](crate::CacheBuilder::negative_ttl).
    /// - With [`stale_while_revalidate`](crate::CacheBuilder::stale_while_revalidate) the first who finds a value past its
    ///   time loads it anew; all others are answered with the old one, and so is he if his loader fails.
    /// - While Redis is down and `fail = open` every value comes from its loader, at most
    ///   [`loads_max`](crate::CacheBuilder::loads_max) at a time.
    ///
    /// # Errors
    ///
    /// [`CacheError::Load`] if the loader fails, [`CacheError::Busy`] and [`CacheError::LoadTimedOut`] if it takes too long,
    /// [`CacheError::Codec`] if its value cannot be written, [`CacheError::Redis`] as for [`get`](Self::get). A value that is
    /// too large is returned all the same; so is one that is not stored because Redis is down, if `fail = open`.
    ///
    /// # Cancel safety
    ///
    /// The loader runs inside this future and is dropped with it; one of those who wait then loads instead. The lock across
    /// processes is given back by a task, if the future is dropped in a runtime; else it expires.
    pub async fn get_or_load<T, E, F, L>(&self, key: &str, loader: L) -> Result<Option<T>, CacheError>
    where
        T: Serialize + DeserializeOwned,
        E: Into<BoxError>,
        F: Future<Output = Result<Option<T>, E>>,
        L: FnOnce() -> F,
    {
        let key = self.key(key);
        match self.look(&key).await? {
            Look::Fresh(entry) => {
                if let Some(value) = self.open(&entry) {
                    return Ok(value);
                }
                self.tell(&CacheEvent::Unreadable);
            }
            Look::Stale(entry) => return Box::pin(self.refresh(&key, &entry, loader)).await,
            Look::Nothing | Look::Blind => {}
        }
        loop {
            match self.inside.flights.board(&key) {
                Role::Leader(lead) => {
                    // Boxed: a hit, which is common, need not carry all that a load may need.
                    let outcome = Box::pin(self.lead(&key, loader)).await;
                    lead.land(outcome.clone());
                    return self.unpack(outcome);
                }
                Role::Follower(flight) => {
                    if let Some(outcome) = follow(flight).await {
                        self.tell(&CacheEvent::Shared);
                        return self.unpack(outcome);
                    }
                }
            }
        }
    }

    /// What the leader of a flight does.
    async fn lead<T, E, F, L>(&self, key: &str, loader: L) -> Outcome
    where
        T: Serialize + DeserializeOwned,
        E: Into<BoxError>,
        F: Future<Output = Result<Option<T>, E>>,
        L: FnOnce() -> F,
    {
        // Another flight may have landed since this caller looked.
        if let Some(entry) = self.there::<T>(key).await? {
            self.tell(&CacheEvent::Hit);
            return Ok(entry);
        }
        self.tell(&CacheEvent::Miss);
        let Some(limit) = self.inside.settings.lock else { return self.load(key, loader).await };
        let until = Instant::now() + limit;
        loop {
            match self.ask(Lock::take(self.pool(), key, limit)).await? {
                // Redis is down: nobody can be waited for.
                None => return self.load(key, loader).await,
                Some(Some(lock)) => {
                    // Whoever had it before may have stored the value.
                    let outcome = match self.there::<T>(key).await? {
                        Some(entry) => Ok(entry),
                        None => self.load(key, loader).await,
                    };
                    let _ = self.ask(lock.release()).await?;
                    return outcome;
                }
                Some(None) => {}
            }
            tokio::time::sleep(LOOK).await;
            if let Some(entry) = self.there::<T>(key).await? {
                return Ok(entry);
            }
            if Instant::now() >= until {
                return self.load(key, loader).await;
            }
        }
    }

    /// Loads and stores.
    async fn load<T, E, F, L>(&self, key: &str, loader: L) -> Outcome
    where
        T: Serialize,
        E: Into<BoxError>,
        F: Future<Output = Result<Option<T>, E>>,
        L: FnOnce() -> F,
    {
        let settings = &self.inside.settings;
        let (limit, loads_max) = (settings.load_timeout, settings.loads_max);
        let turn = tokio::time::timeout(limit, self.inside.loads.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(CacheError::Busy { loads_max, waited: limit }) };
        let began = Instant::now();
        let loaded = match tokio::time::timeout(limit, loader()).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => {
                let error = SharedError::from(error.into());
                self.tell(&CacheEvent::LoadFailed { error: error.clone() });
                return Err(CacheError::Load(error));
            }
            Err(_) => {
                let error = CacheError::LoadTimedOut { limit };
                self.tell(&CacheEvent::LoadFailed { error: std::sync::Arc::new(error.clone()) });
                return Err(error);
            }
        };
        self.tell(&CacheEvent::Loaded { took: began.elapsed(), found: loaded.is_some() });
        let (entry, ttl) = match loaded {
            Some(value) => (Entry::Value(self.encode(&value)?), Some(settings.ttl)),
            None => (Entry::Nothing, settings.negative_ttl),
        };
        if let Some(ttl) = ttl {
            match self.store(key, &entry, ttl).await {
                // Told as an event. The value is good all the same.
                Ok(()) | Err(CacheError::TooLarge { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entry)
    }

    /// Answers with a value past its time. The first who comes loads it anew.
    async fn refresh<T, E, F, L>(&self, key: &str, old: &Entry, loader: L) -> Result<Option<T>, CacheError>
    where
        T: Serialize + DeserializeOwned,
        E: Into<BoxError>,
        F: Future<Output = Result<Option<T>, E>>,
        L: FnOnce() -> F,
    {
        let lead: Option<Lead> = self.inside.flights.lead(key);
        let outcome = match lead {
            None => Ok(old.clone()),
            Some(lead) => {
                let outcome = match self.there::<T>(key).await? {
                    Some(entry) => Ok(entry),
                    None => self.load(key, loader).await.or_else(|_| Ok(old.clone())),
                };
                lead.land(outcome.clone());
                outcome
            }
        };
        self.unpack(outcome)
    }

    /// Looks at a key, and tells what a caller has found.
    async fn look(&self, key: &str) -> Result<Look, CacheError> {
        let look = self.look_quietly(key).await?;
        match &look {
            Look::Fresh(Entry::Nothing) => self.tell(&CacheEvent::NegativeHit),
            Look::Fresh(Entry::Value(_)) => self.tell(&CacheEvent::Hit),
            Look::Stale(_) => self.tell(&CacheEvent::StaleHit),
            Look::Nothing | Look::Blind => {}
        }
        Ok(look)
    }

    /// An entry that is not past its time and can be read.
    async fn there<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Entry>, CacheError> {
        match self.look_quietly(key).await? {
            Look::Fresh(entry) if self.open::<T>(&entry).is_some() => Ok(Some(entry)),
            _ => Ok(None),
        }
    }

    async fn look_quietly(&self, key: &str) -> Result<Look, CacheError> {
        let get = Command::new("GET").key(key).idempotent();
        let stale = self.inside.settings.stale_millis();
        if stale == 0 {
            let found = self.ask(self.pool().run::<Option<Bytes>>(get)).await?;
            return Ok(match found {
                None => Look::Blind,
                Some(None) => Look::Nothing,
                Some(Some(bytes)) => Look::Fresh(Entry::read(bytes)),
            });
        }
        // Both on one connection and in one go; it is the server's clock that says what is past its time.
        let both = async {
            let lease = self.pool().acquire().await?;
            let left = Command::new("PTTL").key(key).idempotent();
            tokio::try_join!(lease.run::<Option<Bytes>>(get), lease.run::<i64>(left))
        };
        Ok(match self.ask(both).await? {
            None => Look::Blind,
            Some((None, _)) => Look::Nothing,
            // A counter or an entry from elsewhere may have no time at all.
            Some((Some(bytes), left)) => match u64::try_from(left) {
                Ok(left) if left <= stale => Look::Stale(Entry::read(bytes)),
                _ => Look::Fresh(Entry::read(bytes)),
            },
        })
    }

    fn unpack<T: DeserializeOwned>(&self, outcome: Outcome) -> Result<Option<T>, CacheError> {
        let entry = outcome?;
        match entry.value() {
            None => Ok(None),
            Some(bytes) => {
                let value = self.inside.codec.decode(bytes);
                value.map(Some).map_err(|error| CacheError::Codec(SharedError::from(error)))
            }
        }
    }

    /// The value of an entry, if it can be read.
    fn open<T: DeserializeOwned>(&self, entry: &Entry) -> Option<Option<T>> {
        match entry.value() {
            None => Some(None),
            Some(bytes) => self.inside.codec.decode(bytes).ok().map(Some),
        }
    }
}
