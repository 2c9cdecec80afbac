//! An error that may indicate a failover makes the pool query its server.

use crate::support::{Server, pid, server};
use millpond_postgres::PgPoolOptions;
use millpond_testkit::until;

/// Returns the last statement of this session, as another session sees it.
async fn last_statement(server: &Server, pid: i32) -> String {
    let sql = "SELECT query FROM pg_stat_activity WHERE pid = $1";
    sqlx::query_scalar(sql).bind(pid).fetch_one(&mut server.connection().await).await.unwrap()
}

#[tokio::test]
async fn a_session_ended_by_its_server_makes_another_one_check_for_a_failover() {
    let Some(server) = server() else { return };
    let pool =
        PgPoolOptions::new().pool_size(2).max_overflow(0).connect(&server.url).await.unwrap();
    let (mut ended, mut other) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let (victim, bystander) = (pid(&mut ended).await, pid(&mut other).await);
    drop(other);
    until("the other one is idle", async || pool.num_idle() == 1).await;
    assert!(
        !last_statement(&server, bystander).await.contains("pg_is_in_recovery"),
        "there is no cause yet"
    );
    let end = sqlx::query("SELECT pg_terminate_backend($1, 10000)").bind(victim);
    end.execute(&mut server.connection().await).await.unwrap();
    let error = sqlx::query("SELECT 1").execute(&mut *ended).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("57P01"));
    drop(ended);
    until("the other one asks", async || {
        last_statement(&server, bystander).await.contains("pg_is_in_recovery")
    })
    .await;
    until("the ended one is gone", async || pool.size() == 1).await;
    assert_eq!(pool.status().generation, 0, "that server takes writes");
}
