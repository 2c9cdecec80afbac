//! Where Redis is and how a connection to it is opened: options, and the URLs that say the same.

pub(crate) mod login;
pub(crate) mod node;
pub(crate) mod options;
mod url;
pub(crate) mod url_error;
