//! One connection through a chaos proxy.

use crate::flow::{Direction, Flow, NetworkFault, Step};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

/// The most bytes that one direction buffers.
const BUFFER: usize = 16 * 1024;

/// A handle to one connection through a [`ChaosProxy`](crate::ChaosProxy). Clones are the same
/// connection.
#[derive(Clone)]
pub struct Link {
    state: Arc<State>,
}

struct State {
    number: u64,
    to_server: OneWay,
    to_client: OneWay,
    end: watch::Sender<Option<NetworkFault>>,
    open: watch::Sender<bool>,
}

/// One direction: its flow and its byte counters.
struct OneWay {
    flow: watch::Sender<Flow>,
    arrived: watch::Sender<u64>,
    passed: watch::Sender<u64>,
}

impl OneWay {
    fn new(flow: Flow) -> Self {
        Self {
            flow: watch::Sender::new(flow),
            arrived: watch::Sender::new(0),
            passed: watch::Sender::new(0),
        }
    }
}

impl Link {
    pub(crate) fn new(number: u64, to_server: Flow, to_client: Flow) -> Self {
        let state = State {
            number,
            to_server: OneWay::new(to_server),
            to_client: OneWay::new(to_client),
            end: watch::Sender::new(None),
            open: watch::Sender::new(true),
        };
        Self { state: Arc::new(state) }
    }

    /// Returns the connection's number; the proxy's first connection is 1.
    pub fn number(&self) -> u64 {
        self.state.number
    }

    /// Returns true while the proxy keeps the connection open.
    pub fn is_open(&self) -> bool {
        *self.state.open.borrow()
    }

    /// Sets the flow of a direction; bytes until a fault are counted from this call on.
    pub fn set(&self, direction: Direction, flow: Flow) {
        self.way(direction).flow.send_replace(flow);
    }

    /// Closes both ends.
    pub fn cut(&self) {
        self.state.end.send_replace(Some(NetworkFault::Cut));
    }

    /// Resets both ends.
    pub fn reset(&self) {
        self.state.end.send_replace(Some(NetworkFault::Reset));
    }

    /// Drops everything in both directions from now on, including the end of either side: the other
    /// side is not notified. The server's side is closed only after the client has closed its own.
    pub fn half_open(&self) {
        for direction in Direction::BOTH {
            self.set(direction, Flow::free().then(0, NetworkFault::Swallow));
        }
    }

    /// Returns how many bytes have arrived at the proxy in this direction.
    pub fn arrived(&self, direction: Direction) -> u64 {
        *self.way(direction).arrived.borrow()
    }

    /// Returns how many bytes the proxy has passed on in this direction.
    pub fn passed(&self, direction: Direction) -> u64 {
        *self.way(direction).passed.borrow()
    }

    /// Waits until this many bytes have arrived at the proxy, or the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn until_arrived(&self, direction: Direction, bytes: u64) {
        let mut arrived = self.way(direction).arrived.subscribe();
        tokio::select! {
            _ = arrived.wait_for(|arrived| *arrived >= bytes) => {}
            () = self.until_closed() => {}
        }
    }

    /// Waits until the proxy has ended the connection.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn until_closed(&self) {
        // The sender lives as long as this handle, so this cannot fail.
        let _ = self.state.open.subscribe().wait_for(|open| !open).await;
    }

    fn way(&self, direction: Direction) -> &OneWay {
        match direction {
            Direction::ToServer => &self.state.to_server,
            Direction::ToClient => &self.state.to_client,
        }
    }

    /// Carries bytes both ways until the connection ends.
    pub(crate) async fn run(self, mut client: TcpStream, server: &str) {
        let _closing = Closing(&self.state.open);
        let end = match TcpStream::connect(server).await {
            Ok(mut server) => {
                let end = self.carry(&mut client, &mut server).await;
                if end == NetworkFault::Reset {
                    reset(&server);
                }
                end
            }
            // Like a server that is down, except that the connection was accepted.
            Err(_) => NetworkFault::Reset,
        };
        if end == NetworkFault::Reset {
            reset(&client);
        }
    }

    async fn carry(&self, client: &mut TcpStream, server: &mut TcpStream) -> NetworkFault {
        // Keeps the sockets from joining pieces into one packet.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let mut end = self.state.end.subscribe();
        let both = async {
            let asked = carry(Direction::ToServer, &self.state.to_server, from_client, to_server);
            let answered =
                carry(Direction::ToClient, &self.state.to_client, from_server, to_client);
            tokio::try_join!(asked, answered).err().unwrap_or(NetworkFault::Cut)
        };
        tokio::select! {
            biased;
            end = end.wait_for(Option::is_some) => {
                end.ok().and_then(|end| *end).unwrap_or(NetworkFault::Cut)
            }
            end = both => end,
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("number", &self.number())
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

/// Marks the link as closed, however its task ends.
struct Closing<'a>(&'a watch::Sender<bool>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

/// Makes the kernel send RST when the socket is dropped.
fn reset(socket: &TcpStream) {
    // If this fails, the peer sees an ordinary end.
    let _ = socket.set_zero_linger();
}

/// Carries the bytes of one direction; returns when they end, or when the whole connection ends.
async fn carry(
    direction: Direction,
    way: &OneWay,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
) -> Result<(), NetworkFault> {
    let mut flows = way.flow.subscribe();
    let mut flow = *flows.borrow_and_update();
    // Bytes that have passed under this flow, and the bytes in the buffer.
    let (mut passed, mut held): (u64, Range<usize>) = (0, 0..0);
    let mut buffer = vec![0; BUFFER];
    loop {
        let step = flow.step(passed, held.len());
        let action = async {
            match step {
                Step::End(trouble) => Err(trouble),
                Step::Wait => std::future::pending().await,
                Step::Read | Step::Swallow => from.read(&mut buffer).await.map_err(broken),
                Step::Pass(bytes) => {
                    sleep_if(flow.delay()).await;
                    to.write(&buffer[held.start..held.start + bytes]).await.map_err(broken)
                }
            }
        };
        let bytes = tokio::select! {
            biased;
            // The sender outlives this loop, so this cannot fail.
            _ = flows.changed() => {
                (flow, passed) = (*flows.borrow_and_update(), 0);
                continue;
            }
            bytes = action => bytes?,
        };
        match step {
            Step::Pass(_) => {
                held.start += bytes;
                passed += bytes as u64;
                way.passed.send_modify(|passed| *passed += bytes as u64);
                // Lets the receiver run before the next piece.
                tokio::task::yield_now().await;
            }
            Step::Swallow if bytes == 0 && direction == Direction::ToServer => {
                return Err(NetworkFault::Cut);
            }
            Step::Swallow if bytes == 0 => return Ok(()),
            _ if bytes == 0 => return to.shutdown().await.map_err(broken),
            _ => {
                held = if step == Step::Swallow { 0..0 } else { 0..bytes };
                way.arrived.send_modify(|arrived| *arrived += bytes as u64);
            }
        }
    }
}

async fn sleep_if(delay: std::time::Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}

/// Maps the end of one side to the fault that ends the other side in the same way.
fn broken(_: io::Error) -> NetworkFault {
    NetworkFault::Reset
}
