//! Hooks get the driver's own connection, and leave no transaction open on it.

use crate::support::{one, server};
use millpond_core::HookFuture;
use millpond_mysql::{ConnectionInfo, MySqlConnection};
use sqlx::Executor;

fn careless<'a>(conn: &'a mut MySqlConnection, _info: &'a ConnectionInfo) -> HookFuture<'a> {
    Box::pin(async move {
        conn.execute("SET @hooked = 'yes', autocommit = 0; BEGIN").await?;
        Ok(())
    })
}

#[tokio::test]
async fn a_hook_for_new_connections_prepares_them_and_its_transaction_is_rolled_back() {
    let Some(server) = server() else { return };
    let pool = one().on_connect(careless).connect(&server.url).await.unwrap();
    server.same_is_clean(&pool).await;
    // Variables are not part of a transaction.
    let hooked: String = sqlx::query_scalar("SELECT @hooked").fetch_one(&pool).await.unwrap();
    assert_eq!(hooked, "yes");
}

#[tokio::test]
async fn a_transaction_left_open_by_a_checkin_hook_does_not_reach_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = one().on_checkin(careless).connect(&server.url).await.unwrap();
    for _ in 0..3 {
        server.same_is_clean(&pool).await;
    }
}
