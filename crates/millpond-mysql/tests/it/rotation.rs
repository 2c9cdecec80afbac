//! Credentials that change while the pool runs: asked at every connect, and nobody gets an error of it.

use crate::support::{Diary, Server, server, until};
use millpond_core::CloseReason;
use millpond_mysql::{Credentials, MySqlPoolOptions};
use std::env;
use std::fs;
use std::path::PathBuf;

/// A URL without a password, and the user that it names.
async fn user(server: &Server, name: &str, password: &str) -> String {
    server.execute(format!("CREATE OR REPLACE USER {name}@'127.0.0.1' IDENTIFIED BY '{password}'")).await;
    format!("mysql://{name}@{}", server.address())
}

/// A file that is gone when the test is over.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_password_that_is_changed_in_its_file_retires_the_old_connections_without_an_error_to_anyone() {
    let Some(server) = server() else { return };
    let url = user(&server, "millpond_file", "first").await;
    let file = Scratch(env::temp_dir().join(format!("millpond-mysql-{}", std::process::id())));
    fs::write(&file.0, "first\n").unwrap();
    let diary = Diary::default();
    let options = MySqlPoolOptions::new().pool_size(3).max_overflow(3).observer(diary.clone());
    let pool = options.credentials(Credentials::file(&file.0)).connect(&url).await.unwrap();
    let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let idle = pool.acquire().await.unwrap();
    drop(idle);

    server.execute("ALTER USER millpond_file@'127.0.0.1' IDENTIFIED BY 'second'").await;
    fs::write(&file.0, "second\n").unwrap();
    // The next connection that is opened, for whatever reason, brings the new password in.
    let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    assert_eq!(pool.status().generation, 1);
    drop((held, leases));
    until(|| diary.closed().iter().filter(|reason| **reason == CloseReason::Invalidated).count() >= 3).await;
    let user: String = sqlx::query_scalar("SELECT CURRENT_USER()").fetch_one(&pool).await.unwrap();
    assert_eq!(user, "millpond_file@127.0.0.1");
    assert_eq!((pool.status().generation, diary.failed_connects()), (1, 0));
}

#[tokio::test]
async fn a_callback_may_give_the_user_as_well() {
    let Some(server) = server() else { return };
    user(&server, "millpond_other_user", "token").await;
    let url = user(&server, "millpond_never", "never").await;
    let login = || async { Ok::<_, sqlx::Error>(("millpond_other_user".to_owned(), "token".to_owned())) };
    let pool = MySqlPoolOptions::new().credentials(Credentials::with(login)).connect(&url).await.unwrap();
    let user: String = sqlx::query_scalar("SELECT CURRENT_USER()").fetch_one(&pool).await.unwrap();
    assert_eq!(user, "millpond_other_user@127.0.0.1");
}
