//! Credentials that are read for every connect.

use crate::support::{Server, server};
use millpond_postgres::{Credentials, PgPoolOptions, PoolError, pool_error};
use sqlx::{AssertSqlSafe, raw_sql};
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Creates a role with this password, and returns a URL for it without a password.
async fn role(server: &Server, name: &str, password: &str) -> String {
    let sql = format!("DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN PASSWORD '{password}'");
    raw_sql(AssertSqlSafe(sql)).execute(&mut server.connection().await).await.unwrap();
    let (_, target) = server.url.rsplit_once('@').unwrap();
    format!("postgres://{name}@{target}")
}

async fn change(server: &Server, name: &str, password: &str) {
    let sql = format!("ALTER ROLE {name} PASSWORD '{password}'");
    raw_sql(AssertSqlSafe(sql)).execute(&mut server.connection().await).await.unwrap();
}

#[tokio::test]
async fn a_callback_is_called_for_the_token_of_every_connection() {
    let Some(server) = server() else { return };
    let url = role(&server, "millpond_token", "never").await;
    let calls = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&calls);
    let admin = server.url.clone();
    // Like an authority that issues a new token each time and revokes the previous one.
    let token = move || {
        let (token, server) = (
            format!("token{}", theirs.fetch_add(1, Ordering::Relaxed)),
            Server { url: admin.clone() },
        );
        async move {
            change(&server, "millpond_token", &token).await;
            Ok::<_, sqlx::Error>(token)
        }
    };
    let options = PgPoolOptions::new().pool_size(3).max_overflow(0).max_connecting(1);
    let pool = options.credentials(Credentials::with(token)).connect(&url).await.unwrap();
    let leases = [
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
    ];
    drop(leases);
    assert_eq!(
        (calls.load(Ordering::Relaxed), pool.num_idle(), pool.status().generation),
        (3, 3, 0)
    );
}

#[tokio::test]
async fn a_variable_holds_the_password() {
    let Some(server) = server() else { return };
    let url = role(&server, "millpond_variable", &env::var("CARGO_MANIFEST_DIR").unwrap()).await;
    let options = PgPoolOptions::new().credentials(Credentials::env("CARGO_MANIFEST_DIR"));
    options.connect(&url).await.unwrap();
    let options = PgPoolOptions::new().credentials(Credentials::env("MILLPOND_NO_SUCH_VARIABLE"));
    let error = options.connect(&url).await.unwrap_err();
    assert!(matches!(pool_error(&error), Some(PoolError::Connect { attempts: 1, .. })), "{error}");
    assert!(error.to_string().contains("MILLPOND_NO_SUCH_VARIABLE"), "{error}");
}
