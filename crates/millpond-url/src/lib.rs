//! Splits connection URLs into their parts, for all backends of millpond.
//!
//! A backend interprets the parts, and reports invalid ones with its own errors. Nothing is decoded
//! or checked before the backend asks for it, so the backend determines the order of its errors.
//!
//! ```
//! use millpond_url::{Authority, Server, Url, percent_decode, port};
//!
//! let url = Url::split("pond://miller:p%40w@db.example:54/ponds?depth=3").unwrap();
//! let authority = Authority::split(url.authority);
//! assert_eq!(percent_decode(authority.password.unwrap()).as_deref(), Some("p@w"));
//! let server = Server::split(authority.servers).unwrap();
//! assert_eq!((server.host, server.port.and_then(port)), ("db.example", Some(54)));
//! ```

mod parts;
mod text;

pub use parts::{Authority, Server, Url, is_parameter, parameters, port, set_once};
pub use text::{percent_decode, percent_encode, single_line, without_line_end};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
