//! A connection that is done with leaves neither a socket nor a task behind, and nobody keeps one
//! unnoticed.

use crate::support::{by_each_driver, clients, echo, few, id, single};
use millpond_core::{ConnectInfo, Manager};
use millpond_redis::{RedisConnectOptions, RedisLease, RedisManager};
use millpond_testkit::{Trace, poll_n, until};
use std::time::Duration;
use tokio::runtime::Handle;

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn is_connected(url: &str, id: i64) -> bool {
    clients(url).await.lines().any(|line| line.starts_with(&format!("id={id} ")))
}

#[tokio::test]
async fn a_connection_that_is_simply_dropped_leaves_neither_socket_nor_task() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let manager = RedisManager::new(url.parse::<RedisConnectOptions>().unwrap());
        let before = tasks();
        let mut connection =
            manager.connect(&ConnectInfo::first("test", Duration::from_secs(5))).await.unwrap();
        let id: i64 =
            connection.run(millpond_redis::Command::new("CLIENT").arg("ID")).await.unwrap();
        assert!(is_connected(&url, id).await);
        drop(connection);
        until("its task has ended", async || tasks() <= before).await;
        until("its socket is closed", async || !is_connected(&url, id).await).await;
    }
}

#[tokio::test]
async fn an_attempt_to_connect_that_is_dropped_leaves_neither_socket_nor_task() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let manager = RedisManager::new(url.parse::<RedisConnectOptions>().unwrap());
        let before = tasks();
        for polls in 1..20 {
            let info = ConnectInfo::first("test", Duration::from_secs(5));
            drop(poll_n(manager.connect(&info), polls).await);
            until("its task has ended", async || tasks() <= before).await;
        }
    }
}

#[tokio::test]
async fn a_pool_that_is_closed_has_no_socket_and_no_task_left() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let before = tasks();
        let pool = few(3).connect(&url).await.unwrap();
        let mut leases = futures_util::future::join_all((0..3).map(|_| pool.acquire())).await;
        let mut ids = Vec::new();
        for lease in &mut leases {
            ids.push(id(lease.as_mut().unwrap()).await);
        }
        drop(leases);
        assert!(pool.close().await.is_clean());
        drop(pool);
        until("no task is left", async || tasks() <= before).await;
        let list = clients(&url).await;
        assert!(ids.iter().all(|id| !list.contains(&format!("id={id} "))), "{list}");
    }
}

#[cfg(feature = "fred")]
#[tokio::test]
async fn a_client_that_was_cloned_out_of_a_lease_is_noticed_and_ends_with_it() {
    use millpond_core::CloseReason;
    let Some(url) = single() else { return };
    let trace = Trace::new();
    let pool = few(1).observer(trace.clone()).connect(&url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let before = id(&mut lease).await;
    let escaped = lease.driver().unwrap().clone();
    drop(lease);
    let mut lease = pool.acquire().await.unwrap();
    assert_ne!(id(&mut lease).await, before);
    assert_eq!(trace.closed(), [CloseReason::HandleLeaked]);
    use fred::interfaces::ClientLike;
    assert!(escaped.ping::<String>(None).await.is_err(), "it lives on");
    // Who only looks at it loses the connection too, for another reason.
    let _ = lease.driver().unwrap().is_connected();
    drop(lease);
    drop(pool.acquire().await.unwrap());
    assert_eq!(trace.closed(), [CloseReason::HandleLeaked, CloseReason::Unverified]);
}

#[tokio::test]
async fn a_lost_connection_is_not_lent() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let trace = Trace::new();
        let pool = few(2).observer(trace.clone()).connect(&url).await.unwrap();
        let (mut one, mut other) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        let ids = [id(&mut one).await, id(&mut other).await];
        drop(one);
        for id in ids {
            let kill = millpond_redis::Command::new("CLIENT")
                .arg("KILL")
                .arg("ID")
                .arg(id)
                .arg("SKIPME")
                .arg("no");
            let _ = few(1).connect(&url).await.unwrap().run::<i64>(kill).await.unwrap();
        }
        // The borrower of one notices with the next command.
        assert!(other.run::<String>(echo("x")).await.unwrap_err().is_outage());
        drop(other);
        for _ in 0..4 {
            let mut lease: RedisLease = pool.acquire().await.unwrap();
            assert_eq!(lease.run::<String>(echo("x")).await.unwrap(), "x");
        }
        assert_eq!(trace.closed().len(), 2);
    }
}
