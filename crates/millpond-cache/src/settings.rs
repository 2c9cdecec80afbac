//! The settings of a cache and their validation.

use crate::outage::OnOutage;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 86_400);
const MINUTES: Duration = Duration::from_secs(300);

/// How many times an idempotent command is sent if its connection is lost. All connections may have
/// been lost at once, and the pool has up to 20.
pub(crate) const ATTEMPTS_MAX: u32 = 24;

/// What to do about a value that is out of range.
pub(crate) const CHOOSE: &str = "choose a value in the range";

/// What to do about a name that is refused.
pub(crate) const WORD: &str = "use letters, digits, and any of _ - .";

/// True if `text` can be part of a key without being mistaken for a separator or a hash tag.
pub(crate) fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// How a cache behaves: see [`CacheBuilder`](crate::CacheBuilder).
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) prefix: String,
    pub(crate) version: u32,
    pub(crate) ttl: Duration,
    pub(crate) ttl_jitter: u32,
    pub(crate) negative_ttl: Option<Duration>,
    pub(crate) stale: Option<Duration>,
    pub(crate) lock: Option<Duration>,
    pub(crate) max_value_size: usize,
    pub(crate) loads_max: usize,
    pub(crate) load_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) on_outage: OnOutage,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "cache".to_owned(),
            version: 1,
            ttl: MINUTES,
            ttl_jitter: 10,
            negative_ttl: None,
            stale: None,
            lock: None,
            max_value_size: 1 << 20,
            loads_max: 32,
            load_timeout: Duration::from_secs(30),
            timeout: Duration::from_millis(250),
            on_outage: OnOutage::default(),
        }
    }
}

impl Settings {
    /// Lists everything that is wrong with the settings.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let times = [
            ("ttl", Some(self.ttl), YEAR),
            ("negative_ttl", self.negative_ttl, YEAR),
            ("stale_while_revalidate", self.stale, YEAR),
            ("lock_across_processes", self.lock, MINUTES),
            ("load_timeout", Some(self.load_timeout), MINUTES),
            ("timeout", Some(self.timeout), Duration::from_secs(60)),
        ];
        for (name, value, high) in times {
            if let Some(value) = value.filter(|value| !(MS..=high).contains(value)) {
                problems
                    .push(format!("{name} = {value:?} is out of range 1ms to {high:?}; {CHOOSE}"));
            }
        }
        let counts = [
            ("ttl_jitter", u64::from(self.ttl_jitter), 0, 50),
            ("max_value_size", self.max_value_size as u64, 1, 512 << 20),
            ("loads_max", self.loads_max as u64, 1, 10_000),
        ];
        for (name, value, low, high) in counts {
            if !(low..=high).contains(&value) {
                problems.push(format!("{name} = {value} is out of range {low}-{high}; {CHOOSE}"));
            }
        }
        if !is_word(&self.prefix) {
            problems.push(format!("prefix = {:?} cannot be part of a key; {WORD}", self.prefix));
        }
        problems
    }

    /// How long a value lives in Redis, in milliseconds, with jitter and stale time.
    pub(crate) fn lifetime(&self, ttl: Duration) -> u64 {
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let most = millis / 100 * u64::from(self.ttl_jitter)
            + millis % 100 * u64::from(self.ttl_jitter) / 100;
        let shorter = if most == 0 { 0 } else { fastrand::u64(0..=most) };
        (millis - shorter).saturating_add(self.stale_millis())
    }

    /// How long storing a value may take: waiting for a connection, and the command.
    pub(crate) fn store_limit(&self) -> Duration {
        self.timeout * 2
    }

    /// Returns the time limit of a whole load. A load that takes longer is no longer polled by its
    /// runtime.
    pub(crate) fn whole_load_limit(&self) -> Duration {
        self.load_timeout * 2 + self.lock.unwrap_or_default() + self.timeout * 8
    }

    /// How long before its end a value is stale, in milliseconds.
    pub(crate) fn stale_millis(&self) -> u64 {
        self.stale.map_or(0, |stale| u64::try_from(stale.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_shorter_by_the_jitter_at_most() {
        let settings = Settings::default();
        let lives: Vec<u64> =
            (0..1000).map(|_| settings.lifetime(Duration::from_secs(100))).collect();
        assert!(lives.iter().all(|life| (90_000..=100_000).contains(life)));
        assert!(
            lives.iter().max().unwrap() - lives.iter().min().unwrap() > 5_000,
            "they go together"
        );
        let settings = Settings { ttl_jitter: 0, stale: Some(MINUTES), ..settings };
        assert_eq!(settings.lifetime(Duration::from_secs(1)), 301_000);
    }
}
