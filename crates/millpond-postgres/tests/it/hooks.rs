//! Hooks get the driver's own connection, and leave no transaction open on it.

use crate::support::{one, server, until};
use millpond_core::HookFuture;
use millpond_postgres::{ConnectionInfo, PgConnection};
use sqlx::{Executor, raw_sql};

fn careless<'a>(conn: &'a mut PgConnection, _info: &'a ConnectionInfo) -> HookFuture<'a> {
    Box::pin(async move {
        conn.execute("SET application_name = 'hooked'; BEGIN").await?;
        Ok(())
    })
}

#[tokio::test]
async fn a_hook_for_new_connections_prepares_them_and_its_transaction_is_rolled_back() {
    let Some(server) = server() else { return };
    let pool = one().on_connect(careless).connect(&server.url).await.unwrap();
    server.same_is_clean(&pool).await;
    // The setting was rolled back with its transaction.
    let sql = "SELECT current_setting('application_name') = 'hooked'";
    let hooked: bool = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
    assert!(!hooked);

    let options = one().on_connect(|conn, _| {
        Box::pin(async move {
            raw_sql("SET application_name = 'hooked'").execute(conn).await?;
            Ok(())
        })
    });
    let pool = options.connect(&server.url).await.unwrap();
    let hooked: bool = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
    assert!(hooked);
}

#[tokio::test]
async fn a_transaction_left_open_by_a_checkin_hook_does_not_reach_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = one().on_checkin(careless).connect(&server.url).await.unwrap();
    for _ in 0..3 {
        server.same_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn no_lock_taken_by_a_checkout_hook_survives_the_return() {
    let Some(server) = server() else { return };
    let options = one().on_checkout(|conn, _| {
        Box::pin(async move {
            raw_sql("SELECT pg_advisory_lock(4715)").execute(conn).await?;
            Ok(())
        })
    });
    let pool = options.connect(&server.url).await.unwrap();
    drop(pool.acquire().await.unwrap());
    until(|| pool.num_idle() == 1).await;
    let sql = "SELECT pg_try_advisory_lock(4715)";
    let free: bool =
        sqlx::query_scalar(sql).fetch_one(&mut server.connection().await).await.unwrap();
    assert!(free);
}

#[tokio::test]
async fn a_checkin_hook_does_not_cause_locks_to_be_released_at_every_return() {
    let Some(server) = server() else { return };
    let pool = one().on_checkin(careless).connect(&server.url).await.unwrap();
    for first in [true, false] {
        let lease = pool.acquire().await.unwrap();
        assert!(first || !lease.may_hold_locks());
    }
}
