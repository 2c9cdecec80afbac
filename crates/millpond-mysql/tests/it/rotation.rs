//! Credentials that are read for every connect.

use crate::support::{Server, server};
use millpond_mysql::{Credentials, MySqlPoolOptions};

/// Creates a user with this password, and returns a URL for it without a password.
async fn user(server: &Server, name: &str, password: &str) -> String {
    server.user(name, &format!("IDENTIFIED BY '{password}'")).await;
    format!("mysql://{name}@{}", server.address())
}

#[tokio::test]
async fn a_callback_can_return_the_user_too() {
    let Some(server) = server() else { return };
    user(&server, "millpond_other_user", "token").await;
    let url = user(&server, "millpond_never", "never").await;
    let login =
        || async { Ok::<_, sqlx::Error>(("millpond_other_user".to_owned(), "token".to_owned())) };
    let pool =
        MySqlPoolOptions::new().credentials(Credentials::with(login)).connect(&url).await.unwrap();
    let user: String = sqlx::query_scalar("SELECT CURRENT_USER()").fetch_one(&pool).await.unwrap();
    assert_eq!(user, "millpond_other_user@127.0.0.1");
}
