//! `$1` works on every database and so does `?`; a placeholder without its argument is an error
//! before anything is sent.

use crate::world::everywhere;
use sqlx::Row;

#[tokio::test]
async fn a_numbered_placeholder_may_be_used_twice_and_in_any_order() {
    for db in everywhere().await {
        let row = sqlx::query("SELECT $2 AS b, $1 AS a, $2 AS again")
            .bind(1_i64)
            .bind("two")
            .fetch_one(&db)
            .await
            .unwrap();
        assert_eq!(
            (row.get::<i64, _>("a"), row.get::<&str, _>("b"), row.get::<&str, _>("again")),
            (1, "two", "two")
        );
    }
}

#[tokio::test]
async fn question_marks_are_placeholders_except_where_they_are_text() {
    for db in everywhere().await {
        let text: String = sqlx::query_scalar("SELECT ? || '?' || '$1' -- $2 ?")
            .bind("what")
            .fetch_one(&db)
            .await
            .unwrap();
        assert_eq!(text, "what?$1");
    }
}

#[tokio::test]
async fn a_missing_argument_is_an_error_and_not_null() {
    for db in everywhere().await {
        for sql in ["SELECT $1, $2", "SELECT ?, ?", "SELECT $2"] {
            let error = sqlx::query(sql).bind(1_i64).execute(&db).await.unwrap_err();
            assert!(error.to_string().contains("$2"), "{error}");
        }
        assert!(sqlx::raw_sql("SELECT $1").execute(&db).await.is_err());
    }
}

#[tokio::test]
async fn an_argument_too_many_is_an_error() {
    for db in everywhere().await {
        let error =
            sqlx::query("SELECT $1").bind(1_i64).bind(2_i64).execute(&db).await.unwrap_err();
        assert!(error.to_string().contains("2 arguments"), "{error}");
    }
}

#[tokio::test]
async fn after_a_refused_placeholder_zero_the_connection_still_works() {
    for db in everywhere().await {
        assert!(sqlx::query("SELECT $0").bind(1_i64).execute(&db).await.is_err());
        assert_eq!(sqlx::query_scalar::<_, i64>("SELECT 1").fetch_one(&db).await.unwrap(), 1);
        assert_eq!(db.status().totals.created, 1);
    }
}
