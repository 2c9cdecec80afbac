//! Statement texts that no SQL generator would write.

use crate::shared_texts::no_clean_text_leaves_anything_open;
use crate::support::{Dir, one};
use crate::transaction_texts::no_text_deceives_a_transaction;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection, raw_sql};

#[tokio::test]
async fn after_a_text_that_counts_as_clean_no_transaction_is_open() {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    raw_sql("CREATE TABLE millpond_texts (i INT)").execute(&mut conn).await.unwrap();
    no_clean_text_leaves_anything_open(async |text| {
        // Refused, see below.
        if text.contains('\0') {
            return false;
        }
        let _ = raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut conn).await;
        // A transaction cannot be nested.
        let open = raw_sql("BEGIN").execute(&mut conn).await.is_err();
        raw_sql("ROLLBACK").execute(&mut conn).await.unwrap();
        open
    })
    .await;
}

// Otherwise the driver's worker would prepare the rest of the text forever.
#[tokio::test]
async fn a_text_with_a_nul_character_is_refused_and_the_connection_goes_on() {
    let pool = one().connect("sqlite::memory:").await.unwrap();
    for text in ["SELECT 1\0", "SELECT '\0'", "\0", "BEGIN;\0"] {
        let error = pool.execute(text).await.unwrap_err().to_string();
        assert!(error.contains("NUL"), "{error}");
        assert!(sqlx::query(text).fetch_optional(&pool).await.is_err());
        assert!(pool.prepare(sqlx::SqlSafeStr::into_sql_str(text)).await.is_err());
    }
    assert_eq!(sqlx::query_scalar::<_, i64>("SELECT 1").fetch_one(&pool).await.unwrap(), 1);
}

// Otherwise the driver's worker would panic, and an in-memory database would be lost with it.
#[tokio::test]
async fn a_placeholder_with_the_number_0_is_refused_and_the_connection_goes_on() {
    let pool = one().connect("sqlite::memory:").await.unwrap();
    for text in ["SELECT $0", "SELECT $1, $00", "SELECT $0x"] {
        let error = sqlx::query(text).bind(1).fetch_one(&pool).await.unwrap_err().to_string();
        assert!(error.contains("counted from 1"), "{error}");
        let mut tx = pool.begin().await.unwrap();
        sqlx::query(text).bind(1).execute(&mut *tx).await.unwrap_err();
        assert!(tx.prepare(sqlx::SqlSafeStr::into_sql_str(text)).await.is_err());
        tx.commit().await.unwrap();
    }
    let price = "SELECT 'costs $0.50' || $1";
    let price: String = sqlx::query_scalar(price).bind("!").fetch_one(&pool).await.unwrap();
    assert_eq!(price, "costs $0.50!");
}

#[tokio::test]
async fn commit_and_rollback_report_the_truth_whatever_text_was_executed_in_the_transaction() {
    let dir = Dir::new();
    let pool = dir.one().await;
    pool.execute("CREATE TABLE t (i INTEGER)").await.unwrap();
    no_text_deceives_a_transaction(&pool).await;
}
