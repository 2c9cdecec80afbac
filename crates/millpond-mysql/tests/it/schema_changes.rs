//! A migration under a running pool: connections prepare their statements again in time.

use crate::support::server;
use sqlx::{AssertSqlSafe, Connection, Row, raw_sql};

#[tokio::test]
async fn a_changed_table_is_read_with_its_current_columns() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_changed").await;
    let all = "SELECT * FROM t";
    sqlx::query("INSERT INTO t VALUES (7)").execute(&pool).await.unwrap();
    sqlx::query(all).fetch_all(&pool).await.unwrap();
    for (change, columns) in [
        ("ADD COLUMN s VARCHAR(9) DEFAULT 'x'", 2),
        ("MODIFY i BIGINT AFTER s", 2),
        ("DROP COLUMN s", 1),
    ] {
        raw_sql(AssertSqlSafe(format!("ALTER TABLE t {change}"))).execute(&pool).await.unwrap();
        let row = sqlx::query(all).fetch_one(&pool).await.unwrap();
        assert_eq!(row.len(), columns, "{change}");
        let seven: i64 =
            row.try_get("i").or_else(|_| row.try_get::<i32, _>("i").map(i64::from)).unwrap();
        assert_eq!(seven, 7, "{change}");
    }
}

#[tokio::test]
async fn statements_that_the_server_no_longer_knows_are_prepared_again() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_forgotten").await;
    for number in [1243, 1461, 1615] {
        let mut lease = pool.acquire().await.unwrap();
        sqlx::query("SELECT 1").execute(&mut *lease).await.unwrap();
        assert!(lease.cached_statements_size() > 0);
        let sql = format!(
            "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'forgotten'"
        );
        raw_sql(AssertSqlSafe(sql)).execute(&mut *lease).await.unwrap_err();
        drop(lease);
        let mut lease = pool.acquire().await.unwrap();
        assert_eq!(lease.cached_statements_size(), 0, "{number}");
        sqlx::query("SELECT 1").execute(&mut *lease).await.unwrap();
    }
}
