//! The reset levels.

use crate::support::{Diary, Dir, one};
use millpond_core::{CloseReason, ResetLevel};
use millpond_sqlite::SqlitePool;
use sqlx::{Executor, raw_sql};

async fn pool(dir: &Dir, level: ResetLevel) -> (SqlitePool, Diary) {
    let diary = Diary::default();
    let pool = one().reset(level).observer(diary.clone()).connect(&dir.url("x.db")).await.unwrap();
    (pool, diary)
}

async fn has_temp_table(pool: &SqlitePool) -> bool {
    pool.execute("SELECT * FROM notes").await.is_ok()
}

#[tokio::test]
async fn transaction_keeps_session_state() {
    let dir = Dir::new();
    let (pool, diary) = pool(&dir, ResetLevel::Transaction).await;
    raw_sql("CREATE TEMP TABLE notes (i)").execute(&pool).await.unwrap();
    assert!(has_temp_table(&pool).await);
    assert!(diary.closed().is_empty());
}

#[tokio::test]
async fn session_replaces_a_connection_whose_session_may_have_changed_and_keeps_the_others() {
    let dir = Dir::new();
    let (pool, diary) = pool(&dir, ResetLevel::Session).await;
    for _ in 0..3 {
        pool.execute("SELECT 1").await.unwrap();
    }
    assert_eq!(diary.opened(), 1);
    raw_sql("CREATE TEMP TABLE notes (i)").execute(&pool).await.unwrap();
    assert!(!has_temp_table(&pool).await);
    assert_eq!(diary.closed(), [CloseReason::Unproven]);
}

#[tokio::test]
async fn replace_keeps_nothing() {
    let dir = Dir::new();
    let (pool, diary) = pool(&dir, ResetLevel::Replace).await;
    for _ in 0..3 {
        pool.execute("SELECT 1").await.unwrap();
    }
    assert_eq!(diary.opened(), 4, "one to see that the database can be opened");
}

#[tokio::test]
async fn none_lends_on_what_it_gets_but_not_what_is_broken() {
    let dir = Dir::new();
    let (pool, diary) = pool(&dir, ResetLevel::None).await;
    pool.execute("BEGIN").await.unwrap();
    let error = pool.execute("BEGIN").await.unwrap_err();
    assert!(error.to_string().contains("within a transaction"), "{error}");
    assert!(diary.closed().is_empty());
}
