//! The server: its book of what was committed, its sessions, and what it has noticed that must not
//! be.

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

/// What a server does with a transaction in which something has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// It refuses everything else in it, as PostgreSQL does.
    Refuses,
    /// It undoes the statement or, if it likes, the whole transaction, and goes on outside of one.
    /// It commits at DDL. MySQL and SQLite are so.
    RollsBack,
}

/// What all sessions share.
#[derive(Debug, Default)]
pub struct Book {
    /// The steps that were committed, by the number of their transaction.
    pub committed: HashMap<i64, HashSet<i64>>,
    /// What must not be and was.
    pub violations: Vec<String>,
    /// Whether troubles still happen.
    pub is_healed: bool,
    pub faults: u64,
    /// How many sessions there are.
    pub sessions: usize,
    /// How often the schema was changed.
    pub schema: u64,
    /// How many transactions were begun.
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
    /// Starts one in a directory of its own, in which its socket is.
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

    /// Where the driver finds it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// The number of a borrower's action: nobody else has it.
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

/// Takes connections until it is dropped.
pub struct Accepting(JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}
