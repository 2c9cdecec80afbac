//! Opens, proves, resets and closes SQLite connections.

use crate::backend::SQLITE;
use crate::fault;
use crate::first_look::first_look;
use crate::memory::{Kept, Memory};
use crate::open_error::open_error;
use crate::prepare::Ground;
use crate::prove::prove;
use millpond_core::{ConnectInfo, Fault, Manager, ResetLevel, Triage};
use millpond_sqlx::{Backend, Standing, Tracked};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Error, Sqlite};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many steps of SQLite's virtual machine lie between two looks at whether to stop: some ten microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1000;

/// The manager over `sqlx::SqliteConnection`. [`SqlitePoolOptions`](crate::SqlitePoolOptions) makes one for you; build a
/// core pool over it if you want to wrap one in a pool of your own.
///
/// Options that name an in-memory database (`:memory:`, or what sqlx makes of `sqlite::memory:`) make a manager of that
/// one database: it has a single connection, which outlives every mishap of the pool. Give such a pool one place.
pub struct SqliteManager {
    options: SqliteConnectOptions,
    role: Role,
    reset: ResetLevel,
}

/// What its connections are for.
enum Role {
    File {
        /// Whether the first connection was seen to have a database in a file behind it.
        seen: AtomicBool,
    },
    Memory(Arc<Memory>),
    Writer(Arc<Ground>),
    Reader(Arc<Ground>),
}

impl SqliteManager {
    /// A manager of connections that are opened with these options.
    pub fn new(options: SqliteConnectOptions) -> Self {
        let role = if is_memory(options.get_filename()) {
            Role::Memory(Arc::default())
        } else {
            Role::File { seen: AtomicBool::new(false) }
        };
        Self { options, role, reset: ResetLevel::default() }
    }

    /// What is done to a connection between two borrowers. `Session` cannot be had by SQL in SQLite: whatever may have
    /// changed the session has its connection replaced. On an in-memory database `Session` and `Replace` do what
    /// `Transaction` does, since its connection is the database.
    #[must_use]
    pub fn with_reset(self, level: ResetLevel) -> Self {
        Self { reset: level, ..self }
    }

    /// The managers of one writer and many readers of a file.
    pub(crate) fn pair(options: SqliteConnectOptions, reset: ResetLevel) -> (Self, Self) {
        // WAL needs no more to keep the database whole; the last commits can be lost if the power fails.
        let options = options.synchronous(SqliteSynchronous::Normal);
        let ground = Arc::new(Ground::new(options.clone()));
        let reading = options.clone().pragma("query_only", "ON");
        let reader = Self { options: reading, role: Role::Reader(Arc::clone(&ground)), reset };
        (Self { options, role: Role::Writer(ground), reset }, reader)
    }

    /// The in-memory database, if it is one.
    pub(crate) fn memory(&self) -> Option<&Arc<Memory>> {
        match &self.role {
            Role::Memory(memory) => Some(memory),
            _ => None,
        }
    }

    /// A new connection to the file.
    async fn open_file(&self) -> Result<Tracked<Sqlite>, Error> {
        if let Role::Writer(ground) | Role::Reader(ground) = &self.role {
            ground.prepare().await?;
        }
        let Kept { mut conn, brake } = open(&self.options).await?;
        if let Role::File { seen } = &self.role
            && !seen.load(Ordering::Relaxed)
        {
            first_look(&mut conn, self.options.get_filename()).await?;
            seen.store(true, Ordering::Relaxed);
        }
        Ok(Tracked::with_brake(conn, &SQLITE, brake))
    }

    /// The connection to the in-memory database: as good as new, or new.
    async fn borrow(&self, memory: &Arc<Memory>) -> Result<Tracked<Sqlite>, Error> {
        let mut loan = memory.take()?;
        match &mut loan.kept {
            None => loan.kept = Some(open(&self.options).await?),
            Some(kept) => {
                let proof = prove(&mut kept.conn).await;
                if matches!(proof, Err(Error::WorkerCrashed)) {
                    // The database is gone with its thread. That is told as a failed attempt; the next one starts anew.
                    loan.kept = None;
                }
                proof?;
            }
        }
        let Kept { conn, brake } = loan.lend().ok_or(Error::WorkerCrashed)?;
        brake.store(false, Ordering::Release);
        let (memory, kept_brake) = (Arc::clone(memory), Arc::clone(&brake));
        let keepsake = move |conn| memory.keep(Kept { conn, brake: kept_brake });
        Ok(Tracked::with_brake(conn, &SQLITE, brake).kept_by(keepsake))
    }
}

impl Manager for SqliteManager {
    type Connection = Tracked<Sqlite>;
    type Error = Error;

    async fn connect(&self, _info: &ConnectInfo) -> Result<Tracked<Sqlite>, Error> {
        match &self.role {
            Role::Memory(memory) => self.borrow(memory).await,
            _ => self.open_file().await.map_err(|error| open_error(error, &self.options)),
        }
    }

    async fn ping(&self, conn: &mut Tracked<Sqlite>) -> Result<(), Error> {
        conn.driver_mut().ping().await
    }

    fn triage(&self, conn: &mut Tracked<Sqlite>) -> Triage {
        let standing = conn.standing();
        if standing != Standing::Clean {
            // Whatever still runs for the borrower who is gone.
            conn.stop();
        }
        let is_memory = self.memory().is_some();
        match (self.reset, standing) {
            (ResetLevel::Replace, _) if !is_memory => Triage::Discard,
            (_, Standing::Clean) => Triage::Keep,
            (_, Standing::Broken) | (ResetLevel::Session, _) if !is_memory => Triage::Discard,
            (ResetLevel::None, _) if !conn.has_lost_transaction() => Triage::Keep,
            _ => Triage::Reset,
        }
    }

    async fn reset(&self, conn: &mut Tracked<Sqlite>) -> Result<(), Error> {
        SQLITE.settle(conn).await?;
        if let Role::Reader(_) = self.role {
            // It could have been turned off: that pragma passes on a reader.
            sqlx::raw_sql("PRAGMA query_only = ON").execute(conn.driver_mut()).await?;
        }
        Ok(())
    }

    async fn close(&self, conn: Tracked<Sqlite>) -> Result<(), Error> {
        if self.memory().is_some_and(|memory| !memory.is_closed()) {
            drop(conn);
            return Ok(());
        }
        if conn.standing() != Standing::Clean {
            conn.stop();
        }
        conn.into_driver().close().await
    }

    fn classify(&self, error: &Error) -> Fault {
        fault::classify(error)
    }
}

impl fmt::Debug for SqliteManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::File { .. } => "file",
            Role::Memory(_) => "memory",
            Role::Writer(_) => "writer",
            Role::Reader(_) => "reader",
        };
        // Not the options: a pragma may hold the key of an encrypted database.
        f.debug_struct("SqliteManager").field("role", &role).field("reset", &self.reset).finish_non_exhaustive()
    }
}

/// Opens a connection that stops when its brake is pulled.
async fn open(options: &SqliteConnectOptions) -> Result<Kept, Error> {
    let mut conn = options.connect().await?;
    let brake = Arc::new(AtomicBool::new(false));
    let pulled = Arc::clone(&brake);
    conn.lock_handle().await?.set_progress_handler(STEPS_BETWEEN_LOOKS, move || !pulled.load(Ordering::Acquire));
    Ok(Kept { conn, brake })
}

/// Whether a file name stands for a database in memory: SQLite's own word, none at all, and what sqlx's parser makes of it.
fn is_memory(filename: &Path) -> bool {
    filename
        .to_str()
        .is_some_and(|name| name.is_empty() || name == ":memory:" || name.starts_with("file:sqlx-in-memory-"))
}
