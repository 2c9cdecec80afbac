//! The kernel asks idle connections whether their server is still there.

use crate::support::{one, server};
use millpond_testkit::ChaosProxy;
use std::fs;
use std::time::Duration;

/// What the kernel's timers of all sockets to this port are for; 2 is keepalive, 0 is nothing.
fn timers(address: &str) -> Vec<u8> {
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let sockets = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // sl, local address, remote address, state, queues, timer:when
    let ours = sockets.filter(|fields| fields[2].ends_with(&format!(":{port:04X}")) && fields[3] == "01");
    ours.map(|fields| fields[5].split_once(':').unwrap().0.parse().unwrap()).collect()
}

#[tokio::test]
async fn idle_connections_are_kept_alive_unless_that_is_switched_off() {
    let Some(server) = server() else { return };
    for (keepalive, timer) in [(None, 2), (Some(Duration::from_secs(5)), 2), (Some(Duration::ZERO), 0)] {
        let proxy = ChaosProxy::start(server.address()).await.unwrap();
        let mut options = one().pool_size(3).pre_ping_idle(Duration::from_secs(60));
        if let Some(idle) = keepalive {
            options = options.tcp_keepalive(idle);
        }
        let pool = options.connect(&proxy.reroute(&server.url)).await.unwrap();
        pool.prewarm(3).await.unwrap();
        assert_eq!(timers(&proxy.address().to_string()), [timer; 3], "{keepalive:?}");
    }
}
