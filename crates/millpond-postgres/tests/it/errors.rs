//! The error of a failing acquire, and how soon it is returned.

use crate::refusals::refused_at_once;
use crate::support::server;
use millpond_testkit::{FakeServer, ServerStep, mysql_greeting};
use sqlx::postgres::PgDatabaseError;

#[tokio::test]
async fn an_unknown_database_fails_at_once_with_the_servers_own_code() {
    let Some(server) = server() else { return };
    let (head, _) = server.url.rsplit_once('/').unwrap();
    let error = refused_at_once(&format!("{head}/no_such_pond")).await;
    let refusal = error.as_database_error().unwrap();
    assert_eq!(refusal.code().as_deref(), Some("3D000"));
    // The driver's own error, as with sqlx's pool.
    assert_eq!(refusal.downcast_ref::<PgDatabaseError>().code(), "3D000");
    assert!(error.to_string().contains("no_such_pond"), "{error}");
}

#[tokio::test]
async fn a_wrong_setting_in_the_options_fails_at_once() {
    let Some(server) = server() else { return };
    let error = refused_at_once(&format!("{}?options[statement_timeout]=soon", server.url)).await;
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("22023"));
}

#[tokio::test]
async fn a_server_of_another_protocol_fails_at_once_with_a_hint() {
    for mode in ["disable", "require"] {
        // The greeting of a MySQL server.
        let fake = FakeServer::start(
            [vec![ServerStep::Send(mysql_greeting()), ServerStep::FallSilent]],
            None,
        )
        .await
        .unwrap();
        let error = refused_at_once(&format!("postgres://u@{}/d?sslmode={mode}", fake.address()))
            .await
            .to_string();
        assert!(error.contains("check host and port"), "{mode}: {error}");
    }
}

#[tokio::test]
async fn a_database_that_allows_no_connections_fails_at_once() {
    let Some(server) = server() else { return };
    let sql = "DROP DATABASE IF EXISTS millpond_shut; CREATE DATABASE millpond_shut \
        ALLOW_CONNECTIONS false";
    for sql in sql.split(';') {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut server.connection().await)
            .await
            .unwrap();
    }
    let (head, _) = server.url.rsplit_once('/').unwrap();
    let error = refused_at_once(&format!("{head}/millpond_shut")).await;
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("55000"));
}

#[tokio::test]
async fn no_character_is_shown_of_a_password_that_scram_forbids() {
    let Some(server) = server() else { return };
    let (_, place) =
        server.url.split_once('@').unwrap_or_else(|| server.url.split_once("://").unwrap());
    for odd in ["%F0%9F%A6%86", "%E2%81%AA", "%F3%A0%80%81"] {
        let url = format!("postgres://somebody:Zqxj{odd}Wvky@{place}");
        let listener = crate::backend::Options::new().listener(&url).await.unwrap_err();
        for error in [refused_at_once(&url).await, listener] {
            let mut shown = format!("{error} {error:?} {error:#?}");
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                shown.push_str(&format!("{error} {error:?}"));
                source = error.source();
            }
            let hidden = ["🦆", "1f986", "206a", "e0001", "Zqxj", "Wvky", "\u{206a}", "\u{e0001}"];
            assert!(hidden.iter().all(|part| !shown.contains(part)), "{shown}");
            assert!(
                shown.contains("set another password") || shown.contains("authentication failed"),
                "{shown}"
            );
        }
    }
}
