//! Sends commands to Redis: within the time limit, not while Redis is known to be down, and with a
//! fallback when it does not answer.

use crate::cache::{Inside, RedisCache};
use crate::codec::Codec;
use crate::error::CacheError;
use crate::event::CacheEvent;
use crate::outage::OnOutage;
use crate::settings::ATTEMPTS_MAX;
use millpond_core::Request;
use millpond_redis::{RedisError, SharedRedisLease};
use std::future::Future;
use tokio::time::{Instant, timeout_at};

impl<C: Codec> RedisCache<C> {
    /// Sends a command within `timeout`, even if Redis is known to be down and whatever `on_outage`
    /// is.
    ///
    /// # Errors
    ///
    /// A [`RedisError`]. If no connection was available it is the pool's error, and nothing was
    /// sent.
    pub(crate) async fn in_time<T, Q>(
        &self,
        attempts: u32,
        question: impl Fn(SharedRedisLease) -> Q,
    ) -> Result<T, RedisError>
    where
        Q: Future<Output = Result<T, RedisError>>,
    {
        let limit = self.inside.settings.timeout;
        let until = Instant::now() + limit;
        let mut attempt = 1;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let lease = self.pool().acquire_with(Request::here().within(left)).await?;
            match timeout_at(until, question(lease)).await {
                Ok(Err(RedisError::Lost { .. })) if attempt < attempts => attempt += 1,
                Ok(outcome) => return outcome,
                Err(_) => {
                    return Err(RedisError::TimedOut { command: "the cache".to_owned(), limit });
                }
            }
        }
    }

    /// Sends an idempotent command unless Redis is known to be down. Returns `None` with
    /// `on_outage = open` if Redis is down or refuses writes.
    pub(crate) async fn ask<T, Q>(
        &self,
        question: impl Fn(SharedRedisLease) -> Q,
    ) -> Result<Option<T>, CacheError>
    where
        Q: Future<Output = Result<T, RedisError>>,
    {
        self.ask_up_to(ATTEMPTS_MAX, question).await
    }

    /// Like [`ask`](Self::ask) for a command that must not be sent twice.
    pub(crate) async fn ask_once<T, Q>(
        &self,
        question: impl Fn(SharedRedisLease) -> Q,
    ) -> Result<Option<T>, CacheError>
    where
        Q: Future<Output = Result<T, RedisError>>,
    {
        self.ask_up_to(1, question).await
    }

    async fn ask_up_to<T, Q>(
        &self,
        attempts: u32,
        question: impl Fn(SharedRedisLease) -> Q,
    ) -> Result<Option<T>, CacheError>
    where
        Q: Future<Output = Result<T, RedisError>>,
    {
        let Inside { breaker, settings, .. } = &*self.inside;
        if settings.on_outage == OnOutage::Open && !breaker.may_ask() {
            self.tell(&CacheEvent::Bypassed { error: None });
            return Ok(None);
        }
        let error = match self.in_time(attempts, question).await {
            Ok(answer) => {
                breaker.note(true);
                return Ok(Some(answer));
            }
            Err(error) => error,
        };
        // Redis answered, so reads still work.
        let takes_no_writes = error.is_refused_write();
        let is_down = error.is_outage();
        breaker.note(!is_down);
        if settings.on_outage == OnOutage::Closed || !(is_down || takes_no_writes) {
            return Err(CacheError::Redis(error));
        }
        self.tell(&CacheEvent::Bypassed { error: Some(error) });
        Ok(None)
    }
}
