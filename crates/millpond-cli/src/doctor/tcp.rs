//! How long a TCP connect takes.

use super::measured::{CONNECTS, median};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Longer than that, it is not measured.
const LIMIT: Duration = Duration::from_secs(2);

/// Returns the median time of a TCP connect, names resolved before; `None` if there is none.
pub async fn connect_time(host: &str, port: u16) -> Option<Duration> {
    let address = lookup_host((host, port)).await.ok()?.next()?;
    let mut times = Vec::new();
    for _ in 0..CONNECTS {
        let started = Instant::now();
        timeout(LIMIT, TcpStream::connect(address)).await.ok()?.ok()?;
        times.push(started.elapsed());
    }
    median(times)
}

/// Returns true if the host is this machine.
pub fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.is_empty()
        || host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_several_names() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "/run/postgresql"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["db.example", "10.0.0.1", "localhost.example"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[tokio::test]
    async fn a_connect_that_is_refused_takes_no_time() {
        assert_eq!(connect_time("127.0.0.1", 1).await, None);
    }
}
