//! Takes connection URLs apart: what the backends of millpond read alike.
//!
//! A backend decides what the parts mean, and reports wrong ones in its own words. Nothing here
//! decodes or checks a part before the backend asks for it, so the order of its errors is its own.
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
