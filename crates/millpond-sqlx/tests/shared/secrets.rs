//! No password is ever shown.

use crate::backend::{ConnectOptions, Manager, Options, SCHEME};
use std::str::FromStr;

#[test]
fn no_output_shows_a_password() {
    let url = format!("{SCHEME}://u:Tr0ub4dor@h/d");
    let options = ConnectOptions::from_str(&url).unwrap();
    let manager = Manager::new(options.clone());
    let pool = Options::new().connect_lazy_with(options).unwrap();
    let refused = Options::new().connect_lazy(&format!("{url}?password=other&ssl=1")).unwrap_err();
    let shown = format!("{manager:?} {pool:?} {:?} {refused} {refused:?}", Options::new());
    assert!(!shown.contains("Tr0ub4dor") && !shown.contains("other"), "{shown}");
}
