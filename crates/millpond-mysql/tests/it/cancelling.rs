//! Sessions with abandoned statements are ended at the server, and no other client's sessions are.

use crate::support::{LONG, Server, cut_off, id, one, server, until};
use futures_util::TryStreamExt;
use millpond_core::Event;
use millpond_mysql::{MySqlPool, PoolKind, ResetLevel};
use millpond_testkit::{Trace, poll_n};
use sqlx::{Connection, Row, raw_sql};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Far less than the abandoned statements take, and enough for a busy machine.
const SOON: Duration = Duration::from_secs(8);

/// Starts a long statement, drops it, and returns the connection to the pool. Returns the number of
/// its session.
async fn abandon(pool: &MySqlPool, sql: &'static str) -> u64 {
    let mut lease = pool.acquire().await.unwrap();
    let id = id(&mut lease).await;
    cut_off(&mut lease, sql).await;
    id
}

/// Returns true if the server still has this session.
async fn lives(server: &Server, id: u64) -> bool {
    let sql = "SELECT EXISTS (SELECT * FROM information_schema.processlist WHERE id = ?)";
    sqlx::query_scalar(sql).bind(id).fetch_one(&mut server.connection().await).await.unwrap()
}

/// Waits until the session has ended.
pub async fn ended(server: &Server, id: u64) {
    let waiting = async { while lives(server, id).await {} };
    tokio::time::timeout(Duration::from_secs(15), waiting).await.expect("it goes on");
}

#[tokio::test]
async fn a_dropped_query_is_stopped_at_the_server_even_if_the_pool_is_full() {
    let Some(server) = server() else { return };
    for kind in [PoolKind::Queue, PoolKind::Null] {
        let pool = one().pool(kind).connect(&server.url).await.unwrap();
        let begun = Instant::now();
        let before = abandon(&pool, LONG).await;
        server.next_is_clean(&pool).await;
        ended(&server, before).await;
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        assert_eq!(pool.status().totals.peak, 1, "the cancel took the slot of its victim");
    }
}

#[tokio::test]
async fn a_transaction_with_a_dropped_query_releases_its_locks_at_once() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_locks").await;
    sqlx::query("INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("UPDATE t SET i = 2").execute(&mut *tx).await.unwrap();
    assert!(poll_n(raw_sql(LONG).execute(&mut *tx), 1).await.is_none());
    drop(tx);
    // Waits for the lock if necessary, at most innodb_lock_wait_timeout (50 s).
    let begun = Instant::now();
    sqlx::query("UPDATE t SET i = 3").execute(&pool).await.unwrap();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_endless_stream_that_was_dropped_early_frees_its_slot_soon() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let sql = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) \
               SELECT a.i, REPEAT('x', 1000) FROM n a JOIN n b JOIN n c JOIN n d JOIN n e";
    let mut lease = pool.acquire().await.unwrap();
    let before = id(&mut lease).await;
    let mut rows = sqlx::query(sql).fetch(&mut *lease);
    rows.try_next().await.unwrap().unwrap();
    drop(rows);
    drop(lease);
    let begun = Instant::now();
    server.next_is_clean(&pool).await;
    ended(&server, before).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_session_of_a_closed_connection_is_ended_too() {
    let Some(server) = server() else { return };
    let pool = one().reset(ResetLevel::Replace).connect(&server.url).await.unwrap();
    let before = abandon(&pool, LONG).await;
    ended(&server, before).await;
}

#[tokio::test]
async fn without_cancelling_a_dropped_query_goes_on() {
    let Some(server) = server() else { return };
    let pool = one().cancel_abandoned(false).connect(&server.url).await.unwrap();
    let before = abandon(&pool, LONG).await;
    server.next_is_clean(&pool).await;
    assert!(lives(&server, before).await);
    server.execute(format!("KILL {before}")).await;
}

#[tokio::test]
async fn a_cancel_that_the_server_refuses_is_only_reported() {
    let Some(server) = server() else { return };
    server.user("millpond_cancel", "WITH MAX_USER_CONNECTIONS 1").await;
    let trace = Trace::new();
    let url = format!("mysql://millpond_cancel@{}", server.address());
    let pool = one().observer(trace.clone()).connect(&url).await.unwrap();
    // The server still counts the session that is being ended.
    let before = abandon(&pool, LONG).await;
    let warned = |event: &Event| {
        matches!(event, Event::Warned { setting: "cancel_abandoned", .. }).then_some(())
    };
    until(|| !trace.pick(warned).is_empty()).await;
    server.execute(format!("KILL {before}")).await;
    drop(pool.acquire().await.unwrap());
}

#[tokio::test]
async fn the_session_of_another_server_that_has_the_same_number_is_not_ended() {
    let Some(server) = server() else { return };
    // As after a failover: the bystander has the number that the victim had on the previous server.
    let mut bystander = server.connection().await;
    let sql = "SELECT CRC32(CONCAT(@@hostname, ':', @@port + 1)) << 32 | CONNECTION_ID()";
    let row = raw_sql(sql).fetch_one(&mut bystander).await.unwrap();
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    lease.set_session(row.get(0));
    cut_off(&mut lease, "SELECT SLEEP(0.05)").await;
    drop(lease);
    server.next_is_clean(&pool).await;
    bystander.ping().await.unwrap();
}

/// Runs a proxy that, like ProxySQL, reports its own session numbers instead of the server's.
async fn renumbering(server: String) -> SocketAddr {
    const QUESTION: &[u8] = b"\x03SELECT CONNECTION_ID()";
    const OTHER: &[u8] = b"\x03SELECT 1234567890+0001";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                loop {
                    let count = from_client.read(&mut bytes).await?;
                    if count == 0 {
                        return std::io::Result::Ok(());
                    }
                    let sent = &mut bytes[..count];
                    if sent.ends_with(QUESTION) {
                        let begin = count - QUESTION.len();
                        sent[begin..].copy_from_slice(OTHER);
                    }
                    to_server.write_all(sent).await?;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn behind_a_proxy_with_its_own_session_numbers_no_session_is_killed() {
    let Some(server) = server() else { return };
    let proxy = renumbering(server.address().to_owned()).await;
    let url = server.url.replace(server.address(), &proxy.to_string());
    for (url, is_known) in [(&server.url, true), (&url, false)] {
        let pool = one().connect(url).await.unwrap();
        let lease = pool.acquire().await.unwrap();
        assert_eq!(lease.session().is_some(), is_known, "{url}");
    }
}
