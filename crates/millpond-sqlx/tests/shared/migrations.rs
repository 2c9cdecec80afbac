//! A failed migration does not block other migrators.

use crate::support::{one, server};
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use std::time::Duration;
use tokio::time::timeout;

fn migrator(sql: &'static str) -> Migrator {
    let sql = sql.into_sql_str();
    Migrator::with_migrations(vec![Migration::new(
        1,
        "test".into(),
        MigrationType::Simple,
        sql,
        false,
    )])
}

#[tokio::test]
async fn a_failed_migration_leaves_no_lock_on_its_returned_connection() {
    let Some(server) = server() else { return };
    let url = server.scratch("millpond_failed_migration").await;
    let pool = one().connect(&url).await.unwrap();
    for way in 0..3 {
        let wrong = migrator("CREATE NONSENSE");
        match way {
            0 => wrong.run(&pool).await.unwrap_err(),
            1 => wrong.run(&mut pool.acquire().await.unwrap()).await.unwrap_err(),
            _ => {
                let mut lease = pool.acquire().await.unwrap();
                wrong.run_direct(None, &mut **lease, false).await.unwrap_err()
            }
        };
        drop(pool.acquire().await.unwrap());
        // Another replica, which would wait forever.
        let other = one().connect(&url).await.unwrap();
        let migrated =
            timeout(Duration::from_secs(20), migrator("CREATE NONSENSE").run(&other)).await;
        migrated.expect("the migrations are locked").unwrap_err();
    }
}
