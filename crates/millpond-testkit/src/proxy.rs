//! A TCP proxy that causes faults on command.

use crate::flow::{Direction, Flow};
use crate::link::Link;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A proxy in front of a real server, on a free port of the loopback interface. Each direction can
/// be free, in pieces, delayed, stalled, swallowed, cut or reset, for all connections or for one.
///
/// The proxy runs on the runtime that started it and ends, with all its connections, when it is
/// dropped. It sleeps only where a delay is set; a test waits with [`Link::until_arrived`] and
/// needs no sleep. A delay has no effect while tokio's time is paused.
///
/// ```
/// use millpond_testkit::{ChaosProxy, Direction, Flow};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::{TcpListener, TcpStream};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let server = TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = ChaosProxy::start(&server.local_addr()?.to_string()).await?;
/// proxy.set(Direction::ToServer, Flow::free().in_pieces_of(1));
///
/// let mut client = TcpStream::connect(proxy.address()).await?;
/// let (mut served, _) = server.accept().await?;
/// client.write_all(b"hello").await?;
/// let mut word = [0; 5];
/// served.read_exact(&mut word).await?;
/// assert_eq!(&word, b"hello");
///
/// proxy.cut();
/// assert_eq!(client.read(&mut word).await?, 0);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct ChaosProxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    server: String,
    book: Mutex<Book>,
}

/// Guarded by the lock of [`State`].
struct Book {
    /// The flows of a new connection without a plan: to the server, and to the client.
    flows: [Flow; 2],
    plan: Option<Box<Plan>>,
    refusing: bool,
    accepted: u64,
    links: Vec<Link>,
}

/// Returns the flow of a new connection, by its number and direction.
type Plan = dyn Fn(u64, Direction) -> Flow + Send;

impl Book {
    fn flow(&self, number: u64, direction: Direction) -> Flow {
        match &self.plan {
            Some(plan) => plan(number, direction),
            None => self.flows[direction as usize],
        }
    }
}

impl ChaosProxy {
    /// Starts a proxy in front of the server at `host:port`.
    ///
    /// # Errors
    ///
    /// Returns an error if no port is free on the loopback interface. If the server is down,
    /// clients notice it: each of them is reset.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn start(server: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let book = Book {
            flows: [Flow::free(); 2],
            plan: None,
            refusing: false,
            accepted: 0,
            links: Vec::new(),
        };
        let state = Arc::new(State { server: server.to_owned(), book: Mutex::new(book) });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, accepting })
    }

    /// Returns the address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the server's `host:port` in a URL with the proxy's address.
    pub fn reroute(&self, url: &str) -> String {
        url.replace(&self.state.server, &self.address.to_string())
    }

    /// Sets the flow of one direction for all present and future connections, and removes the plan.
    pub fn set(&self, direction: Direction, flow: Flow) {
        let mut book = self.open();
        book.plan = None;
        book.flows[direction as usize] = flow;
        book.links.iter().for_each(|link| link.set(direction, flow));
    }

    /// Sets the flows of future connections by their numbers, which begin at 1. A seed makes a
    /// repeatable plan: `proxy.plan(move |number, _| Flow::drawn(seed ^ number))`.
    pub fn plan(&self, plan: impl Fn(u64, Direction) -> Flow + Send + 'static) {
        self.open().plan = Some(Box::new(plan));
    }

    /// Frees both directions of present and future connections, and accepts new ones again.
    /// Swallowed bytes stay lost.
    pub fn heal(&self) {
        self.refuse(false);
        for direction in Direction::BOTH {
            self.set(direction, Flow::free());
        }
    }

    /// Makes the proxy reset new connections as soon as they are accepted, like a server that is
    /// down, or stops that.
    pub fn refuse(&self, refuse: bool) {
        self.open().refusing = refuse;
    }

    /// Closes every present connection.
    pub fn cut(&self) {
        self.links().iter().for_each(Link::cut);
    }

    /// Resets every present connection.
    pub fn reset(&self) {
        self.links().iter().for_each(Link::reset);
    }

    /// Makes every present connection half-open: data is dropped silently. New connections are not
    /// affected.
    pub fn half_open(&self) {
        self.links().iter().for_each(Link::half_open);
    }

    /// Returns the open connections in order of their numbers.
    pub fn links(&self) -> Vec<Link> {
        let mut book = self.open();
        book.links.retain(Link::is_open);
        book.links.clone()
    }

    /// Returns how many connections were accepted in all, without those refused.
    pub fn accepted(&self) -> u64 {
        self.open().accepted
    }

    /// Returns the inodes of this process's sockets to the proxy, open or being opened, as the
    /// kernel lists them in `/proc/net/tcp`. A socket closed by its client is not among them; one
    /// closed only by the proxy is. The kernel does not list all sockets at the same instant; those
    /// in two consecutive lists existed together. Linux only.
    ///
    /// # Errors
    ///
    /// Returns an error if `/proc` cannot be read.
    pub fn client_sockets(&self) -> io::Result<HashSet<String>> {
        // Columns: number, local address, remote address, state (established, being opened, or
        // closed by the remote side).
        const HELD: [&str; 3] = ["01", "02", "08"];
        const INODE: usize = 9;
        let proxy = format!("0100007F:{:04X}", self.address.port());
        // Reading a long table takes time, during which a listed socket may be closed; so the
        // process's sockets are read before as well.
        let mut ours = own_sockets()?;
        let table = std::fs::read_to_string("/proc/net/tcp")?;
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let socket = |row: Vec<&str>| match row.as_slice() {
            [_, _, other, state, ..] if *other == proxy && HELD.contains(state) => {
                row.get(INODE).map(|&it| it.to_owned())
            }
            _ => None,
        };
        let mut sockets: HashSet<String> = rows.filter_map(socket).collect();
        // A child process that is being started has a copy of all sockets until it runs its
        // program, including those just closed.
        ours.extend(own_sockets()?);
        sockets.retain(|inode| ours.contains(inode));
        Ok(sockets)
    }

    fn open(&self) -> MutexGuard<'_, Book> {
        self.state.open()
    }
}

/// Returns the inodes of the sockets that this process holds.
fn own_sockets() -> io::Result<HashSet<String>> {
    // A socket closed in the meantime can no longer be read.
    let links = std::fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let inode = |link: PathBuf| {
        Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    Ok(links.filter_map(inode).collect())
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl fmt::Debug for ChaosProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosProxy")
            .field("address", &self.address)
            .field("links", &self.links())
            .finish_non_exhaustive()
    }
}

impl State {
    fn open(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a new connection, unless connections are refused.
    fn admit(&self) -> Option<Link> {
        let mut book = self.open();
        if book.refusing {
            return None;
        }
        book.accepted += 1;
        let number = book.accepted;
        let link = Link::new(
            number,
            book.flow(number, Direction::ToServer),
            book.flow(number, Direction::ToClient),
        );
        book.links.retain(Link::is_open);
        book.links.push(link.clone());
        Some(link)
    }
}

/// Accepts connections until it is aborted, which ends all of them.
async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = tasks.join_next() => {}
            Ok((client, _)) = listener.accept() => match state.admit() {
                Some(link) => {
                    let state = Arc::clone(&state);
                    tasks.spawn(async move { link.run(client, &state.server).await });
                }
                None => refuse(client),
            },
            // For example too many open files; others may close theirs.
            else => tokio::task::yield_now().await,
        }
    }
}

fn refuse(client: TcpStream) {
    // If this fails, the client sees an ordinary end.
    let _ = client.set_zero_linger();
}
