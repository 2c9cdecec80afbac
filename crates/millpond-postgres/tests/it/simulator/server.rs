//! The server: its book of committed steps, its sessions, and the violations that it has detected.

use super::session::Session;
use fastrand::Rng;
use futures_util::FutureExt;
use std::collections::{HashMap, HashSet};
use std::env;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// How a server treats a transaction in which a statement has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// Refuses all further statements in it, as PostgreSQL does.
    Refuses,
    /// Rolls back the statement or, at random, the whole transaction, and continues outside a
    /// transaction. Commits at DDL. MySQL and SQLite behave like this.
    RollsBack,
}

/// State that all sessions share.
#[derive(Debug, Default)]
pub struct Book {
    /// The steps that were committed, by the number of their transaction.
    pub committed: HashMap<i64, HashSet<i64>>,
    /// The detected violations.
    pub violations: Vec<String>,
    /// True if faults no longer happen.
    pub is_healed: bool,
    pub faults: u64,
    /// The number of sessions.
    pub sessions: usize,
    /// The number of schema changes.
    pub schema: u64,
    /// The number of transactions that were begun.
    pub begun: u64,
}

/// A server in this process, for one world.
pub struct Server {
    pub temper: Temper,
    book: Mutex<Book>,
    numbers: AtomicI64,
    dir: PathBuf,
}

impl Server {
    /// Starts a server with its socket in a new directory.
    pub fn start(temper: Temper, seed: u64) -> (Arc<Self>, Accepting) {
        let dir = env::temp_dir().join(format!("millpond-sim-{:x}", fastrand::u64(..)));
        fs::create_dir_all(&dir).unwrap();
        let listener = UnixListener::bind(dir.join(".s.PGSQL.5432")).unwrap();
        let server =
            Arc::new(Self { temper, book: Mutex::default(), numbers: AtomicI64::new(1), dir });
        let shared = Arc::clone(&server);
        let accepting = tokio::spawn(async move {
            for n in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let dice = Rng::with_seed(seed.wrapping_mul(1_000).wrapping_add(n));
                let (session, server) =
                    (Session::new(stream, Arc::clone(&shared), dice), Arc::clone(&shared));
                tokio::spawn(async move {
                    if AssertUnwindSafe(session.serve()).catch_unwind().await.is_err() {
                        server.violation("the server itself has panicked".to_owned());
                    }
                });
            }
        });
        (server, Accepting(accepting))
    }

    /// Returns the directory of the socket, for the driver.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Returns a unique number for a borrower's action.
    pub fn number(&self) -> i64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub fn violation(&self, text: String) {
        self.book().violations.push(text);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Accepts connections until it is dropped.
pub struct Accepting(JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}
