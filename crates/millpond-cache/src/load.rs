//! `get_or_load`: one load for any number of concurrent callers.
//!
//! A caller that finds nothing joins the load of the key. The first one leads: it reads the key
//! once more, since another load may have finished in between, then loads, stores and wakes the
//! followers. If it is dropped, one of the followers leads instead.

use crate::cache::RedisCache;
use crate::codec::Codec;
use crate::entry::{Entry, Lookup};
use crate::error::CacheError;
use crate::event::CacheEvent;
use crate::lock::{Lock, POLL_INTERVAL};
use crate::outage::OnOutage;
use crate::single_flight::{Lead, Outcome, Role, is_nested};
use millpond_core::{BoxError, SharedError};
use millpond_redis::{Command, RedisError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Runs a future until a deadline. However late it is polled, it does nothing after that.
async fn not_after<F: Future>(until: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let running = poll_fn(|cx| match Instant::now() < until {
        true => future.as_mut().poll(cx),
        false => Poll::Pending,
    });
    timeout_at(until, running).await.ok()
}

/// Who may load a key, of all processes.
enum Turn {
    /// This one; with the lock, if loads need one.
    Ours(Option<Box<Lock>>),
    /// Another one, which has the lock.
    Theirs,
}

impl<C: Codec> RedisCache<C> {
    /// Returns the value of a key; if there is none, runs the loader and stores its value.
    ///
    /// - One loader at a time runs for a key in this process; concurrent callers wait for it and
    ///   share its value or error. With
    ///   [`lock_across_processes`](crate::CacheBuilder::lock_across_processes) this holds for all
    ///   processes together.
    /// - That a loader found nothing (`None`) is remembered for
    ///   [`negative_ttl`](crate::CacheBuilder::negative_ttl).
    /// - With [`stale_while_revalidate`](crate::CacheBuilder::stale_while_revalidate) the first
    ///   caller that finds an expired value reloads it; all others get the old value, and so does
    ///   the first one if its loader fails. With `lock_across_processes` it is the first caller of
    ///   all processes.
    /// - While Redis is down and `on_outage = open`, every value comes from its loader, at most
    ///   [`loads_max`](crate::CacheBuilder::loads_max) at a time.
    /// - If the key is written or deleted in this process while its loader runs, the value of the
    ///   loader is returned to the callers that wait for it already but not stored, and later
    ///   callers load anew. A loader of another process may still store what it has read before:
    ///   then the old value remains for at most `ttl`.
    /// - A loader may itself use a cache. Such a nested load runs on the permit that the outer one
    ///   holds, so that it does not wait for itself. It must run in the future of the loader: a
    ///   task that the loader spawns waits for a permit like any other caller.
    ///
    /// # Errors
    ///
    /// [`CacheError::Load`] if the loader fails, [`CacheError::Busy`] and
    /// [`CacheError::LoadTimedOut`] if it takes too long, [`CacheError::Circle`] if it requests a
    /// value that waits for it, [`CacheError::Codec`] if its value cannot be written,
    /// [`CacheError::Redis`] as for [`get`](Self::get). A value that is too large to store is still
    /// returned; so is one that could not be stored because Redis is down or refuses writes, if
    /// `on_outage = open`.
    ///
    /// # Cancel safety
    ///
    /// The loader runs inside this future and is dropped with it; one of the waiting callers then
    /// loads instead. A value that is being stored is stored nevertheless, before any later write
    /// or delete of its key in this process, unless Redis takes longer than `timeout`: then the
    /// server may store it after them, for at most its time to live. A task stores the value, and
    /// another one releases the lock across processes, so the runtime must go on running; without
    /// one the lock expires.
    pub async fn get_or_load<T, E, F, L>(
        &self,
        key: &str,
        loader: L,
    ) -> Result<Option<T>, CacheError>
    where
        T: Serialize + DeserializeOwned,
        E: Into<BoxError>,
        F: Future<Output = Result<Option<T>, E>>,
        L: FnOnce() -> F,
    {
        let name = key;
        let key = self.key(name);
        let lookup = self.read_entry(&key).await?;
        // A value that cannot be read counts as missing, whether it has expired or not.
        match lookup.entry().map(|entry| self.open(entry)) {
            Some(Some(value)) => {
                self.emit_lookup(&lookup);
                match lookup {
                    Lookup::Stale(entry) => {
                        let lock_key = self.lock_key(name);
                        return Box::pin(self.refresh(&key, &lock_key, entry, loader)).await;
                    }
                    _ => return Ok(value),
                }
            }
            Some(None) => self.emit(&CacheEvent::Unreadable),
            None => {}
        }
        loop {
            let limit = self.shared.settings.whole_load_limit();
            match self.shared.flights.join(&key, limit) {
                Role::Leader(lead) => {
                    let lead = Arc::new(lead);
                    // Boxed, so that the future of a hit, the common case, stays small.
                    let outcome = Box::pin(self.lead(&lead, &self.lock_key(name), loader)).await;
                    lead.finish(outcome.clone());
                    return self.unpack(outcome);
                }
                Role::Follower(flight) => {
                    if let Some(outcome) = flight.outcome().await {
                        self.emit(&CacheEvent::Shared);
                        return self.unpack(outcome);
                    }
                }
                Role::Circle => return Err(CacheError::Circle),
            }
        }
    }

    /// Runs the leader's part of a load.
    async fn lead<T, E, F, L>(&self, lead: &Arc<Lead>, lock_key: &str, loader: L) -> Outcome
    where
        T: Serialize + DeserializeOwned,
        E: Into<BoxError>,
        F: Future<Output = Result<Option<T>, E>>,
        L: FnOnce() -> F,
    {
        // Another load may have finished since this caller read the key.
        let lookup = self.read_entry(lead.key()).await?;
        let replaces = matches!(lookup, Lookup::Stale(_));
        if let Some(entry) = self.fresh::<T>(lookup) {
            self.emit(&CacheEvent::Hit);
            return Ok(entry);
        }
        self.emit(&CacheEvent::Miss);
        let until = Instant::now() + self.shared.settings.lock.unwrap_or_default();
        loop {
            if let Turn::Ours(lock) = self.turn(lock_key).await? {
                return self.load_in_turn(lead, lock, loader, replaces).await;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
            if let Some(entry) = self.read_fresh::<T>(lead.key()).await? {
                return Ok(entry);
            }
            if Instant::now() >= until {
                return self.load(lead, loader, replaces).await;
            }
        }
    }

    /// Tries to take the lock across processes, if loads need one.
    async fn turn(&self, lock_key: &str) -> Result<Turn, CacheError> {
        let Some(limit) = self.shared.settings.lock else { return Ok(Turn::Ours(None)) };
        let take = |lease| Lock::take(self.pool(), lease, lock_key, limit);
        Ok(match self.ask_once(lock_key, take).await? {
            Some(Some(lock)) => Turn::Ours(Some(Box::new(lock))),
            Some(None) => Turn::Theirs,
            // Redis is down, so there is no lock to wait for.
            None => Turn::Ours(None),
        })
    }

    /// Runs the loader and releases the lock, unless its previous owner has stored the value.
    async fn load_in_turn<T, E, F, L>(
        &self,
        lead: &Arc<Lead>,
        lock: Option<Box<Lock>>,
        loader: L,
        replaces: bool,
    ) -> Outcome
    where
        T: Serialize + DeserializeOwned,
        E: Into<BoxError>,
        F: Future<Output = Result<Option<T>, E>>,
        L: FnOnce() -> F,
    {
        let Some(lock) = lock else { return self.load(lead, loader, replaces).await };
        let outcome = match self.read_fresh::<T>(lead.key()).await? {
            Some(entry) => Ok(entry),
            None => self.load(lead, loader, replaces).await,
        };
        if self.ask(lock.key(), |lease| lock.release(lease)).await?.is_some() {
            lock.forget();
        }
        outcome
    }

    /// Runs the loader and stores its value; with `replaces`, in the place of an old one.
    async fn load<T, E, F, L>(&self, lead: &Arc<Lead>, loader: L, replaces: bool) -> Outcome
    where
        T: Serialize,
        E: Into<BoxError>,
        F: Future<Output = Result<Option<T>, E>>,
        L: FnOnce() -> F,
    {
        let settings = &self.shared.settings;
        let (limit, loads_max) = (settings.load_timeout, settings.loads_max);
        let turn = async {
            tokio::select! {
                biased;
                turn = self.shared.loads.acquire() => turn.ok(),
                // Runs on the permit of the load that waits for this one.
                () = lead.wait_for_priority() => None,
            }
        };
        let _turn = match is_nested() {
            true => None,
            false => match tokio::time::timeout(limit, turn).await {
                Ok(turn) => turn,
                Err(_) => return Err(CacheError::Busy { loads_max, waited: limit }),
            },
        };
        let began = Instant::now();
        let loaded = match tokio::time::timeout(limit, lead.run(loader)).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => {
                let error = SharedError::from(error.into());
                self.emit(&CacheEvent::LoadFailed { error: error.clone() });
                return Err(CacheError::Load(error));
            }
            Err(_) => {
                let error = CacheError::LoadTimedOut { limit };
                self.emit(&CacheEvent::LoadFailed { error: Arc::new(error.clone()) });
                return Err(error);
            }
        };
        self.emit(&CacheEvent::Loaded { took: began.elapsed(), found: loaded.is_some() });
        let (entry, ttl) = match loaded {
            Some(value) => (Entry::Value(self.encode(&value)?), Some(settings.ttl)),
            None => (Entry::Nothing, settings.negative_ttl),
        };
        let until = Instant::now() + settings.store_limit();
        if (ttl.is_some() || replaces)
            && let Some(right) = lead.may_store(until).await
        {
            let (cache, lead, entry) = (self.clone(), Arc::clone(lead), entry.clone());
            // A task: if the caller goes away, later writes of the key still wait for this one.
            let storing = tokio::spawn(async move {
                let storing = cache.put(lead.key(), &entry, ttl, replaces);
                let stored = not_after(until, storing).await;
                drop(right);
                stored.unwrap_or_else(|| cache.late_store())
            });
            // The task fails only if its runtime shuts down.
            if let Ok(stored) = storing.await {
                stored?;
            }
        }
        Ok(entry)
    }

    /// Stores what a load has found. An old entry that this cannot replace is removed, or it would
    /// be returned to others. A value that is too large is reported as an event; the value itself
    /// is good.
    async fn put(
        &self,
        key: &str,
        entry: &Entry,
        ttl: Option<Duration>,
        replaces: bool,
    ) -> Result<(), CacheError> {
        let stored = match ttl {
            None => Ok(false),
            Some(ttl) => self.store(key, entry, ttl).await,
        };
        let outcome = match stored {
            Ok(true) => return Ok(()),
            Ok(false) | Err(CacheError::TooLarge { .. }) => Ok(()),
            Err(error) => Err(error),
        };
        if replaces {
            let unlink = Command::new("UNLINK").key(key).idempotent();
            let removed = self.ask(key, |lease| {
                let unlink = unlink.clone();
                async move { lease.run::<()>(unlink).await }
            });
            return outcome.and(removed.await.map(drop));
        }
        outcome
    }

    /// Reports that storing a value has taken too long: it may not be stored.
    fn late_store(&self) -> Result<(), CacheError> {
        let settings = &self.shared.settings;
        let limit = settings.store_limit();
        let error = RedisError::TimedOut { command: "the cache".to_owned(), limit };
        if settings.on_outage == OnOutage::Closed {
            return Err(CacheError::Redis(error));
        }
        self.emit(&CacheEvent::Bypassed { error: Some(error) });
        Ok(())
    }

    /// Returns an expired value. The first caller reloads it, unless another process does so.
    async fn refresh<T, E, F, L>(
        &self,
        key: &str,
        lock_key: &str,
        old: Entry,
        loader: L,
    ) -> Result<Option<T>, CacheError>
    where
        T: Serialize + DeserializeOwned,
        E: Into<BoxError>,
        F: Future<Output = Result<Option<T>, E>>,
        L: FnOnce() -> F,
    {
        let limit = self.shared.settings.whole_load_limit();
        let Role::Leader(lead) = self.shared.flights.join(key, limit) else {
            return self.unpack(Ok(old));
        };
        let lead = Arc::new(lead);
        let new = match self.read_fresh::<T>(key).await? {
            Some(entry) => Some(entry),
            None => match self.turn(lock_key).await? {
                Turn::Ours(lock) => match self.load_in_turn(&lead, lock, loader, true).await {
                    Ok(entry) => Some(entry),
                    // The loader may have found that the old value is gone.
                    Err(error @ CacheError::Redis(_)) => return Err(error),
                    Err(_) => None,
                },
                Turn::Theirs => None,
            },
        };
        // The old value is not for those who wait: to them it may have been deleted already.
        if let Some(new) = &new {
            lead.finish(Ok(new.clone()));
        }
        self.unpack(Ok(new.unwrap_or(old)))
    }

    /// Returns the entry of a key if it has not expired and can be read.
    async fn read_fresh<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<Entry>, CacheError> {
        Ok(self.fresh::<T>(self.read_entry(key).await?))
    }

    /// Returns what was found if it has not expired and can be read.
    fn fresh<T: DeserializeOwned>(&self, lookup: Lookup) -> Option<Entry> {
        match lookup {
            Lookup::Fresh(entry) if self.open::<T>(&entry).is_some() => Some(entry),
            _ => None,
        }
    }

    fn unpack<T: DeserializeOwned>(&self, outcome: Outcome) -> Result<Option<T>, CacheError> {
        let entry = outcome?;
        match entry.value() {
            None => Ok(None),
            Some(bytes) => {
                let value = self.shared.codec.decode(bytes);
                value.map(Some).map_err(|error| CacheError::Codec(SharedError::from(error)))
            }
        }
    }

    /// Returns the value of an entry if it can be read.
    fn open<T: DeserializeOwned>(&self, entry: &Entry) -> Option<Option<T>> {
        match entry.value() {
            None => Some(None),
            Some(bytes) => self.shared.codec.decode(bytes).ok().map(Some),
        }
    }
}
