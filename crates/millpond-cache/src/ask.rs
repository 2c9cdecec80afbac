//! Sends commands to Redis: within the time limit, not while Redis is known to be down, and with a
//! fallback when it does not answer.

use crate::cache::{RedisCache, Shared};
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
    /// is: up to `attempts` times if its connection is lost. A command that was not sent is sent
    /// over another connection in any case.
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
        let limit = self.shared.settings.timeout;
        let until = Instant::now() + limit;
        for attempt in 1.. {
            let left = until.saturating_duration_since(Instant::now());
            let lease = self.pool().acquire_with(Request::here().within(left)).await?;
            let Ok(outcome) = timeout_at(until, question(lease)).await else { break };
            match outcome {
                // The pool hears of other losses first.
                Err(RedisError::NotSent { .. }) if attempt < ATTEMPTS_MAX => {
                    tokio::task::yield_now().await;
                }
                Err(RedisError::Lost { .. }) if attempt < attempts => {}
                outcome => return outcome,
            }
        }
        Err(RedisError::TimedOut { command: "the cache".to_owned(), limit })
    }

    /// Sends an idempotent command about `key` unless Redis, or the node that owns the key, is
    /// known to be down. Returns `None` with `on_outage = open` if it is down or refuses writes.
    pub(crate) async fn ask<T, Q>(
        &self,
        key: &str,
        question: impl Fn(SharedRedisLease) -> Q,
    ) -> Result<Option<T>, CacheError>
    where
        Q: Future<Output = Result<T, RedisError>>,
    {
        self.ask_up_to(ATTEMPTS_MAX, key, question).await
    }

    /// Like [`ask`](Self::ask) for a command that must not be executed twice.
    pub(crate) async fn ask_once<T, Q>(
        &self,
        key: &str,
        question: impl Fn(SharedRedisLease) -> Q,
    ) -> Result<Option<T>, CacheError>
    where
        Q: Future<Output = Result<T, RedisError>>,
    {
        self.ask_up_to(1, key, question).await
    }

    async fn ask_up_to<T, Q>(
        &self,
        attempts: u32,
        key: &str,
        question: impl Fn(SharedRedisLease) -> Q,
    ) -> Result<Option<T>, CacheError>
    where
        Q: Future<Output = Result<T, RedisError>>,
    {
        let Shared { breaker, settings, pool, .. } = &*self.shared;
        let question = self.in_time(attempts, question);
        if settings.on_outage == OnOutage::Closed {
            return Ok(Some(question.await?));
        }
        match breaker.call(pool, key, question).await {
            Some(Ok(answer)) => Ok(Some(answer)),
            Some(Err(error)) if !error.is_outage() && !error.is_refused_write() => {
                Err(CacheError::Redis(error))
            }
            without => {
                self.emit(&CacheEvent::Bypassed { error: without.and_then(Result::err) });
                Ok(None)
            }
        }
    }
}
