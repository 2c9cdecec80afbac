//! Parses connection URLs strictly, in sqlx's and SQLAlchemy's forms. Nothing is ignored: sqlx
//! would silently connect without encryption for `?ssl=require`.

use millpond_sqlx::backend_api::{ServerUrl, UrlError, UrlForm, UrlProblem};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use std::collections::BTreeMap;

static FORM: UrlForm = UrlForm {
    database: "MySQL",
    schemes: &["mysql", "mariadb"],
    drivers: &["pymysql", "aiomysql", "asyncmy", "mysqldb", "mysqlconnector", "mariadbconnector"],
    parameters: "sslmode, ssl_ca, ssl_check_hostname, ssl_cert, ssl_key, charset, collation, \
        time_zone, unix_socket and statement_cache_capacity",
    hints: &[
        ("ssl", "for TLS write sslmode=required, or better sslmode=verify-identity"),
        ("tls", "for TLS write sslmode=required, or better sslmode=verify-identity"),
        ("connect_timeout", "the pool has a setting of this name"),
        ("pool_timeout", "the pool has a setting of this name"),
        ("connection_limit", "the pool has the settings pool_size and max_overflow"),
        ("socket_timeout", "the pool has the setting statement_timeout"),
        ("statement_cache_size", "write statement_cache_capacity"),
        ("sslaccept", "write sslmode=verify-identity, or sslmode=required to verify nothing"),
        ("user", BELONGS_BEFORE_QUERY),
        ("password", BELONGS_BEFORE_QUERY),
        ("host", BELONGS_BEFORE_QUERY),
        ("port", BELONGS_BEFORE_QUERY),
        ("database", BELONGS_BEFORE_QUERY),
    ],
};

const BELONGS_BEFORE_QUERY: &str = "write it before the ?";

/// Parses a URL.
pub(crate) fn parse(url: &str) -> Result<MySqlConnectOptions, UrlError> {
    let url = ServerUrl::read(url, &FORM)?;
    Parts::gather(url).and_then(|parts| parts.options()).map_err(|problem| problem.with_form(&FORM))
}

/// The contents of a URL, each parameter once, under one name.
#[derive(Default)]
struct Parts {
    server: ServerUrl,
    parameters: BTreeMap<&'static str, String>,
}

impl Parts {
    fn gather(mut server: ServerUrl) -> Result<Self, UrlProblem> {
        let pairs = std::mem::take(&mut server.parameters);
        if server.host.as_ref().is_some_and(|host| host.contains(['/', '['])) {
            return conflict("host", "a name or an address; the path of a socket is unix_socket");
        }
        let mut parts = Self { server, parameters: BTreeMap::new() };
        for (name, value) in pairs {
            parts.set(&name, value)?;
        }
        Ok(parts)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), UrlProblem> {
        let wrong = |expected| Err(UrlProblem::Value { name: name.to_owned(), expected });
        match name.replace('_', "-").as_str() {
            "sslmode" | "ssl-mode" => match mode(&value) {
                Some(mode) => self.put("sslmode", mode.to_owned()),
                None => wrong("disabled, preferred, required, verify-ca or verify-identity"),
            },
            "sslca" | "ssl-ca" | "sslrootcert" | "ssl-root-cert" => self.put("ssl_ca", value),
            "sslcert" | "ssl-cert" => self.put("ssl_cert", value),
            "sslkey" | "ssl-key" => self.put("ssl_key", value),
            "ssl-check-hostname" => match value.as_str() {
                "true" | "false" => self.put("ssl_check_hostname", value),
                _ => wrong("true or false"),
            },
            // sqlx sends strings in UTF-8 regardless of the character set that it announces.
            "charset" if !["utf8mb4", "utf8mb3", "utf8"].contains(&value.as_str()) => {
                wrong("utf8mb4, utf8mb3 or utf8")
            }
            "charset" => self.put("charset", value),
            "collation" if !(value.starts_with("utf8") && value.chars().all(is_word)) => {
                wrong("a collation that begins with utf8")
            }
            "collation" => self.put("collation", value),
            "timezone" | "time-zone" => {
                // A `+` in a URL was decoded as a space.
                let zone = value.replace(' ', "+");
                if zone.is_empty() || !zone.chars().all(is_zone) {
                    return wrong("a time zone, such as +00:00 or Europe/Paris");
                }
                self.put("time_zone", zone)
            }
            "socket" | "unix-socket" if value.is_empty() => wrong("the path of a socket"),
            "socket" | "unix-socket" => self.put("unix_socket", value),
            "statement-cache-capacity" if value.parse::<u32>().is_err() => {
                wrong("a number of statements")
            }
            "statement-cache-capacity" => self.put("statement_cache_capacity", value),
            _ => Err(UrlProblem::Parameter(name.to_owned())),
        }
    }

    fn put(&mut self, name: &'static str, value: String) -> Result<(), UrlProblem> {
        match self.parameters.insert(name, value.clone()) {
            Some(earlier) if earlier != value => Err(UrlProblem::Twice(name.to_owned())),
            _ => Ok(()),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Returns the TLS mode that follows from all TLS parameters. A parameter that would have no
    /// effect is an error.
    fn ssl_mode(&self) -> Result<MySqlSslMode, UrlProblem> {
        let has = |name| self.get(name).is_some();
        if has("ssl_cert") != has("ssl_key") {
            return conflict("ssl_cert", "together with ssl_key");
        }
        match (self.get("sslmode"), has("ssl_ca"), self.get("ssl_check_hostname")) {
            (Some(_), _, Some(_)) => {
                conflict("ssl_check_hostname", "left out where there is an sslmode")
            }
            (None, false, Some(_)) => conflict("ssl_check_hostname", "together with ssl_ca"),
            (None, true, Some("false")) | (Some("verify-ca"), ..) => Ok(MySqlSslMode::VerifyCa),
            // As in SQLAlchemy's usual driver, a certificate authority implies that the server is
            // verified.
            (None, true, _) | (Some("verify-identity"), ..) => Ok(MySqlSslMode::VerifyIdentity),
            // sqlx would encrypt without verifying.
            (Some("required"), true, _) => Ok(MySqlSslMode::VerifyCa),
            (Some("required"), false, _) => Ok(MySqlSslMode::Required),
            (Some(_), true, _) => {
                conflict("ssl_ca", "together with sslmode=required, verify-ca or verify-identity")
            }
            (Some("disabled"), ..) if has("ssl_cert") => conflict(
                "sslmode",
                "required, verify-ca or verify-identity where there is an ssl_cert",
            ),
            (Some("disabled"), ..) => Ok(MySqlSslMode::Disabled),
            (None, ..) if has("ssl_cert") => Ok(MySqlSslMode::Required),
            _ => Ok(MySqlSslMode::Preferred),
        }
    }

    fn options(&self) -> Result<MySqlConnectOptions, UrlProblem> {
        let mut options = self.address()?.ssl_mode(self.ssl_mode()?);
        for (name, value) in &self.parameters {
            options = match *name {
                "ssl_ca" => options.ssl_ca(value),
                "ssl_cert" => options.ssl_client_cert(value),
                "ssl_key" => options.ssl_client_key(value),
                "charset" => options.charset(value),
                "collation" => options.collation(value),
                "time_zone" => options.timezone(value.clone()),
                "unix_socket" => options.socket(value),
                "statement_cache_capacity" => match value.parse() {
                    Ok(statements) => options.statement_cache_capacity(statements),
                    Err(_) => return conflict(name, "a number of statements"),
                },
                _ => options,
            };
        }
        Ok(options)
    }

    fn address(&self) -> Result<MySqlConnectOptions, UrlProblem> {
        let ServerUrl { user, password, host, port, database, .. } = &self.server;
        let is_local = host.as_ref().is_none_or(|host| host == "localhost") && port.is_none();
        if self.get("unix_socket").is_some() && !is_local {
            return conflict("unix_socket", "left out where there is a host or a port");
        }
        let mut options = MySqlConnectOptions::new();
        if let Some(user) = user {
            options = options.username(user);
        }
        // The server treats an empty password as a wrong one if the account has none.
        if let Some(password) = password.as_deref().filter(|password| !password.is_empty()) {
            options = options.password(password);
        }
        if let Some(host) = host {
            options = options.host(host);
        }
        if let Some(port) = port {
            options = options.port(*port);
        }
        if let Some(database) = database {
            options = options.database(database);
        }
        Ok(options)
    }
}

fn conflict<T>(name: &str, expected: &'static str) -> Result<T, UrlProblem> {
    Err(UrlProblem::Value { name: name.to_owned(), expected })
}

/// Returns the canonical name of a mode, written as for MySQL or as for PostgreSQL.
fn mode(value: &str) -> Option<&'static str> {
    Some(match value.to_ascii_lowercase().replace('_', "-").as_str() {
        "disabled" | "disable" => "disabled",
        "preferred" | "prefer" => "preferred",
        "required" | "require" => "required",
        "verify-ca" => "verify-ca",
        "verify-identity" | "verify-full" => "verify-identity",
        _ => return None,
    })
}

/// Returns true for a character of a collation name. sqlx inserts collation and time zone into SQL
/// without quoting.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_zone(c: char) -> bool {
    is_word(c) || "+-:/".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_sqlx::backend_api::percent_encode;
    use millpond_testkit::Garbler;

    fn mode_of(query: &str) -> String {
        format!("{:?}", parse(&format!("mysql://u@h/d?{query}")).unwrap().get_ssl_mode())
    }

    #[test]
    fn every_part_of_a_url_arrives() {
        for scheme in [
            "mysql",
            "mariadb",
            "MySQL",
            "mysql+pymysql",
            "mysql+aiomysql",
            "mariadb+mariadbconnector",
        ] {
            let options = parse(&format!("{scheme}://miller:x@db.example:3307/ponds")).unwrap();
            assert_eq!((options.get_host(), options.get_port()), ("db.example", 3307));
            assert_eq!((options.get_username(), options.get_database()), ("miller", Some("ponds")));
        }
        let options =
            parse("mysql://u@[::1]:3307/a%20b?charset=utf8mb4&collation=utf8mb4_bin").unwrap();
        assert_eq!((options.get_host(), options.get_port()), ("::1", 3307));
        assert_eq!(
            (options.get_database(), options.get_collation()),
            (Some("a b"), Some("utf8mb4_bin"))
        );
        let options = parse(
            "mysql://u@localhost/d?unix_socket=/run/mysqld.sock&time_zone=+02:00\
                 &statement_cache_capacity=7",
        )
        .unwrap();
        assert_eq!(options.get_socket().unwrap().to_str(), Some("/run/mysqld.sock"));
        let options = parse("mysql://").unwrap();
        assert_eq!(
            (options.get_host(), options.get_port(), options.get_database()),
            ("localhost", 3306, None)
        );
    }

    #[test]
    fn every_printable_character_can_be_in_a_password() {
        for byte in b' '..=b'~' {
            let options = parse(&format!("mysql://u:a%{byte:02x}b@h/d")).unwrap();
            let secret = format!("a{}b", char::from(byte));
            assert!(format!("{options:?}").contains(&format!("{secret:?}")), "{secret}");
        }
    }

    #[test]
    fn an_unknown_parameter_is_an_error_that_names_it() {
        let text = |query: &str| parse(&format!("mysql://u@h/d?{query}")).unwrap_err().to_string();
        let ssl = text("ssl=require");
        assert!(ssl.contains("\"ssl\"") && ssl.contains("sslmode=required"), "{ssl}");
        assert!(text("connect_timeout=5").contains("the pool has a setting"));
        assert!(text("connection_limit=5").contains("pool_size"));
        assert!(text("sslaccept=strict").contains("sslmode=verify-identity"));
        assert!(text("user=other").contains("before the ?"));
        assert!(text("read_timeout=5").contains("\"read_timeout\""));
        let mode = text("sslmode=maybe");
        assert!(mode.contains("\"sslmode\"") && !mode.contains("maybe"), "{mode}");
        assert!(text("sslmode=allow").contains("disabled, preferred"));
        for query in [
            "charset=latin1",
            "collation=latin1_bin",
            "collation=utf8'",
            "time_zone='",
            "time_zone=",
        ] {
            assert!(text(query).contains("must be"), "{query}");
        }
        for (host, help) in [("[::1", "in brackets"), ("%2Frun%2Fmysqld.sock", "unix_socket")] {
            assert!(
                parse(&format!("mysql://u@{host}/d")).unwrap_err().to_string().contains(help),
                "{host}"
            );
        }
        for url in
            ["mysql+pyodbc://u@h/d", "postgres://u@h/d", "mysql://u@a,b/d", "mysql://u@h:0/d"]
        {
            parse(url).unwrap_err();
        }
    }

    #[test]
    fn contradictory_parameters_are_an_error() {
        for query in [
            "sslmode=required&ssl-mode=disabled",
            "unix_socket=/run/x.sock",
            "ssl_ca=/ca.pem&sslmode=prefer",
            "ssl_ca=/ca.pem&sslmode=disabled",
            "ssl_ca=/ca.pem&sslmode=verify-ca&ssl_check_hostname=true",
            "ssl_check_hostname=false",
            "ssl_cert=/c.pem&sslmode=required",
            "ssl_cert=/c.pem&ssl_key=/k.pem&sslmode=disabled",
        ] {
            assert!(parse(&format!("mysql://u@h/d?{query}")).is_err(), "{query}");
        }
        parse("mysql://u@h/d?sslmode=require&ssl_mode=REQUIRED").unwrap();
    }

    #[test]
    fn each_way_of_writing_a_mode_means_what_it_says() {
        for (query, mode) in [
            ("", "Preferred"),
            ("sslmode=disable", "Disabled"),
            ("ssl-mode=PREFERRED", "Preferred"),
            ("sslmode=require", "Required"),
            ("sslmode=VERIFY_CA", "VerifyCa"),
            ("ssl_mode=verify-full", "VerifyIdentity"),
            ("sslmode=VERIFY_IDENTITY&ssl_ca=/ca.pem", "VerifyIdentity"),
            ("ssl_cert=/c.pem&ssl_key=/k.pem", "Required"),
        ] {
            assert_eq!(mode_of(query), mode, "{query}");
        }
    }

    #[test]
    fn a_named_certificate_authority_is_always_verified() {
        for (query, mode) in [
            ("ssl_ca=/ca.pem", "VerifyIdentity"),
            ("ssl_ca=/ca.pem&ssl_check_hostname=true", "VerifyIdentity"),
            ("ssl_ca=/ca.pem&ssl_check_hostname=false", "VerifyCa"),
            ("sslrootcert=/ca.pem&sslmode=require", "VerifyCa"),
        ] {
            assert_eq!(mode_of(query), mode, "{query}");
        }
    }

    const CORPUS: &str = include_str!("../tests/corpus/urls.txt");

    fn gather(url: &str) -> Option<Parts> {
        Parts::gather(ServerUrl::read(url, &FORM).ok()?).ok()
    }

    /// The URL of these parts.
    fn write(parts: &Parts) -> String {
        let ServerUrl { user, password, host, port, database, .. } = &parts.server;
        let encoded = |part: &Option<String>| percent_encode(part.as_deref().unwrap_or_default());
        let password = password
            .as_ref()
            .map_or(String::new(), |password| format!(":{}", percent_encode(password)));
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let pairs: Vec<String> = parts
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", percent_encode(value)))
            .collect();
        let (user, host, database) = (encoded(user), encoded(host), encoded(database));
        format!("mysql://{user}{password}@{host}{port}/{database}?{}", pairs.join("&"))
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_parsed_names_round_trip() {
        for seed in 0..20_000 {
            let url = Garbler::new(seed).line(CORPUS);
            let _ = parse(&url);
            if let Some(parts) = gather(&url) {
                let again =
                    gather(&write(&parts)).unwrap_or_else(|| panic!("{url:?}, {}", write(&parts)));
                assert!(
                    again.server == parts.server && again.parameters == parts.parameters,
                    "{url:?}"
                );
            }
        }
    }

    #[test]
    fn a_password_is_not_shown_however_badly_it_is_escaped() {
        for seed in 0..20_000 {
            let mut garbler = Garbler::new(seed);
            let password = format!("{}hunter2{}", garbler.word(3), garbler.word(3));
            let rest = garbler.pick(&[
                "h/d",
                "[::1",
                "h:x/d",
                "a,b",
                "",
                "h/d?socket=x",
                "h?sslmode=no",
                "h?pass=word",
            ]);
            let scheme = garbler.pick(&["mysql", "mariadb+aiomysql", "mysql+x", "oracle"]);
            if let Err(error) = parse(&format!("{scheme}://user:{password}@{rest}")) {
                assert!(
                    !format!("{error} {error:?}").contains("hunter2"),
                    "{password:?}, {rest}: {error}"
                );
            }
        }
    }
}
