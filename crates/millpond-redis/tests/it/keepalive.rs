//! TCP keepalive, as the system reports it.

use crate::support::{by_each_driver, few, single};
use millpond_redis::{Command, RedisError};
use millpond_testkit::until;
use std::fs::read_to_string;
use std::time::Duration;

/// The timer that is set for the socket between these ports: 2 is that of keepalive, 0 none.
fn timer(ours: u16, server: u16) -> Option<u8> {
    let sockets = read_to_string("/proc/net/tcp").unwrap_or_default();
    let line = sockets.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is = |at: usize, port: u16| words[at].ends_with(&format!(":{port:04X}"));
        (is(1, ours) && is(2, server)).then(|| words[5].to_owned())
    })?;
    line.split(':').next()?.parse().ok()
}

/// The port in a field of what CLIENT INFO says.
fn port(info: &str, field: &str) -> u16 {
    let address = info.split(' ').find_map(|word| word.strip_prefix(field)).unwrap();
    address.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_system_asks_whether_a_silent_server_is_there_unless_that_is_off() {
    let Some(url) = single().filter(|_| cfg!(target_os = "linux")) else { return };
    for url in by_each_driver(&url) {
        let query = |seconds: u32| {
            format!("{url}{}tcp_keepalive={seconds}", if url.contains('?') { '&' } else { '?' })
        };
        for (seconds, is_on) in [(None, true), (Some(5), true), (Some(0), false)] {
            let pool = few(1).connect(&seconds.map_or(url.clone(), query)).await.unwrap();
            let info: String = pool.run(Command::new("CLIENT").arg("INFO")).await.unwrap();
            let (ours, server) = (port(&info, "addr="), port(&info, "laddr="));
            let wanted = Some(if is_on { 2 } else { 0 });
            until("its timer is as wanted", async || timer(ours, server) == wanted).await;
        }
    }
}

#[tokio::test]
async fn a_time_out_of_range_is_reported_with_its_setting() {
    for (keepalive, is_fine) in [(0, true), (1, true), (3600, true), (3601, false)] {
        let options = millpond_redis::RedisConnectOptions::single("localhost", 1)
            .tcp_keepalive(Duration::from_secs(keepalive));
        match millpond_redis::RedisPoolOptions::new().connect_lazy_with(options) {
            Ok(_) => assert!(is_fine, "{keepalive}"),
            Err(RedisError::Setup { reason }) => {
                assert!(!is_fine && reason.contains("tcp_keepalive = 3601s"), "{reason}")
            }
            Err(error) => panic!("{error}"),
        }
    }
}
