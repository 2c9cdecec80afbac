//! Parses server URLs strictly, in sqlx's and SQLAlchemy's forms. The backend interprets the parts.

use crate::url_error::{UrlError, UrlForm, UrlProblem};
use millpond_url::{
    Authority, Server, Url, is_parameter, parameters, percent_decode, port, single_line,
};
use std::fmt;

/// The parts of `scheme://user:password@host:port/database?name=value`, decoded. Empty parts are
/// `None`, except the password.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerUrl {
    /// The user.
    pub user: Option<String>,
    /// The password; it may be empty.
    pub password: Option<String>,
    /// The host; an IPv6 address without brackets.
    pub host: Option<String>,
    /// The port, never 0.
    pub port: Option<u16>,
    /// The database.
    pub database: Option<String>,
    /// The parameters after the `?`, in order.
    pub parameters: Vec<(String, String)>,
}

impl ServerUrl {
    /// Parses a URL of this form.
    ///
    /// In user and password `/`, `?`, `#` and `%` must be escaped; every other character need not
    /// be. A URL that seems to contain one of them unescaped is refused: otherwise half a password
    /// might be taken for a host name.
    ///
    /// # Errors
    ///
    /// An error that shows no part of the URL except a driver or a parameter name.
    pub fn read(url: &str, form: &'static UrlForm) -> Result<Self, UrlError> {
        Self::take_apart(url, form).map_err(|problem| problem.with_form(form))
    }

    fn take_apart(url: &str, form: &UrlForm) -> Result<Self, UrlProblem> {
        let url = single_line(url).ok_or(UrlProblem::Blank)?;
        let url = Url::split(url).ok_or(UrlProblem::Scheme)?;
        check_scheme(url.scheme, form)?;
        if url.has_fragment() {
            return Err(UrlProblem::Fragment);
        }
        if url.path.contains('@') || url.query.contains('@') {
            return Err(UrlProblem::Ambiguous);
        }
        let mut parts = Self::default();
        parts.authority(url.authority)?;
        let database = decode("the database", url.path.strip_prefix('/').unwrap_or(url.path))?;
        parts.database = Some(database).filter(|database| !database.is_empty());
        for (name, value) in parameters(url.query) {
            // It may be part of a password that contains a `?` or `&`, so it is not shown.
            let value = value.ok_or(UrlProblem::NoValue)?;
            let [name, value] =
                [name, value].map(|text| decode("a parameter", &text.replace('+', " ")));
            let (name, value) = (name?, value?);
            if !is_parameter(&name) {
                return Err(UrlProblem::NoValue);
            }
            parts.parameters.push((name, value));
        }
        Ok(parts)
    }

    /// `user:password@host:port`.
    fn authority(&mut self, authority: &str) -> Result<(), UrlProblem> {
        let Authority { user, password, servers, .. } = Authority::split(authority);
        self.user = Some(decode("the user", user)?).filter(|user| !user.is_empty());
        self.password = password.map(|password| decode("the password", password)).transpose()?;
        let server = Server::split(servers).ok_or(UrlProblem::Port)?;
        let host = decode("the host", server.host)?;
        if host.contains(',') {
            return Err(UrlProblem::Hosts);
        }
        // A host may also be the directory of a socket.
        if !(server.accepts(&host) || server.is_bare() && host.starts_with('/')) {
            return Err(UrlProblem::Host);
        }
        self.host = Some(host).filter(|host| !host.is_empty());
        self.port = match server.port {
            None | Some("") => None,
            Some(text) => Some(port(text).ok_or(UrlProblem::Port)?),
        };
        Ok(())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Shows neither the password nor the parameters, which may contain one.
        f.debug_struct("ServerUrl")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

fn check_scheme(scheme: &str, form: &UrlForm) -> Result<(), UrlProblem> {
    if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
        return Err(UrlProblem::Scheme);
    }
    let (database, driver) = match scheme.split_once('+') {
        Some((database, driver)) => (database, Some(driver)),
        None => (scheme, None),
    };
    let is_ours =
        |database: &str| form.schemes.iter().any(|name| database.eq_ignore_ascii_case(name));
    let scheme = scheme.to_ascii_lowercase();
    if scheme.contains("tls")
        || scheme.contains("ssl")
        || database.strip_suffix(['s', 'S']).is_some_and(is_ours)
    {
        return Err(UrlProblem::TlsScheme);
    }
    if !is_ours(database) {
        return Err(UrlProblem::Scheme);
    }
    match driver {
        Some(driver) if !form.drivers.contains(&driver) => {
            Err(UrlProblem::Driver(driver.to_owned()))
        }
        _ => Ok(()),
    }
}

fn decode(what: &'static str, text: &str) -> Result<String, UrlProblem> {
    percent_decode(text).ok_or(UrlProblem::Encoding(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_url::percent_encode;

    static FORM: UrlForm = UrlForm {
        database: "Pond",
        schemes: &["pond", "lake"],
        drivers: &["reed"],
        parameters: "depth and width",
        hints: &[("deep", "write depth"), ("tls", "for TLS write sslmode=require")],
    };

    fn read(url: &str) -> Result<ServerUrl, UrlError> {
        ServerUrl::read(url, &FORM)
    }

    #[test]
    fn every_part_arrives_decoded() {
        for scheme in ["pond", "lake", "POND", "pond+reed"] {
            let url =
                read(&format!("{scheme}://mil%20ler:p:w@h.example:54/a%2fb?x=1+2&y=")).unwrap();
            assert_eq!(url.user.as_deref(), Some("mil ler"));
            assert_eq!(url.password.as_deref(), Some("p:w"));
            assert_eq!((url.host.as_deref(), url.port), (Some("h.example"), Some(54)));
            assert_eq!(url.database.as_deref(), Some("a/b"));
            assert_eq!(url.parameters, [("x".into(), "1 2".into()), ("y".into(), String::new())]);
        }
        assert_eq!(read("pond://").unwrap(), ServerUrl::default());
        assert_eq!(read("pond://@:/").unwrap(), ServerUrl::default());
        assert_eq!(read("pond://u:@[::1]:7").unwrap().host.as_deref(), Some("::1"));
        assert_eq!(read("pond://u:@h").unwrap().password.as_deref(), Some(""));
        assert_eq!(
            read("pond://[fe80::1%25eth0]:7").unwrap().host.as_deref(),
            Some("fe80::1%eth0")
        );
    }

    #[test]
    fn one_line_break_of_any_kind_is_removed() {
        for end in ["\n", "\r\n", "\r"] {
            assert_eq!(read(&format!("pond://h/d{end}")).unwrap().database.as_deref(), Some("d"));
        }
    }

    #[test]
    fn the_help_for_a_scheme_with_tls_is_one_with_tls() {
        for scheme in ["pond+tls", "pond+ssl", "ponds", "Lakes", "tls"] {
            let reported = read(&format!("{scheme}://h/d")).unwrap_err().to_string();
            assert!(reported.ends_with("for TLS write sslmode=require"), "{reported}");
        }
    }

    #[test]
    fn every_printable_character_can_be_in_a_password() {
        for byte in b' '..=b'~' {
            let secret = format!("a{}b", char::from(byte));
            let url = read(&format!("pond://u:{}@h/d", percent_encode(&secret))).unwrap();
            assert_eq!(url.password, Some(secret.clone()));
            let plain = read(&format!("pond://u:{secret}@h/d"));
            if b"/?#".contains(&byte) {
                assert!(plain.is_err());
            } else {
                assert_eq!(plain.unwrap().password, Some(secret));
            }
        }
    }

    #[test]
    fn a_refusal_names_the_reason_and_shows_no_secret() {
        use UrlProblem::*;
        for (url, problem) in [
            ("pool://ret@h", Scheme),
            ("pond:ret", Scheme),
            ("pond+weed://h", Driver("weed".into())),
            ("pond://u:sec/ret@h/d", Ambiguous),
            ("pond://u:sec?ret@h/d", Ambiguous),
            ("pond://u:sec#ret@h/d", Fragment),
            ("pond://u:secret", Port),
            ("pond://u@h:0", Port),
            ("pond://u@h:65536", Port),
            ("pond://[::1]x", Port),
            ("pond://h/d?password=sec&ret", NoValue),
            ("pond://u:p@sec?ret", NoValue),
            ("pond://a,b/d", Hosts),
            ("pond://::1/d", Host),
            ("pond://fe80::1:5432/d", Host),
            ("pond://[zzz]/d", Host),
            ("pond://[]/d", Host),
            ("pond://my host/d", Host),
            ("pond://h%0a/d", Host),
            ("pond://u:secret@h/d ", Blank),
            (" pond://u:secret@h/d", Blank),
            ("pond://u:sec\nret@h/d", Blank),
            ("pond://u:secret@h/d\n\n", Blank),
            ("\u{feff}pond://u:secret@h/d", Blank),
            ("pond+tls://ret", TlsScheme),
            ("pond://%ff@h/d", Encoding("the user")),
            ("pond://u:%00@h/d", Encoding("the password")),
        ] {
            let error = read(url).unwrap_err();
            assert_eq!(*error.problem(), problem, "{url}");
            assert!(!error.to_string().contains("ret"), "{error}");
        }
        let error = Parameter("deep".into()).with_form(&FORM).to_string();
        assert!(
            error.contains("\"deep\"")
                && error.contains("depth and width")
                && error.ends_with("write depth")
        );
        assert!(!format!("{:?}", read("pond://u:secret@h?a=secret").unwrap()).contains("secret"));
    }
}
