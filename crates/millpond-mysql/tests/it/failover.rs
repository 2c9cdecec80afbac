//! A failover is suspected, then checked: what only looks like one costs nobody a connection.

use crate::private::Private;
use crate::support::{Diary, id, one, server, until};
use millpond_core::{CloseReason, Event};
use millpond_mysql::MySqlPoolOptions;
use sqlx::{Connection, raw_sql};
use std::time::Duration;

fn invalidations(diary: &Diary) -> usize {
    diary.pick(|event| matches!(event, Event::Invalidated { .. }).then_some(())).len()
}

#[tokio::test]
async fn a_write_in_a_transaction_that_is_read_only_by_wish_is_no_failover() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_readonly").await;
    for _ in 0..3 {
        let mut tx = pool.begin_with("START TRANSACTION READ ONLY").await.unwrap();
        let error = sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap_err();
        assert!(error.to_string().contains("1792"), "{error}");
        drop(tx);
        server.same_is_clean(&pool).await;
    }
    assert_eq!(pool.status().generation, 0);
}

#[tokio::test]
async fn a_session_that_somebody_ends_costs_itself_and_a_look_at_the_idle_ones() {
    let Some(server) = server() else { return };
    let diary = Diary::default();
    let options = MySqlPoolOptions::new().pool_size(3).max_overflow(0).observer(diary.clone());
    let pool = options.connect(&server.url).await.unwrap();
    let (mut one, mut two, three) =
        (pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let kill = format!("KILL {}; KILL {}", id(&mut one).await, id(&mut two).await);
    drop((two, three));
    server.execute(kill).await;
    sqlx::query("SELECT 1").execute(&mut *one).await.unwrap_err();
    drop(one);
    until(|| pool.size() == 1).await;
    let mut closed = diary.closed();
    closed.sort_by_key(|reason| reason.name());
    assert_eq!(closed, [CloseReason::Broken, CloseReason::PingFailed]);
    assert_eq!(invalidations(&diary), 0);
    server.next_is_clean(&pool).await;
}

#[tokio::test]
async fn a_server_that_was_made_read_only_makes_everything_out_of_date_and_one_that_refuses_a_file_does_not() {
    let Some(mut private) = Private::start(false) else { return };
    private.kill().await;
    private.start_again("--secure-file-priv=/var/lib");
    let mut root = private.accepts().await;
    // Whoever may do everything may also write to a server that is read-only.
    let sql = "CREATE USER miller@'127.0.0.1'; GRANT ALL ON millpond.* TO miller@'127.0.0.1'; \
               GRANT FILE ON *.* TO miller@'127.0.0.1'; CREATE TABLE millpond.t (i INT)";
    raw_sql(sql).execute(&mut root).await.unwrap();
    let diary = Diary::default();
    let options = MySqlPoolOptions::new().pool_size(2).max_overflow(0).observer(diary.clone());
    let pool = options.pre_ping_idle(Duration::ZERO).connect(&private.url().replace("root@", "miller@")).await.unwrap();
    let mut bystander = pool.acquire().await.unwrap();
    let before = id(&mut bystander).await;

    let file = "SELECT 1 INTO OUTFILE '/tmp/millpond_never'";
    let error = sqlx::query(file).execute(&pool).await.unwrap_err();
    assert!(error.to_string().contains("1290"), "{error}");
    // It has been looked into when it can be lent again.
    let error = sqlx::query(file).execute(&pool).await.unwrap_err();
    assert!(error.to_string().contains("1290"), "{error}");
    assert_eq!((diary.closed(), invalidations(&diary)), (vec![], 0));

    raw_sql("SET GLOBAL read_only = 1").execute(&mut root).await.unwrap();
    // One look a second.
    let refused = async {
        while invalidations(&diary) == 0 {
            let error = sqlx::query("INSERT INTO t VALUES (1)").execute(&pool).await.unwrap_err();
            assert!(error.to_string().contains("1290"), "{error}");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
    drop(bystander);
    until(|| diary.closed().contains(&CloseReason::Invalidated)).await;
    let mut lease = pool.acquire().await.unwrap();
    assert_ne!(id(&mut lease).await, before, "the one that was in use went when it came back");
    root.close().await.unwrap();
}

#[tokio::test]
async fn a_pool_over_a_replica_that_never_took_writes_keeps_its_connections() {
    let Some(mut private) = Private::start(false) else { return };
    private.kill().await;
    private.start_again("--read-only=1");
    let mut root = private.accepts().await;
    raw_sql("CREATE USER miller@'127.0.0.1'; GRANT ALL ON millpond.* TO miller@'127.0.0.1'")
        .execute(&mut root)
        .await
        .unwrap();
    let pool = one().connect(&private.url().replace("root@", "miller@")).await.unwrap();
    for _ in 0..3 {
        let error = sqlx::query("CREATE TABLE t (i INT)").execute(&pool).await.unwrap_err();
        assert!(error.to_string().contains("1290"), "{error}");
    }
    let status = pool.status();
    assert_eq!((status.generation, status.totals.created), (0, 1));
    root.close().await.unwrap();
}
