//! Settings that work, and cause trouble sooner or later.

use crate::deployment::{Deployment, ServerLimit};
use crate::finding::{Finding, Severity};
use millpond_settings::{PoolConfig, PoolKind, ResetLevel};

/// What a database pool connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Database {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
    /// An SQLite file.
    SqliteFile,
    /// An SQLite database in memory.
    SqliteInMemory,
}

impl Database {
    /// Returns the limit on connections that such a server has if nobody has changed it.
    pub fn default_limit(self) -> Option<ServerLimit> {
        let limit = match self {
            Self::Postgres => ServerLimit::new("max_connections", 100).reserved(3),
            Self::MySql => ServerLimit::new("max_connections", 151),
            Self::SqliteFile | Self::SqliteInMemory => return None,
        };
        Some(limit.assumed())
    }
}

/// Returns what is risky about the settings of one process: `kind` is the setting `db.pool`, `None`
/// for `auto`. Settings that contradict each other are in [`PoolConfig::conflicts`].
pub fn risks(
    config: &PoolConfig,
    kind: Option<PoolKind>,
    reset: ResetLevel,
    database: Database,
) -> Vec<Finding> {
    let of_limit = database.default_limit().and_then(|limit| {
        let finding = Deployment::of_pool(config, 1).compare(&limit);
        (finding.severity > Severity::Note).then_some(finding)
    });
    let of_sqlite = of_sqlite(kind, database);
    let is_stale = !config.pool_pre_ping && config.pool_recycle.is_none();
    let of_age = is_stale.then(|| {
        Finding::new(
            Severity::Warning,
            "db.pool_pre_ping",
            "connections are neither pinged before they are lent nor replaced with age, so one \
             that a firewall or the server has ended is found by the first statement on it",
            "set pool_pre_ping = true, or a pool_recycle below the shortest idle limit on the way",
        )
    });
    let of_reset = of_reset(reset);
    of_limit.into_iter().chain(of_sqlite).chain(of_age).chain(of_reset).collect()
}

fn of_reset(reset: ResetLevel) -> Option<Finding> {
    let (severity, message, help) = match reset {
        ResetLevel::None => (
            Severity::Warning,
            "what a borrower sets in its session, or leaves open, reaches the next borrower",
            "use reset = \"transaction\", or \"session\" if borrowers change settings",
        ),
        ResetLevel::Replace => (
            Severity::Warning,
            "every connection is closed on return, so every acquire opens one",
            "use reset = \"session\", which undoes what a borrower has set",
        ),
        ResetLevel::Session => (
            Severity::Note,
            "each return costs a round trip, and on_connect hooks run again where the reset \
             undoes what they have set",
            "use reset = \"transaction\" if no borrower changes its session",
        ),
        ResetLevel::Transaction => return None,
    };
    Some(Finding::new(severity, "db.reset", message, help))
}

fn of_sqlite(kind: Option<PoolKind>, database: Database) -> Option<Finding> {
    let is_null = matches!(kind, None | Some(PoolKind::Null));
    (database == Database::SqliteFile && is_null).then(|| {
        Finding::new(
            Severity::Warning,
            "db.pool",
            "every query on the SQLite file opens a connection, and writers wait for each other \
             in SQLite's busy handler",
            "for a service set pool = \"read-write\": one connection writes, the others read",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(
        database: Database,
        kind: Option<PoolKind>,
        change: impl FnOnce(&mut PoolConfig),
    ) -> Vec<String> {
        let mut config = PoolConfig::default();
        change(&mut config);
        let found = risks(&config, kind, ResetLevel::default(), database);
        found.into_iter().map(|finding| finding.about).collect()
    }

    #[test]
    fn the_defaults_on_a_server_are_not_risky() {
        for database in [Database::Postgres, Database::MySql, Database::SqliteInMemory] {
            assert_eq!(found(database, None, |_| {}), Vec::<String>::new(), "{database:?}");
        }
    }

    #[test]
    fn a_process_that_may_fill_a_default_server_is_risky() {
        let large = |config: &mut PoolConfig| (config.pool_size, config.max_overflow) = (50, 100);
        assert_eq!(found(Database::Postgres, None, large), ["db.pool_size"]);
        assert_eq!(found(Database::MySql, None, large), Vec::<String>::new());
        assert_eq!(
            found(Database::MySql, None, |config| config.max_overflow = 142),
            ["db.pool_size"]
        );
    }

    #[test]
    fn a_file_without_kept_connections_is_risky_and_one_with_readers_is_not() {
        assert_eq!(found(Database::SqliteFile, None, |_| {}), ["db.pool"]);
        assert_eq!(found(Database::SqliteFile, Some(PoolKind::Null), |_| {}), ["db.pool"]);
        let none = Vec::<String>::new();
        assert_eq!(found(Database::SqliteFile, Some(PoolKind::ReadWrite), |_| {}), none);
        assert_eq!(found(Database::SqliteInMemory, None, |_| {}), none);
    }

    #[test]
    fn connections_that_are_never_checked_are_risky() {
        let unchecked = |config: &mut PoolConfig| {
            (config.pool_pre_ping, config.pool_recycle) = (false, None);
        };
        assert_eq!(found(Database::Postgres, None, unchecked), ["db.pool_pre_ping"]);
    }

    #[test]
    fn each_reset_but_the_default_has_its_price() {
        let severity = |reset| {
            let found = risks(&PoolConfig::default(), None, reset, Database::Postgres);
            found.first().map(|finding| (finding.about.clone(), finding.severity))
        };
        let about = || "db.reset".to_owned();
        assert_eq!(severity(ResetLevel::None), Some((about(), Severity::Warning)));
        assert_eq!(severity(ResetLevel::Replace), Some((about(), Severity::Warning)));
        assert_eq!(severity(ResetLevel::Session), Some((about(), Severity::Note)));
        assert_eq!(severity(ResetLevel::Transaction), None);
    }
}
