//! Where Redis is and how to connect to it.

use crate::connect::login::Login;
use crate::connect::node::Node;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The default of [`RedisConnectOptions::command_timeout`].
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// Where Redis is and how to connect to it. A URL can say all of this but `command_timeout`.
///
/// ```
/// use millpond_redis::RedisConnectOptions;
///
/// let one: RedisConnectOptions = "rediss://user:secret@cache.example/1".parse()?;
/// let cluster = RedisConnectOptions::cluster([("node1", 7000), ("node2", 7001)]);
/// assert!(!format!("{one:?}").contains("secret"));
/// # Ok::<(), millpond_redis::UrlError>(())
/// ```
#[derive(Clone)]
pub struct RedisConnectOptions {
    pub(crate) deployment: Deployment,
    pub(crate) login: Login,
    pub(crate) database: u8,
    pub(crate) tls: Option<Tls>,
    pub(crate) command_timeout: Duration,
    pub(crate) driver: Driver,
    pub(crate) protocol: Protocol,
    pub(crate) tcp: TcpTimes,
}

/// The library that serves the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Driver {
    /// This crate serves the sockets, since fred takes some answers for messages or redirections.
    /// Connections can subscribe, and fred's own client is available on a connection of its own:
    /// [`RedisConnection::driver`](crate::RedisConnection::driver). With the feature `fred`.
    #[cfg(feature = "fred")]
    #[default]
    Fred,
    /// redis-rs serves the sockets. Connections cannot subscribe. With the feature `redis-rs`.
    #[cfg(feature = "redis-rs")]
    #[cfg_attr(not(feature = "fred"), default)]
    RedisRs,
}

/// The version of the Redis protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// RESP2, which every server speaks. It does not mark messages: see
    /// [`RedisConnection::subscribe`](crate::RedisConnection::subscribe).
    Resp2,
    /// RESP3, which marks messages and has numbers, booleans, sets and pairs of their own; RESP2
    /// on a connection whose server refuses `HELLO 3`, as Redis before 6.0 does.
    #[default]
    Resp3,
}

/// How Redis is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deployment {
    Single(Node),
    Unix(PathBuf),
    Sentinel { nodes: Vec<Node>, service: String, login: Login, tls: SentinelTls },
    Cluster(Vec<Node>),
}

/// The times of the operating system for a TCP socket, where they are set; zero is off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TcpTimes {
    pub(crate) keepalive: Option<Duration>,
    pub(crate) user_timeout: Option<Duration>,
}

/// That the connection is encrypted, and which authority is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// A file of certificates; if there is none, those of the system.
    pub(crate) authority: Option<PathBuf>,
}

/// Whether connections to sentinels are encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum SentinelTls {
    /// As those to the master are.
    #[default]
    AsMaster,
    Off,
    On(Tls),
}

impl RedisConnectOptions {
    fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            login: Login::default(),
            database: 0,
            tls: None,
            command_timeout: COMMAND_TIMEOUT,
            driver: Driver::default(),
            protocol: Protocol::default(),
            tcp: TcpTimes::default(),
        }
    }

    /// One server.
    pub fn single(host: impl Into<String>, port: u16) -> Self {
        Self::new(Deployment::Single(Node { host: host.into(), port }))
    }

    /// One server behind a Unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Deployment::Unix(path.into()))
    }

    /// A cluster, by some of its nodes (`startup_nodes`); the others are found through them.
    pub fn cluster<H: Into<String>>(startup_nodes: impl IntoIterator<Item = (H, u16)>) -> Self {
        Self::new(Deployment::Cluster(nodes(startup_nodes)))
    }

    /// The master that the sentinels name.
    pub fn sentinel<H: Into<String>>(
        sentinels: impl IntoIterator<Item = (H, u16)>,
        service: impl Into<String>,
    ) -> Self {
        Self::new(Deployment::Sentinel {
            nodes: nodes(sentinels),
            service: service.into(),
            login: Login::default(),
            tls: SentinelTls::default(),
        })
    }

    pub(crate) fn of(deployment: Deployment) -> Self {
        Self::new(deployment)
    }

    /// Logs in with a password, and as a user if one is given.
    #[must_use]
    pub fn login(mut self, user: Option<&str>, password: &str) -> Self {
        self.login = Login { user: user.map(str::to_owned), password: Some(password.to_owned()) };
        self
    }

    /// Logs in to the sentinels, which have a password of their own. Without effect on other
    /// deployments. In a URL: `sentinel_user` and `sentinel_password`.
    #[must_use]
    pub fn sentinel_login(mut self, user: Option<&str>, password: &str) -> Self {
        if let Deployment::Sentinel { login, .. } = &mut self.deployment {
            *login = Login { user: user.map(str::to_owned), password: Some(password.to_owned()) };
        }
        self
    }

    /// Encrypts the connections to sentinels, whatever those to the master are. Trusts the
    /// certificates in a file, or else those of the system. Without effect on other deployments.
    /// Default: as the master. In a URL: `sentinel_tls=on`, with `tls_ca` for both.
    #[must_use]
    pub fn sentinel_tls(self, authority: Option<PathBuf>) -> Self {
        self.set_sentinel_tls(SentinelTls::On(Tls { authority }))
    }

    /// Does not encrypt the connections to sentinels, whatever those to the master are. Without
    /// effect on other deployments. In a URL: `sentinel_tls=off`.
    #[must_use]
    pub fn sentinel_without_tls(self) -> Self {
        self.set_sentinel_tls(SentinelTls::Off)
    }

    fn set_sentinel_tls(mut self, value: SentinelTls) -> Self {
        if let Deployment::Sentinel { tls, .. } = &mut self.deployment {
            *tls = value;
        }
        self
    }

    /// The number of the database. Default 0; a cluster has no other.
    #[must_use]
    pub fn database(mut self, number: u8) -> Self {
        self.database = number;
        self
    }

    /// Encrypts. Trusts the certificates in a file, or else those of the system.
    #[must_use]
    pub fn tls(mut self, authority: Option<PathBuf>) -> Self {
        self.tls = Some(Tls { authority });
        self
    }

    /// How long a command may have no answer. Default 2 s, range 1 ms-300 s. For a command that
    /// blocks at the server it begins after the time for which the server may block. A connection
    /// whose oldest command is older is closed.
    #[must_use]
    pub fn command_timeout(mut self, limit: Duration) -> Self {
        self.command_timeout = limit;
        self
    }

    /// How long a TCP connection may be idle before the operating system probes whether the server
    /// is still there. Default 60 s, range 1 s-3600 s, 0 s is off; fractions of a second are
    /// dropped. Three unanswered probes, a sixth of this time and at least 1 s apart, end the
    /// connection. On Linux it also ends when sent data is not acknowledged for as long as all of
    /// that takes (`TCP_USER_TIMEOUT`). In a URL: `?tcp_keepalive=60`.
    #[must_use]
    pub fn tcp_keepalive(mut self, idle: Duration) -> Self {
        self.tcp.keepalive = Some(idle);
        self
    }

    /// How long sent data may stay unacknowledged, or unread by a server that is alive, before the
    /// operating system ends the connection (`TCP_USER_TIMEOUT`, on Linux). Default 300 s, or as
    /// long as [`tcp_keepalive`](Self::tcp_keepalive) takes to end a connection if that is less (90
    /// s). Range 1 s-3600 s, 0 s is off. In a URL: `?tcp_user_timeout=30`.
    #[must_use]
    pub fn tcp_user_timeout(mut self, limit: Duration) -> Self {
        self.tcp.user_timeout = Some(limit);
        self
    }

    /// Sets these times where the URL does not say them; `None` is off.
    #[doc(hidden)] // For settings.
    #[must_use]
    pub fn or_tcp_times(
        mut self,
        keepalive: Option<Duration>,
        user_timeout: Option<Duration>,
    ) -> Self {
        self.tcp.keepalive.get_or_insert(keepalive.unwrap_or_default());
        self.tcp.user_timeout.get_or_insert(user_timeout.unwrap_or_default());
        self
    }

    /// The library that serves the sockets. Default `fred`, if it is built in.
    #[must_use]
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    /// The version of the protocol. Default [`Protocol::Resp3`], if the server supports it. RESP2
    /// is for servers and proxies that close the connection at a `HELLO` instead of refusing it.
    /// In a URL: `?protocol=2`.
    #[must_use]
    pub fn protocol(mut self, version: Protocol) -> Self {
        self.protocol = version;
        self
    }

    /// Returns whether the options are those of a cluster.
    pub fn is_cluster(&self) -> bool {
        matches!(self.deployment, Deployment::Cluster(_))
    }
}

fn nodes<H: Into<String>>(nodes: impl IntoIterator<Item = (H, u16)>) -> Vec<Node> {
    nodes.into_iter().map(|(host, port)| Node { host: host.into(), port }).collect()
}

impl fmt::Debug for RedisConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConnectOptions")
            .field("deployment", &self.deployment)
            .field("login", &self.login)
            .field("database", &self.database)
            .field("tls", &self.tls)
            .field("command_timeout", &self.command_timeout)
            .field("driver", &self.driver)
            .field("protocol", &self.protocol)
            .field("tcp", &self.tcp)
            .finish()
    }
}
