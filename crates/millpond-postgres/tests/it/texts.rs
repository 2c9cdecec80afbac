//! How PostgreSQL reads texts that no SQL generator would write.

use crate::shared_texts::no_clean_text_leaves_anything_open;
use crate::support::server;
use crate::transaction_texts::no_text_deceives_a_transaction;
use sqlx::{AssertSqlSafe, Row, raw_sql};

#[tokio::test]
async fn after_a_text_that_counts_as_clean_no_transaction_is_open() {
    let Some(server) = server() else { return };
    let mut conn = server.connection().await;
    raw_sql("CREATE TEMPORARY TABLE millpond_texts (i INT)").execute(&mut conn).await.unwrap();
    no_clean_text_leaves_anything_open(async |text| {
        let _ = raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut conn).await;
        let outside = raw_sql("SELECT now() = statement_timestamp()").fetch_one(&mut conn).await;
        // An error means that a transaction is open and has failed.
        let open = !outside.is_ok_and(|row| row.get::<bool, _>(0));
        if open {
            raw_sql("ROLLBACK").execute(&mut conn).await.unwrap();
        }
        open
    })
    .await;
}

#[tokio::test]
async fn commit_and_rollback_report_the_truth_whatever_text_was_executed_in_the_transaction() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_transaction_texts").await;
    no_text_deceives_a_transaction(&pool).await;
}
