//! State that every reset level clears.

use crate::support::{cut_off, id, kind, one, server};
use millpond_mysql::{MySqlConnection, ResetLevel};
use sqlx::{Connection, Row, raw_sql};

#[tokio::test]
async fn a_reset_restores_the_database_that_an_on_connect_hook_has_set() {
    let Some(server) = server() else { return };
    server.database("millpond_hooked").await;
    let options = one().on_connect(|conn, _| {
        Box::pin(async move {
            raw_sql("USE millpond_hooked").execute(conn).await?;
            Ok(())
        })
    });
    let pool = options.connect(&server.url).await.unwrap();
    for _ in 0..3 {
        let mut lease = pool.acquire().await.unwrap();
        let here: String =
            sqlx::query_scalar("SELECT DATABASE()").fetch_one(&mut *lease).await.unwrap();
        assert_eq!(here, "millpond_hooked");
        raw_sql("USE mysql").execute(&mut *lease).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_with_a_dropped_operation_is_closed_at_every_level() {
    let Some(server) = server() else { return };
    for level in
        [ResetLevel::None, ResetLevel::Transaction, ResetLevel::Session, ResetLevel::Replace]
    {
        let pool = one().reset(level).connect(&server.url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let before = id(&mut lease).await;
        cut_off(&mut lease, "SELECT SLEEP(0.05)").await;
        drop(lease);
        assert_ne!(server.next_is_clean(&pool).await, before, "{level:?}");
    }
}

// MariaDB takes no lock when sqlx's migrator requests one without a time limit, so this test
// requests it as MySQL grants it.
#[tokio::test]
async fn a_lock_taken_unnoticed_is_released_on_return() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let unseen: &mut MySqlConnection = &mut lease;
    let got: i32 = sqlx::query_scalar("SELECT GET_LOCK('millpond_unseen', 5)")
        .fetch_one(unseen)
        .await
        .unwrap();
    assert_eq!(got, 1);
    drop(lease);
    drop(pool.acquire().await.unwrap());
    let free = sqlx::query_scalar::<_, i32>("SELECT IS_FREE_LOCK('millpond_unseen')");
    assert_eq!(free.fetch_one(&mut server.connection().await).await.unwrap(), 1);
    assert_eq!(pool.status().totals.created, 1, "the connection was not worth closing");
}

/// Locks and other state of a session: the statement that takes it, and a statement by which
/// another session notices it.
const HELD: [(&str, &str); 5] = [
    ("LOCK TABLES t WRITE", "INSERT INTO t VALUES (1)"),
    ("FLUSH TABLES WITH READ LOCK", "INSERT INTO t VALUES (2)"),
    ("SELECT GET_LOCK('millpond_held', 5)", "SELECT 1 / (IS_FREE_LOCK('millpond_held') = 1)"),
    (
        "/* x */ select 1, get_lock('millpond_held', 5)",
        "SELECT 1 / (IS_FREE_LOCK('millpond_held') = 1)",
    ),
    ("XA START 'millpond'; INSERT INTO t VALUES (4)", "INSERT INTO t VALUES (4)"),
];

/// Such state that only MariaDB has.
const HELD_ON_MARIADB: [(&str, &str); 2] = [
    ("BACKUP LOCK t", "ALTER TABLE t COMMENT 'a'"),
    ("BACKUP STAGE START; BACKUP STAGE BLOCK_COMMIT", "INSERT INTO t VALUES (3)"),
];
const HELD_ON_MYSQL: [(&str, &str); 1] =
    [("LOCK INSTANCE FOR BACKUP", "ALTER TABLE t COMMENT 'a'")];

#[tokio::test]
async fn no_lock_of_a_session_survives_a_return() {
    let Some(server) = server() else { return };
    let url = server.database("millpond_held").await;
    for level in [ResetLevel::Transaction, ResetLevel::Session] {
        let own = if kind() == "mysql" { &HELD_ON_MYSQL[..] } else { &HELD_ON_MARIADB };
        for (take, other) in HELD.iter().chain(own).copied() {
            let pool = one().reset(level).connect(&url).await.unwrap();
            let again = "DROP TABLE IF EXISTS t; CREATE TABLE t (i INT UNIQUE)";
            raw_sql(again).execute(&pool).await.unwrap();
            let mut lease = pool.acquire().await.unwrap();
            raw_sql(take).execute(&mut *lease).await.unwrap();
            drop(lease);
            let mut bystander = MySqlConnection::connect(&url).await.unwrap();
            raw_sql(
                "SET lock_wait_timeout = 30, sql_mode \
                 = 'ERROR_FOR_DIVISION_BY_ZERO,STRICT_ALL_TABLES'",
            )
            .execute(&mut bystander)
            .await
            .unwrap();
            // The return of the connection may still be under way.
            drop(pool.acquire().await.unwrap());
            let row = raw_sql(other).fetch_optional(&mut bystander).await.unwrap();
            assert!(
                row.is_none_or(|row| row.try_get_unchecked::<Option<f64>, _>(0).unwrap().is_some()),
                "{take}"
            );
            server.next_is_clean(&pool).await;
        }
    }
}

#[tokio::test]
async fn a_handler_does_not_survive_a_return_and_a_variable_no_session_reset() {
    let Some(server) = server() else { return };
    let url = server.database("millpond_handler").await;
    for level in [ResetLevel::Transaction, ResetLevel::Session] {
        let pool = one().reset(level).connect(&url).await.unwrap();
        let again = "DROP TABLE IF EXISTS t; CREATE TABLE t (i INT)";
        raw_sql(again).execute(&pool).await.unwrap();
        raw_sql("HANDLER t OPEN AS h").execute(&pool).await.unwrap();
        raw_sql("HANDLER h READ FIRST").execute(&pool).await.unwrap_err();
        for set in ["SET @mine = 'secret'", "SELECT @mine := 'secret'"] {
            raw_sql(set).execute(&pool).await.unwrap();
            let mine: Option<String> =
                sqlx::query_scalar("SELECT @mine").fetch_one(&pool).await.unwrap();
            assert!(mine.is_none() || level == ResetLevel::Transaction);
        }
    }
}
