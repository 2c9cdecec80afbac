//! Reads connection URLs. Nothing in them is ignored: what is not known is an error.

use crate::connect::login::Login;
use crate::connect::node::Node;
use crate::connect::options::{
    Deployment, Driver, Protocol, RedisConnectOptions, SentinelTls, TcpTimes, Tls,
};
use crate::connect::url_error::UrlError;
use millpond_core::TCP_TIMES;
use millpond_url::{
    Authority, Server, Url, parameters, percent_decode, port, set_once, single_line,
};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The kind of deployment that a scheme names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
}

impl FromStr for RedisConnectOptions {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        parse(url)
    }
}

/// Reads a URL.
fn parse(url: &str) -> Result<RedisConnectOptions, UrlError> {
    let url = single_line(url).ok_or(UrlError::Blank)?;
    let url = Url::split(url).ok_or_else(|| UrlError::Scheme(String::new()))?;
    if url.has_fragment() {
        return Err(UrlError::Fragment);
    }
    // An unescaped `?` in a password: an error, since the host would be a part of the password.
    if url.query.contains('@') {
        return Err(UrlError::Ambiguous);
    }
    let mut parts = match url.scheme.to_ascii_lowercase().as_str() {
        "redis" | "valkey" => Parts::network(Kind::Single, false, url)?,
        "rediss" | "valkeys" => Parts::network(Kind::Single, true, url)?,
        "redis-sentinel" | "valkey-sentinel" => Parts::network(Kind::Sentinel, false, url)?,
        "rediss-sentinel" | "valkeys-sentinel" => Parts::network(Kind::Sentinel, true, url)?,
        "redis-cluster" | "valkey-cluster" => Parts::network(Kind::Cluster, false, url)?,
        "rediss-cluster" | "valkeys-cluster" => Parts::network(Kind::Cluster, true, url)?,
        "unix" | "redis+unix" => Parts::socket(url)?,
        scheme => return Err(UrlError::Scheme(suggestion(scheme).to_owned())),
    };
    for (name, value) in parameters(url.query) {
        let name = decode("a parameter", name)?;
        let is_name = value.is_some()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let set = parts.set(&name, decode("a parameter", value.unwrap_or_default())?);
        match set {
            // Behind an unescaped `&` or `?` in a password the name may be a part of the password.
            Err(UrlError::Parameter(_)) if !is_name || url.query.contains("assword=") => {
                return Err(UrlError::Parameter(String::new()));
            }
            set => set?,
        }
    }
    parts.finish()
}

/// Returns what was probably meant by a scheme in lower case; never one without TLS for one with
/// it.
fn suggestion(scheme: &str) -> &'static str {
    let is_encrypted =
        ["rediss", "valkeys", "tls", "ssl", "https"].iter().any(|word| scheme.contains(word));
    match (scheme.contains("cluster"), scheme.contains("sentinel"), is_encrypted) {
        (true, _, false) => "redis-cluster",
        (true, _, true) => "rediss-cluster",
        (_, true, false) => "redis-sentinel",
        (_, true, true) => "rediss-sentinel",
        (_, _, true) => "rediss",
        _ => "redis",
    }
}

/// The parts of a URL.
struct Parts {
    kind: Kind,
    nodes: Vec<Node>,
    socket: Option<PathBuf>,
    login: Login,
    sentinel: Login,
    sentinel_tls: Option<bool>,
    service: Option<String>,
    database: Option<u8>,
    encrypted: bool,
    authority: Option<PathBuf>,
    driver: Option<Driver>,
    protocol: Option<Protocol>,
    tcp: TcpTimes,
}

impl Parts {
    fn empty(kind: Kind, encrypted: bool) -> Self {
        Self {
            kind,
            nodes: Vec::new(),
            socket: None,
            login: Login::default(),
            sentinel: Login::default(),
            sentinel_tls: None,
            service: None,
            database: None,
            encrypted,
            authority: None,
            driver: None,
            protocol: None,
            tcp: TcpTimes::default(),
        }
    }

    /// `user:password@host:port,host:port/database`.
    fn network(kind: Kind, encrypted: bool, url: Url<'_>) -> Result<Self, UrlError> {
        let mut parts = Self::empty(kind, encrypted);
        // An unescaped `/` in a password.
        if url.path.contains('@') {
            return Err(UrlError::Ambiguous);
        }
        let servers = parts.credentials(url.authority)?;
        if servers.is_empty() {
            return Err(UrlError::NoHost);
        }
        for server in servers.split(',') {
            parts.nodes.push(node(server, parts.default_port())?);
        }
        if parts.nodes.len() > 1 && kind == Kind::Single {
            return Err(UrlError::Hosts);
        }
        if let Some(database) = url.path.strip_prefix('/').filter(|path| !path.is_empty()) {
            parts.put_database(database)?;
        }
        Ok(parts)
    }

    /// `user:password@/path/to/socket`.
    fn socket(url: Url<'_>) -> Result<Self, UrlError> {
        let mut parts = Self::empty(Kind::Single, false);
        if url.path.contains('@') {
            return Err(UrlError::Ambiguous);
        }
        if url.path.is_empty() || !parts.credentials(url.authority)?.is_empty() {
            return Err(UrlError::NoHost);
        }
        parts.socket = Some(decode("the path", url.path)?.into());
        Ok(parts)
    }

    /// Reads the login, and returns what follows it.
    fn credentials<'a>(&mut self, authority: &'a str) -> Result<&'a str, UrlError> {
        let Authority { user, password, servers, .. } = Authority::split(authority);
        if !user.is_empty() {
            self.login.user = Some(decode("the user", user)?);
        }
        if let Some(password) = password {
            self.login.password = Some(decode("the password", password)?);
        }
        Ok(servers)
    }

    fn default_port(&self) -> u16 {
        if self.kind == Kind::Sentinel { SENTINEL_PORT } else { PORT }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), UrlError> {
        let unknown = || UrlError::Parameter(name.to_owned());
        match name {
            "db" | "database" => self.put_database(&value),
            "user" | "username" => put(&mut self.login.user, value, name),
            "password" => put(&mut self.login.password, value, name),
            "tcp_keepalive" => put(&mut self.tcp.keepalive, tcp_time(name, &value)?, name),
            "tcp_user_timeout" => put(&mut self.tcp.user_timeout, tcp_time(name, &value)?, name),
            "driver" => put(&mut self.driver, driver(&value)?, name),
            "protocol" => put(&mut self.protocol, protocol(&value)?, name),
            "tls_ca" | "ssl_ca_certs" => put(&mut self.authority, value.into(), name),
            "node" if self.kind != Kind::Single => {
                self.nodes.push(node(&value, self.default_port())?);
                Ok(())
            }
            "service" | "sentinelServiceName" if self.kind == Kind::Sentinel => {
                put(&mut self.service, value, name)
            }
            "sentinel_user" | "sentinelUsername" if self.kind == Kind::Sentinel => {
                put(&mut self.sentinel.user, value, name)
            }
            "sentinel_tls" if self.kind == Kind::Sentinel => {
                put(&mut self.sentinel_tls, switch(name, &value)?, name)
            }
            "sentinel_password" | "sentinelPassword" if self.kind == Kind::Sentinel => {
                put(&mut self.sentinel.password, value, name)
            }
            _ => Err(unknown()),
        }
    }

    fn put_database(&mut self, text: &str) -> Result<(), UrlError> {
        let wrong =
            || UrlError::Value { name: "db".to_owned(), expected: "a number from 0 to 255" };
        put(&mut self.database, text.parse().map_err(|_| wrong())?, "db")
    }

    fn finish(self) -> Result<RedisConnectOptions, UrlError> {
        let wrong = |name: &str, expected| Err(UrlError::Value { name: name.to_owned(), expected });
        if self.kind == Kind::Cluster && self.database.is_some_and(|number| number > 0) {
            return wrong("db", "0: a cluster has no other database");
        }
        if self.login.user.is_some() && self.login.password.is_none() {
            return wrong("user", "together with a password");
        }
        if self.authority.is_some() && !self.encrypted && self.sentinel_tls != Some(true) {
            return wrong(
                "tls_ca",
                "a scheme with TLS in front of it: `rediss`, `rediss-cluster` or \
                    `rediss-sentinel`",
            );
        }
        let sentinel_tls = match self.sentinel_tls {
            None => SentinelTls::AsMaster,
            Some(false) => SentinelTls::Off,
            Some(true) => SentinelTls::On(Tls { authority: self.authority.clone() }),
        };
        let deployment = match (self.kind, self.socket, self.service) {
            (Kind::Single, Some(path), _) => Deployment::Unix(path),
            (Kind::Single, None, _) => {
                Deployment::Single(self.nodes.into_iter().next().ok_or(UrlError::NoHost)?)
            }
            (Kind::Cluster, ..) => Deployment::Cluster(self.nodes),
            (Kind::Sentinel, _, Some(service)) => {
                let (nodes, login) = (self.nodes, self.sentinel);
                Deployment::Sentinel { nodes, service, login, tls: sentinel_tls }
            }
            (Kind::Sentinel, _, None) => {
                return wrong("service", "the name of the master that the sentinels watch");
            }
        };
        let mut options = RedisConnectOptions::of(deployment).database(self.database.unwrap_or(0));
        options.login = self.login;
        options.driver = self.driver.unwrap_or_default();
        options.protocol = self.protocol.unwrap_or_default();
        options.tcp = self.tcp;
        Ok(if self.encrypted { options.tls(self.authority) } else { options })
    }
}

fn put<T: PartialEq>(target: &mut Option<T>, value: T, name: &str) -> Result<(), UrlError> {
    if set_once(target, value) { Ok(()) } else { Err(UrlError::Twice(name.to_owned())) }
}

/// Reads the name of a driver that is built in.
fn driver(name: &str) -> Result<Driver, UrlError> {
    let wrong = |expected| Err(UrlError::Value { name: "driver".to_owned(), expected });
    match name {
        #[cfg(feature = "fred")]
        "fred" => Ok(Driver::Fred),
        #[cfg(not(feature = "fred"))]
        "fred" => wrong("`redis-rs`: `fred` needs the feature of that name of millpond-redis"),
        #[cfg(feature = "redis-rs")]
        "redis-rs" => Ok(Driver::RedisRs),
        #[cfg(not(feature = "redis-rs"))]
        "redis-rs" => wrong("`fred`: `redis-rs` needs the feature of that name of millpond-redis"),
        _ => wrong("`fred` or `redis-rs`"),
    }
}

fn protocol(version: &str) -> Result<Protocol, UrlError> {
    match version {
        "2" | "resp2" => Ok(Protocol::Resp2),
        "3" | "resp3" => Ok(Protocol::Resp3),
        _ => Err(UrlError::Value { name: "protocol".to_owned(), expected: "`2` or `3`" }),
    }
}

fn switch(name: &str, value: &str) -> Result<bool, UrlError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(UrlError::Value { name: name.to_owned(), expected: "`on` or `off`" }),
    }
}

/// Reads seconds, within the range that holds for all TCP sockets; 0 is off.
fn tcp_time(name: &str, seconds: &str) -> Result<Duration, UrlError> {
    let time = seconds.parse().ok().map(Duration::from_secs);
    let expected = "a number of seconds from 1 to 3600, or 0 for none";
    time.filter(|time| time.is_zero() || TCP_TIMES.contains(time))
        .ok_or(UrlError::Value { name: name.to_owned(), expected })
}

/// `host`, `host:port`, `[::1]:port`.
fn node(text: &str, default: u16) -> Result<Node, UrlError> {
    let server = Server::split(text).ok_or(UrlError::Port)?;
    let port = server.port.map_or(Some(default), port).ok_or(UrlError::Port)?;
    let host = decode("the host", server.host)?;
    match host.is_empty() {
        true => Err(UrlError::NoHost),
        false if server.accepts(&host) => Ok(Node { host, port }),
        false => Err(UrlError::Host),
    }
}

fn decode(what: &'static str, text: &str) -> Result<String, UrlError> {
    percent_decode(text).ok_or(UrlError::Encoding(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_testkit::Garbler;
    use millpond_url::percent_encode;

    const CORPUS: &str = include_str!("../../tests/corpus/urls.txt");

    fn nodes(url: &str) -> Vec<(String, u16)> {
        let list = match parse(url).unwrap().deployment {
            Deployment::Single(node) => vec![node],
            Deployment::Cluster(nodes) | Deployment::Sentinel { nodes, .. } => nodes,
            Deployment::Unix(_) => vec![],
        };
        list.into_iter().map(|node| (node.host, node.port)).collect()
    }

    fn node_of(host: &str, port: u16) -> (String, u16) {
        (host.to_owned(), port)
    }

    #[test]
    fn a_url_names_the_driver_and_one_that_is_not_built_in_is_an_error() {
        assert_eq!(parse("redis://h").unwrap().driver, Driver::default());
        assert_eq!(parse("redis://h?driver=fred").is_ok(), cfg!(feature = "fred"));
        assert_eq!(parse("redis-cluster://h?driver=redis-rs").is_ok(), cfg!(feature = "redis-rs"));
        let error = parse("redis://h?driver=jedis").unwrap_err().to_string();
        assert!(error.contains("driver") && error.contains("fred"), "{error}");
    }

    #[test]
    fn a_url_names_the_version_of_the_protocol() {
        let protocol = |url: &str| parse(url).map(|options| options.protocol);
        assert_eq!(protocol("redis://h"), Ok(Protocol::Resp3));
        for (text, version) in
            [("2", Protocol::Resp2), ("resp2", Protocol::Resp2), ("3", Protocol::Resp3)]
        {
            assert_eq!(protocol(&format!("rediss://h?protocol={text}")), Ok(version));
        }
        let error = protocol("redis://h?protocol=4").unwrap_err().to_string();
        assert!(error.contains("\"protocol\" should be `2` or `3`"), "{error}");
    }

    #[test]
    fn a_url_says_when_the_system_asks_whether_the_server_is_there() {
        let keepalive = |query: &str| {
            parse(&format!("redis-cluster://h{query}")).map(|options| options.tcp.keepalive)
        };
        assert_eq!(keepalive("").unwrap(), None);
        assert_eq!(keepalive("?tcp_keepalive=5").unwrap(), Some(Duration::from_secs(5)));
        assert_eq!(keepalive("?tcp_keepalive=0").unwrap(), Some(Duration::ZERO));
        let limit = parse("redis://h?tcp_user_timeout=7").unwrap().tcp.user_timeout;
        assert_eq!(limit, Some(Duration::from_secs(7)));
        assert!(parse("redis://h?tcp_user_timeout=3601").is_err());
        // The URL says more than the settings.
        let minute = Some(Duration::from_secs(60));
        let options = parse("redis://h?tcp_keepalive=5").unwrap().or_tcp_times(minute, None);
        assert_eq!(options.tcp.keepalive, Some(Duration::from_secs(5)));
        assert_eq!(options.tcp.user_timeout, Some(Duration::ZERO));
        for wrong in ["-1", "3601", "on", ""] {
            let error = keepalive(&format!("?tcp_keepalive={wrong}")).unwrap_err().to_string();
            assert!(
                error.contains("tcp_keepalive") && error.contains("seconds from 1 to 3600"),
                "{error}"
            );
        }
    }

    #[test]
    fn every_part_of_a_url_arrives() {
        let options = parse("redis://miller:p%40ss@db.example:6380/3").unwrap();
        assert_eq!(nodes("redis://miller:p%40ss@db.example:6380/3"), [node_of("db.example", 6380)]);
        assert_eq!(
            (options.login.user.as_deref(), options.login.password.as_deref()),
            (Some("miller"), Some("p@ss"))
        );
        assert_eq!((options.database, options.tls), (3, None));
        assert_eq!(nodes("redis://localhost"), [node_of("localhost", 6379)]);
        assert_eq!(nodes("VALKEY://[::1]:7000"), [node_of("::1", 7000)]);
        for end in ["\n", "\r\n", "\r"] {
            assert_eq!(parse(&format!("redis://h/3{end}")).unwrap().database, 3);
        }
        let options = parse("rediss://:secret@h?tls_ca=/ca.pem&db=1").unwrap();
        assert_eq!(options.tls.unwrap().authority, Some("/ca.pem".into()));
        assert_eq!((options.database, options.login.password.as_deref()), (1, Some("secret")));
    }

    #[test]
    fn a_cluster_has_several_nodes_in_two_spellings() {
        let two = [node_of("a", 7000), node_of("b", 6379)];
        assert_eq!(nodes("redis-cluster://a:7000,b"), two);
        assert_eq!(nodes("redis-cluster://a:7000?node=b:6379"), two);
        assert!(parse("rediss-cluster://a").unwrap().tls.is_some());
    }

    #[test]
    fn sentinels_name_a_service_and_may_want_a_login_of_their_own() {
        let url =
            "redis-sentinel://u:p@a,b:26380/2?sentinelServiceName=mymaster&sentinel_password=s";
        let options = parse(url).unwrap();
        let Deployment::Sentinel { nodes: list, service, login, tls } = options.deployment else {
            panic!()
        };
        assert_eq!(tls, SentinelTls::AsMaster);
        assert_eq!(
            (list.len(), service.as_str(), login.password.as_deref()),
            (2, "mymaster", Some("s"))
        );
        assert_eq!(nodes(url), [node_of("a", 26379), node_of("b", 26380)]);
        assert_eq!(options.database, 2);
    }

    #[test]
    fn sentinels_may_be_encrypted_where_the_master_is_not_and_the_reverse() {
        let tls = |url: &str| {
            let options = parse(url).unwrap();
            let Deployment::Sentinel { tls, .. } = options.deployment else { panic!() };
            (options.tls, tls)
        };
        let authority = || Some(Tls { authority: Some("/ca.pem".into()) });
        let url = "rediss-sentinel://a?service=m&tls_ca=/ca.pem&sentinel_tls=off";
        assert_eq!(tls(url), (authority(), SentinelTls::Off));
        let url = "redis-sentinel://a?service=m&tls_ca=/ca.pem&sentinel_tls=on";
        assert_eq!(tls(url), (None, SentinelTls::On(authority().unwrap())));
        for url in [
            "redis-sentinel://a?service=m&tls_ca=/ca.pem",
            "redis-sentinel://a?service=m&tls_ca=/ca.pem&sentinel_tls=off",
            "redis-sentinel://a?service=m&sentinel_tls=yes",
            "redis://a?sentinel_tls=on",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_socket_has_a_path() {
        let options = parse("unix://u:p@/run/redis.sock?db=2").unwrap();
        assert_eq!(options.deployment, Deployment::Unix("/run/redis.sock".into()));
        assert_eq!((options.database, options.login.password.as_deref()), (2, Some("p")));
        assert_eq!(
            parse("unix:///run/redis.sock").unwrap().deployment,
            Deployment::Unix("/run/redis.sock".into())
        );
    }

    #[test]
    fn a_misspelt_scheme_is_an_error_that_names_the_right_one() {
        for (url, expected) in [
            ("redis+tls://h", "rediss"),
            ("redis+ssl://h", "rediss"),
            ("https://h", "rediss"),
            ("tls://h", "rediss"),
            ("valkeys+cluster://h", "rediss-cluster"),
            ("redis-sentinel+tls://h", "rediss-sentinel"),
            ("redis+cluster://h", "redis-cluster"),
            ("rediss+sentinel://h", "rediss-sentinel"),
            ("redsi://h", "redis"),
            ("http://h", "redis"),
            ("localhost:6379", ""),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error, UrlError::Scheme(expected.to_owned()), "{url}");
        }
    }

    #[test]
    fn what_is_not_known_or_contradicts_itself_is_an_error() {
        assert_eq!(parse("redis://h?ssl=true").unwrap_err(), UrlError::Parameter("ssl".into()));
        for url in [
            "redis://h/1?db=2",
            "redis://h/x",
            "redis://h/256",
            "redis-cluster://h/1",
            "redis-sentinel://h",
            "redis://h?tls_ca=/ca.pem",
            "redis://h?node=a",
            "redis://a,b",
            "redis://u@h",
            "redis://",
            "redis://h:0",
            "redis://h:x",
            "redis://h#x",
            "unix://host/run/x",
            "redis-cluster://a,,b",
            "redis://::1",
            "redis://fe80::1:6379",
            "redis://[zzz]",
            "redis://[::1",
            "redis://[]",
            "redis://my host",
            "redis://h%0a:1",
            "redis-cluster://a?node=my host",
            "redis-cluster://a?node=::1",
            "redis://h/0 ",
            " redis://h",
            "redis://:p\nw@h",
            "redis://h\n\n",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_password_that_would_be_taken_for_something_else_is_refused_and_not_shown() {
        for url in [
            "redis://h?password=sec&ret@",
            "redis://h?password=sec&ret=1",
            "redis://:sec/ret@h",
            "redis://:sec?ret@h",
            "redis://:sec#ret@h",
            "redis://:ret@h:ret",
        ] {
            let error = parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("ret@"), "{url}: {error}");
            assert!(!format!("{error} {error:?}").contains("\"ret"), "{url}: {error}");
        }
    }

    /// Writes these options as a URL.
    fn write(options: &RedisConnectOptions) -> String {
        let listed = |nodes: &[Node]| {
            let nodes =
                nodes.iter().map(|node| format!("{}:{}", percent_encode(&node.host), node.port));
            nodes.collect::<Vec<_>>().join(",")
        };
        let s = if options.tls.is_some() { "s" } else { "" };
        let (url, sentinel) = match &options.deployment {
            Deployment::Single(node) => {
                (format!("redis{s}://{}", listed(std::slice::from_ref(node))), None)
            }
            Deployment::Cluster(nodes) => (format!("redis{s}-cluster://{}", listed(nodes)), None),
            Deployment::Unix(path) => {
                (format!("unix:///{}", percent_encode(&path.to_str().unwrap()[1..])), None)
            }
            Deployment::Sentinel { nodes, service, login, tls } => {
                let url = format!("redis{s}-sentinel://{}", listed(nodes));
                (url, Some((service.clone(), login, tls)))
            }
        };
        let mut pairs = vec![("db", Some(options.database.to_string()))];
        pairs.extend([
            ("user", options.login.user.clone()),
            ("password", options.login.password.clone()),
        ]);
        let mut sentinel_authority = None;
        if let Some((service, login, tls)) = sentinel {
            pairs.extend([("service", Some(service)), ("sentinel_user", login.user.clone())]);
            pairs.push(("sentinel_password", login.password.clone()));
            let switch = match tls {
                SentinelTls::AsMaster => None,
                SentinelTls::Off => Some("off"),
                SentinelTls::On(tls) => {
                    sentinel_authority = tls.authority.as_ref();
                    Some("on")
                }
            };
            pairs.push(("sentinel_tls", switch.map(str::to_owned)));
        }
        let authority = options.tls.as_ref().and_then(|tls| tls.authority.as_ref());
        let authority = authority.or(sentinel_authority);
        pairs.push(("tls_ca", authority.map(|path| path.to_str().unwrap().to_owned())));
        let pairs = pairs
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", percent_encode(&value?))));
        format!("{url}?{}", pairs.collect::<Vec<_>>().join("&"))
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_parsed_names_round_trip() {
        for seed in 0..20_000 {
            let url = Garbler::new(seed).line(CORPUS);
            if let Ok(options) = parse(&url) {
                let again = parse(&write(&options))
                    .unwrap_or_else(|e| panic!("{url:?}, {}: {e}", write(&options)));
                assert_eq!(again.deployment, options.deployment, "{url:?}");
                assert!(again.login == options.login, "{url:?}");
                assert_eq!((again.database, again.tls), (options.database, options.tls), "{url:?}");
            }
        }
    }

    #[test]
    fn a_password_is_not_shown_however_badly_it_is_escaped() {
        for seed in 0..20_000 {
            let mut garbler = Garbler::new(seed);
            let password = format!("{}hunter2{}", garbler.word(3), garbler.word(3));
            let rest =
                garbler.pick(&["h/1", "[::1", "h:x/0", "a,b", "", "h/d", "h?db=x", "h?pass=word"]);
            let scheme = garbler.pick(&[
                "redis",
                "rediss-cluster",
                "redis-sentinel",
                "unix",
                "redis+x",
                "oracle",
            ]);
            if let Err(error) = parse(&format!("{scheme}://user:{password}@{rest}")) {
                assert!(
                    !format!("{error} {error:?}").contains("hunter2"),
                    "{password:?}, {rest}: {error}"
                );
            }
        }
    }
}
