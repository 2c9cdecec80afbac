//! The kinds of servers: their names, what is needed to start them, and who needs them.

use std::collections::BTreeSet;
use std::fmt;

use clap::ValueEnum;

/// Something that can be started by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    Postgres,
    Mariadb,
    /// MySQL itself, which is downloaded.
    Mysql,
    /// In front of a PostgreSQL, which is started with it.
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

/// What `cargo xtask servers` starts if nothing is named.
pub const DEFAULT: [Kind; 5] =
    [Kind::Postgres, Kind::Mariadb, Kind::Pgbouncer, Kind::PostgresTls, Kind::MariadbTls];

/// Which servers the tests of a crate need. A crate that is not in the workspace needs none.
const NEEDS: [(&str, &[Kind]); 7] = [
    (
        "millpond",
        &[Kind::Postgres, Kind::Mariadb, Kind::Mysql, Kind::Pgbouncer, Kind::Redis, Kind::Cluster],
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
    /// The name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How its variables begin, after what all of them begin with.
    pub fn stem(self) -> String {
        self.name().to_uppercase().replace('-', "_")
    }

    /// The variable that leads to it; if it is set, nothing needs to be started.
    pub fn url_variable(self) -> String {
        format!("{}_URL", self.stem())
    }

    /// Whether it shows a certificate.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::PostgresTls | Self::MariadbTls | Self::MysqlTls | Self::RedisTls)
    }

    /// Whether it is MySQL, of which the server itself is downloaded.
    pub fn is_mysql(self) -> bool {
        matches!(self, Self::Mysql | Self::MysqlTls)
    }

    /// What must be installed to start it.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Postgres | Self::PostgresTls => &["setpriv", "initdb", "postgres", "psql"],
            Self::Pgbouncer => &["setpriv", "initdb", "postgres", "psql", "pgbouncer"],
            Self::Mariadb | Self::MariadbTls => {
                &["setpriv", "mariadb-install-db", "mariadbd", "mariadb-admin"]
            }
            // MariaDB's client speaks to it, and its package makes the user.
            Self::Mysql | Self::MysqlTls => &["setpriv", "mariadb-admin"],
            Self::Redis | Self::RedisPassword | Self::RedisTls | Self::Sentinel | Self::Cluster => {
                &["setpriv", "redis-server", "redis-cli"]
            }
        }
    }

    /// What the tests of these crates need, each kind once.
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
    fn variables_are_called_like_the_kind() {
        assert_eq!(Kind::PostgresTls.url_variable(), "POSTGRES_TLS_URL");
    }

    #[test]
    fn a_crate_that_is_not_there_needs_nothing() {
        let crates = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(Kind::needed_by(&crates(&["millpond-core", "millpond-sqlite"])), []);
        let postgres = [Kind::Postgres, Kind::Pgbouncer, Kind::PostgresTls];
        assert_eq!(Kind::needed_by(&crates(&["millpond-postgres", "millpond-sqlite"])), postgres);
        let mysql = [Kind::Mariadb, Kind::Mysql, Kind::MariadbTls, Kind::MysqlTls];
        assert_eq!(Kind::needed_by(&crates(&["millpond-mysql"])), mysql);
    }
}
