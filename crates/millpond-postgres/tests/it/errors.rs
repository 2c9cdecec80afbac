//! What a failing acquire says, and how soon.

use crate::refusals::refused_at_once;
use crate::support::server;

#[tokio::test]
async fn an_unknown_database_fails_at_once_with_the_servers_own_code() {
    let Some(server) = server() else { return };
    let (head, _) = server.url.rsplit_once('/').unwrap();
    let error = refused_at_once(&format!("{head}/no_such_pond")).await;
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("3D000"));
    assert!(error.to_string().contains("no_such_pond"), "{error}");
}

#[tokio::test]
async fn a_wrong_setting_in_the_options_fails_at_once() {
    let Some(server) = server() else { return };
    let error = refused_at_once(&format!("{}?options[statement_timeout]=soon", server.url)).await;
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("22023"));
}
