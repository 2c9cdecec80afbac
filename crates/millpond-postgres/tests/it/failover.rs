//! A failover is suspected, then checked: what only looks like one costs nobody a connection.

use crate::private::Private;
use crate::support::{Diary, one, pid, server, until};
use millpond_core::{CloseReason, Event};
use millpond_postgres::PgPoolOptions;
use sqlx::raw_sql;
use std::fs;
use std::time::Duration;

fn invalidations(diary: &Diary) -> usize {
    diary.pick(|event| matches!(event, Event::Invalidated { .. }).then_some(())).len()
}

#[tokio::test]
async fn a_write_in_a_transaction_that_is_read_only_by_wish_is_no_failover() {
    let Some(server) = server() else { return };
    let diary = Diary::default();
    let pool = one().observer(diary.clone()).connect(&server.schema("millpond_readonly").await).await.unwrap();
    raw_sql("CREATE TABLE t (i INT)").execute(&pool).await.unwrap();
    for _ in 0..3 {
        let mut tx = pool.begin_with("BEGIN READ ONLY").await.unwrap();
        let error = sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("25006"));
        drop(tx);
        server.same_is_clean(&pool).await;
    }
    assert_eq!((diary.closed(), invalidations(&diary)), (vec![], 0));
}

#[tokio::test]
async fn a_session_that_somebody_ends_costs_itself_and_a_look_at_the_idle_ones() {
    let Some(server) = server() else { return };
    let diary = Diary::default();
    let options = PgPoolOptions::new().pool_size(3).max_overflow(0).observer(diary.clone());
    let pool = options.connect(&server.url).await.unwrap();
    let (mut one, mut two, three) =
        (pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let ended = [pid(&mut one).await, pid(&mut two).await];
    drop((two, three));
    let kill = sqlx::query("SELECT pg_terminate_backend(pid) FROM unnest($1::int4[]) pid").bind(ended.to_vec());
    kill.execute(&mut server.connection().await).await.unwrap();
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
async fn a_server_that_has_become_a_standby_makes_everything_out_of_date() {
    let Some(mut private) = Private::start(false) else { return };
    let diary = Diary::default();
    let options = PgPoolOptions::new().pool_size(2).max_overflow(0).observer(diary.clone());
    let pool = options.pre_ping_idle(Duration::ZERO).connect(&private.server().url).await.unwrap();
    raw_sql("CREATE TABLE t (i INT)").execute(&pool).await.unwrap();
    private.signal("INT");
    fs::write(format!("{}/standby.signal", private.data()), "").unwrap();
    private.start_again("").await;
    drop(private.accepts().await);
    // What was opened before is found out by the ping; what is opened now leads to a server that has changed.
    let mut bystander = pool.acquire().await.unwrap();
    let before = pid(&mut bystander).await;
    let error = loop {
        match sqlx::query("INSERT INTO t VALUES (1)").execute(&pool).await {
            Ok(_) => panic!("a standby took a write"),
            Err(error) if error.as_database_error().is_some() => break error,
            Err(_) => {}
        }
    };
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("25006"));
    until(|| invalidations(&diary) == 1).await;
    drop(bystander);
    until(|| diary.closed().contains(&CloseReason::Invalidated)).await;
    let mut lease = pool.acquire().await.unwrap();
    assert_ne!(pid(&mut lease).await, before, "the one that was in use went when it came back");
}
