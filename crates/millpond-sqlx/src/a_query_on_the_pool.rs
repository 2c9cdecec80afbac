//! Who holds a connection for a query on `&pool`: holders are told by file and line, so the name of this file tells it.
//!
//! sqlx does not hand on who called `fetch_one(&pool)`, and a place in a file cannot be made up.

use millpond_core::Request;

/// What a query on the pool asks for; this line is its holder.
pub(crate) fn request() -> Request {
    Request::here()
}
