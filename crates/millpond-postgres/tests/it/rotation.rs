//! Credentials that change while the pool runs: asked at every connect, and nobody gets an error of it.

use crate::support::{Diary, Server, server, until};
use millpond_core::CloseReason;
use millpond_postgres::{Credentials, PgPool, PgPoolOptions, PoolError, pool_error};
use sqlx::{AssertSqlSafe, raw_sql};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A URL without a password, and the role that it names.
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

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &str) -> Self {
        let path = env::temp_dir().join(format!("millpond-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn ask_until(done: Arc<AtomicBool>, pool: PgPool) -> u32 {
    let mut answers = 0;
    while !done.load(Ordering::Relaxed) {
        let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await.unwrap();
        assert_eq!(one, 1);
        answers += 1;
    }
    answers
}

#[tokio::test]
async fn a_password_that_is_changed_in_its_file_retires_the_old_connections_without_an_error_to_anyone() {
    let Some(server) = server() else { return };
    let url = role(&server, "millpond_file", "first").await;
    let file = Scratch::new("password", "first\n");
    let diary = Diary::default();
    let options = PgPoolOptions::new().pool_size(3).max_overflow(3).observer(diary.clone());
    let pool = options.credentials(Credentials::file(&file.0)).connect(&url).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..3).map(|_| tokio::spawn(ask_until(Arc::clone(&done), pool.clone()))).collect();
    until(|| pool.size() >= 3).await;
    let held = pool.acquire().await.unwrap();

    change(&server, "millpond_file", "second").await;
    fs::write(&file.0, "second\n").unwrap();
    // The next connection that is opened, for whatever reason, brings the new password in.
    let mut leases = Vec::new();
    while pool.status().generation == 0 {
        leases.push(pool.acquire().await.unwrap());
    }
    drop(leases);
    drop(held);
    until(|| diary.closed().iter().filter(|reason| **reason == CloseReason::Invalidated).count() >= 4).await;
    done.store(true, Ordering::Relaxed);
    for task in tasks {
        assert!(task.await.unwrap() > 0);
    }
    assert_eq!(pool.status().generation, 1, "retired once");
}

#[tokio::test]
async fn tokens_of_a_callback_are_asked_for_every_connection() {
    let Some(server) = server() else { return };
    let url = role(&server, "millpond_token", "never").await;
    let calls = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&calls);
    let admin = server.url.clone();
    // Like an authority that gives out a new token every time and forgets the one before.
    let token = move || {
        let (token, server) =
            (format!("token{}", theirs.fetch_add(1, Ordering::Relaxed)), Server { url: admin.clone() });
        async move {
            change(&server, "millpond_token", &token).await;
            Ok::<_, sqlx::Error>(token)
        }
    };
    let options = PgPoolOptions::new().pool_size(3).max_overflow(0).max_connecting(1);
    let pool = options.credentials(Credentials::with(token)).connect(&url).await.unwrap();
    let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    drop(leases);
    assert_eq!((calls.load(Ordering::Relaxed), pool.num_idle(), pool.status().generation), (3, 3, 0));
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
