//! How a server accepts and ends sessions. MySQL stores a hash of the password: the password is
//! sent in full once, after which the server has it cached.

use crate::cancelling::ended;
use crate::refusals::refused_at_once;
use crate::support::{Server, id, mysql, one, server, server_variable};
use millpond_mysql::Credentials;
use millpond_testkit::OwnServer;
use sqlx::raw_sql;
use std::time::Duration;

/// Passwords as written in a URL and in SQL.
const PASSWORDS: [(&str, &str); 4] = [
    ("Tr0ub4dor", "Tr0ub4dor"),
    ("p%C3%A4ss%20w%C3%B6rd%22%27%40%2F", "päss wörd\"''@/"),
    ("%25s%5C%7B%7D", "%s\\\\{}"),
    ("more-than-the-twenty-bytes-of-a-nonce", "more-than-the-twenty-bytes-of-a-nonce"),
];

/// Returns the server without TLS and the one that requires it, each with its URL parameter.
fn servers() -> Option<[(Server, &'static str); 2]> {
    let plain = mysql()?;
    let tls = Server { url: server_variable("TLS_URL")? };
    Some([(plain, "sslmode=disabled"), (tls, "sslmode=required")])
}

#[tokio::test]
async fn a_password_works_whether_the_server_has_it_cached_or_not() {
    let Some(servers) = servers() else { return };
    for (server, mode) in servers {
        for plugin in ["caching_sha2_password", "sha256_password"] {
            for (password, in_sql) in PASSWORDS {
                let how = format!("IDENTIFIED WITH {plugin} BY '{in_sql}'");
                server.user("millpond_word", &how).await;
                let login = format!("mysql://millpond_word:{password}@{}", server.address());
                for _ in 0..2 {
                    let pool = one().connect(&format!("{login}?{mode}")).await.unwrap();
                    let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await.unwrap();
                    assert_eq!(one, 1, "{plugin} {mode} {password}");
                    pool.close().await;
                }
                server.execute("FLUSH PRIVILEGES").await;
                drop(one().connect(&format!("{login}?{mode}")).await.unwrap());
                let wrong = login.replace("millpond_word:", "millpond_word:no");
                let text = refused_at_once(&format!("{wrong}?{mode}")).await.to_string();
                assert!(text.contains("1045"), "{plugin} {mode}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn an_empty_password_counts_as_no_password() {
    let Some(server) = server() else { return };
    server.user("millpond_wordless", "").await;
    let login = |word: &str| format!("mysql://millpond_wordless{word}@{}", server.address());
    for word in ["", ":"] {
        drop(one().connect(&login(word)).await.unwrap());
    }
    let nothing = Credentials::with(|| async { Ok::<_, sqlx::Error>(String::new()) });
    drop(one().credentials(nothing).connect(&login("")).await.unwrap());
    let text = refused_at_once(&login(":some")).await.to_string();
    assert!(text.contains("1045"), "{text}");
}

#[tokio::test]
async fn an_account_that_may_not_connect_fails_at_once_with_the_reason() {
    let Some(server) = mysql() else { return };
    for (how, number) in [
        ("ACCOUNT LOCK", "3118"),
        ("REQUIRE SSL", "1045"),
        ("IDENTIFIED BY 'word' PASSWORD EXPIRE", "1862"),
    ] {
        server.user("millpond_shut", how).await;
        let word = if how.contains("word") { ":word" } else { "" };
        let url = format!("mysql://millpond_shut{word}@{}", server.address());
        let text = refused_at_once(&url).await.to_string();
        assert!(text.contains(number), "{how}: {text}");
    }
}

#[tokio::test]
async fn a_session_that_was_idle_for_too_long_is_not_lent_again() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let before = id(&mut lease).await;
    raw_sql("SET wait_timeout = 1").execute(&mut *lease).await.unwrap();
    ended(&server, before).await;
    // MySQL reports error 4031, MariaDB nothing.
    sqlx::query("SELECT 1").fetch_one(&mut *lease).await.unwrap_err();
    drop(lease);
    assert_ne!(server.next_is_clean(&pool).await, before);
}

#[tokio::test]
async fn a_server_that_is_taken_offline_is_tried_until_it_is_back() {
    if mysql().is_none() {
        return;
    }
    let Some(own) = OwnServer::or_skip("mysql") else { return };
    let server = Server { url: own.url().to_owned() };
    server.user("miller", "").await;
    let url = format!("mysql://miller@{}", server.address());
    let pool = one().connect(&url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let offline = async |on: bool| server.execute(format!("SET GLOBAL offline_mode = {on}")).await;
    offline(true).await;
    sqlx::query("SELECT 1").fetch_one(&mut *lease).await.unwrap_err();
    drop(lease);
    let second = one().connect_lazy(&url).unwrap();
    let error = second.acquire_within(Duration::from_secs(3)).await.unwrap_err();
    assert!(error.to_string().contains("3032"), "{error}");
    offline(false).await;
    for pool in [pool, second] {
        let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await.unwrap();
        assert_eq!(one, 1);
    }
}

#[tokio::test]
async fn over_a_unix_socket_a_password_needs_tls_and_the_error_says_so() {
    if mysql().is_none() {
        return;
    }
    for (kind, works) in [("mysql", false), ("mysql-tls", true)] {
        let Some(own) = OwnServer::or_skip(kind) else { return };
        let root = one().connect(own.url()).await.unwrap();
        let sql = "CREATE USER word@localhost IDENTIFIED BY 'Tr0ub4dor'";
        raw_sql(sql).execute(&root).await.unwrap();
        let socket = own.option("--socket=");
        let url = format!("mysql://word:Tr0ub4dor@localhost?unix_socket={socket}");
        if works {
            drop(one().connect(&url).await.unwrap());
        } else {
            let text = refused_at_once(&url).await.to_string();
            assert!(text.contains("1045") && text.contains("caching_sha2_password"), "{text}");
        }
    }
}
