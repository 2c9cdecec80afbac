//! Compares the pool's settings with what its server allows.

use millpond_core::PoolConfig;
use std::time::Duration;

/// The limits of a server, read by a backend on the first connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connection limits, each with its source: a server setting, a role, a database.
    pub connections: Vec<(&'static str, u64)>,
    /// How long a session may be idle, and the setting that limits it.
    pub idle: Option<(&'static str, Duration)>,
}

impl ServerLimits {
    /// Returns the pool settings that exceed the server's limits, each with a message.
    pub fn misfits(&self, config: &PoolConfig) -> Vec<(&'static str, String)> {
        let connections =
            self.connections.iter().filter(|(_, limit)| u64::from(config.limit()) > *limit);
        let mut misfits: Vec<_> = connections
            .map(|(what, limit)| {
                let PoolConfig { pool_size, max_overflow, .. } = config;
                let text = format!(
                    "pool_size = {pool_size} and max_overflow = {max_overflow} are more than the \
                     server allows: {what} = {limit}, for all its clients together; lower one of \
                     the two or raise the server's"
                );
                ("pool_size", text)
            })
            .collect();
        misfits.extend(self.idle.and_then(|(what, limit)| idle_misfit(what, limit, config)));
        misfits
    }
}

fn idle_misfit(what: &str, limit: Duration, config: &PoolConfig) -> Option<(&'static str, String)> {
    // `idle_timeout` closes idle connections only down to `min_idle`.
    let all_end = config.idle_timeout.filter(|_| config.min_idle == Some(0));
    let longest = all_end.or(config.pool_recycle);
    let shown = longest.map_or("off".to_owned(), |longest| format!("{longest:?}"));
    let fits = longest.is_some_and(|longest| longest < limit);
    (!fits).then(|| {
        let text = format!(
            "the server ends sessions that are idle for {limit:?} ({what}), before pool_recycle \
             = {shown} does: lower pool_recycle, or raise the server's"
        );
        ("pool_recycle", text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misfits(limits: &ServerLimits, tune: impl FnOnce(&mut PoolConfig)) -> Vec<&'static str> {
        let mut config = PoolConfig::default();
        tune(&mut config);
        limits.misfits(&config).into_iter().map(|(setting, _)| setting).collect()
    }

    #[test]
    fn a_pool_within_the_limits_gets_no_warning() {
        let limits = ServerLimits { connections: vec![("max_connections", 30)], idle: None };
        assert_eq!(misfits(&limits, |_| {}), Vec::<&str>::new());
    }

    #[test]
    fn a_pool_that_may_open_more_than_it_is_allowed_gets_a_warning_for_each_limit() {
        let limits =
            ServerLimits { connections: vec![("max_connections", 29), ("role", 5)], idle: None };
        assert_eq!(misfits(&limits, |_| {}), ["pool_size", "pool_size"]);
        let (_, text) = limits.misfits(&PoolConfig::default()).remove(0);
        assert!(
            text.contains("pool_size = 10 and max_overflow = 20")
                && text.contains("max_connections = 29"),
            "{text}"
        );
    }

    #[test]
    fn a_connection_must_not_live_longer_than_a_session_may_be_idle() {
        let limits = ServerLimits {
            connections: Vec::new(),
            idle: Some(("idle_session_timeout", Duration::from_secs(600))),
        };
        assert_eq!(misfits(&limits, |_| {}), ["pool_recycle"]);
        assert_eq!(misfits(&limits, |config| config.pool_recycle = None), ["pool_recycle"]);
        assert_eq!(
            misfits(&limits, |config| config.pool_recycle = Some(Duration::from_secs(599))),
            Vec::<&str>::new()
        );
        let idle = |config: &mut PoolConfig| config.idle_timeout = Some(Duration::from_secs(60));
        assert_eq!(
            misfits(&limits, idle),
            ["pool_recycle"],
            "pool_size connections may be idle for longer"
        );
        let all_end = |config: &mut PoolConfig| {
            idle(config);
            config.min_idle = Some(0);
        };
        assert_eq!(misfits(&limits, all_end), Vec::<&str>::new());
    }
}
