//! Rows of more than 16 MiB in the text protocol, whose first byte the driver mistakes for the end
//! of the answer: they arrive whole, or as an error.

use crate::support::{Server, one, server};
use futures_util::TryStreamExt;
use millpond_mysql::MySqlPool;
use sqlx::{AssertSqlSafe, Executor, Row, raw_sql};

/// Sizes of a first column: the smallest that is misread, and others.
const SIZES: [usize; 3] = [1 << 24, 17_000_000, 33_000_000];

async fn pool(server: &Server) -> MySqlPool {
    server.allow_large_packets().await;
    one().connect(&server.url).await.unwrap()
}

/// Asserts that this borrower and the next one get the answers to their own queries, or errors.
async fn goes_on(server: &Server, pool: &MySqlPool) {
    let mut lease = pool.acquire().await.unwrap();
    for n in 0..3 {
        let sql = AssertSqlSafe(format!("SELECT {n}"));
        if let Ok(row) = raw_sql(sql).fetch_one(&mut *lease).await {
            assert_eq!(row.get::<i64, _>(0), n);
        }
    }
    drop(lease);
    server.next_is_clean(pool).await;
}

#[tokio::test]
async fn a_row_of_text_whose_first_column_is_larger_than_16_mib_is_whole_or_an_error() {
    let Some(server) = server() else { return };
    let pool = pool(&server).await;
    for size in SIZES {
        let sql = format!("SELECT REPEAT('a', {size})");
        let both = format!("{sql} UNION ALL SELECT 'b'");
        let several = format!("SELECT 1; {sql}");
        for (text, count) in [(sql, 1), (both, 2), (several, 2)] {
            let rows = raw_sql(AssertSqlSafe(text.clone())).fetch_all(&pool).await;
            if let Ok(rows) = rows {
                assert_eq!(rows.len(), count, "{text}");
                assert!(rows.iter().any(|row| row.get::<&[u8], _>(0).len() == size));
            }
            goes_on(&server, &pool).await;
            let row = pool.fetch_optional(AssertSqlSafe(text.clone())).await;
            assert!(!matches!(row, Ok(None)), "{text}");
            goes_on(&server, &pool).await;
            let mut lease = pool.acquire().await.unwrap();
            let _error = raw_sql(AssertSqlSafe(text)).execute(&mut *lease).await;
            drop(lease);
            goes_on(&server, &pool).await;
        }
    }
}

#[tokio::test]
async fn a_large_row_whose_first_column_is_small_and_a_prepared_one_cost_nothing() {
    let Some(server) = server() else { return };
    let pool = pool(&server).await;
    for size in SIZES {
        let sql = format!("SELECT 'a', REPEAT('a', {size})");
        let row = raw_sql(AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap();
        assert_eq!(row.get::<&[u8], _>(1).len(), size);
        let sql = "SELECT REPEAT('a', ?)";
        let value: Vec<u8> =
            sqlx::query_scalar(sql).bind(size as u64).fetch_one(&pool).await.unwrap();
        assert_eq!(value.len(), size);
    }
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_result_comes_before_the_error_of_a_later_statement_of_the_same_text() {
    let Some(server) = server() else { return };
    let pool = pool(&server).await;
    let mut results = raw_sql("SELECT 1; SELECT nonsense").fetch_many(&pool);
    assert!(results.try_next().await.unwrap().unwrap().is_right());
    assert!(results.try_next().await.unwrap().unwrap().is_left());
    assert!(results.try_next().await.is_err());
    drop(results);
    server.next_is_clean(&pool).await;
}

#[tokio::test]
async fn what_is_asked_of_statements_without_rows_is_about_the_last_one_of_them() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_row_count").await;
    let mut lease = pool.acquire().await.unwrap();
    for sql in ["INSERT INTO t VALUES (1), (2)", "DO SLEEP(0.01); UPDATE t SET i = i + 10"] {
        raw_sql(sql).execute(&mut *lease).await.unwrap();
        let row = raw_sql("SELECT ROW_COUNT()").fetch_one(&mut *lease).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), 2, "{sql}");
    }
}

#[tokio::test]
async fn a_large_row_of_a_select_that_begins_with_set_is_whole_or_an_error() {
    let Some(server) = server() else { return };
    let pool = pool(&server).await;
    // MySQL has no such statement, and says so.
    let sql = "SET STATEMENT max_statement_time = 60 FOR SELECT REPEAT('a', 16777216)";
    let rows = raw_sql(sql).fetch_all(&pool).await;
    assert!(rows.is_err() || rows.is_ok_and(|rows| rows.len() == 1));
    goes_on(&server, &pool).await;
}
