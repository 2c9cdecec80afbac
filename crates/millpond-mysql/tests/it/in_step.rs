//! What comes back is fit for the next borrower: no open transaction, no answer to somebody else's question.

use crate::support::{Diary, LONG, cut_after, id, one, rows, server};
use futures_util::TryStreamExt;
use millpond_core::CloseReason;
use millpond_mysql::Standing;
use sqlx::{Acquire, AssertSqlSafe, Connection, Executor, MySqlConnection, Row, raw_sql};

const MANY: &str = "SELECT seq FROM seq_1_to_5000";

#[tokio::test]
async fn single_statements_that_ran_to_their_end_are_clean_and_come_back_without_io() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_clean").await;
    let mut lease = pool.acquire().await.unwrap();
    for sql in
        ["INSERT INTO t VALUES (1)", "UPDATE t SET i = 2", "DELETE FROM t", "VALUES (1)", "select 1;", "-- x\nSELECT 1"]
    {
        sqlx::query(sql).execute(&mut *lease).await.unwrap();
        assert_eq!(lease.standing(), Standing::Clean, "{sql}");
    }
    sqlx::query(MANY).fetch_all(&mut *lease).await.unwrap();
    sqlx::query(MANY).fetch_one(&mut *lease).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1) RETURNING i").fetch_one(&mut *lease).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *lease).await.unwrap_err();
    sqlx::query("SELECT nonsense").execute(&mut *lease).await.unwrap_err();
    sqlx::query("SELECT ?").bind(1).fetch_one(&mut *lease).await.unwrap();
    assert_eq!(lease.standing(), Standing::Clean);
    drop(lease);
    // No keeper has run between: the connection is there at once.
    assert!(pool.try_acquire().is_some());
}

// B03
#[tokio::test]
async fn a_written_begin_never_reaches_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_begin").await;
    for sql in [
        "BEGIN",
        "begin work",
        "/* read */ BEGIN",
        "/*!50000 BEGIN */",
        "/*M! BEGIN */",
        "-- read\nBegin",
        "# read\nBEGIN",
        "SELECT 1; BEGIN",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "BEGIN; SAVEPOINT a",
        "SET @a = 1; BEGIN",
        "SET autocommit = 0",
        "SELECT 1; SET autocommit = 0",
        "EXECUTE IMMEDIATE 'SET autocommit = 0'",
        "SET completion_type = CHAIN; BEGIN; COMMIT",
    ] {
        let mut lease = pool.acquire().await.unwrap();
        raw_sql(sql).execute(&mut *lease).await.unwrap();
        assert_eq!(lease.standing(), Standing::Raw, "{sql}");
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *lease).await.unwrap();
        drop(lease);
        server.same_is_clean(&pool).await;
        assert_eq!(rows(&pool).await, [0; 0], "{sql}");
    }
}

#[tokio::test]
async fn a_select_after_autocommit_was_turned_off_leaves_no_snapshot_to_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_snapshot").await;
    let mut lease = pool.acquire().await.unwrap();
    sqlx::query("SET autocommit = 0").execute(&mut *lease).await.unwrap();
    sqlx::query("SELECT COUNT(*) FROM t").fetch_one(&mut *lease).await.unwrap();
    drop(lease);
    server.execute("INSERT INTO millpond_snapshot.t VALUES (7)").await;
    assert_eq!(rows(&pool).await, [7]);
    server.same_is_clean(&pool).await;
}

// B02
#[tokio::test]
async fn a_script_that_fails_inside_its_own_transaction_leaves_none_open() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_script").await;
    for sql in [
        "BEGIN; INSERT INTO t VALUES (1); SELECT nonsense",
        "BEGIN; INSERT INTO t VALUES (1); SELECT * FROM nowhere; COMMIT",
        "SELECT 1; BEGIN; INSERT INTO t VALUES (1); nonsense",
    ] {
        raw_sql(sql).execute(&pool).await.unwrap_err();
        server.same_is_clean(&pool).await;
        assert_eq!(rows(&pool).await, [0; 0], "{sql}");
    }
}

#[tokio::test]
async fn a_procedure_leaves_neither_a_transaction_open_nor_autocommit_off() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_procedure").await;
    for body in ["START TRANSACTION", "SET autocommit = 0", "SET completion_type = CHAIN"] {
        let sql = format!("CREATE OR REPLACE PROCEDURE careless() BEGIN {body}; INSERT INTO t VALUES (1); END");
        raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
        sqlx::query("CALL careless()").execute(&pool).await.unwrap();
        server.same_is_clean(&pool).await;
        raw_sql("DELETE FROM t").execute(&pool).await.unwrap();
    }
}

#[tokio::test]
async fn locked_tables_are_unlocked() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_locked").await;
    for sql in ["LOCK TABLES t WRITE", "SET autocommit = 0; LOCK TABLES t READ", "FLUSH TABLES t WITH READ LOCK"] {
        raw_sql(sql).execute(&pool).await.unwrap();
        server.same_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn a_setting_for_the_next_transaction_does_not_wait_for_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_next").await;
    sqlx::query("SET TRANSACTION READ ONLY").execute(&pool).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
    assert_eq!(rows(&pool).await, [1]);
}

#[tokio::test]
async fn a_distributed_transaction_costs_its_connection_and_is_rolled_back() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_xa").await;
    raw_sql("XA START 'pond'; INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
    server.next_is_clean(&pool).await;
    assert_eq!(rows(&pool).await, [0; 0]);
}

#[tokio::test]
async fn statements_of_another_database_are_not_executed_for_the_next_borrower() {
    let Some(server) = server() else { return };
    let other = server.table("millpond_other").await;
    sqlx::query("INSERT INTO t VALUES (4711)").execute(&other).await.unwrap();
    let pool = server.table("millpond_home").await;
    let mut lease = pool.acquire().await.unwrap();
    lease.execute("USE millpond_other").await.unwrap();
    // With arguments, so that it is prepared: the server looks tables up where that is done.
    let secret = || sqlx::query_scalar::<_, i32>("SELECT i FROM t WHERE i > ?").bind(0);
    assert_eq!(secret().fetch_one(&mut *lease).await.unwrap(), 4711);
    drop(lease);
    assert_eq!(secret().fetch_optional(&pool).await.unwrap(), None);
    server.same_is_clean(&pool).await;
    let name: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&pool).await.unwrap();
    assert_eq!(name, "millpond_home");
}

#[tokio::test]
async fn a_pool_without_a_database_forgets_the_statements_of_the_one_that_was_used() {
    let Some(server) = server() else { return };
    for (name, i) in [("millpond_tenant_a", 1), ("millpond_tenant_b", 2)] {
        let pool = server.table(name).await;
        sqlx::query("INSERT INTO t VALUES (?)").bind(i).execute(&pool).await.unwrap();
    }
    let pool = one().connect(&format!("mysql://root@{}", server.address())).await.unwrap();
    for (tenant, i) in [("USE millpond_tenant_a", 1), ("USE millpond_tenant_b", 2), ("USE millpond_tenant_a", 1)] {
        let mut lease = pool.acquire().await.unwrap();
        lease.execute(tenant).await.unwrap();
        let sql = "SELECT i FROM t WHERE i > ?";
        let found: i32 = sqlx::query_scalar(sql).bind(0).fetch_one(&mut *lease).await.unwrap();
        assert_eq!(found, i, "{tenant}");
    }
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn strings_in_another_character_set_do_not_confuse_the_proof() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for sql in ["SET NAMES latin1", "SET NAMES utf8mb3", "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"] {
        raw_sql(sql).execute(&pool).await.unwrap();
        server.next_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn a_begin_behind_the_back_of_the_pool_is_rolled_back() {
    async fn helper(conn: &mut MySqlConnection) {
        conn.execute("BEGIN").await.unwrap();
    }
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    helper(&mut lease).await;
    assert_eq!(lease.standing(), Standing::Raw);
    drop(lease);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn transactions_that_were_forgotten_are_rolled_back() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for ended_by_hand in [false, true] {
        let mut lease = pool.acquire().await.unwrap();
        for _ in 0..3 {
            std::mem::forget(Connection::begin(&mut **lease).await.unwrap());
        }
        if ended_by_hand {
            // Of which sqlx does not know.
            raw_sql("ROLLBACK").execute(&mut *lease).await.unwrap();
        }
        drop(lease);
        server.same_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn sqlxs_own_transaction_on_a_lease_is_proved_when_it_comes_back() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let mut tx = Acquire::begin(&mut lease).await.unwrap();
    tx.execute("SELECT 1").await.unwrap();
    drop(tx);
    drop(lease);
    server.same_is_clean(&pool).await;
}

// B04
#[tokio::test]
async fn a_stream_dropped_between_two_rows_leaves_nothing_for_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for rows in [0, 1, 2, 60, 4999] {
        let mut lease = pool.acquire().await.unwrap();
        let mut stream = sqlx::query(MANY).fetch(&mut *lease);
        for expected in 1..=rows {
            let row = stream.try_next().await.unwrap().unwrap();
            assert_eq!(row.get::<u64, _>(0), expected);
        }
        drop(stream);
        assert_eq!(lease.standing(), if rows == 0 { Standing::Clean } else { Standing::Undrained });
        drop(lease);
        server.same_is_clean(&pool).await;
    }
    let mut stream = sqlx::query(MANY).fetch(&pool);
    stream.try_next().await.unwrap();
    drop(stream);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_connection_on_which_something_was_cut_off_is_closed() {
    let Some(server) = server() else { return };
    for sql in [LONG, "SELECT SLEEP(0.05)", "SELECT SLEEP(0.05); BEGIN; SELECT nonsense"] {
        let diary = Diary::default();
        let pool = one().observer(diary.clone()).connect(&server.url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let before = id(&mut lease).await;
        assert!(cut_after(1, raw_sql(sql).fetch_all(&mut *lease)).await.is_none());
        assert_eq!(lease.standing(), Standing::Cut);
        drop(lease);
        assert_ne!(server.next_is_clean(&pool).await, before);
        assert_eq!(diary.closed(), [CloseReason::Unproven]);
    }
}

#[tokio::test]
async fn the_same_borrower_is_told_that_a_connection_is_of_no_use_after_a_query_on_it_was_cut_off() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_told").await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
    assert!(cut_after(1, sqlx::query("SELECT SLEEP(0.05)").fetch_one(&mut *tx)).await.is_none());
    let error = sqlx::query("SELECT 1").fetch_one(&mut *tx).await.unwrap_err();
    assert!(error.to_string().contains("acquire another one"), "{error}");
    tx.commit().await.unwrap_err();
    server.next_is_clean(&pool).await;
    assert_eq!(rows(&pool).await, [0; 0]);
}

#[tokio::test]
async fn a_panic_in_the_borrower_leaves_nothing_behind() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let theirs = pool.clone();
    let task = tokio::spawn(async move {
        let mut lease = theirs.acquire().await.unwrap();
        lease.execute("BEGIN").await.unwrap();
        panic!("in the middle of it");
    });
    assert!(task.await.unwrap_err().is_panic());
    server.next_is_clean(&pool).await;
}

#[tokio::test]
async fn a_connection_that_the_server_has_ended_is_not_lent_again() {
    let Some(server) = server() else { return };
    let diary = Diary::default();
    let pool = one().observer(diary.clone()).connect(&server.url).await.unwrap();
    let before = server.next_is_clean(&pool).await;
    let mut lease = pool.acquire().await.unwrap();
    server.execute(format!("KILL {before}")).await;
    // Told by the server, or by the transport: whichever comes first.
    sqlx::query("SELECT 1").execute(&mut *lease).await.unwrap_err();
    assert_eq!(lease.standing(), Standing::Broken);
    drop(lease);
    assert_ne!(server.next_is_clean(&pool).await, before);
    assert_eq!(diary.closed(), [CloseReason::Broken]);
}

#[tokio::test]
async fn a_statement_that_takes_longer_than_its_server_allows_does_not_cost_its_connection() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let sql = "SET STATEMENT max_statement_time = 0.02 FOR SELECT SUM(seq % 7) FROM seq_1_to_1000000000";
    let error = sqlx::query(sql).fetch_all(&pool).await.unwrap_err();
    assert!(error.to_string().contains("1969"), "{error}");
    server.same_is_clean(&pool).await;
}
