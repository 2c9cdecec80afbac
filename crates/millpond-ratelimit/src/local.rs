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
    stored: Mutex<Stored>,
}

#[derive(Debug, Default)]
struct Stored {
    /// When each key no longer matters.
    keys: HashMap<String, Span>,
    /// When the keys may be swept again.
    sweep_at: Span,
}

/// The pause between two sweeps, which look at every key.
const SWEEP_PAUSE: Span = Span::micros(100_000);

impl Local {
    pub(crate) fn new(keys_max: usize) -> Self {
        Self { since: Instant::now(), keys_max, stored: Mutex::default() }
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
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<String> = keys
            .iter()
            .zip(names)
            .map(|(key, name)| self.bucket(&mut stored, key, name, now))
            .collect();
        let evaluations: Vec<Evaluation> = keys
            .iter()
            .zip(limits)
            .map(|(key, limit)| evaluate(limit, stored.keys.get(key).copied(), cost, now))
            .collect();
        let all = evaluations.iter().all(|evaluation| evaluation.fits);
        for (key, evaluation) in keys.into_iter().zip(&evaluations) {
            if all && cost > 0 {
                stored.keys.insert(key, now.saturating_add(evaluation.after));
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
    fn bucket(&self, stored: &mut Stored, key: &str, name: &str, now: Span) -> String {
        if stored.keys.contains_key(key) {
            return key.to_owned();
        }
        if stored.keys.len() >= self.keys_max && now >= stored.sweep_at {
            stored.keys.retain(|_, until| *until > now);
            stored.sweep_at = now.saturating_add(SWEEP_PAUSE);
        }
        if stored.keys.len() < self.keys_max { key.to_owned() } else { format!("*{name}") }
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
        assert!(local.stored.lock().unwrap().keys.len() <= 3);
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

    #[test]
    fn a_decision_costs_the_same_however_many_keys_are_kept() {
        let limit = Limit::per_hour(1).unwrap();
        let cost = |keys: usize| {
            let local = Local::new(keys);
            (0..keys).for_each(|key| assert!(fits(&local, &key.to_string(), limit)));
            let hundred = |_| {
                let start = std::time::Instant::now();
                for key in 0..100 {
                    fits(&local, &format!("further {key}"), limit);
                }
                start.elapsed()
            };
            // The shortest of ten: whatever else the machine does comes on top.
            (0..10).map(hundred).min().unwrap()
        };
        assert!(cost(20_000) < cost(100) * 10, "further keys cost the more, the more are kept");
    }
}
