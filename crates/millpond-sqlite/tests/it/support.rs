//! A directory for database files, futures that are cut after a number of polls, an observer that remembers.

use futures_util::TryStreamExt;
use millpond_core::{CloseReason, Event, Observer, Stamp};
use millpond_sqlite::{PoolKind, Sqlite, SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::Executor;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// Runs until it is interrupted.
pub const ENDLESS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n";

/// Begins a query that never ends, and drops it while it runs.
pub async fn abandon_endless<'e>(executor: impl Executor<'e, Database = Sqlite>) {
    // The first row says that it has begun; for the second one it would run for ever.
    const SQL: &str = "SELECT 1 UNION ALL SELECT COUNT(*) FROM \
                       (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n)";
    let mut rows = executor.fetch(SQL);
    assert!(rows.try_next().await.unwrap().is_some());
    assert!(cut_after(1, rows.try_next()).await.is_none(), "it has not ended");
}

/// A directory that goes away with the test.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("millpond-sqlite-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The URL of a file in it.
    pub fn url(&self, file: &str) -> String {
        format!("sqlite:///{}", self.0.join(file).display())
    }

    pub fn options(&self, file: &str) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(self.0.join(file)).create_if_missing(true)
    }

    /// A pool that keeps one connection.
    pub async fn one(&self) -> SqlitePool {
        one().connect(&self.url("one.db")).await.unwrap()
    }

    /// A pool of one writer and three readers, with a table `t` of one integer column `i`.
    pub async fn read_write(&self) -> SqlitePool {
        let options = SqlitePoolOptions::new().pool(PoolKind::ReadWrite).pool_size(3);
        let pool = options.connect(&self.url("rw.db")).await.unwrap();
        sqlx::query("CREATE TABLE IF NOT EXISTS t (i INTEGER)").execute(&pool).await.unwrap();
        pool
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Options of a pool that keeps one connection.
pub fn one() -> SqlitePoolOptions {
    SqlitePoolOptions::new().pool(PoolKind::Queue).pool_size(1).max_overflow(0)
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

/// Remembers what happened.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<Event>>>);

impl Diary {
    pub fn closed(&self) -> Vec<CloseReason> {
        self.pick(|event| if let Event::Closed { reason, .. } = event { Some(*reason) } else { None })
    }

    pub fn opened(&self) -> usize {
        self.pick(|event| matches!(event, Event::Connected { .. }).then_some(())).len()
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
