//! Finds free ports of the loopback interface.
//!
//! A port is requested from the system and released, so another process may take it before the
//! server does. The server is then started again on another port ([`is_collision`]).

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// The distance of a cluster node's bus from its port.
const BUS_OFFSET: u16 = 10_000;

/// The most ports that are tried for each that is needed.
const ATTEMPTS_MAX: usize = 200;

/// Returns true if a server's log contains that its port was taken.
pub fn is_collision(log: &str) -> bool {
    log.contains("ddress already in use")
}

/// Returns this number of different free ports, each with a free port for the bus of a cluster
/// node. All listeners stay open until the end, so that no port is found twice.
pub fn free(count: usize) -> Result<Vec<u16>, String> {
    let failed = |e: io::Error| format!("no free port on 127.0.0.1: {e}");
    let (mut ports, mut held) = (Vec::new(), Vec::new());
    for _ in 0..count.saturating_mul(ATTEMPTS_MAX) {
        let listener = listen(0).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        held.push(listener);
        if let Some(Ok(bus)) = port.checked_add(BUS_OFFSET).map(listen) {
            held.push(bus);
            ports.push(port);
        }
        if ports.len() == count {
            return Ok(ports);
        }
    }
    Err(failed(io::ErrorKind::AddrNotAvailable.into()))
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_ports_differ_and_can_be_listened_on() {
        let ports = free(20).unwrap();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 20);
        let listeners = ports.iter().map(|port| listen(*port)).collect::<Result<Vec<_>, _>>();
        assert_eq!(listeners.unwrap().len(), 20);
    }

    #[test]
    fn the_bus_of_a_cluster_node_has_a_port_of_its_own() {
        let ports = free(12).unwrap();
        assert!(ports.iter().all(|port| *port < 55_536));
        let all: BTreeSet<u16> = ports.iter().flat_map(|port| [*port, port + BUS_OFFSET]).collect();
        assert_eq!(all.len(), 24);
    }

    #[test]
    fn the_log_of_each_server_shows_that_its_port_was_taken() {
        let logs = [
            "LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use",
            "[ERROR] Can't start server: Bind on TCP/IP port. Got error: 98: Address \
             already in use",
            "Could not create server TCP listening socket 127.0.0.1:6379: bind: Address \
             already in use",
        ];
        assert!(logs.iter().all(|log| is_collision(log)));
        assert!(!is_collision("FATAL:  data directory has wrong ownership"));
    }
}
