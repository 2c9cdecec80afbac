//! A circuit breaker: a Redis that does not answer in time is asked only now and then. In a cluster
//! each node counts by itself, so that a silent one concerns only callers that need its keys.

use crate::command::slot::slot_of;
use crate::connect::node::Node;
use crate::error::RedisError;
use crate::pool::SharedRedisPool;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

/// How long Redis is not asked after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// Remembers that Redis is down, for callers that can do without it.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Until when a node is not asked; `None` is all of Redis.
    pauses: Mutex<HashMap<Option<Arc<Node>>, Instant>>,
}

impl Breaker {
    /// How long Redis is not asked after a failure: 200 ms.
    pub const PAUSE: Duration = PAUSE;

    /// Asks Redis something about `key`, unless Redis or, in a cluster, the node that owns the key
    /// is known to be down. After a failure, one caller per pause may ask. Returns `None` if
    /// nothing was asked.
    ///
    /// # Cancel safety
    ///
    /// As that of `question`.
    pub async fn call<T>(
        &self,
        pool: &SharedRedisPool,
        key: impl AsRef<[u8]>,
        question: impl Future<Output = Result<T, RedisError>>,
    ) -> Option<Result<T, RedisError>> {
        let key = key.as_ref();
        let owner = || pool.owner(slot_of(key));
        if !self.may_ask(owner) {
            // The caller may try again at once.
            consume_budget().await;
            return None;
        }
        let outcome = question.await;
        self.note(&outcome, owner);
        Some(outcome)
    }

    fn may_ask(&self, owner: impl Fn() -> Option<Arc<Node>>) -> bool {
        let mut pauses = self.pauses();
        if pauses.is_empty() {
            return true;
        }
        // Without a known owner both are all of Redis.
        let (nodes, now) = ([None, owner()], Instant::now());
        if nodes.iter().any(|node| pauses.get(node).is_some_and(|until| now < *until)) {
            return false;
        }
        for node in &nodes {
            if let Some(until) = pauses.get_mut(node) {
                *until = now + PAUSE;
            }
        }
        true
    }

    fn note<T>(&self, outcome: &Result<T, RedisError>, owner: impl Fn() -> Option<Arc<Node>>) {
        let mut pauses = self.pauses();
        match outcome {
            // It took no time, and the next caller finds out whether it was one connection only.
            Err(RedisError::Lost { .. } | RedisError::NotSent { .. }) => {}
            Err(error) if error.is_outage() => {
                // Without a connection the pool has reached none of the nodes.
                let node = if matches!(error, RedisError::Pool(_)) { None } else { owner() };
                pauses.entry(node).or_insert_with(|| Instant::now() + PAUSE);
            }
            _ if pauses.is_empty() => {}
            _ => {
                pauses.remove(&None);
                pauses.remove(&owner());
                // Nodes that have left the cluster are never asked again.
                let now = Instant::now();
                pauses.retain(|_, until| now < *until + 10 * PAUSE);
            }
        }
    }

    fn pauses(&self) -> MutexGuard<'_, HashMap<Option<Arc<Node>>, Instant>> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Option<Arc<Node>> {
        Some(Arc::new(Node { host: "localhost".to_owned(), port }))
    }

    fn silent() -> Result<(), RedisError> {
        Err(RedisError::TimedOut { command: "GET".to_owned(), limit: PAUSE })
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_one_caller_each_pause_finds_out() {
        let breaker = Breaker::default();
        let may_ask = || breaker.may_ask(|| None);
        assert!(may_ask() && may_ask());
        breaker.note(&silent(), || None);
        assert!(!may_ask());
        tokio::time::advance(PAUSE).await;
        assert!(may_ask());
        assert!(!may_ask(), "one is enough");
        breaker.note(&Ok(()), || None);
        assert!(may_ask() && may_ask());
    }

    #[test]
    fn a_connection_that_is_lost_is_no_reason_to_pause() {
        let breaker = Breaker::default();
        for lost in [
            RedisError::Lost { reason: String::new() },
            RedisError::NotSent { reason: String::new() },
        ] {
            breaker.note(&Err::<(), _>(lost), || None);
            assert!(breaker.may_ask(|| None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_down_keeps_nobody_from_the_other_nodes() {
        let breaker = Breaker::default();
        breaker.note(&silent(), || node(1));
        assert!(!breaker.may_ask(|| node(1)) && breaker.may_ask(|| node(2)));
        breaker.note(&Ok(()), || node(2));
        assert!(!breaker.may_ask(|| node(1)), "another node has answered");
        breaker.note(&Err::<(), _>(RedisError::Pool(crate::PoolError::Closed)), || node(1));
        assert!(!breaker.may_ask(|| node(2)), "the pool reaches none of them");
        breaker.note(&Ok(()), || node(1));
        assert!(breaker.may_ask(|| node(1)) && breaker.may_ask(|| node(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_is_refused_for_its_node_prolongs_no_pause_of_the_others() {
        let breaker = Breaker::default();
        breaker.note(&Err::<(), _>(RedisError::Pool(crate::PoolError::Closed)), || node(1));
        tokio::time::advance(PAUSE / 2).await;
        breaker.note(&silent(), || node(1));
        tokio::time::advance(PAUSE / 2).await;
        assert!(!breaker.may_ask(|| node(1)), "its own pause is not over");
        assert!(breaker.may_ask(|| node(2)), "nobody has asked since the pause of all ended");
        assert!(!breaker.may_ask(|| node(2)), "one is enough");
    }
}
