//! Passwords: every printable character works, a wrong one fails at once, and none is ever shown.

use crate::support::{Diary, Server, one, server};
use millpond_mysql::{MySqlConnectOptions, MySqlPoolOptions, PoolError, pool_error};
use std::error::Error;
use std::str::FromStr;

/// The URL of the server for a user that is created with this password, and asked for with another or the same one.
async fn user(server: &Server, user: &str, password: &str, asked: &str) -> String {
    let quoted = password.replace('\\', "\\\\").replace('\'', "''");
    server.execute(format!("CREATE OR REPLACE USER {user}@'127.0.0.1' IDENTIFIED BY '{quoted}'")).await;
    let asked: String = asked.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("mysql://{user}:{asked}@{}", server.address())
}

#[tokio::test]
async fn a_password_of_every_printable_character_is_accepted() {
    let Some(server) = server() else { return };
    let password: String = (b' '..=b'~').map(char::from).collect();
    let url = user(&server, "millpond_printable", &password, &password).await;
    let pool = one().connect(&url).await.unwrap();
    let user: String = sqlx::query_scalar("SELECT CURRENT_USER()").fetch_one(&pool).await.unwrap();
    assert_eq!(user, "millpond_printable@127.0.0.1");
}

#[tokio::test]
async fn a_wrong_password_fails_at_once_and_is_not_shown() {
    let Some(server) = server() else { return };
    let url = user(&server, "millpond_wrong", "right", "Tr0ub4dor").await;
    let diary = Diary::default();
    let options = one().observer(diary.clone());
    let pool = options.connect_lazy(&url).unwrap();
    let error = pool.acquire().await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("28000"));
    let Some(PoolError::Connect { attempts: 1, .. }) = pool_error(&error) else { panic!("{error}") };
    assert_eq!(diary.failed_connects(), 1);
    let mut shown = format!("{error} {error:?} {pool:?} {:?}", pool.status());
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(error) = cause {
        shown += &format!("{error} {error:?}");
        cause = error.source();
    }
    shown += &diary.pick(|event| Some(format!("{event:?}"))).concat();
    assert!(!shown.contains("Tr0ub4dor"), "{shown}");
}

#[test]
fn nothing_of_ours_shows_a_password() {
    let options = MySqlConnectOptions::from_str("mysql://u:Tr0ub4dor@h/d").unwrap();
    let manager = millpond_mysql::MySqlManager::new(options.clone());
    let pool = MySqlPoolOptions::new().connect_lazy_with(options).unwrap();
    let refused = MySqlPoolOptions::new().connect_lazy("mysql://u:Tr0ub4dor@h/d?password=other&ssl=1").unwrap_err();
    let shown = format!("{manager:?} {pool:?} {:?} {refused} {refused:?}", MySqlPoolOptions::new());
    assert!(!shown.contains("Tr0ub4dor") && !shown.contains("other"), "{shown}");
}
