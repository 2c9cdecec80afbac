//! Connects to one of the addresses of a host.

use crate::connect::node::Node;
use crate::connect::options::TcpTimes;
use crate::error::RedisError;
use crate::staggered::staggered;
use millpond_core::{TCP_KEEPALIVE, TCP_USER_TIMEOUT};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};

/// How long after one address of a host the next one is tried as well: RFC 8305.
const ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// How many keepalive probes may stay unanswered: see [`RedisConnectOptions::tcp_keepalive`].
///
/// [`RedisConnectOptions::tcp_keepalive`]: crate::RedisConnectOptions::tcp_keepalive
const KEEPALIVE_PROBES: u32 = 3;

/// Which part of the idle time lies between two probes.
const PROBE_SHARE: u32 = 6;

/// Connects to one of the addresses of a host.
pub(crate) async fn tcp(node: &Node, times: TcpTimes) -> Result<TcpStream, RedisError> {
    let lookup = lookup_host((node.host.as_str(), node.port)).await;
    let addresses = lookup.map_err(|error| unsent(&node.to_string(), &error))?;
    one_of(addresses, node, times).await
}

/// Connects to the first of the addresses, and after a moment to the next one at the same time.
async fn one_of(
    addresses: impl Iterator<Item = SocketAddr>,
    node: &Node,
    times: TcpTimes,
) -> Result<TcpStream, RedisError> {
    let attempts = addresses.map(|address| try_address(address, times));
    let failed = match staggered(attempts, ADDRESS_DELAY).await {
        Ok(stream) => return Ok(stream),
        Err(failed) => failed,
    };
    let reason =
        if failed.is_empty() { format!("{node} has no address") } else { failed.join("; ") };
    Err(RedisError::NotSent { reason })
}

async fn try_address(address: SocketAddr, times: TcpTimes) -> Result<TcpStream, String> {
    let describe = |error: io::Error| format!("{address}: {error}");
    let stream = TcpStream::connect(address).await.map_err(describe)?;
    stream.set_nodelay(true).map_err(describe)?;
    set_times(&stream, times).map_err(describe)?;
    Ok(stream)
}

/// Turns on keepalive, and on Linux the limit for unacknowledged data.
fn set_times(stream: &TcpStream, times: TcpTimes) -> io::Result<()> {
    let (idle, limit) = effective_times(times);
    let socket = SockRef::from(stream);
    if let Some(idle) = idle {
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval(idle));
        socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
    }
    #[cfg(target_os = "linux")]
    if let Some(limit) = limit {
        socket.set_tcp_user_timeout(Some(limit))?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = limit;
    Ok(())
}

/// The idle time and the limit for unacknowledged data, or `None` for off. By default the limit is
/// at most what keepalive takes: with a longer one Linux probes for longer.
fn effective_times(times: TcpTimes) -> (Option<Duration>, Option<Duration>) {
    let on = |time: Duration| (!time.is_zero()).then(|| time.max(Duration::from_secs(1)));
    let idle = on(times.keepalive.unwrap_or(TCP_KEEPALIVE));
    let limit = on(times.user_timeout.unwrap_or(TCP_USER_TIMEOUT));
    match (idle, limit) {
        (Some(idle), Some(TCP_USER_TIMEOUT)) => {
            let probed = idle + interval(idle) * KEEPALIVE_PROBES;
            (Some(idle), Some(TCP_USER_TIMEOUT.min(probed)))
        }
        both => both,
    }
}

/// The time between two probes.
fn interval(idle: Duration) -> Duration {
    (idle / PROBE_SHARE).max(Duration::from_secs(1))
}

pub(crate) fn unsent(destination: &str, error: &io::Error) -> RedisError {
    RedisError::NotSent { reason: format!("{destination}: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::timeout;

    fn node() -> Node {
        Node { host: "redis.example".to_owned(), port: 6379 }
    }

    #[tokio::test]
    async fn a_silent_address_delays_no_connect_wherever_it_is_in_the_list() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let silent = full.local_addr().unwrap();
        let mut queued = Vec::new();
        // It swallows SYNs once its queue of connections is full.
        while let Ok(Ok(stream)) = timeout(ADDRESS_DELAY, TcpStream::connect(silent)).await {
            queued.push(stream);
        }
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = server.local_addr().unwrap();
        for addresses in [vec![silent, good], vec![silent, silent, good], vec![good, silent]] {
            let node = node();
            let connecting = one_of(addresses.into_iter(), &node, TcpTimes::default());
            let connected = timeout(Duration::from_secs(10), connecting).await;
            assert_eq!(connected.unwrap().unwrap().peer_addr().unwrap(), good);
        }
    }

    #[tokio::test]
    async fn an_error_names_every_address() {
        let mut addresses = Vec::new();
        for host in ["127.0.0.1:0", "127.0.0.2:0"] {
            addresses.push(TcpListener::bind(host).await.unwrap().local_addr().unwrap());
        }
        let refused = one_of(addresses.clone().into_iter(), &node(), TcpTimes::default()).await;
        let message = refused.unwrap_err().to_string();
        assert!(addresses.iter().all(|one| message.contains(&one.to_string())), "{message}");
    }

    #[tokio::test]
    async fn keepalive_and_user_timeout_are_set_on_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        let options = async |keepalive, user_timeout| {
            let times =
                TcpTimes { keepalive: seconds(keepalive), user_timeout: seconds(user_timeout) };
            let stream = try_address(address, times).await.unwrap();
            let socket = SockRef::from(&stream);
            let keepalive = socket.keepalive().unwrap().then(|| {
                let (idle, interval) = (
                    socket.tcp_keepalive_time().unwrap(),
                    socket.tcp_keepalive_interval().unwrap(),
                );
                (idle.as_secs(), interval.as_secs(), socket.tcp_keepalive_retries().unwrap())
            });
            (keepalive, socket.tcp_user_timeout().unwrap().map(|limit| limit.as_secs()))
        };
        for (keepalive, user_timeout, wanted) in [
            (None, None, (Some((60, 10, 3)), Some(90))),
            (Some(60), Some(300), (Some((60, 10, 3)), Some(90))),
            (Some(1), None, (Some((1, 1, 3)), Some(4))),
            (Some(3600), None, (Some((3600, 600, 3)), Some(300))),
            (Some(60), Some(7), (Some((60, 10, 3)), Some(7))),
            (Some(60), Some(0), (Some((60, 10, 3)), None)),
            (Some(0), None, (None, Some(300))),
            (Some(0), Some(0), (None, None)),
        ] {
            assert_eq!(options(keepalive, user_timeout).await, wanted);
        }
    }
}
