//! Advice for one pool: what it measures, against its settings.

use crate::finding::{Finding, Severity};
use crate::load::{Load, SIZE_MAX, WaitTarget};
use millpond_settings::PoolConfig;

/// How much of a pool was in use while it was watched.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// The share of the time, from 0 to 1, during which at least `pool_size` connections were in
    /// use; `None` if it was not measured.
    pub at_capacity: Option<f64>,
    /// The share of the time during which more than half of `pool_size` was in use.
    pub above_half: Option<f64>,
}

impl Usage {
    /// Creates a usage from the shares of the time at capacity and above half of `pool_size`.
    pub fn new(at_capacity: f64, above_half: f64) -> Self {
        Self { at_capacity: Some(at_capacity), above_half: Some(above_half) }
    }
}

/// What [`advise`] found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Advice {
    /// How many connections are in use on average (Little's law).
    pub mean_in_use: f64,
    /// The smallest `pool_size` that meets the target; `None` if none up to
    /// [`SIZE_MAX`] does.
    pub size: Option<u32>,
    /// Sentences with these numbers.
    pub findings: Vec<Finding>,
}

/// The largest `pool_size` that is accepted without `limits = "off"`.
const POOL_SIZE_MAX: u32 = 50;

/// "Consistently at capacity": at least this share of the time.
const CONSISTENTLY: f64 = 0.5;

/// "Rarely above 50 % usage": at most this share of the time.
const RARELY: f64 = 0.05;

/// Returns the guide's first rule: workers times the connections that each needs on average,
/// rounded up, at least 1.
///
/// ```
/// assert_eq!(millpond_advice::guide_pool_size(8, 1.5), 12);
/// ```
pub fn guide_pool_size(workers: u32, connections_per_worker: f64) -> u32 {
    let product = (f64::from(workers) * connections_per_worker).ceil();
    // A cast of a float saturates, and turns what is not a number into 0.
    (product as u32).max(1)
}

/// Returns the guide's second rule: `max_overflow` is twice `pool_size`.
pub fn guide_max_overflow(pool_size: u32) -> u32 {
    pool_size.saturating_mul(2)
}

/// Compares a pool's settings with its load: Little's law, the Erlang C size for the target, and
/// the guide's third rule, which says when to change `pool_size`.
pub fn advise(config: &PoolConfig, load: &Load, target: WaitTarget, usage: Usage) -> Advice {
    let size = load.size_for(target);
    let mut findings = vec![of_load(config, load, target, size)];
    findings.extend(of_usage(config, usage));
    findings.extend(of_overflow(config));
    Advice { mean_in_use: load.mean_in_use(), size, findings }
}

fn of_load(config: &PoolConfig, load: &Load, target: WaitTarget, size: Option<u32>) -> Finding {
    let (pool_size, limit) = (config.pool_size, config.limit());
    let demand = format!(
        "{} acquires a second, each holding a connection for {:?}, keep {:.1} of {pool_size} \
         connections in use on average",
        rounded(load.arrivals),
        load.mean_hold,
        load.mean_in_use()
    );
    let goal = format!("{} % of the callers wait at most {:?}", target.share * 100.0, target.wait);
    let Some(size) = size else {
        let message = format!("{demand}; no pool of up to {SIZE_MAX} connections can serve that");
        let help = "hold connections for a shorter time, or share the load among databases";
        return Finding::new(Severity::Error, "db.pool_size", message, help);
    };
    let overflow = guide_max_overflow(size);
    let limits = if size > POOL_SIZE_MAX { " and limits = \"off\"" } else { "" };
    let spelt =
        format!("set pool_size = {size} and max_overflow = {overflow} (twice that){limits}");
    if size > limit {
        let message = format!(
            "{demand}; {goal} with {size} connections, and this pool has at most {limit} \
             (pool_size + max_overflow)"
        );
        return Finding::new(Severity::Error, "db.pool_size", message, spelt);
    }
    let message = format!("{demand}; {goal} with {size} connections");
    if size > pool_size {
        let help = format!("the others are overflow, opened anew in each burst: {spelt}");
        return Finding::new(Severity::Warning, "db.pool_size", message, help);
    }
    let help = match u64::from(pool_size) > u64::from(size).saturating_mul(2) {
        true => format!("pool_size = {size} would do"),
        false => String::new(),
    };
    Finding::new(Severity::Note, "db.pool_size", message, help)
}

/// Returns a rate with two decimals, if it has so many digits.
fn rounded(rate: f64) -> f64 {
    let rounded = (rate * 100.0).round() / 100.0;
    if rate >= 1.0 && rounded.is_finite() { rounded } else { rate }
}

/// The guide's third rule.
fn of_usage(config: &PoolConfig, usage: Usage) -> Option<Finding> {
    let pool_size = config.pool_size;
    let percent = |share: f64| (share * 100.0).round();
    if let Some(share) = usage.at_capacity.filter(|share| *share >= CONSISTENTLY) {
        let message = format!(
            "all of pool_size = {pool_size} was in use for {} % of the time",
            percent(share)
        );
        let help = "raise pool_size, or find out who holds connections for so long";
        return Some(Finding::new(Severity::Warning, "db.pool_size", message, help));
    }
    let share = usage.above_half.filter(|share| *share <= RARELY && pool_size > 1)?;
    let message = format!(
        "more than half of pool_size = {pool_size} was in use for only {} % of the time",
        percent(share)
    );
    Some(Finding::new(Severity::Note, "db.pool_size", message, "lower pool_size"))
}

/// The guide's second rule, where it is far from kept.
fn of_overflow(config: &PoolConfig) -> Option<Finding> {
    let PoolConfig { pool_size, max_overflow, .. } = *config;
    let rule = guide_max_overflow(pool_size);
    (max_overflow > rule.saturating_mul(2)).then(|| {
        let message = format!(
            "max_overflow = {max_overflow} is more than twice the {rule} (2 x pool_size) that the \
             guide gives, so most connections of a burst are opened for it and closed again"
        );
        let help = format!("raise pool_size, or lower max_overflow to {rule}");
        Finding::new(Severity::Note, "db.max_overflow", message, help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn advice(pool_size: u32, max_overflow: u32, arrivals: f64, usage: Usage) -> Advice {
        let mut config = PoolConfig::default();
        (config.pool_size, config.max_overflow) = (pool_size, max_overflow);
        let load = Load::new(arrivals, Duration::from_millis(40));
        advise(&config, &load, WaitTarget::p99(Duration::from_millis(5)), usage)
    }

    #[test]
    fn a_pool_that_meets_its_target_gets_a_note_with_the_numbers() {
        let advice = advice(15, 30, 200.0, Usage::default());
        assert_eq!((advice.mean_in_use, advice.size), (8.0, Some(15)));
        assert_eq!(
            advice.findings[0].to_string(),
            "note: db.pool_size: 200 acquires a second, each holding a connection for 40ms, keep \
             8.0 of 15 connections in use on average; 99 % of the callers wait at most 5ms with 15 \
             connections"
        );
        assert_eq!(advice.findings.len(), 1);
    }

    #[test]
    fn a_pool_that_needs_its_overflow_all_the_time_gets_a_warning() {
        let advice = advice(10, 20, 200.0, Usage::default());
        let finding = &advice.findings[0];
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.help.contains("set pool_size = 15 and max_overflow = 30"), "{finding}");
    }

    #[test]
    fn a_pool_that_cannot_meet_its_target_gets_an_error() {
        let small = advice(4, 4, 200.0, Usage::default());
        assert_eq!(small.findings[0].severity, Severity::Error);
        assert!(small.findings[0].message.contains("at most 8"), "{:?}", small.findings);
        let hopeless = advice(4, 4, 1e9, Usage::default());
        assert_eq!((hopeless.size, hopeless.findings[0].severity), (None, Severity::Error));
    }

    #[test]
    fn the_rules_of_the_guide_hold() {
        assert_eq!((guide_pool_size(4, 2.5), guide_pool_size(0, 1.0)), (10, 1));
        assert_eq!(guide_pool_size(3, f64::NAN), 1);
        assert_eq!(guide_max_overflow(25), 50);
        let busy = advice(15, 30, 200.0, Usage::new(0.7, 0.9));
        assert!(busy.findings[1].message.contains("in use for 70 % of the time"));
        let idle = advice(40, 80, 200.0, Usage::new(0.0, 0.01));
        assert_eq!(idle.findings[0].help, "pool_size = 15 would do");
        assert_eq!(idle.findings[1].help, "lower pool_size");
        let bursty = advice(15, 100, 200.0, Usage::new(0.1, 0.5));
        assert_eq!(bursty.findings[1].about, "db.max_overflow");
    }
}
