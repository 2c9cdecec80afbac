//! The kinds of servers: their names, their programs, and the crates whose tests need them.

use std::collections::BTreeSet;
use std::fmt;

use clap::ValueEnum;

/// A kind of server, or of group of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    Postgres,
    Mariadb,
    /// MySQL, which is downloaded.
    Mysql,
    /// PgBouncer in front of a PostgreSQL of its own.
    Pgbouncer,
    PostgresTls,
    MariadbTls,
    MysqlTls,
    Redis,
    RedisPassword,
    RedisTls,
    /// A master, a replica and three sentinels.
    Sentinel,
    /// Three masters and three replicas.
    Cluster,
}

/// The kinds that `cargo xtask servers` starts if none is named.
pub const DEFAULT: [Kind; 5] =
    [Kind::Postgres, Kind::Mariadb, Kind::Pgbouncer, Kind::PostgresTls, Kind::MariadbTls];

/// The servers that the tests of each crate need.
const NEEDS: [(&str, &[Kind]); 8] = [
    (
        "millpond",
        &[Kind::Postgres, Kind::Mariadb, Kind::Mysql, Kind::Pgbouncer, Kind::Redis, Kind::Cluster],
    ),
    (
        "millpond-cli",
        &[
            Kind::Postgres,
            Kind::Mariadb,
            Kind::Pgbouncer,
            Kind::PostgresTls,
            Kind::MariadbTls,
            Kind::Redis,
            Kind::RedisTls,
        ],
    ),
    ("millpond-postgres", &[Kind::Postgres, Kind::PostgresTls, Kind::Pgbouncer]),
    ("soak", &[Kind::Postgres, Kind::Mariadb, Kind::Mysql, Kind::Redis]),
    ("millpond-mysql", &[Kind::Mariadb, Kind::MariadbTls, Kind::Mysql, Kind::MysqlTls]),
    ("millpond-cache", &[Kind::Redis, Kind::Cluster]),
    ("millpond-ratelimit", &[Kind::Redis, Kind::Cluster]),
    (
        "millpond-redis",
        &[Kind::Redis, Kind::RedisPassword, Kind::RedisTls, Kind::Sentinel, Kind::Cluster],
    ),
];

impl Kind {
    /// Returns the name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Returns the beginning of its variables, after the common prefix.
    pub fn stem(self) -> String {
        self.name().to_uppercase().replace('-', "_")
    }

    /// Returns the variable with its URL; if it is set already, nothing is started.
    pub fn url_variable(self) -> String {
        format!("{}_URL", self.stem())
    }

    /// Returns true if it uses TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::PostgresTls | Self::MariadbTls | Self::MysqlTls | Self::RedisTls)
    }

    /// Returns true if it is MySQL, which is downloaded.
    pub fn is_mysql(self) -> bool {
        matches!(self, Self::Mysql | Self::MysqlTls)
    }

    /// Returns the programs that must be installed to start it.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Postgres | Self::PostgresTls => &["setpriv", "initdb", "postgres", "psql"],
            Self::Pgbouncer => &["setpriv", "initdb", "postgres", "psql", "pgbouncer"],
            Self::Mariadb | Self::MariadbTls => {
                &["setpriv", "mariadb-install-db", "mariadbd", "mariadb-admin"]
            }
            // MariaDB's package has a client for it, and creates its user.
            Self::Mysql | Self::MysqlTls => &["setpriv", "mariadb-admin"],
            Self::Redis | Self::RedisPassword | Self::RedisTls | Self::Sentinel | Self::Cluster => {
                &["setpriv", "redis-server", "redis-cli"]
            }
        }
    }

    /// Returns the kinds that the tests of these crates need, each once.
    pub fn needed_by(crates: &[String]) -> Vec<Self> {
        let rows = NEEDS.iter().filter(|(name, _)| crates.iter().any(|it| it == name));
        rows.flat_map(|(_, kinds)| *kinds).copied().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named_after_the_kind() {
        assert_eq!(Kind::PostgresTls.url_variable(), "POSTGRES_TLS_URL");
    }

    #[test]
    fn only_the_crates_of_the_workspace_need_servers() {
        let crates = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(Kind::needed_by(&crates(&["millpond-core", "millpond-sqlite"])), []);
        let postgres = [Kind::Postgres, Kind::Pgbouncer, Kind::PostgresTls];
        assert_eq!(Kind::needed_by(&crates(&["millpond-postgres", "millpond-sqlite"])), postgres);
        let mysql = [Kind::Mariadb, Kind::Mysql, Kind::MariadbTls, Kind::MysqlTls];
        assert_eq!(Kind::needed_by(&crates(&["millpond-mysql"])), mysql);
    }
}
