//! The error of a failing acquire, and how soon it is returned.

use crate::refusals::refused_at_once;
use crate::support::{mariadb, one, server};
use millpond_mysql::Limits;
use millpond_testkit::Trace;
use sqlx::mysql::MySqlDatabaseError;
use std::time::Duration;

#[tokio::test]
async fn an_unknown_database_fails_at_once_with_the_servers_own_code() {
    let Some(server) = server() else { return };
    let (head, _) = server.url.rsplit_once('/').unwrap();
    let error = refused_at_once(&format!("{head}/no_such_pond")).await;
    assert!(
        error.to_string().contains("1049") && error.to_string().contains("no_such_pond"),
        "{error}"
    );
    let refusal = error.as_database_error().unwrap();
    assert_eq!(refusal.code().as_deref(), Some("42000"));
    // The driver's own error, as with sqlx's pool.
    assert_eq!(refusal.downcast_ref::<MySqlDatabaseError>().code(), Some("42000"));
}

#[tokio::test]
async fn a_wrong_setting_in_the_url_fails_at_once() {
    let Some(server) = server() else { return };
    for (query, number) in
        [("time_zone=Atlantis/Mu", "1298"), ("collation=utf8mb4_atlantis", "1273")]
    {
        let error = refused_at_once(&format!("{}?{query}", server.url)).await;
        assert!(error.to_string().contains(number), "{error}");
    }
}

#[tokio::test]
async fn a_full_server_is_retried_until_it_accepts_the_connection() {
    let Some(server) = server() else { return };
    server.user("millpond_few", "WITH MAX_USER_CONNECTIONS 1").await;
    let url = format!("mysql://millpond_few@{}", server.address());
    let first = one().connect(&url).await.unwrap();
    let trace = Trace::new();
    let options =
        one().limits(Limits::Off).pool_timeout(Duration::from_secs(3)).fail_fast_after(None);
    let second = options.observer(trace.clone()).connect_lazy(&url).unwrap();
    let error = second.acquire().await.unwrap_err();
    assert!(error.to_string().contains("1226") || error.to_string().contains("1203"), "{error}");
    assert!(trace.count("connect failed") >= 2, "{} attempts", trace.count("connect failed"));
    first.close().await;
    drop(second.acquire_within(Duration::from_secs(10)).await.unwrap());
}

#[tokio::test]
async fn an_account_with_an_unknown_authentication_method_fails_at_once_with_a_hint() {
    let Some(server) = mariadb() else { return };
    // An error means that the plugin is installed already.
    let _ = sqlx::raw_sql("INSTALL SONAME 'auth_ed25519'")
        .execute(&mut server.connection().await)
        .await;
    let how = "IDENTIFIED VIA ed25519 USING PASSWORD('Tr0ub4dor')";
    server.user("millpond_ed", how).await;
    let error = refused_at_once(&format!("mysql://millpond_ed:Tr0ub4dor@{}", server.address()))
        .await
        .to_string();
    for part in ["ed25519", "caching_sha2_password", "ALTER USER"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("Tr0ub4dor"), "{error}");
}

#[tokio::test]
async fn an_impossible_database_name_fails_at_once() {
    let Some(server) = server() else { return };
    for name in ["a%20", "x".repeat(65).as_str(), ".."] {
        let error = refused_at_once(&format!("mysql://root@{}/{name}", server.address())).await;
        println!("{name}: {error}");
    }
}
