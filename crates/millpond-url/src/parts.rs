//! The parts of a URL, not decoded.

use std::net::Ipv6Addr;

/// `scheme://authority/path?query`.
#[derive(Clone, Copy)]
#[non_exhaustive]
#[expect(missing_debug_implementations, reason = "it would show a password")]
pub struct Url<'a> {
    /// The text before `://`.
    pub scheme: &'a str,
    /// User, password and servers.
    pub authority: &'a str,
    /// The path with its leading slash; it may be empty.
    pub path: &'a str,
    /// The text after the first `?`.
    pub query: &'a str,
}

impl<'a> Url<'a> {
    /// Splits a URL. Returns `None` without `://`.
    pub fn split(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        Some(Self { scheme, authority, path, query })
    }

    /// Returns true if there is a `#` after the scheme, perhaps in an unescaped password.
    pub fn has_fragment(&self) -> bool {
        [self.authority, self.path, self.query].iter().any(|part| part.contains('#'))
    }
}

/// `user:password@servers`.
#[derive(Clone, Copy)]
#[non_exhaustive]
#[expect(missing_debug_implementations, reason = "it would show a password")]
pub struct Authority<'a> {
    /// The user; it may be empty.
    pub user: &'a str,
    /// The password; it may be empty.
    pub password: Option<&'a str>,
    /// The text after the last `@`.
    pub servers: &'a str,
}

impl<'a> Authority<'a> {
    /// Splits an authority.
    pub fn split(authority: &'a str) -> Self {
        let (login, servers) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) =
            login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        Self { user, password, servers }
    }
}

/// `host`, `host:port` or `[::1]:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server<'a> {
    /// The host; an IPv6 address without its brackets.
    pub host: &'a str,
    /// The port, if there is a `:` before it; it may be empty.
    pub port: Option<&'a str>,
    /// True if the host was in brackets.
    pub is_bracketed: bool,
}

impl<'a> Server<'a> {
    /// Splits host and port. Returns `None` if anything but a port follows the brackets.
    pub fn split(server: &'a str) -> Option<Self> {
        let is_bracketed = server.starts_with('[');
        let inside = server.strip_prefix('[').and_then(|server| server.split_once(']'));
        let (host, port) = match inside {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':')?)),
            None => {
                server.rsplit_once(':').map_or((server, None), |(host, port)| (host, Some(port)))
            }
        };
        Some(Self { host, port, is_bracketed })
    }

    /// Returns true if the host has neither brackets nor a `:`, like names and IPv4 addresses.
    pub fn is_bare(&self) -> bool {
        !self.is_bracketed && !self.host.contains(':')
    }

    /// Returns true if the host, decoded, is a name or an address, with brackets where an IPv6
    /// address needs them. An empty text counts as a name.
    pub fn accepts(&self, decoded: &str) -> bool {
        let is_allowed = |c: char| c != ':' && !c.is_whitespace() && !c.is_control();
        match self.is_bracketed {
            true => is_ipv6(decoded),
            false => self.is_bare() && (is_ipv6(decoded) || decoded.chars().all(is_allowed)),
        }
    }
}

/// Returns true for an IPv6 address, with or without a zone: `fe80::1%eth0`.
fn is_ipv6(host: &str) -> bool {
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

/// Parses a port: a number from 1 to 65535.
pub fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

/// Returns the names and values of a query. A value is `None` if there is no `=`.
pub fn parameters(query: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value))))
}

/// Returns true if a text can be a parameter name, as opposed to part of a password.
pub fn is_parameter(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte))
}

/// Sets a value given in a URL. Returns false if another value was set before.
#[must_use]
pub fn set_once<T: PartialEq>(place: &mut Option<T>, value: T) -> bool {
    let is_new = place.as_ref().is_none_or(|earlier| *earlier == value);
    *place = Some(value);
    is_new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_at_its_first_slash_and_question_mark() {
        for (url, parts) in [
            ("a://b/c?d", ["a", "b", "/c", "d"]),
            ("a://", ["a", "", "", ""]),
            ("a://b?c/d?e", ["a", "b", "", "c/d?e"]),
            ("a:///b/c", ["a", "", "/b/c", ""]),
        ] {
            let url = Url::split(url).unwrap();
            assert_eq!([url.scheme, url.authority, url.path, url.query], parts);
        }
        assert!(Url::split("a:b").is_none());
        assert!(Url::split("a://b/c?d#e").unwrap().has_fragment());
    }

    #[test]
    fn a_password_may_contain_colons_and_at_signs() {
        for (authority, parts) in [
            ("a:b@c", ("a", Some("b"), "c")),
            ("a:b:c@d@e", ("a", Some("b:c@d"), "e")),
            ("a@b", ("a", None, "b")),
            (":@", ("", Some(""), "")),
            ("a:1", ("", None, "a:1")),
        ] {
            let Authority { user, password, servers } = Authority::split(authority);
            assert_eq!((user, password, servers), parts, "{authority}");
        }
    }

    #[test]
    fn an_ipv6_address_needs_brackets_unless_it_is_escaped() {
        for (server, host, port, accepted) in [
            ("h.example:54", "h.example", Some("54"), true),
            ("h", "h", None, true),
            ("", "", None, true),
            (":", "", Some(""), true),
            ("[::1]", "::1", None, true),
            ("[fe80::1%eth0]:7", "fe80::1%eth0", Some("7"), true),
            ("[h]", "h", None, false),
            ("[]", "", None, false),
            ("[::1", "[:", Some("1"), false),
            ("::1", ":", Some("1"), false),
            ("my host", "my host", None, false),
        ] {
            let parts = Server::split(server).unwrap();
            assert_eq!((parts.host, parts.port), (host, port), "{server}");
            assert_eq!(parts.accepts(host), accepted, "{server}");
        }
        assert!(Server::split("[::1]x").is_none());
        assert!(Server::split("%3A%3A1").unwrap().accepts("::1"));
    }

    #[test]
    fn a_port_is_a_number_from_1_to_65535() {
        assert_eq!((port("1"), port("65535")), (Some(1), Some(65535)));
        for text in ["", "0", "65536", "-1", "x"] {
            assert_eq!(port(text), None, "{text}");
        }
    }

    #[test]
    fn parameters_come_in_order_and_what_has_no_value_is_seen() {
        let found: Vec<_> = parameters("a=1&&b&c==&a=").collect();
        assert_eq!(found, [("a", Some("1")), ("b", None), ("c", Some("=")), ("a", Some(""))]);
        assert!(is_parameter("options[a.b-c_d]") && !is_parameter("se:cret"));
    }

    #[test]
    fn the_same_value_may_be_set_twice_and_another_one_may_not() {
        let mut place = None;
        assert!(set_once(&mut place, 1) && set_once(&mut place, 1));
        assert!(!set_once(&mut place, 2));
    }
}
