//! No password is ever shown.

use millpond_mysql::{MySqlConnectOptions, MySqlPoolOptions};
use std::str::FromStr;

#[test]
fn nothing_of_ours_shows_a_password() {
    let options = MySqlConnectOptions::from_str("mysql://u:Tr0ub4dor@h/d").unwrap();
    let manager = millpond_mysql::MySqlManager::new(options.clone());
    let pool = MySqlPoolOptions::new().connect_lazy_with(options).unwrap();
    let refused = MySqlPoolOptions::new().connect_lazy("mysql://u:Tr0ub4dor@h/d?password=other&ssl=1").unwrap_err();
    let shown = format!("{manager:?} {pool:?} {:?} {refused} {refused:?}", MySqlPoolOptions::new());
    assert!(!shown.contains("Tr0ub4dor") && !shown.contains("other"), "{shown}");
}
