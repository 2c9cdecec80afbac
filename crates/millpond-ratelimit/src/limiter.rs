//! A rate limiter: named limits that are checked in one decision.

use crate::decision::{Decision, DecisionSource, LimitOutcome};
use crate::error::RateLimitError;
use crate::gcra::Verdict;
use crate::limit::Limit;
use crate::outage::OnOutage;
use crate::script::{arguments, script, verdicts};
use crate::span::Span;
use crate::storage::{Asked, CentralizedStateStorage, Kind, WORD, is_word};
use millpond_redis::{Breaker, Script};
use std::sync::Arc;

/// A rate limiter: one limit, or several that are checked in one decision. Cheap to clone.
///
/// ```no_run
/// use millpond_ratelimit::{CentralizedStateStorage, Limit, RateLimiter};
///
/// # use millpond_ratelimit::RateLimitError;
/// # async fn example(storage: CentralizedStateStorage) -> Result<(), RateLimitError> {
/// let limiter = RateLimiter::new(&storage, "second", Limit::per_second(10)?)?
///     .and("hour", Limit::per_hour(1_000)?)?;
/// let decision = limiter.check_n("user:17", 5).await?;
/// println!("RateLimit: {}", decision.header());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RateLimiter {
    storage: CentralizedStateStorage,
    names: Vec<String>,
    limits: Vec<Limit>,
    script: Arc<Script>,
}

impl RateLimiter {
    /// Creates a limiter of one limit. Its name is part of the keys and of the headers; limiters
    /// with the same name and storage share their state.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Setting`] for a name that cannot be part of a key.
    pub fn new(
        storage: &CentralizedStateStorage,
        name: &str,
        limit: Limit,
    ) -> Result<Self, RateLimitError> {
        let script = Arc::new(script());
        Self { storage: storage.clone(), names: Vec::new(), limits: Vec::new(), script }
            .and(name, limit)
    }

    /// Adds a limit: a request is admitted only if it fits all limits, and is then charged to all.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Setting`] for a name that cannot be part of a key, or is already in use.
    pub fn and(mut self, name: &str, limit: Limit) -> Result<Self, RateLimitError> {
        if !is_word(name) {
            return Err(RateLimitError::Setting {
                reason: format!("a limit cannot be called {name:?}; {WORD}"),
            });
        }
        if self.names.iter().any(|known| known == name) {
            return Err(RateLimitError::Setting {
                reason: format!("two limits are called {name:?}; rename one"),
            });
        }
        self.names.push(name.to_owned());
        self.limits.push(limit);
        Ok(self)
    }

    /// Replaces one of the limits. What was used up stays used up.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Setting`] if there is no limit of this name.
    pub fn replace_limit(mut self, name: &str, limit: Limit) -> Result<Self, RateLimitError> {
        match self
            .names
            .iter()
            .position(|known| known == name)
            .and_then(|at| self.limits.get_mut(at))
        {
            Some(place) => *place = limit,
            None => {
                return Err(RateLimitError::Setting {
                    reason: format!("there is no limit called {name:?}"),
                });
            }
        }
        Ok(self)
    }

    /// Decides on one request of this subject: a user, an address, an API key.
    ///
    /// # Errors
    ///
    /// A [`RateLimitError`]. An outage of Redis is not an error: see [`OnOutage`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the request may have been charged.
    pub async fn check(&self, subject: &str) -> Result<Decision, RateLimitError> {
        self.check_n(subject, 1).await
    }

    /// Decides on a request of this cost. A cost of 0 charges nothing and leaves no key behind.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::CostAboveBurst`] if it could never be admitted; else as
    /// [`check`](Self::check).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the request may have been charged.
    pub async fn check_n(&self, subject: &str, cost: u32) -> Result<Decision, RateLimitError> {
        for (name, limit) in self.names.iter().zip(&self.limits) {
            if cost > limit.burst_size() {
                let (name, burst) = (name.clone(), limit.burst_size());
                return Err(RateLimitError::CostAboveBurst { name, cost, burst });
            }
        }
        let keys = self.keys(subject);
        // All of them are in one slot.
        let Some(any) = keys.first() else { return Ok(self.without_redis(&keys, cost)) };
        let script = self.script.call(&keys, arguments(&self.limits, cost));
        let deciding = Box::pin(script.run::<Vec<u64>>(self.storage.pool()));
        let answer = self.storage.ask(any, deciding).await?;
        let verdicts = match answer {
            Asked::Answered(answer) => verdicts(&answer, self.limits.len()),
            Asked::NotExecuted | Asked::Unknown => None,
        };
        Ok(match verdicts {
            Some(verdicts) => self.decision(DecisionSource::Redis, &verdicts, cost),
            None => self.without_redis(&keys, cost),
        })
    }

    /// Returns the state of the limits without charging a request.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub async fn peek(&self, subject: &str) -> Result<Decision, RateLimitError> {
        self.check_n(subject, 0).await
    }

    /// The keys of a subject are in one slot of a cluster, because one script reads them all.
    fn keys(&self, subject: &str) -> Vec<String> {
        self.names.iter().map(|name| self.storage.key(Kind::Rate, subject, name)).collect()
    }

    fn decision(&self, source: DecisionSource, verdicts: &[Verdict], cost: u32) -> Decision {
        let limits = self.names.iter().zip(&self.limits).zip(verdicts);
        Decision::of(
            source,
            limits
                .map(|((name, limit), verdict)| LimitOutcome::of(name, *limit, *verdict, cost))
                .collect(),
        )
    }

    fn without_redis(&self, keys: &[String], cost: u32) -> Decision {
        let same = |verdict: Verdict| vec![verdict; self.limits.len()];
        match self.storage.on_outage() {
            OnOutage::Local { .. } => self.decision(
                DecisionSource::Local,
                &self.storage.local().decide(keys, &self.names, &self.limits, cost),
                cost,
            ),
            OnOutage::Open => self.decision(
                DecisionSource::Open,
                &same(Verdict { fits: true, ahead: Span::default() }),
                cost,
            ),
            OnOutage::Closed => {
                let mut decision = self.decision(DecisionSource::Closed, &[], cost);
                decision.allowed = false;
                for (name, limit) in self.names.iter().zip(&self.limits) {
                    let mut outcome = LimitOutcome::of(
                        name,
                        *limit,
                        Verdict { fits: false, ahead: limit.tolerance() },
                        cost,
                    );
                    outcome.retry_after = Some(Breaker::PAUSE);
                    decision.outcomes.push(outcome);
                }
                decision
            }
        }
    }
}
