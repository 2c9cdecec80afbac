//! Notifications, over the listener's own connection.

use crate::support::{one, server};
use millpond_postgres::{PgListener, PgPoolOptions, Pooler};
use millpond_testkit::{ChaosProxy, Direction, Flow, poll_n, until};
use sqlx::Row;

#[tokio::test]
async fn notifications_arrive_and_a_lost_connection_is_opened_again() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let options = PgPoolOptions::new();
    let mut listener = options
        .listener(&format!("{}?application_name=millpond_listens", server.url))
        .await
        .unwrap();
    listener.listen("millpond_floods").await.unwrap();
    for payload in ["first", "second"] {
        sqlx::query("SELECT pg_notify('millpond_floods', $1)")
            .bind(payload)
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(listener.recv().await.unwrap().payload(), payload);
    }
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE \
        application_name = 'millpond_listens'";
    let ended = sqlx::query(sql).fetch_one(&pool).await.unwrap();
    assert_eq!(ended.get::<i64, _>(0), 1);
    assert!(listener.try_recv().await.unwrap().is_none(), "the loss is reported");
    sqlx::query("SELECT pg_notify('millpond_floods', 'third')").execute(&pool).await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), "third");
    assert_eq!(pool.size(), 1, "it is none of the pool's");
}

#[tokio::test]
async fn a_listener_needs_a_session_and_a_url_that_is_understood() {
    let error = one().behind(Pooler::PgBouncer).listener("postgres://u@h/d").await.unwrap_err();
    assert!(error.to_string().contains("the server itself"), "{error}");
    let error = one().listener("postgres://u@h/d?ssl=require").await.unwrap_err();
    assert!(error.to_string().contains("sslmode=require"), "{error}");
}

#[tokio::test]
async fn a_listener_dropped_at_any_poll_of_its_connect_leaves_no_connection() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    proxy.set(Direction::ToClient, Flow::free().in_pieces_of(4));
    let url = proxy.reroute(&server.url);
    let mut polls = 0;
    while poll_n(PgPoolOptions::new().listener(&url), polls).await.is_none() {
        polls += 1;
        until("nothing is open", async || proxy.links().iter().all(|link| !link.is_open())).await;
    }
    assert!(polls > 5, "{polls} cuts: the messages came in one piece");
}

/// Returns true if the kernel keeps the socket with this local port alive: timer 2 is keepalive.
#[cfg(target_os = "linux")]
fn is_kept_alive(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    table.lines().skip(1).any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(&format!(":{port:04X}")) && fields[5].starts_with("02:")
    })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_listeners_connection_is_kept_alive_also_after_a_reconnect() {
    let Some(server) = server() else { return };
    let mut listener = PgPoolOptions::new().listener(&server.url).await.unwrap();
    listener.listen("millpond_kept_alive").await.unwrap();
    let sql = "SELECT inet_client_port(), pg_backend_pid()";
    for _ in 0..2 {
        let row = sqlx::raw_sql(sql).fetch_one(&mut listener).await.unwrap();
        let (port, pid): (i32, i32) = (row.get(0), row.get(1));
        until("it is kept alive", async || is_kept_alive(port as u16)).await;
        let sql = "SELECT pg_terminate_backend($1)";
        sqlx::query(sql).bind(pid).execute(&mut server.connection().await).await.unwrap();
        assert!(listener.try_recv().await.unwrap().is_none(), "the loss is reported");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_listener_behind_a_proxy_is_kept_alive_too() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let _listener = PgPoolOptions::new().listener(&proxy.reroute(&server.url)).await.unwrap();
    let table = || std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let peer = format!(
        ":{:04X}",
        proxy.address().to_string().rsplit_once(':').unwrap().1.parse::<u16>().unwrap()
    );
    until("it is kept alive", async || {
        table().lines().skip(1).any(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            fields[2].ends_with(&peer) && fields[5].starts_with("02:")
        })
    })
    .await;
}

#[tokio::test]
async fn sqlxs_own_listener_takes_sqlxs_pool_of_a_pool() {
    let Some(server) = server() else { return };
    for connections in [1, 2] {
        let options = PgPoolOptions::new().pool_size(3).max_overflow(0);
        let pool = options.sqlx_connections(connections).connect(&server.url).await.unwrap();
        let mut listener = PgListener::connect_with(&pool.sqlx().unwrap()).await.unwrap();
        let channel = format!("sqlx_{:x}", fastrand::u64(..));
        listener.listen(&channel).await.unwrap();
        let notify = "SELECT pg_catalog.pg_notify($1, 'risen')";
        sqlx::query(notify).bind(&channel).execute(&pool).await.unwrap();
        assert_eq!(listener.recv().await.unwrap().payload(), "risen");
        drop(listener);
        pool.close().await;
        assert_eq!(pool.status().open, 0);
    }
}
