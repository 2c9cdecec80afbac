//! The connections of the race, and their counters: the same for every pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Counts the connections of one pool, independently of it. A pool's own status may share its bugs.
#[derive(Debug, Default)]
pub struct Books {
    connect_millis: AtomicU64,
    opened: AtomicU32,
    alive: AtomicU32,
    most_alive: AtomicU32,
}

/// The pooled connection: a number in a box. It is counted when it is opened and when it is
/// dropped, and costs nothing in between.
#[derive(Debug)]
pub struct Wire {
    number: u32,
    books: Arc<Books>,
}

/// The manager of every pool: it opens wires after the configured time, and every wire is healthy.
#[derive(Debug, Clone)]
pub struct Opener(pub Arc<Books>);

impl Books {
    /// Creates counters at zero; connecting takes no time.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Sets how long connecting takes from now on.
    pub fn connect_takes(&self, span: Duration) {
        self.connect_millis
            .store(span.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns the number of open connections.
    pub fn alive(&self) -> u32 {
        self.alive.load(Ordering::SeqCst)
    }

    /// Returns the most connections that were ever open at once.
    pub fn most_alive(&self) -> u32 {
        self.most_alive.load(Ordering::SeqCst)
    }

    /// Counts an opened connection and returns its number.
    pub fn enter(&self) -> u32 {
        let alive = self.alive.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_alive.fetch_max(alive, Ordering::SeqCst);
        self.opened.fetch_add(1, Ordering::SeqCst)
    }

    /// Returns how long connecting takes.
    pub fn connect_span(&self) -> Duration {
        Duration::from_millis(self.connect_millis.load(Ordering::Relaxed))
    }
}

impl Opener {
    /// Opens a connection.
    pub async fn open(&self) -> Box<Wire> {
        let span = self.0.connect_span();
        if !span.is_zero() {
            tokio::time::sleep(span).await;
        }
        self.open_now()
    }

    /// Opens a connection on a thread that may block.
    #[expect(clippy::disallowed_methods, reason = "a connect that takes time")]
    pub fn open_blocking(&self) -> Box<Wire> {
        let span = self.0.connect_span();
        if !span.is_zero() {
            std::thread::sleep(span);
        }
        self.open_now()
    }

    fn open_now(&self) -> Box<Wire> {
        Box::new(Wire { number: self.0.enter(), books: Arc::clone(&self.0) })
    }
}

impl Wire {
    /// Returns the connection's number.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.books.alive.fetch_sub(1, Ordering::SeqCst);
    }
}
