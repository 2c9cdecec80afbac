//! The limits of one process, used while Redis is down: bounded, and in memory only.

use crate::gcra::{Evaluation, Verdict, evaluate};
use crate::limit::Limit;
use crate::span::Span;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// The state of the limits of one process.
#[derive(Debug)]
pub(crate) struct Local {
    since: Instant,
    keys_max: usize,
    keys: Mutex<HashMap<String, Span>>,
}

impl Local {
    pub(crate) fn new(keys_max: usize) -> Self {
        Self { since: Instant::now(), keys_max, keys: Mutex::new(HashMap::new()) }
    }

    /// Decides like the script. A key belongs to the limit of the same position.
    pub(crate) fn decide(
        &self,
        keys: &[String],
        names: &[String],
        limits: &[Limit],
        cost: u32,
    ) -> Vec<Verdict> {
        let now = Span::micros(u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX));
        let mut stored = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<String> = keys
            .iter()
            .zip(names)
            .map(|(key, name)| self.bucket(&mut stored, key, name, now))
            .collect();
        let evaluations: Vec<Evaluation> = keys
            .iter()
            .zip(limits)
            .map(|(key, limit)| evaluate(limit, stored.get(key).copied(), cost, now))
            .collect();
        let all = evaluations.iter().all(|evaluation| evaluation.fits);
        for (key, evaluation) in keys.into_iter().zip(&evaluations) {
            if all && cost > 0 {
                stored.insert(key, now.saturating_add(evaluation.after));
            }
        }
        let verdict = |evaluation: &Evaluation| Verdict {
            fits: evaluation.fits,
            ahead: if all { evaluation.after } else { evaluation.ahead },
        };
        evaluations.iter().map(verdict).collect()
    }

    /// Returns the name under which a key is kept: its own while there is room, else one that all
    /// further keys of limits of this name share.
    fn bucket(
        &self,
        stored: &mut HashMap<String, Span>,
        key: &str,
        name: &str,
        now: Span,
    ) -> String {
        if stored.contains_key(key) {
            return key.to_owned();
        }
        if stored.len() >= self.keys_max {
            stored.retain(|_, until| *until > now);
        }
        if stored.len() < self.keys_max { key.to_owned() } else { format!("*{name}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(local: &Local, key: &str, limit: Limit) -> bool {
        local
            .decide(&[key.to_owned()], &["n".to_owned()], &[limit], 1)
            .iter()
            .all(|verdict| verdict.fits)
    }

    #[tokio::test(start_paused = true)]
    async fn keys_beyond_the_bound_share_one_and_room_comes_back() {
        let local = Local::new(2);
        let limit = Limit::per_second(1).unwrap();
        assert!(fits(&local, "a", limit) && fits(&local, "b", limit));
        assert!(!fits(&local, "a", limit));
        assert!(fits(&local, "c", limit));
        assert!(!fits(&local, "d", limit), "c and d are one");
        assert!(local.keys.lock().unwrap().len() <= 3);
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        assert!(fits(&local, "d", limit) && fits(&local, "e", limit));
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_limit_refuses_no_other_is_charged_for() {
        let local = Local::new(10);
        let limits = [Limit::per_second(1).unwrap(), Limit::per_second(10).unwrap()];
        let keys = ["a".to_owned(), "b".to_owned()];
        assert!(local.decide(&keys, &keys, &limits, 1).iter().all(|verdict| verdict.fits));
        for _ in 0..20 {
            let verdicts = local.decide(&keys, &keys, &limits, 1);
            assert!(!verdicts[0].fits && verdicts[1].fits);
        }
        let ahead = local.decide(&keys, &keys, &limits, 0)[1].ahead;
        assert_eq!(limits[1].tolerance().saturating_sub(ahead).div(limits[1].interval()), 9);
    }
}
