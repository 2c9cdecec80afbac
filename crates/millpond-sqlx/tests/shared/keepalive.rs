//! The kernel probes idle connections to check that their server is still there.

use crate::support::{one, server};
use millpond_testkit::{ChaosProxy, until};
use std::fs;
use std::time::Duration;

/// Returns the kind of the active kernel timer of each socket to this port: 2 is keepalive, 0 is
/// none, and 1 means that data is unacknowledged.
fn timers(address: &str) -> Vec<u8> {
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let sockets = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // sl, local address, remote address, state, queues, timer:when
    let ours =
        sockets.filter(|fields| fields[2].ends_with(&format!(":{port:04X}")) && fields[3] == "01");
    ours.map(|fields| fields[5].split_once(':').unwrap().0.parse().unwrap()).collect()
}

#[tokio::test]
async fn idle_connections_are_kept_alive_unless_keepalive_is_off() {
    let Some(server) = server() else { return };
    for (keepalive, timer) in
        [(None, 2), (Some(Duration::from_secs(5)), 2), (Some(Duration::ZERO), 0)]
    {
        let proxy = ChaosProxy::start(server.address()).await.unwrap();
        let mut options = one().pool_size(3).pre_ping_idle(Duration::from_secs(60));
        if let Some(idle) = keepalive {
            options = options.tcp_keepalive(idle);
        }
        let pool = options.connect(&proxy.reroute(&server.url)).await.unwrap();
        pool.prewarm(3).await.unwrap();
        let address = proxy.address().to_string();
        until("the timers are as set", async || timers(&address) == [timer; 3]).await;
    }
}

#[tokio::test]
async fn keepalive_leaves_the_sockets_of_pools_without_it_alone() {
    let Some(server) = server() else { return };
    for _ in 0..8 {
        let proxy = ChaosProxy::start(server.address()).await.unwrap();
        let url = proxy.reroute(&server.url);
        let (with, without) = (one().connect(&url), one().tcp_keepalive(None).connect(&url));
        let (with, without) = tokio::join!(with, without);
        let without = without.unwrap();
        drop(with.unwrap());
        let _lease = without.acquire().await.unwrap();
        let address = proxy.address().to_string();
        until("one socket is left, without a timer", async || timers(&address) == [0]).await;
    }
}

#[tokio::test]
async fn a_time_out_of_its_range_is_refused_with_the_range() {
    let Some(server) = server() else { return };
    for time in [Duration::from_millis(999), Duration::from_secs(3601)] {
        for (name, options) in [
            ("tcp_keepalive", one().tcp_keepalive(time)),
            ("tcp_user_timeout", one().tcp_user_timeout(time)),
        ] {
            let error = options.connect(&server.url).await.unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("1s to 3600s"), "{error}");
        }
    }
}
