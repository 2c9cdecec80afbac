//! Helpers of all tests: a server without sockets, a pool over it, durations.

use millpond_core::{Builder, ConnectInfo, ErrorClass, Manager};
use millpond_shared::SharedPool;
use millpond_testkit::Trace;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Lets other tasks run until they have nothing left to do without the clock advancing.
pub async fn quiet() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Returns a future's output, and how long it took on tokio's clock.
pub async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let start = Instant::now();
    let output = future.await;
    (output, start.elapsed())
}

/// A connection that can be shared; dropping the last clone closes it.
#[derive(Debug)]
pub struct Link(pub u64);

/// A manager that opens links, slowly, unless the server is down.
#[derive(Default)]
pub struct Server {
    pub takes: Duration,
    pub down: AtomicBool,
    pub locked: AtomicBool,
    pub deaf: AtomicBool,
    /// If true, the next ping finds that another server has taken over.
    pub switched: AtomicBool,
    pub connects: AtomicUsize,
    pub links: std::sync::Mutex<Vec<Weak<Link>>>,
}

impl Server {
    pub fn alive(&self) -> usize {
        self.links.lock().unwrap().iter().filter(|link| link.strong_count() > 0).count()
    }
}

pub struct Links(pub Arc<Server>);

impl Manager for Links {
    type Connection = Arc<Link>;
    type Error = io::Error;

    async fn connect(&self, info: &ConnectInfo) -> io::Result<Arc<Link>> {
        self.0.connects.fetch_add(1, Ordering::Relaxed);
        sleep(self.0.takes).await;
        if self.0.locked.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "wrong password"));
        }
        if self.0.down.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the server is down"));
        }
        let link = Arc::new(Link(info.id.get()));
        self.0.links.lock().unwrap().push(Arc::downgrade(&link));
        Ok(link)
    }

    async fn ping(&self, _: &mut Arc<Link>) -> io::Result<()> {
        if self.0.switched.swap(false, Ordering::Relaxed) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if self.0.deaf.load(Ordering::Relaxed) { std::future::pending().await } else { Ok(()) }
    }

    fn classify(&self, error: &io::Error) -> ErrorClass {
        match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorClass::Permanent,
            io::ErrorKind::ReadOnlyFilesystem => ErrorClass::Failover,
            _ => ErrorClass::Transient,
        }
    }
}

pub type Tune = fn(Builder<SharedPool<Links>>) -> Builder<SharedPool<Links>>;

pub fn pool_of(size: u32, tune: Tune) -> (SharedPool<Links>, Arc<Server>, Trace) {
    let server = Arc::new(Server { takes: ms(10), ..Server::default() });
    let trace = Trace::new();
    let builder =
        SharedPool::builder(Links(Arc::clone(&server))).pool_size(size).observer(trace.clone());
    (tune(builder).build().unwrap(), server, trace)
}

/// Acquires until every member was lent once.
pub async fn warm(pool: &SharedPool<Links>, members: u32) {
    for _ in 0..members {
        drop(pool.acquire().await.unwrap());
        sleep(ms(50)).await;
    }
    assert_eq!(pool.status().open, members);
}
