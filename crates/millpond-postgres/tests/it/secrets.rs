//! No password is ever shown.

use millpond_postgres::{PgConnectOptions, PgPoolOptions};
use std::str::FromStr;

#[test]
fn nothing_of_ours_shows_a_password() {
    let options = PgConnectOptions::from_str("postgres://u:Tr0ub4dor@h/d").unwrap();
    let manager = millpond_postgres::PgManager::new(options.clone());
    let pool = PgPoolOptions::new().connect_lazy_with(options).unwrap();
    let refused = PgPoolOptions::new().connect_lazy("postgres://u:Tr0ub4dor@h/d?password=other&ssl=1").unwrap_err();
    let shown = format!("{manager:?} {pool:?} {:?} {refused} {refused:?}", PgPoolOptions::new());
    assert!(!shown.contains("Tr0ub4dor") && !shown.contains("other"), "{shown}");
}
