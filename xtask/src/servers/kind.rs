//! The kinds of servers: their names, what is needed to start them, and who needs them.

use std::fmt;

/// Something that can be started by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Postgres,
    Mariadb,
    /// In front of [`Kind::Postgres`], which is started with it.
    Pgbouncer,
    PostgresTls,
    MariadbTls,
    Redis,
    RedisPassword,
    RedisTls,
    /// A master, a replica and three sentinels.
    Sentinel,
    /// Three masters and three replicas.
    Cluster,
}

/// All of them, in the order of messages.
pub const ALL: [Kind; 10] = [
    Kind::Postgres,
    Kind::Mariadb,
    Kind::Pgbouncer,
    Kind::PostgresTls,
    Kind::MariadbTls,
    Kind::Redis,
    Kind::RedisPassword,
    Kind::RedisTls,
    Kind::Sentinel,
    Kind::Cluster,
];

/// What `cargo xtask servers` starts if nothing is named.
pub const DEFAULT: [Kind; 5] = [Kind::Postgres, Kind::Mariadb, Kind::Pgbouncer, Kind::PostgresTls, Kind::MariadbTls];

/// Which servers the tests of a crate need. A crate that is not in the workspace needs none.
const NEEDS: [(&str, &[Kind]); 7] = [
    ("millpond", &[Kind::Postgres, Kind::Mariadb, Kind::Pgbouncer, Kind::Redis, Kind::Cluster]),
    ("millpond-postgres", &[Kind::Postgres, Kind::PostgresTls, Kind::Pgbouncer]),
    ("soak", &[Kind::Postgres, Kind::Mariadb]),
    ("millpond-mysql", &[Kind::Mariadb, Kind::MariadbTls]),
    ("millpond-cache", &[Kind::Redis, Kind::Cluster]),
    ("millpond-ratelimit", &[Kind::Redis, Kind::Cluster]),
    ("millpond-redis", &[Kind::Redis, Kind::RedisPassword, Kind::RedisTls, Kind::Sentinel, Kind::Cluster]),
];

impl Kind {
    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mariadb => "mariadb",
            Self::Pgbouncer => "pgbouncer",
            Self::PostgresTls => "postgres-tls",
            Self::MariadbTls => "mariadb-tls",
            Self::Redis => "redis",
            Self::RedisPassword => "redis-password",
            Self::RedisTls => "redis-tls",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }

    /// The kind of that name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn parse(name: &str) -> Result<Self, String> {
        let known = || ALL.map(Self::name).join(", ");
        let found = ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("there is no server of the kind `{name}`; there are {}", known()))
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
        matches!(self, Self::PostgresTls | Self::MariadbTls | Self::RedisTls)
    }

    /// What must be installed to start it.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["setpriv", "initdb", "postgres", "psql"],
            Self::Pgbouncer => &["setpriv", "initdb", "postgres", "psql", "pgbouncer"],
            Self::PostgresTls => &["setpriv", "initdb", "postgres", "psql", "openssl"],
            Self::Mariadb => &["setpriv", "mariadb-install-db", "mariadbd", "mariadb-admin"],
            Self::MariadbTls => &["setpriv", "mariadb-install-db", "mariadbd", "mariadb-admin", "openssl"],
            Self::RedisTls => &["setpriv", "redis-server", "redis-cli", "openssl"],
            Self::Redis | Self::RedisPassword | Self::Sentinel | Self::Cluster => {
                &["setpriv", "redis-server", "redis-cli"]
            }
        }
    }

    /// What the tests of these crates need, each kind once.
    pub fn needed_by(crates: &[String]) -> Vec<Self> {
        let rows = NEEDS.iter().filter(|(name, _)| crates.iter().any(|it| it == name));
        let mut kinds: Vec<Self> = rows.flat_map(|(_, kinds)| kinds.iter().copied()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        assert!(ALL.into_iter().all(|kind| Kind::parse(kind.name()) == Ok(kind)));
        assert!(Kind::parse("oracle").unwrap_err().contains("postgres, mariadb"));
    }

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
        assert_eq!(Kind::needed_by(&crates(&["millpond-mysql", "millpond-postgres"])), DEFAULT);
    }
}
