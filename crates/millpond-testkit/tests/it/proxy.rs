//! The chaos proxy applies the set flow to connections, and nothing else.

use millpond_testkit::{ChaosProxy, Direction, Flow, NetworkFault};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server played by the test, and the proxy in front of it.
struct World {
    server: TcpListener,
    proxy: ChaosProxy,
}

impl World {
    async fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = ChaosProxy::start(&server.local_addr().unwrap().to_string()).await.unwrap();
        Self { server, proxy }
    }

    /// Connects through the proxy and returns both ends.
    async fn connection(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.proxy.address()).await.unwrap();
        (client, self.server.accept().await.unwrap().0)
    }
}

async fn read(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    stream.read_exact(&mut read).await.unwrap();
    read
}

/// Returns the result of the next read.
async fn next(stream: &mut TcpStream) -> Result<usize, ErrorKind> {
    stream.read(&mut [0; 64]).await.map_err(|error| error.kind())
}

#[tokio::test]
async fn a_new_proxy_passes_all_bytes_and_the_end_of_each_side() {
    let world = World::new().await;
    let (mut client, mut served) = world.connection().await;
    let long = vec![7; 1_000_000];
    let sent = long.clone();
    let sending = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client
    });
    assert_eq!(read(&mut served, long.len()).await, long);
    let mut client = sending.await.unwrap();
    served.write_all(b"answer").await.unwrap();
    assert_eq!(read(&mut client, 6).await, b"answer");
    client.shutdown().await.unwrap();
    assert_eq!(next(&mut served).await, Ok(0), "one half is closed");
    served.write_all(b"late").await.unwrap();
    assert_eq!(read(&mut client, 4).await, b"late", "and the other one goes on");
    drop(served);
    assert_eq!(next(&mut client).await, Ok(0));
}

#[tokio::test]
async fn pieces_arrive_one_by_one() {
    let world = World::new().await;
    world.proxy.set(Direction::ToClient, Flow::free().in_pieces_of(2));
    world.proxy.set(Direction::ToServer, Flow::free().in_pieces_of(3));
    let (mut client, mut served) = world.connection().await;
    served.write_all(b"abcdefg").await.unwrap();
    for piece in [&b"ab"[..], b"cd", b"ef", b"g"] {
        let mut room = [0; 64];
        let bytes = client.read(&mut room).await.unwrap();
        assert_eq!(&room[..bytes], piece);
    }
}

#[tokio::test]
async fn a_stalled_direction_holds_its_bytes_until_it_is_free_again() {
    let world = World::new().await;
    let (mut client, mut served) = world.connection().await;
    client.write_all(b"ask").await.unwrap();
    read(&mut served, 3).await;
    let link = world.proxy.links().remove(0);
    link.set(Direction::ToClient, Flow::stalled());
    served.write_all(b"answer").await.unwrap();
    link.until_arrived(Direction::ToClient, 6).await;
    assert_eq!(link.passed(Direction::ToClient), 0);
    client.write_all(b"more").await.unwrap();
    assert_eq!(read(&mut served, 4).await, b"more", "the other direction is free");
    world.proxy.heal();
    assert_eq!(read(&mut client, 6).await, b"answer");
}

#[tokio::test]
async fn a_connection_is_cut_or_reset_after_exactly_this_many_bytes() {
    for trouble in [NetworkFault::Cut, NetworkFault::Reset] {
        let world = World::new().await;
        world.proxy.plan(move |_, direction| match direction {
            Direction::ToServer => Flow::free(),
            Direction::ToClient => Flow::free().then(4, trouble),
        });
        let (mut client, mut served) = world.connection().await;
        served.write_all(b"answer").await.unwrap();
        let link = world.proxy.links().remove(0);
        link.until_closed().await;
        assert_eq!(link.passed(Direction::ToClient), 4);
        match trouble {
            NetworkFault::Cut => {
                assert_eq!(read(&mut client, 4).await, b"answ");
                assert_eq!(next(&mut client).await, Ok(0));
            }
            // A reset may overtake bytes that were not read.
            _ => {
                let mut ends = [next(&mut client).await, next(&mut client).await];
                ends.sort_by_key(Result::is_ok);
                assert_eq!(ends[0], Err(ErrorKind::ConnectionReset));
            }
        }
    }
}

#[tokio::test]
async fn a_silent_connection_can_be_cut_or_reset_at_once() {
    let world = World::new().await;
    let (mut client, mut served) = world.connection().await;
    world.proxy.cut();
    assert_eq!((next(&mut client).await, next(&mut served).await), (Ok(0), Ok(0)));
    let (mut client, mut served) = world.connection().await;
    world.proxy.reset();
    let reset = Err(ErrorKind::ConnectionReset);
    assert_eq!((next(&mut client).await, next(&mut served).await), (reset, reset));
    assert_eq!((world.proxy.accepted(), world.proxy.links().len()), (2, 0));
}

#[tokio::test]
async fn a_half_open_connection_swallows_everything_and_a_new_one_works() {
    let world = World::new().await;
    let (mut dead, mut served) = world.connection().await;
    world.proxy.half_open();
    let link = world.proxy.links().remove(0);
    dead.write_all(b"ask").await.unwrap();
    served.write_all(b"answer").await.unwrap();
    link.until_arrived(Direction::ToServer, 3).await;
    link.until_arrived(Direction::ToClient, 6).await;
    for direction in Direction::BOTH {
        assert_eq!(link.passed(direction), 0);
    }
    let (mut client, mut other) = world.connection().await;
    client.write_all(b"ask").await.unwrap();
    assert_eq!(read(&mut other, 3).await, b"ask");
    assert!(link.is_open());
    drop(dead);
    link.until_closed().await;
    assert_eq!(next(&mut served).await, Ok(0), "the proxy has dropped the link");
}

#[tokio::test]
async fn refused_clients_are_reset_and_so_are_all_clients_while_the_server_is_down() {
    let world = World::new().await;
    world.proxy.refuse(true);
    let mut client = TcpStream::connect(world.proxy.address()).await.unwrap();
    assert_eq!(next(&mut client).await, Err(ErrorKind::ConnectionReset));
    world.proxy.heal();
    let (mut client, mut served) = world.connection().await;
    client.write_all(b"ask").await.unwrap();
    read(&mut served, 3).await;

    drop(world.server);
    let mut client = TcpStream::connect(world.proxy.address()).await.unwrap();
    assert_eq!(next(&mut client).await, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_delay_applies_and_ends_early_when_the_flow_changes() {
    let world = World::new().await;
    let (mut client, mut served) = world.connection().await;
    let start = Instant::now();
    world.proxy.set(Direction::ToServer, Flow::free().delayed(Duration::from_millis(20)));
    client.write_all(b"a").await.unwrap();
    read(&mut served, 1).await;
    assert!(start.elapsed() >= Duration::from_millis(20));
    world.proxy.set(Direction::ToServer, Flow::free().delayed(Duration::from_secs(3600)));
    client.write_all(b"b").await.unwrap();
    world.proxy.links()[0].until_arrived(Direction::ToServer, 2).await;
    world.proxy.heal();
    assert_eq!(read(&mut served, 1).await, b"b");
}

#[tokio::test]
async fn everything_ends_with_the_proxy() {
    let world = World::new().await;
    let (mut client, mut served) = world.connection().await;
    let address = world.proxy.address();
    let url = format!("postgres://miller@{}/ponds", world.server.local_addr().unwrap());
    assert_eq!(world.proxy.reroute(&url), format!("postgres://miller@{address}/ponds"));
    drop(world.proxy);
    assert_eq!((next(&mut client).await, next(&mut served).await), (Ok(0), Ok(0)));
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn the_reported_sockets_are_those_that_the_clients_still_hold() {
    let world = World::new().await;
    let (client, served) = world.connection().await;
    let (other, _served) = world.connection().await;
    let both = world.proxy.client_sockets().unwrap();
    assert_eq!(both.len(), 2);
    drop(other);
    // A socket that only the server has closed still counts.
    drop(served);
    let one = world.proxy.client_sockets().unwrap();
    assert!(one.len() == 1 && one.is_subset(&both), "{one:?} of {both:?}");
    drop(client);
    assert!(world.proxy.client_sockets().unwrap().is_empty());
}
