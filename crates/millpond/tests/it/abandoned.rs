//! The setting `db.cancel_abandoned`: whether a query whose future was dropped is stopped at the
//! server.

use crate::world;
use millpond::{DatabaseConnection, Dialect};
use std::time::{Duration, Instant};

/// How many seconds a query takes if it is not stopped.
const LONG: u64 = 20;

/// Returns how many queries with this mark the server is executing.
async fn running(db: &DatabaseConnection, mark: &str) -> i64 {
    let sql = match db.dialect() {
        Dialect::MySql => {
            "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE $1 AND id <> \
             CONNECTION_ID()"
        }
        _ => {
            "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1 AND \
             pid <> pg_backend_pid()"
        }
    };
    sqlx::query_scalar(sql).bind(format!("%{mark}%")).fetch_one(db).await.unwrap()
}

/// Drops a long query as soon as the server executes it.
async fn abandon(db: &DatabaseConnection, mark: &str, onlooker: &DatabaseConnection) {
    let sleep = if db.dialect() == Dialect::MySql { "SLEEP" } else { "pg_sleep" };
    let sql = sqlx::AssertSqlSafe(format!("SELECT {sleep}({LONG}) /* {mark} */"));
    tokio::select! {
        done = sqlx::raw_sql(sql).execute(db) => panic!("it was to be long: {done:?}"),
        () = async { while running(onlooker, mark).await == 0 {} } => {}
    }
}

#[tokio::test]
async fn an_abandoned_query_is_stopped_at_the_server_unless_switched_off() {
    for onlooker in world::servers().await {
        let url = onlooker.settings().storage.connection_string.clone().unwrap();
        for cancel in [true, false] {
            let mark = format!("abandoned {} {cancel}", std::process::id());
            let builder = DatabaseConnection::builder(url.expose()).set("db.ping_timeout", "200ms");
            let db = builder.set("db.cancel_abandoned", cancel).connect().await.unwrap();
            let begun = Instant::now();
            abandon(&db, &mark, &onlooker).await;
            let in_time = || {
                assert!(
                    begun.elapsed() < Duration::from_secs(LONG / 2),
                    "{} {cancel}",
                    db.dialect()
                )
            };
            if cancel {
                while running(&onlooker, &mark).await > 0 {
                    in_time();
                }
            } else {
                // By then any cancel has been sent.
                while db.status().open > 0 {
                    running(&onlooker, &mark).await;
                    in_time();
                }
                assert_eq!(running(&onlooker, &mark).await, 1, "{}", db.dialect());
            }
        }
    }
}
