//! Parses connection URLs strictly, in sqlx's and SQLAlchemy's forms. Nothing is ignored.
//!
//! The result is written in the one form that sqlx cannot misread, `postgres:?name=value`, and
//! parsed by sqlx, so that the `PG..` variables and the password file apply as usual.

use millpond_sqlx::backend_api::{ServerUrl, UrlError, UrlForm, UrlProblem, percent_encode};
use sqlx::postgres::PgConnectOptions;
use std::collections::BTreeMap;
use std::str::FromStr;

static FORM: UrlForm = UrlForm {
    database: "PostgreSQL",
    schemes: &["postgres", "postgresql"],
    drivers: &["asyncpg", "psycopg", "psycopg2", "pg8000"],
    parameters: "sslmode, sslrootcert (ssl_ca), sslcert, sslkey, host, hostaddr, port, user, \
        password, dbname, application_name, options and statement_cache_capacity",
    hints: &[
        ("ssl", "for TLS write sslmode=require, or better sslmode=verify-full"),
        ("tls", "for TLS write sslmode=require, or better sslmode=verify-full"),
        ("connect_timeout", "the pool has a setting of this name"),
        ("pool_timeout", "the pool has a setting of this name"),
        ("connection_limit", "the pool has the settings pool_size and max_overflow"),
        ("socket_timeout", "the pool has the setting statement_timeout"),
        ("keepalives_idle", "the pool has the setting tcp_keepalive"),
        ("pgbouncer", "set behind = \"pgbouncer\" (PgPoolOptions::behind)"),
        ("schema", "write options[search_path]"),
        ("statement_cache_size", "write statement_cache_capacity"),
        ("sslaccept", "write sslmode=verify-full, or sslmode=require to verify nothing"),
        ("channel_binding", NO_CHANNEL_BINDING),
        ("target_session_attrs", ONE_HOST),
    ],
};

const NO_CHANNEL_BINDING: &str = "the driver has none: leave it out, and write \
    sslmode=verify-full, which verifies the server by its certificate";

const ONE_HOST: &str = "a URL names one host: leave it out; the pool notices by itself when its \
    server no longer accepts writes";

const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Parses a URL.
pub(crate) fn parse(url: &str) -> Result<PgConnectOptions, UrlError> {
    let parameters = Parameters::read(url)?;
    // sqlx's own error might show a value.
    PgConnectOptions::from_str(&parameters.canonical())
        .map_err(|_| UrlProblem::Refused.with_form(&FORM))
}

/// The contents of a URL, each parameter once, under sqlx's name.
#[derive(Default)]
struct Parameters(BTreeMap<String, String>);

impl Parameters {
    fn read(url: &str) -> Result<Self, UrlError> {
        Self::gather(ServerUrl::read(url, &FORM)?).map_err(|problem| problem.with_form(&FORM))
    }

    fn gather(url: ServerUrl) -> Result<Self, UrlProblem> {
        let mut parameters = Self::default();
        let ServerUrl { user, password, host, port, database, parameters: pairs, .. } = url;
        let port = port.map(|port| port.to_string());
        let parts = [
            ("user", user),
            ("password", password),
            ("host", host),
            ("port", port),
            ("dbname", database),
        ];
        for (name, value) in parts {
            value.map_or(Ok(()), |value| parameters.put(name, value))?;
        }
        let mut is_behind_password = false;
        for (name, value) in pairs {
            match parameters.set(&name, value) {
                // It may be part of a password with an unescaped `&`, so it is not shown.
                Err(UrlProblem::Parameter(_)) if is_behind_password => {
                    return Err(UrlProblem::NoValue);
                }
                other => other?,
            }
            is_behind_password |= name == "password";
        }
        parameters.check_conflicts()?;
        Ok(parameters)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), UrlProblem> {
        let wrong = |expected| UrlProblem::Value { name: name.to_owned(), expected };
        match name.replace('_', "-").as_str() {
            "sslmode" | "ssl-mode" => {
                let mode = value.to_ascii_lowercase();
                if !SSL_MODES.contains(&mode.as_str()) {
                    return Err(wrong("disable, allow, prefer, require, verify-ca or verify-full"));
                }
                self.put("sslmode", mode)
            }
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" if value == "system" => {
                Err(wrong("a file; leave it out for the authorities of the system"))
            }
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => self.put("sslrootcert", value),
            "sslcert" | "ssl-cert" => self.put("sslcert", value),
            "sslkey" | "ssl-key" => self.put("sslkey", value),
            "host" if value.contains(',') => Err(UrlProblem::Hosts),
            "hostaddr" if value.parse::<std::net::IpAddr>().is_err() => {
                Err(wrong("one IP address"))
            }
            "port" if value.parse::<u16>().is_ok_and(|port| port > 0) => self.put("port", value),
            "port" => Err(wrong("a number from 1 to 65535")),
            "statement-cache-capacity" if value.parse::<u32>().is_err() => {
                Err(wrong("a number of statements"))
            }
            // With a cache of 0 the driver names every statement it prepares, and closes none.
            known @ "statement-cache-capacity" if value.parse() == Ok(0_u32) => {
                self.put(known, "1".to_owned())
            }
            known @ ("host"
            | "hostaddr"
            | "user"
            | "password"
            | "dbname"
            | "options"
            | "statement-cache-capacity") => self.put(known, value),
            "application-name" => self.put("application_name", value),
            // What the driver does anyway.
            "channel-binding" if ["prefer", "disable"].contains(&value.as_str()) => Ok(()),
            "gssencmode" if ["prefer", "disable"].contains(&value.as_str()) => Ok(()),
            "target-session-attrs" if value == "any" => Ok(()),
            "pgbouncer" if value == "false" => Ok(()),
            _ if name.starts_with("options[") && name.ends_with(']') => self.put(name, value),
            _ => Err(UrlProblem::Parameter(name.to_owned())),
        }
    }

    fn put(&mut self, name: &str, value: String) -> Result<(), UrlProblem> {
        match self.0.insert(name.to_owned(), value.clone()) {
            Some(earlier) if earlier != value => Err(UrlProblem::Twice(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Refuses contradictions, and TLS parameters that would have no effect.
    fn check_conflicts(&mut self) -> Result<(), UrlProblem> {
        let conflict =
            |name: &str, expected| Err(UrlProblem::Value { name: name.to_owned(), expected });
        let has = |name: &str| self.0.contains_key(name);
        if has("host") && has("hostaddr") {
            return conflict("hostaddr", "left out where there is a host");
        }
        if has("sslcert") != has("sslkey") {
            return conflict("sslcert", "together with sslkey");
        }
        let mode = self.0.get("sslmode").map(String::as_str);
        if has("sslrootcert") {
            match mode {
                Some("verify-ca" | "verify-full") => {}
                // sqlx would encrypt without verifying; this is libpq's documented meaning.
                Some("require") => {
                    drop(self.0.insert("sslmode".to_owned(), "verify-ca".to_owned()))
                }
                _ => {
                    return conflict(
                        "sslrootcert",
                        "together with sslmode=require, verify-ca or verify-full",
                    );
                }
            }
        } else if has("sslcert") && matches!(mode, Some("disable" | "allow")) {
            return conflict(
                "sslmode",
                "require, verify-ca or verify-full where there is an sslcert",
            );
        }
        Ok(())
    }

    fn canonical(&self) -> String {
        let pairs: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
            .collect();
        format!("postgres:?{}", pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_testkit::Garbler;
    use sqlx::postgres::PgSslMode;

    const CORPUS: &str = include_str!("../tests/corpus/urls.txt");

    fn value(url: &str, name: &str) -> Option<String> {
        Parameters::read(url).unwrap().0.get(name).cloned()
    }

    #[test]
    fn every_part_of_a_url_arrives() {
        for scheme in
            ["postgres", "postgresql", "PostgreSQL", "postgresql+asyncpg", "postgres+psycopg2"]
        {
            let options =
                parse(&format!("{scheme}://miller:x@db.example:5433/ponds?sslmode=Require"))
                    .unwrap();
            assert_eq!(options.get_host(), "db.example");
            assert_eq!(options.get_port(), 5433);
            assert_eq!(options.get_username(), "miller");
            assert_eq!(options.get_database(), Some("ponds"));
            assert!(matches!(options.get_ssl_mode(), PgSslMode::Require));
        }
        let options =
            parse("postgres://u@[::1]:5433?dbname=a%20b&application_name=x+y&options[geqo]=off")
                .unwrap();
        assert_eq!((options.get_host(), options.get_port()), ("::1", 5433));
        assert_eq!(
            (options.get_database(), options.get_application_name()),
            (Some("a b"), Some("x y"))
        );
        assert_eq!(options.get_options(), Some("-c geqo=off"));
        for url in ["postgres://u@%2Frun%2Fpg/d", "postgres:///d?user=u&host=/run/pg"] {
            assert_eq!(
                parse(url).unwrap().get_socket().unwrap().to_str(),
                Some("/run/pg"),
                "{url}"
            );
        }
    }

    #[test]
    fn sqlx_reads_every_printable_character_of_a_password_out_of_what_we_write() {
        for byte in b' '..=b'~' {
            let secret = format!("a{}b", char::from(byte));
            let url = format!("postgres://u:{}@h/d", percent_encode(&secret));
            assert_eq!(value(&url, "password"), Some(secret.clone()));
            let canonical = Parameters::read(&url).unwrap().canonical();
            assert!(
                format!("{:?}", PgConnectOptions::from_str(&canonical).unwrap())
                    .contains(&format!("{secret:?}"))
            );
        }
    }

    #[test]
    fn an_unknown_parameter_is_an_error_that_names_it() {
        let text = parse("postgres://u@h/d?ssl=require").unwrap_err().to_string();
        assert!(text.contains("\"ssl\"") && text.contains("sslmode=require"), "{text}");
        for (query, help) in [
            ("channel_binding=require", "sslmode=verify-full"),
            ("pgbouncer=true", "PgPoolOptions::behind"),
            ("target_session_attrs=read-write", "names one host"),
            ("connection_limit=5", "pool_size"),
            ("schema=public", "options[search_path]"),
            ("connect_timeout=10", "the pool has a setting of this name"),
        ] {
            let text = parse(&format!("postgres://u@h/d?{query}")).unwrap_err().to_string();
            let (name, _) = query.split_once('=').unwrap();
            assert!(text.contains(&format!("{name:?}")) && text.contains(help), "{text}");
        }
        let text = parse("postgres://u@h/d?sslmode=maybe").unwrap_err().to_string();
        assert!(text.contains("\"sslmode\"") && !text.contains("maybe"), "{text}");
        assert_eq!(*parse("mysql://u@h/d").unwrap_err().problem(), UrlProblem::Scheme);
        assert_eq!(*parse("postgres:///d?host=a,b").unwrap_err().problem(), UrlProblem::Hosts);
        assert!(parse("postgres://u@h/d?port=0").is_err());
    }

    #[test]
    fn a_parameter_that_asks_for_what_the_driver_does_anyway_is_accepted() {
        let query = "channel_binding=prefer&target_session_attrs=any&pgbouncer=false";
        parse(&format!("postgres://u@h/d?{query}&gssencmode=disable")).unwrap();
    }

    #[test]
    fn contradictory_parameters_are_an_error() {
        for query in [
            "sslmode=require&ssl-mode=disable",
            "user=other",
            "host=other",
            "dbname=other",
            "hostaddr=127.0.0.1",
            "ssl_ca=/ca.pem",
            "ssl_ca=/ca.pem&sslmode=prefer",
            "ssl_ca=system&sslmode=verify-full",
            "sslcert=/c.pem&sslmode=require",
            "sslcert=/c.pem&sslkey=/k.pem&sslmode=disable",
        ] {
            assert!(parse(&format!("postgres://u@h/d?{query}")).is_err(), "{query}");
        }
        parse("postgres://u@h/d?user=u&host=h&dbname=d&sslmode=require&ssl_mode=REQUIRE").unwrap();
    }

    #[test]
    fn a_named_certificate_authority_is_always_verified() {
        let options = parse("postgres://u@h/d?sslmode=require&ssl_ca=/ca.pem").unwrap();
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyCa));
        let options = parse("postgres://u@h/d?sslmode=verify-full&sslrootcert=/ca.pem").unwrap();
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_parsed_names_round_trip() {
        for seed in 0..20_000 {
            let url = Garbler::new(seed).line(CORPUS);
            let _ = parse(&url);
            if let Ok(parameters) = Parameters::read(&url) {
                let again = parameters.canonical().replacen("postgres:?", "postgres://?", 1);
                assert_eq!(Parameters::read(&again).unwrap().0, parameters.0, "{url:?}");
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
                "h/d?host=x",
                "h?sslmode=no",
                "h?pass=word",
            ]);
            let scheme = garbler.pick(&["postgres", "postgresql+asyncpg", "postgres+x", "oracle"]);
            if let Err(error) = parse(&format!("{scheme}://user:{password}@{rest}")) {
                assert!(
                    !format!("{error} {error:?}").contains("hunter2"),
                    "{password:?}, {rest}: {error}"
                );
            }
        }
    }
}
