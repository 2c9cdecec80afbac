//! Connects to a host name with several addresses, of which one may not respond.
//!
//! The driver tries one address after the other, and one that does not respond blocks it until the
//! limit of the whole connect. So if a connect by name takes longer than 250 ms (RFC 8305), all
//! addresses are dialled. If one of them responds and another one does not, the driver is connected
//! to the one that responds, beside its own attempt.

use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sqlx::Error;
use std::fmt;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};

/// How long the driver's own connect may take before the addresses are dialled.
const STAGGER: Duration = Duration::from_millis(250);

/// How long to wait for the other addresses after the first one has responded.
const GRACE: Duration = Duration::from_millis(50);

/// Fraction of a connect's limit that is reserved for finding out why it failed.
const RESERVE: u32 = 20;

/// The host and port of a driver's options.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// A name, an address, or the directory of a socket.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// How long the whole connect may take.
    pub limit: Duration,
}

impl Target<'_> {
    /// Connects. `by_name` is the driver's own connect; `by_address` connects to one address and is
    /// called only if the name has several and one of them does not respond.
    ///
    /// # Errors
    ///
    /// The driver's. An `Error::Io` includes the result of every address of the name.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind if the future is dropped.
    pub async fn connect<C: Send>(
        self,
        by_name: BoxFuture<'_, Result<C, Error>>,
        by_address: impl FnOnce(SocketAddr) -> BoxFuture<'static, Result<C, Error>> + Send,
    ) -> Result<C, Error> {
        if self.host.starts_with('/')
            || self.host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        {
            return by_name.await;
        }
        let (host, port) = (self.host.to_owned(), self.port);
        let lookup = move || -> Lookup {
            let host = host.clone();
            Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
        };
        self.connect_to(lookup, by_name, by_address).await
    }

    async fn connect_to<C: Send>(
        self,
        addresses: impl Fn() -> Lookup + Send + Sync,
        mut by_name: BoxFuture<'_, Result<C, Error>>,
        by_address: impl FnOnce(SocketAddr) -> BoxFuture<'static, Result<C, Error>> + Send,
    ) -> Result<C, Error> {
        let results = DialResults::default();
        let attempt = async {
            let detour = async {
                sleep(STAGGER).await;
                match results.dial(addresses().await.unwrap_or_default()).await {
                    Some(address) => address,
                    None => pending().await,
                }
            };
            let address = tokio::select! {
                biased;
                outcome = &mut by_name => return outcome,
                address = detour => address,
            };
            // The driver may have reached another address in the meantime, so it goes on as well.
            first_to_connect(by_name, by_address(address)).await
        };
        let limit = self.limit.saturating_sub(self.limit / RESERVE);
        let outcome = timeout(limit, attempt).await;
        let error = match outcome {
            Ok(Err(Error::Io(error))) => error,
            Ok(outcome) => return outcome,
            Err(_) => {
                io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {limit:?}"))
            }
        };
        if results.is_empty() {
            // The driver failed quickly, and its error covers only the last address.
            let ask = async {
                let addresses = addresses().await.unwrap_or_default();
                match addresses.as_slice() {
                    [address] => results.note(*address, error.to_string()),
                    _ => drop(timeout(STAGGER, results.dial(addresses)).await),
                }
            };
            let _unknown = timeout(self.limit / RESERVE / 2, ask).await;
        }
        let Self { host, port, .. } = self;
        let text = format!("{error} ({host}:{port}{results})");
        Err(Error::Io(io::Error::new(error.kind(), Unreachable { text, source: error })))
    }
}

/// Returns the first of two attempts that connects. A network error of one leaves the other.
async fn first_to_connect<C>(
    mut one: BoxFuture<'_, Result<C, Error>>,
    mut other: BoxFuture<'_, Result<C, Error>>,
) -> Result<C, Error> {
    let (outcome, rest) = tokio::select! {
        outcome = &mut one => (outcome, other),
        outcome = &mut other => (outcome, one),
    };
    if matches!(outcome, Err(Error::Io(_))) { rest.await } else { outcome }
}

/// The addresses of a name.
type Lookup = BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// The results of dialling the addresses of a name.
#[derive(Default)]
struct DialResults(Mutex<Vec<(SocketAddr, String)>>);

impl DialResults {
    /// Dials all addresses. Returns one that responds, if another one does not.
    async fn dial(&self, addresses: Vec<SocketAddr>) -> Option<SocketAddr> {
        addresses.iter().for_each(|address| self.note(*address, "no answer".to_owned()));
        let mut dials: FuturesUnordered<_> = addresses.into_iter().map(dial).collect();
        let mut winner = None;
        while winner.is_none() {
            let (address, outcome) = dials.next().await?;
            winner = self.record(address, outcome);
        }
        let others = async {
            while let Some((address, outcome)) = dials.next().await {
                self.record(address, outcome);
            }
        };
        timeout(GRACE, others).await.err().and(winner)
    }

    /// Records the result of a dial. Returns the address if it responds.
    fn record(&self, address: SocketAddr, outcome: io::Result<TcpStream>) -> Option<SocketAddr> {
        let winner = outcome.is_ok().then_some(address);
        self.note(
            address,
            outcome.err().map_or_else(|| "answers".to_owned(), |error| error.to_string()),
        );
        winner
    }

    fn note(&self, address: SocketAddr, answer: String) {
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match results.iter_mut().find(|(known, _)| *known == address) {
            Some((_, known)) => *known = answer,
            None => results.push((address, answer)),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl fmt::Display for DialResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        results.iter().try_for_each(|(address, answer)| write!(f, "; {address}: {answer}"))
    }
}

async fn dial(address: SocketAddr) -> (SocketAddr, io::Result<TcpStream>) {
    (address, TcpStream::connect(address).await)
}

/// A network error, with the result of each address.
#[derive(Debug)]
struct Unreachable {
    text: String,
    source: io::Error,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Unreachable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    /// An address that drops SYN packets: its accept queue is full.
    async fn silent() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut full = Vec::new();
        while let Ok(Ok(stream)) = timeout(GRACE, TcpStream::connect(address)).await {
            full.push(stream);
        }
        (address, listener, full)
    }

    async fn listening() -> (SocketAddr, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (listener.local_addr().unwrap(), listener)
    }

    fn target(limit: Duration) -> Target<'static> {
        Target { host: "db.example", port: 5432, limit }
    }

    /// Tries the addresses in order, as the drivers do.
    fn in_turn(addresses: Vec<SocketAddr>) -> BoxFuture<'static, Result<SocketAddr, Error>> {
        Box::pin(async move { Ok(TcpStream::connect(addresses.as_slice()).await?.peer_addr()?) })
    }

    fn to_one(address: SocketAddr) -> BoxFuture<'static, Result<SocketAddr, Error>> {
        in_turn(vec![address])
    }

    fn lookup(addresses: &[SocketAddr]) -> impl Fn() -> Lookup + Send + Sync + use<> {
        let addresses = addresses.to_vec();
        move || {
            let addresses = addresses.clone();
            Box::pin(async { Ok(addresses) })
        }
    }

    #[tokio::test]
    async fn a_silent_address_delays_no_connect_wherever_it_is_in_the_list() {
        let (silent, _listener, _full) = silent().await;
        let (good, _server) = listening().await;
        for addresses in [vec![silent, good], vec![good, silent], vec![silent, silent, good]] {
            let target = target(Duration::from_secs(10));
            let reached = target
                .connect_to(lookup(&addresses), in_turn(addresses.clone()), to_one)
                .await
                .unwrap();
            assert_eq!(reached, good);
        }
    }

    #[tokio::test]
    async fn a_slow_server_without_a_silent_address_gets_its_full_time() {
        let (good, server) = listening().await;
        let (other, also) = listening().await;
        for addresses in [vec![good], vec![good, other]] {
            let several = addresses.len() > 1;
            let (server, also) = (&server, &also);
            // Completes once both have been dialled.
            let slow = Box::pin(async move {
                server.accept().await?;
                if several {
                    also.accept().await?;
                }
                Ok(())
            });
            let detour =
                |_| -> BoxFuture<'static, _> { Box::pin(async { Err(Error::WorkerCrashed) }) };
            target(Duration::from_secs(10))
                .connect_to(lookup(&addresses), slow, detour)
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn a_failed_attempt_by_address_does_not_end_the_attempt_by_name() {
        let (silent, _listener, _full) = silent().await;
        let (good, _server) = listening().await;
        let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        // It is under way, and ends after the other attempt has.
        let by_name = Box::pin(async move {
            has_begun.recv().await;
            Ok("by name")
        });
        let detour = move |_| -> BoxFuture<'static, _> {
            Box::pin(async move {
                begun.send(()).unwrap();
                Err(Error::Io(io::ErrorKind::ReadOnlyFilesystem.into()))
            })
        };
        let reached = target(Duration::from_secs(10))
            .connect_to(lookup(&[silent, good]), by_name, detour)
            .await;
        assert_eq!(reached.unwrap(), "by name");
    }

    #[tokio::test]
    async fn an_error_names_every_address_and_its_result() {
        let (silent, _listener, _full) = silent().await;
        let (closed, listener) = listening().await;
        drop(listener);
        for (addresses, limit) in [
            (vec![silent, closed], 1),
            (vec![closed], 5),
            (vec![silent], 1),
            (vec![closed, silent], 1),
        ] {
            let target = target(Duration::from_secs(limit));
            let error = target
                .connect_to(lookup(&addresses), in_turn(addresses.clone()), to_one)
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains("db.example:5432"), "{error}");
            for address in &addresses {
                let answer = if *address == silent { "no answer" } else { "refused" };
                let said = error.split("; ").find(|part| part.contains(&address.to_string()));
                assert!(
                    said.is_some_and(|said| said.contains(answer)) || addresses.len() == 1,
                    "{address}: {error}"
                );
                assert!(said.is_some(), "{error}");
            }
        }
    }
}
