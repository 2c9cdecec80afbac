//! The decision on a request, and its HTTP headers.

use crate::gcra::Verdict;
use crate::limit::Limit;
use crate::span::Span;
use std::fmt::Write as _;
use std::time::Duration;

/// The decision on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// True if the request is admitted: it fits all limits. If false, no limit was charged.
    pub allowed: bool,
    /// What the decision is based on.
    pub source: DecisionSource,
    /// Each limit's own outcome, in the order in which they were given.
    pub outcomes: Vec<LimitOutcome>,
}

/// What a decision is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecisionSource {
    /// The state in Redis, which all processes share.
    Redis,
    /// The state of this process alone, because Redis is down.
    Local,
    /// Nothing: Redis is down, and everything is admitted.
    Open,
    /// Nothing: Redis is down, and nothing is admitted.
    Closed,
}

/// The outcome for one of the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitOutcome {
    /// The name of the limit.
    pub name: String,
    /// The limit.
    pub limit: Limit,
    /// Whether the request fits this limit.
    pub allowed: bool,
    /// How many further requests of cost 1 this limit would admit now.
    pub remaining: u32,
    /// How long until this request would fit; `None` if it fits.
    pub retry_after: Option<Duration>,
    /// How long until the full burst is available again.
    pub reset_after: Duration,
}

impl LimitOutcome {
    pub(crate) fn of(name: &str, limit: Limit, verdict: Verdict, cost: u32) -> Self {
        let Verdict { fits, ahead } = verdict;
        let (interval, tolerance) = (limit.interval(), limit.tolerance());
        let wait = ahead.saturating_add(interval.times(cost)).saturating_sub(tolerance);
        Self {
            name: name.to_owned(),
            limit,
            allowed: fits,
            remaining: tolerance.saturating_sub(ahead).div(interval),
            retry_after: (!fits).then(|| wait.duration()),
            // Minus the rounding of each request's share, or 60 per second would take 1.000001 s to
            // refill.
            reset_after: ahead.saturating_sub(Span(u128::from(limit.burst_size()))).duration(),
        }
    }
}

impl Decision {
    pub(crate) fn of(source: DecisionSource, outcomes: Vec<LimitOutcome>) -> Self {
        Self { allowed: outcomes.iter().all(|outcome| outcome.allowed), source, outcomes }
    }

    /// How long until the request would fit all limits; `None` if it fits.
    pub fn retry_after(&self) -> Option<Duration> {
        self.outcomes.iter().filter_map(|outcome| outcome.retry_after).max()
    }

    /// How many further requests of cost 1 would be admitted now: the least of all limits.
    pub fn remaining(&self) -> u32 {
        self.outcomes.iter().map(|outcome| outcome.remaining).min().unwrap_or(0)
    }

    /// The value of the `RateLimit` header: for each limit what remains, and in how many seconds
    /// the full burst is available again, as in `"second";r=4;t=1, "day";r=900;t=8640`.
    ///
    /// Both headers are those of
    /// [draft-ietf-httpapi-ratelimit-headers-10](https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-10),
    /// sections 3 and 4. Send `Retry-After` too if the request is refused: see
    /// [`retry_after_seconds`](Self::retry_after_seconds).
    pub fn header(&self) -> String {
        list(&self.outcomes, |text, outcome| {
            let _ = write!(text, ";r={};t={}", outcome.remaining, seconds(outcome.reset_after));
        })
    }

    /// The value of the `RateLimit-Policy` header: for each limit its burst, and in how many
    /// seconds a full burst refills, as in `"second";q=10;w=1`.
    pub fn policy_header(&self) -> String {
        list(&self.outcomes, |text, outcome| {
            let _ = write!(
                text,
                ";q={};w={}",
                outcome.limit.burst_size(),
                seconds(outcome.limit.refill())
            );
        })
    }

    /// The value of the `Retry-After` header, in whole seconds, if the request is refused.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        (!self.allowed).then(|| self.retry_after().map_or(1, |wait| seconds(wait).max(1)))
    }
}

/// Items of a structured field list (RFC 9651); names have only characters that need no escape.
fn list(outcomes: &[LimitOutcome], mut rest: impl FnMut(&mut String, &LimitOutcome)) -> String {
    let mut text = String::new();
    for (n, outcome) in outcomes.iter().enumerate() {
        let _ = write!(text, "{}\"{}\"", if n > 0 { ", " } else { "" }, outcome.name);
        rest(&mut text, outcome);
    }
    text
}

/// Whole seconds, rounded up so that a client that waits this long is not too early.
fn seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lists_of_a_name_and_its_numbers() {
        let second = Limit::per_second(10).unwrap();
        let day = Limit::new(1000, Duration::from_secs(86_400)).unwrap();
        let verdict = |fits, ahead| Verdict { fits, ahead: Span::micros(ahead) };
        let outcomes = vec![
            LimitOutcome::of("second", second, verdict(false, 1_000_000), 1),
            LimitOutcome::of("day", day, verdict(true, 8_640_000_000), 1),
        ];
        let decision = Decision::of(DecisionSource::Redis, outcomes);
        assert!(!decision.allowed);
        assert_eq!(decision.header(), "\"second\";r=0;t=1, \"day\";r=900;t=8640");
        assert_eq!(decision.policy_header(), "\"second\";q=10;w=1, \"day\";q=1000;w=86400");
        assert_eq!(decision.retry_after(), Some(Duration::from_millis(100)));
        assert_eq!((decision.retry_after_seconds(), decision.remaining()), (Some(1), 0));
    }

    #[test]
    fn a_share_that_does_not_come_out_even_makes_no_second_more() {
        for (limit, policy) in [
            (Limit::per_second(60).unwrap(), "\"n\";q=60;w=1"),
            (Limit::per_hour(7).unwrap(), "\"n\";q=7;w=3600"),
            (Limit::per_minute(7).unwrap().burst(14).unwrap(), "\"n\";q=14;w=120"),
            (Limit::per_second(3).unwrap().burst(1).unwrap(), "\"n\";q=1;w=1"),
            (Limit::per_second(999_983).unwrap(), "\"n\";q=999983;w=1"),
        ] {
            let used_up = Verdict { fits: false, ahead: limit.tolerance() };
            let decision =
                Decision::of(DecisionSource::Redis, vec![LimitOutcome::of("n", limit, used_up, 1)]);
            assert_eq!(decision.policy_header(), policy);
            let seconds = policy.split_once("w=").unwrap().1;
            assert_eq!(decision.header(), format!("\"n\";r=0;t={seconds}"));
        }
        let limit = Limit::per_second(60).unwrap().burst(120).unwrap();
        let half = Verdict { fits: true, ahead: limit.interval().times(60) };
        assert!(
            Decision::of(DecisionSource::Redis, vec![LimitOutcome::of("n", limit, half, 1)])
                .header()
                .ends_with("r=60;t=1")
        );
    }
}
