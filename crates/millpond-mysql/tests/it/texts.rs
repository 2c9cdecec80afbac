//! How the server reads texts that no SQL generator would write.

use crate::shared_texts::no_clean_text_leaves_anything_open;
use crate::support::{IN_TRANSACTION, rows, server};
use crate::transaction_texts::no_text_deceives_a_transaction;
use sqlx::{AssertSqlSafe, Row, raw_sql};

#[tokio::test]
async fn after_a_text_that_counts_as_clean_neither_a_transaction_is_open_nor_autocommit_off() {
    let Some(server) = server() else { return };
    let mut conn = server.connection().await;
    raw_sql("CREATE TEMPORARY TABLE millpond_texts (i INT)").execute(&mut conn).await.unwrap();
    let is_open =
        format!("SELECT {IN_TRANSACTION} OR NOT @@autocommit OR @@completion_type <> 'NO_CHAIN'");
    no_clean_text_leaves_anything_open(async |text| {
        let _ = raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut conn).await;
        let row = raw_sql(AssertSqlSafe(&*is_open)).fetch_one(&mut conn).await.unwrap();
        let open = row.get::<i32, _>(0) == 1;
        if open {
            let sql = "ROLLBACK AND NO CHAIN NO RELEASE; SET autocommit = 1, completion_type = 0";
            raw_sql(sql).execute(&mut conn).await.unwrap();
        }
        open
    })
    .await;
}

#[tokio::test]
async fn a_setting_in_an_executed_comment_does_not_reach_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_executed_comments").await;
    for sql in ["/*!SET autocommit = (*/SELECT 0/*!)*/", "/*M!SET autocommit = (*/SELECT 0/*M!)*/"]
    {
        raw_sql(sql).execute(&pool).await.unwrap();
        server.same_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn a_trigger_that_chains_transactions_takes_no_row_of_the_next_borrowers() {
    let Some(server) = server() else { return };
    for committed in [true, false] {
        let pool = server.table("millpond_chained").await;
        let sql = "CREATE TRIGGER chained BEFORE INSERT ON t FOR EACH ROW SET completion_type = 1";
        raw_sql(sql).execute(&pool).await.unwrap();
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (0)").execute(&mut *tx).await.unwrap();
        if committed {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
        for i in 1..=3 {
            sqlx::query("INSERT INTO t VALUES (?)").bind(i).execute(&pool).await.unwrap();
        }
        let first = i32::from(!committed);
        pool.begin().await.unwrap().rollback().await.unwrap();
        server.same_is_clean(&pool).await;
        assert_eq!(rows(&pool).await, (first..=3).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_function_that_chains_transactions_takes_no_row_of_the_next_borrowers() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_chained_by_function").await;
    let sql = "CREATE FUNCTION chains() RETURNS INT BEGIN SET completion_type = 1; RETURN 1; END";
    raw_sql(sql).execute(&pool).await.unwrap();
    let one: i32 = sqlx::query_scalar("SELECT chains()").fetch_one(&pool).await.unwrap();
    assert_eq!(one, 1);
    pool.begin().await.unwrap().commit().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
    pool.begin().await.unwrap().rollback().await.unwrap();
    server.same_is_clean(&pool).await;
    assert_eq!(rows(&pool).await, [1]);
}

#[tokio::test]
async fn commit_and_rollback_report_the_truth_whatever_text_was_executed_in_the_transaction() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_transaction_texts").await;
    no_text_deceives_a_transaction(&pool).await;
}
