//! The servers that the environment names, futures that are cut after a number of polls, an observer that remembers.

use millpond_core::{CloseReason, Event, Observer, Stamp};
use millpond_redis::{Command, Limits, RedisLease, RedisPool, RedisPoolOptions, Value};
use std::env;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// The value of a variable that `cargo xtask servers` sets, or a line that says why the test is skipped.
pub fn variable(name: &str) -> Option<String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        println!("SKIP a test against a real server: no {name}");
    }
    value
}

/// The URL of a single server.
pub fn single() -> Option<String> {
    variable("MILLPOND_TEST_REDIS_URL")
}

/// The URL of a cluster.
pub fn cluster() -> Option<String> {
    variable("MILLPOND_TEST_CLUSTER_URL")
}

/// Options of a pool of so many connections, below the range.
pub fn few(connections: u32) -> RedisPoolOptions {
    RedisPoolOptions::new().max_connections(connections).limits(Limits::Off)
}

/// A key that no other test uses.
pub fn key(name: &str) -> String {
    format!("millpond:{name}:{:x}", fastrand::u64(..))
}

pub fn get(key: &str) -> Command {
    Command::new("GET").key(key).idempotent()
}

pub fn set(key: &str, value: impl millpond_redis::Argument) -> Command {
    Command::new("SET").key(key).arg(value)
}

pub fn echo(text: &str) -> Command {
    Command::new("ECHO").arg(text)
}

/// The number that the server has given to this connection.
pub async fn id(lease: &mut RedisLease) -> i64 {
    lease.run(Command::new("CLIENT").arg("ID")).await.unwrap()
}

/// What the server says of all its clients, seen past the pools.
pub async fn clients(url: &str) -> String {
    let pool = few(1).connect(url).await.unwrap();
    let text = pool.run(Command::new("CLIENT").arg("LIST")).await.unwrap();
    let _ = pool.close().await;
    text
}

/// The next borrower gets a connection whose session is as new, and is answered with what it asked.
pub async fn next_is_clean(pool: &RedisPool) -> i64 {
    let mut lease = pool.acquire().await.unwrap();
    let nonce = key("nonce");
    assert_eq!(lease.run::<String>(echo(&nonce)).await.unwrap(), nonce);
    let info: String = lease.run(Command::new("CLIENT").arg("INFO")).await.unwrap();
    for wanted in ["db=0", "sub=0", "psub=0", "multi=-1", "name= "] {
        assert!(info.contains(wanted), "{wanted} is not in {info}");
    }
    assert!(!info.contains("watch=") || info.contains("watch=0"), "{info}");
    id(&mut lease).await
}

/// Polls a future at most so many times, whenever it is woken, and then drops it.
pub struct Cut<F> {
    future: Option<Pin<Box<F>>>,
    polls: u32,
}

/// `None` if it was cut off.
pub fn cut_after<F: Future>(polls: u32, future: F) -> Cut<F> {
    Cut { future: Some(Box::pin(future)), polls }
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls > 0 {
            self.polls -= 1;
            if let Some(future) = &mut self.future
                && let Poll::Ready(output) = future.as_mut().poll(cx)
            {
                return Poll::Ready(Some(output));
            }
        }
        if self.polls > 0 {
            return Poll::Pending;
        }
        self.future = None;
        Poll::Ready(None)
    }
}

/// Asks until it is so, for at most ten seconds.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(10);
    tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| panic!("in 10 s not: {what}"));
}

/// Remembers what happened.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<Event>>>);

impl Diary {
    pub fn closed(&self) -> Vec<CloseReason> {
        self.pick(|event| if let Event::Closed { reason, .. } = event { Some(*reason) } else { None })
    }

    pub fn failed_connects(&self) -> usize {
        self.pick(|event| matches!(event, Event::ConnectFailed { .. }).then_some(())).len()
    }

    pub fn pick<T>(&self, f: impl FnMut(&Event) -> Option<T>) -> Vec<T> {
        self.0.lock().unwrap().iter().filter_map(f).collect()
    }
}

impl Observer for Diary {
    fn observe(&self, event: &Event, _stamp: &Stamp<'_>) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// Whatever came.
pub async fn any(lease: &mut RedisLease, command: Command) -> Value {
    lease.run(command).await.unwrap()
}

/// The URL for each driver that is built in.
pub fn by_each_driver(url: &str) -> Vec<String> {
    let mut urls = vec![url.to_owned()];
    if cfg!(feature = "redis-rs") {
        urls.push(format!("{url}{}driver=redis-rs", if url.contains('?') { '&' } else { '?' }));
    }
    urls
}
