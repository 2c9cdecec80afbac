//! How many connections all replicas of a service may open, against the limits of their server.

use crate::finding::{Finding, Severity};
use millpond_settings::PoolConfig;
use std::fmt;

/// The replicas of a service, each with a pool of the same size.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deployment {
    /// The setting that findings are about.
    pub about: &'static str,
    /// What limits the pool of one replica: `pool_size 10 + max_overflow 20`, or `at most 50`.
    pub parts: String,
    /// The most connections of one replica.
    pub ceiling: u64,
    /// The number of replicas, at least 1.
    pub replicas: u64,
}

/// A limit of a server on the number of its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimit {
    /// What limits them: `max_connections`, `the role's CONNECTION LIMIT`.
    pub name: String,
    /// The limit.
    pub limit: u64,
    /// How many of these are reserved for others, such as superusers.
    pub reserved: u64,
    /// True if nobody asked the server: the limit is the default of such servers.
    pub is_assumed: bool,
}

impl ServerLimit {
    /// Creates a limit that a server or a user has given, with nothing reserved.
    pub fn new(name: impl Into<String>, limit: u64) -> Self {
        Self { name: name.into(), limit, reserved: 0, is_assumed: false }
    }

    /// Sets how many connections are reserved for others.
    #[must_use]
    pub fn reserved(mut self, reserved: u64) -> Self {
        self.reserved = reserved;
        self
    }

    /// Marks the limit as a default that nobody has checked.
    #[must_use]
    pub fn assumed(mut self) -> Self {
        self.is_assumed = true;
        self
    }

    /// Returns how many connections the limit leaves.
    pub fn available(&self) -> u64 {
        self.limit.saturating_sub(self.reserved)
    }

    fn spelt(&self) -> String {
        let Self { name, limit, reserved, is_assumed } = self;
        let by_default = if *is_assumed { " by default" } else { "" };
        match reserved {
            0 => format!("{name} = {limit}{by_default}"),
            _ => format!(
                "{name} = {limit}{by_default}, of which {reserved} are reserved, so {} are left",
                self.available()
            ),
        }
    }
}

impl Deployment {
    /// The replicas of a service with such a database pool.
    pub fn of_pool(config: &PoolConfig, replicas: u32) -> Self {
        let PoolConfig { pool_size, max_overflow, .. } = config;
        Self {
            about: "db.pool_size",
            parts: format!("pool_size {pool_size} + max_overflow {max_overflow}"),
            ceiling: config.limit().into(),
            replicas: u64::from(replicas).max(1),
        }
    }

    /// The replicas of a service with a pool of Redis connections; `about` is the setting of its
    /// size, such as `cache.max_connections`.
    pub fn of_redis(about: &'static str, max_connections: u32, replicas: u32) -> Self {
        Self {
            about,
            parts: format!("at most {max_connections}"),
            ceiling: max_connections.into(),
            replicas: u64::from(replicas).max(1),
        }
    }

    /// Returns the most connections of all replicas together.
    pub fn connections(&self) -> u64 {
        self.ceiling.saturating_mul(self.replicas)
    }

    /// Compares the deployment with a limit: an error if the limit is exceeded (a warning if it is
    /// an assumed one), a warning if there is no room for one more replica during a rolling
    /// deployment, otherwise a note.
    ///
    /// ```
    /// use millpond_advice::{Deployment, ServerLimit, Severity};
    /// use millpond_settings::PoolConfig;
    ///
    /// let limit = ServerLimit::new("max_connections", 100).reserved(3);
    /// let finding = Deployment::of_pool(&PoolConfig::default(), 4).compare(&limit);
    /// assert_eq!(finding.severity, Severity::Error);
    /// assert!(finding.message.starts_with(
    ///     "4 replicas x (pool_size 10 + max_overflow 20) = 120 connections"
    /// ));
    /// ```
    pub fn compare(&self, limit: &ServerLimit) -> Finding {
        let (total, available) = (self.connections(), limit.available());
        let spelt = limit.spelt();
        if total > available {
            let severity = if limit.is_assumed { Severity::Warning } else { Severity::Error };
            let message = format!("{self}, but the server has {spelt}");
            return Finding::new(severity, self.about, message, self.ways_out(limit));
        }
        let share = match total.saturating_mul(100).checked_div(available) {
            Some(0) => "less than 1 %".to_owned(),
            share => format!("{} %", share.unwrap_or(100)),
        };
        let message = format!("{self}, {share} of what the server accepts: {spelt}");
        let with_another = total.saturating_add(self.ceiling);
        if with_another <= available {
            return Finding::new(Severity::Note, self.about, message, "");
        }
        let severity = if limit.is_assumed { Severity::Note } else { Severity::Warning };
        let help = format!(
            "a rolling deployment that starts a replica before it stops one needs {with_another}: \
             stop one first, or lower the pool or the number of replicas"
        );
        Finding::new(severity, self.about, message, help)
    }

    fn ways_out(&self, limit: &ServerLimit) -> String {
        let available = limit.available();
        let needed = self.connections().saturating_add(limit.reserved);
        let name = &limit.name;
        let each = available.checked_div(self.replicas).unwrap_or(0);
        let lower = match (each, self.replicas) {
            (0, _) => String::new(),
            (each, 1) => format!("lower the pool to {each} connections, "),
            (each, _) => format!("lower the pool to {each} connections for each replica, "),
        };
        let fewer = match available.checked_div(self.ceiling) {
            Some(fitting @ 1..) => format!("run at most {fitting} replicas, "),
            _ => String::new(),
        };
        format!("{lower}{fewer}raise {name} to {needed}, or put a pooler in front of the server")
    }
}

/// `4 replicas x (pool_size 10 + max_overflow 20) = 120 connections`.
impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, total) = (&self.parts, self.connections());
        match self.replicas {
            1 if parts.contains('+') => write!(f, "{parts} = {total} connections"),
            1 => write!(f, "{parts} connections"),
            more => write!(f, "{more} replicas x ({parts}) = {total} connections"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(pool_size: u32, max_overflow: u32) -> PoolConfig {
        let mut config = PoolConfig::default();
        (config.pool_size, config.max_overflow) = (pool_size, max_overflow);
        config
    }

    #[test]
    fn too_many_connections_are_an_error_with_every_number() {
        let limit = ServerLimit::new("max_connections", 100).reserved(3);
        let finding = Deployment::of_pool(&pool(50, 100), 2).compare(&limit);
        assert_eq!(
            finding.to_string(),
            "error: db.pool_size: 2 replicas x (pool_size 50 + max_overflow 100) = 300 \
             connections, but the server has max_connections = 100, of which 3 are reserved, so \
             97 are left; lower the pool to 48 connections for each replica, raise max_connections \
             to 303, or put a pooler in front of the server"
        );
        let finding = Deployment::of_pool(&pool(10, 20), 4).compare(&limit);
        assert!(finding.help.contains("run at most 3 replicas"), "{finding}");
    }

    #[test]
    fn a_default_that_nobody_checked_is_only_a_warning() {
        let limit = ServerLimit::new("max_connections", 151).assumed();
        let finding = Deployment::of_pool(&pool(50, 102), 1).compare(&limit);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.message.contains("max_connections = 151 by default"), "{finding}");
    }

    #[test]
    fn the_room_for_a_rolling_deployment_counts() {
        let severity = |replicas| {
            let limit = ServerLimit::new("max_connections", 120);
            Deployment::of_pool(&pool(10, 20), replicas).compare(&limit).severity
        };
        assert_eq!(
            (severity(3), severity(4), severity(5)),
            (Severity::Note, Severity::Warning, Severity::Error)
        );
    }

    #[test]
    fn extreme_numbers_are_answered() {
        let limit = ServerLimit::new("max_connections", 2).reserved(3);
        let finding = Deployment::of_pool(&pool(u32::MAX, u32::MAX), u32::MAX).compare(&limit);
        assert!(finding.help.starts_with("raise max_connections"), "{finding}");
        let none = Deployment::of_redis("cache.max_connections", 0, 0).compare(&limit);
        assert_eq!(none.severity, Severity::Note);
    }
}
