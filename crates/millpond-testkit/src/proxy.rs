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

/// A proxy in front of a real server, on a free port of the loopback interface, under remote
/// control: each direction is free, in pieces, delayed, stalled, swallowed, cut or reset, for all
/// connections or for one.
///
/// It runs on the runtime that started it and ends, with all its connections, when it is dropped.
/// It sleeps only where a delay was asked for; a test sees what happens by [`Link::until_arrived`]
/// and needs none. Time must not be paused where a delay is to be felt.
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
    /// The flows of a new connection where nothing is planned: to the server, and to the client.
    flows: [Flow; 2],
    plan: Option<Box<Plan>>,
    refusing: bool,
    accepted: u64,
    links: Vec<Link>,
}

/// The flows of a new connection, by its number.
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
    /// Starts one in front of the server at `host:port`.
    ///
    /// # Errors
    ///
    /// If there is no free port on the loopback interface. A server that is not there is noticed by
    /// the clients: each is reset.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left if the future is dropped.
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

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of the server with the proxy's address in the place of the server's `host:port`.
    pub fn reroute(&self, url: &str) -> String {
        url.replace(&self.state.server, &self.address.to_string())
    }

    /// The flow of one direction, for all connections, present and future. A plan is forgotten.
    pub fn set(&self, direction: Direction, flow: Flow) {
        let mut book = self.open();
        book.plan = None;
        book.flows[direction as usize] = flow;
        book.links.iter().for_each(|link| link.set(direction, flow));
    }

    /// The flows of future connections, by their numbers; the first connection ever has the
    /// number 1. A seed makes a plan that can be repeated: `proxy.plan(move |number, _|
    /// Flow::drawn(seed ^ number))`.
    pub fn plan(&self, plan: impl Fn(u64, Direction) -> Flow + Send + 'static) {
        self.open().plan = Some(Box::new(plan));
    }

    /// Everything is free again, for present and future connections, and nobody is refused. What
    /// was swallowed is gone.
    pub fn heal(&self) {
        self.refuse(false);
        for direction in Direction::BOTH {
            self.set(direction, Flow::free());
        }
    }

    /// Whether new connections are reset as soon as they are made: a server that is down.
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

    /// The connections that are open, in the order in which they came.
    pub fn links(&self) -> Vec<Link> {
        let mut book = self.open();
        book.links.retain(Link::is_open);
        book.links.clone()
    }

    /// How many connections there were in all, those refused excepted.
    pub fn accepted(&self) -> u64 {
        self.open().accepted
    }

    /// The sockets by which this process holds on to the proxy or is about to, as the kernel lists
    /// them (`/proc/net/tcp`), by their inodes: one that its client has closed is not among them,
    /// one that only the proxy has closed is. The kernel does not list all of them at the same
    /// instant; those listed twice in a row existed together. Linux only.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub fn client_sockets(&self) -> io::Result<HashSet<String>> {
        // Columns: number, this address, the other one, state (established, being opened, or closed
        // by the other side).
        const HELD: [&str; 3] = ["01", "02", "08"];
        const INODE: usize = 9;
        let proxy = format!("0100007F:{:04X}", self.address.port());
        // Reading a long table takes time, in which a listed socket may be closed; so the list is
        // read before as well.
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
        // A child that is being started has a copy of all of them until it runs its program, of
        // those just closed too.
        ours.extend(own_sockets()?);
        sockets.retain(|inode| ours.contains(inode));
        Ok(sockets)
    }

    fn open(&self) -> MutexGuard<'_, Book> {
        self.state.open()
    }
}

/// The inodes of the sockets that this process holds.
fn own_sockets() -> io::Result<HashSet<String>> {
    // One that is closed meanwhile cannot be read any more.
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

    /// Enters a new connection, unless it is to be refused.
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

/// Takes connections until it is aborted, which ends them all.
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
            // For example too many open files: others may close theirs.
            else => tokio::task::yield_now().await,
        }
    }
}

fn refuse(client: TcpStream) {
    // If it cannot be done the client sees an ordinary end.
    let _ = client.set_zero_linger();
}
