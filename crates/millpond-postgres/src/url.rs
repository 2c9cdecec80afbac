//! Connection URLs: sqlx's forms and SQLAlchemy's, strictly. Nothing is ignored, since what is ignored is missed later.
//!
//! What was understood is written down once more, in the one form that sqlx cannot misread, `postgres:?name=value`, and
//! read by sqlx: so the `PG..` variables and the password file count as they do there.

use crate::url_error::UrlError;
use sqlx::postgres::PgConnectOptions;
use std::collections::BTreeMap;
use std::str::FromStr;

const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Reads a URL.
pub(crate) fn parse(url: &str) -> Result<PgConnectOptions, UrlError> {
    let parameters = Parameters::read(url)?;
    // sqlx's own error might show a value.
    PgConnectOptions::from_str(&parameters.canonical()).map_err(|_| UrlError::Refused)
}

fn check_scheme(scheme: &str) -> Result<(), UrlError> {
    let (database, driver) = match scheme.split_once('+') {
        Some((database, driver)) => (database, Some(driver)),
        None => (scheme, None),
    };
    if !["postgres", "postgresql"].iter().any(|name| database.eq_ignore_ascii_case(name)) {
        return Err(UrlError::Scheme);
    }
    match driver {
        None | Some("asyncpg" | "psycopg" | "psycopg2" | "pg8000") => Ok(()),
        Some(driver) => Err(UrlError::Driver(driver.to_owned())),
    }
}

/// What a URL says, each thing once, by the names that sqlx knows.
#[derive(Default)]
struct Parameters(BTreeMap<String, String>);

impl Parameters {
    fn read(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        check_scheme(scheme)?;
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        // An unescaped `/` or `?` in a password ends the authority too early: better no connection than one to a host
        // whose name is half a password.
        if after.contains('@') {
            return Err(UrlError::Ambiguous);
        }
        let (path, query) = after.split_once('?').unwrap_or((after, ""));
        let mut parameters = Self::default();
        parameters.authority(authority)?;
        let database = decode("the database", path.strip_prefix('/').unwrap_or(path))?;
        if !database.is_empty() {
            parameters.put("dbname", database)?;
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode("a parameter", &name.replace('+', " "))?;
            parameters.set(&name, decode("a parameter", &value.replace('+', " "))?)?;
        }
        parameters.agree()?;
        Ok(parameters)
    }

    /// `user:password@host:port`.
    fn authority(&mut self, authority: &str) -> Result<(), UrlError> {
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, authority),
        };
        if let Some(user) = user {
            let (user, password) = user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
            if !user.is_empty() {
                self.put("user", decode("the user", user)?)?;
            }
            if let Some(password) = password {
                self.put("password", decode("the password", password)?)?;
            }
        }
        let (host, port) = match server.strip_prefix('[').and_then(|server| server.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(UrlError::Port)?)),
            None => server.rsplit_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
        };
        if !host.is_empty() {
            self.set("host", decode("the host", host)?)?;
        }
        match port {
            None | Some("") => Ok(()),
            Some(port) => self.set("port", port.to_owned()).map_err(|_| UrlError::Port),
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), UrlError> {
        let wrong = |wanted| UrlError::Value { name: name.to_owned(), wanted };
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
            "host" if value.contains(',') => Err(UrlError::Hosts),
            "hostaddr" if value.parse::<std::net::IpAddr>().is_err() => Err(wrong("one IP address")),
            "port" if value.parse::<u16>().is_ok_and(|port| port > 0) => self.put("port", value),
            "port" => Err(wrong("a number from 1 to 65535")),
            "statement-cache-capacity" if value.parse::<u32>().is_err() => Err(wrong("a number of statements")),
            known @ ("host" | "hostaddr" | "user" | "password" | "dbname" | "options" | "statement-cache-capacity") => {
                self.put(known, value)
            }
            "application-name" => self.put("application_name", value),
            _ if name.starts_with("options[") && name.ends_with(']') => self.put(name, value),
            _ => Err(UrlError::Parameter(name.to_owned())),
        }
    }

    fn put(&mut self, name: &str, value: String) -> Result<(), UrlError> {
        match self.0.insert(name.to_owned(), value.clone()) {
            Some(earlier) if earlier != value => Err(UrlError::Twice(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Refuses what contradicts itself, above all TLS settings that would be of no effect.
    fn agree(&mut self) -> Result<(), UrlError> {
        let clash = |name: &str, wanted| Err(UrlError::Value { name: name.to_owned(), wanted });
        let has = |name: &str| self.0.contains_key(name);
        if has("host") && has("hostaddr") {
            return clash("hostaddr", "left out where there is a host");
        }
        if has("sslcert") != has("sslkey") {
            return clash("sslcert", "together with sslkey");
        }
        let mode = self.0.get("sslmode").map(String::as_str);
        if has("sslrootcert") {
            match mode {
                Some("verify-ca" | "verify-full") => {}
                // sqlx would encrypt and look at nothing; libpq's documented meaning is this one.
                Some("require") => drop(self.0.insert("sslmode".to_owned(), "verify-ca".to_owned())),
                _ => return clash("sslrootcert", "together with sslmode=require, verify-ca or verify-full"),
            }
        } else if has("sslcert") && matches!(mode, Some("disable" | "allow")) {
            return clash("sslcert", "left out where sslmode does without TLS");
        }
        Ok(())
    }

    fn canonical(&self) -> String {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        format!("postgres:?{}", pairs.join("&"))
    }
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Turns `%41` into `A`. A `%` that begins no such triple stands for itself.
fn decode(what: &'static str, text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let triple = match (first, after) {
            (b'%', [high, low, after @ ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| (high * 16 + low, after)),
            _ => None,
        };
        let (byte, after) = triple.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    let text = String::from_utf8(bytes).map_err(|_| UrlError::Encoding(what))?;
    if text.contains('\0') { Err(UrlError::Encoding(what)) } else { Ok(text) }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::postgres::PgSslMode;

    fn value(url: &str, name: &str) -> Option<String> {
        Parameters::read(url).unwrap().0.get(name).cloned()
    }

    #[test]
    fn every_part_of_a_url_arrives() {
        for scheme in ["postgres", "postgresql", "PostgreSQL", "postgresql+asyncpg", "postgres+psycopg2"] {
            let options = parse(&format!("{scheme}://miller:x@db.example:5433/ponds?sslmode=Require")).unwrap();
            assert_eq!(options.get_host(), "db.example");
            assert_eq!(options.get_port(), 5433);
            assert_eq!(options.get_username(), "miller");
            assert_eq!(options.get_database(), Some("ponds"));
            assert!(matches!(options.get_ssl_mode(), PgSslMode::Require));
        }
        let options = parse("postgres://u@[::1]:5433?dbname=a%20b&application_name=x+y&options[geqo]=off").unwrap();
        assert_eq!((options.get_host(), options.get_port()), ("::1", 5433));
        assert_eq!((options.get_database(), options.get_application_name()), (Some("a b"), Some("x y")));
        assert_eq!(options.get_options(), Some("-c geqo=off"));
        for url in ["postgres://u@%2Frun%2Fpg/d", "postgres:///d?user=u&host=/run/pg"] {
            assert_eq!(parse(url).unwrap().get_socket().unwrap().to_str(), Some("/run/pg"), "{url}");
        }
    }

    #[test]
    fn every_printable_character_can_be_in_a_password() {
        for byte in b' '..=b'~' {
            let secret = format!("a{}b", char::from(byte));
            let url = format!("postgres://u:{}@h/d", encode(&secret));
            assert_eq!(value(&url, "password"), Some(secret.clone()));
            // sqlx reads the same out of what we write.
            let canonical = Parameters::read(&url).unwrap().canonical();
            assert!(format!("{:?}", PgConnectOptions::from_str(&canonical).unwrap()).contains(&format!("{secret:?}")));
            let plain = Parameters::read(&format!("postgres://u:{secret}@h/d"));
            if b"/?#".contains(&byte) {
                assert!(plain.is_err());
            } else {
                assert_eq!(plain.unwrap().0.get("password"), Some(&secret));
            }
        }
        assert_eq!(value("postgres://u:p%40ss@h/d", "password").as_deref(), Some("p@ss"));
        assert_eq!(value("postgres://u:pä@h/d", "password").as_deref(), Some("pä"));
    }

    #[test]
    fn a_password_that_would_be_taken_for_something_else_is_refused_and_not_shown() {
        for url in [
            "postgres://u:sec/ret@h/d",
            "postgres://u:1/ret@h/d",
            "postgres://u:sec?ret@h/d",
            "postgres://u:1?sslmode=ret@h/d",
            "postgres://u:s@ec/ret@h/d",
            "postgres://u:sec#ret@h/d",
            "postgres://u:secret",
            "postgres://u:ret@h:secret/d",
        ] {
            let error = parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("ret"), "{url}: {error}");
        }
    }

    #[test]
    fn what_is_not_known_is_an_error_that_names_it() {
        let text = parse("postgres://u@h/d?ssl=require").unwrap_err().to_string();
        assert!(text.contains("\"ssl\"") && text.contains("sslmode=require"), "{text}");
        let text = parse("postgres://u@h/d?channel_binding=require").unwrap_err().to_string();
        assert!(text.contains("\"channel_binding\""), "{text}");
        let text = parse("postgres://u@h/d?sslmode=maybe").unwrap_err().to_string();
        assert!(text.contains("\"sslmode\"") && !text.contains("maybe"), "{text}");
        assert_eq!(parse("postgresql+odbc://u@h/d").unwrap_err(), UrlError::Driver("odbc".into()));
        assert_eq!(parse("mysql://u@h/d").unwrap_err(), UrlError::Scheme);
        assert_eq!(parse("postgres://u@a,b/d").unwrap_err(), UrlError::Hosts);
        for port in ["0", "65536", "x"] {
            assert_eq!(parse(&format!("postgres://u@h:{port}/d")).unwrap_err(), UrlError::Port);
        }
        assert!(parse("postgres://u@h/d?port=0").is_err());
        assert_eq!(parse("postgres://%ff@h/d").unwrap_err(), UrlError::Encoding("the user"));
    }

    #[test]
    fn what_contradicts_itself_is_an_error() {
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
    fn an_authority_is_looked_at_whenever_one_is_named() {
        let options = parse("postgres://u@h/d?sslmode=require&ssl_ca=/ca.pem").unwrap();
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyCa));
        let options = parse("postgres://u@h/d?sslmode=verify-full&sslrootcert=/ca.pem").unwrap();
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
    }
}
