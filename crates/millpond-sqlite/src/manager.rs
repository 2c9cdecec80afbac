//! Opens, verifies, resets and closes SQLite connections.

use crate::backend::SQLITE;
use crate::baseline::{self, Baseline};
use crate::error_class;
use crate::file_check::{has_file, refuse_device};
use crate::files::Files;
use crate::last_hook::LastHook;
use crate::memory::{Kept, Memory, lost};
use crate::open_error::{Place, is_uri, open_error};
use crate::role::Role;
use crate::verify::{is_alive, verify};
use crate::wal_mode::Ground;
use futures_util::lock::Mutex;
use millpond_core::{ConnectInfo, ErrorClass, Manager, ResetLevel, Triage};
use millpond_sqlx::{SyncState, Tracked};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Error, Sqlite, SqliteConnection};
use std::fmt;
use std::path::{self, Path};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many steps of SQLite's virtual machine lie between two looks at whether to stop: some ten
/// microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1000;

/// The manager over `sqlx::SqliteConnection`. [`SqlitePoolOptions`](crate::SqlitePoolOptions) makes
/// one for you; build a core pool over it if you want to wrap one in a pool of your own.
///
/// Options that name an in-memory database (`:memory:`, or what sqlx makes of `sqlite::memory:`)
/// make a manager of that one database: it has a single connection, which outlives every mishap of
/// the pool. Give such a pool one place.
pub struct SqliteManager {
    /// With the path from the root, so that all connections have the same file whatever becomes of
    /// the working directory.
    options: SqliteConnectOptions,
    /// The path as it was asked for.
    place: Arc<Place>,
    role: Arc<Role>,
    reset: ResetLevel,
    /// Held while a connection is closed: of two that close at the same time neither is the last
    /// one, which brings what is in the write-ahead log into the file.
    closing: Arc<Mutex<()>>,
    files: Arc<Files>,
}

impl SqliteManager {
    /// A manager of connections that are opened with these options.
    pub fn new(options: SqliteConnectOptions) -> Self {
        let role = if is_memory(options.get_filename()) {
            Role::Memory(Arc::default())
        } else {
            Role::File { seen: AtomicBool::new(false) }
        };
        Self {
            place: Arc::new(Place::of(&options)),
            options: from_root(options),
            role: Arc::new(role),
            reset: ResetLevel::default(),
            closing: Arc::default(),
            files: Arc::default(),
        }
    }

    /// What is done to a connection between two borrowers. `Session` cannot be had by SQL in
    /// SQLite: whatever may have changed the session has its connection replaced. On an in-memory
    /// database `Session` and `Replace` do what `Transaction` does, since its connection is the
    /// database.
    ///
    /// With `Transaction`, pragmas that a borrower has changed are put back to what they were after
    /// `on_connect`, in pools that [`SqlitePoolOptions`](crate::SqlitePoolOptions) makes; temporary
    /// tables and attached databases stay. No level but `Replace` clears what
    /// `last_insert_rowid()`, `changes()` and `total_changes()` say: SQLite has no means to. What
    /// was set through `lock_handle` on the driver's own connection stays as well (a commit hook,
    /// for one), apart from a progress handler.
    #[must_use]
    pub fn with_reset(self, level: ResetLevel) -> Self {
        Self { reset: level, ..self }
    }

    /// The managers of one writer and many readers of a file.
    pub(crate) fn pair(options: SqliteConnectOptions, reset: ResetLevel) -> (Self, Self) {
        let place = Arc::new(Place::of(&options));
        // A reader with the writer's cache waits for its transactions, without a limit.
        let options = from_root(options).shared_cache(false);
        let ground = Arc::new(Ground::default());
        let (closing, files) = (Arc::<Mutex<()>>::default(), Arc::<Files>::default());
        let role = Arc::new(Role::Reader(Arc::clone(&ground)));
        let reader = Self {
            options: options.clone(),
            place: Arc::clone(&place),
            role,
            reset,
            closing: Arc::clone(&closing),
            files: Arc::clone(&files),
        };
        let role = Arc::new(Role::Writer(ground));
        (Self { options, place, role, reset, closing, files }, reader)
    }

    /// The files that its connections have open.
    pub(crate) fn files(&self) -> Arc<Files> {
        Arc::clone(&self.files)
    }

    /// The in-memory database, if it is one.
    pub(crate) fn memory(&self) -> Option<&Arc<Memory>> {
        match &*self.role {
            Role::Memory(memory) => Some(memory),
            _ => None,
        }
    }

    /// What is done to its connections after all other hooks. `keeps` says whether they are lent
    /// again, `sets_journal` whether the pool sets the journal mode.
    pub(crate) fn last_hook(&self, keeps: bool, sets_journal: bool) -> LastHook {
        if let Some(memory) = self.memory() {
            memory.set_unfinished(true);
        }
        LastHook {
            role: Arc::clone(&self.role),
            files: Arc::clone(&self.files),
            options: self.options.clone(),
            place: Arc::clone(&self.place),
            keeps,
            sets_journal,
            is_made_at_first: false,
        }
    }

    /// A new connection to the file, of which nothing was read yet.
    async fn open_file(&self) -> Result<Tracked<Sqlite>, Error> {
        if self.files.admit(self.options.get_filename())? {
            match &*self.role {
                Role::File { seen } => seen.store(false, Ordering::Relaxed),
                Role::Writer(ground) | Role::Reader(ground) => ground.is_another().await,
                Role::Memory(_) => {}
            }
        }
        refuse_device(self.options.get_filename())?;
        let Kept { mut conn, brake } = open(&self.options).await?;
        match &*self.role {
            Role::File { seen } if !seen.load(Ordering::Relaxed) => has_file(&mut conn).await?,
            Role::Writer(ground) | Role::Reader(ground) => ground.relax(&mut conn).await?,
            _ => {}
        }
        Ok(Tracked::with_interrupt_flag(conn, &SQLITE, brake))
    }

    /// The connection to the in-memory database: as good as new, or new.
    async fn borrow(&self, memory: &Arc<Memory>) -> Result<Tracked<Sqlite>, Error> {
        let mut loan = memory.take()?;
        if memory.is_unfinished() {
            // What a hook has done before it failed would be in the way of its second attempt.
            loan.kept = None;
        }
        match &mut loan.kept {
            None => loan.kept = Some(open(&self.options).await?),
            Some(kept) => match restored(kept, memory.baseline()).await {
                Err(Error::WorkerCrashed) => {
                    loan.lose();
                    return Err(lost());
                }
                proof => proof?,
            },
        }
        let Kept { conn, brake } = loan.lend().ok_or(Error::WorkerCrashed)?;
        brake.store(false, Ordering::Release);
        let (owner, kept_brake) = (Arc::clone(memory), Arc::clone(&brake));
        let keepsake = move |conn| owner.keep(Kept { conn, brake: kept_brake });
        let mut conn = Tracked::with_interrupt_flag(conn, &SQLITE, brake).on_drop(keepsake);
        if let Some(baseline) = memory.baseline() {
            conn.set_baseline(baseline.clone());
            conn.note_hooks_done();
        }
        Ok(conn)
    }
}

impl Manager for SqliteManager {
    type Connection = Tracked<Sqlite>;
    type Error = Error;

    async fn connect(&self, _info: &ConnectInfo) -> Result<Tracked<Sqlite>, Error> {
        match &*self.role {
            Role::Memory(memory) => self.borrow(memory).await,
            _ => self
                .open_file()
                .await
                .map_err(|error| open_error(error, &self.options, &self.place)),
        }
    }

    async fn ping(&self, conn: &mut Tracked<Sqlite>) -> Result<(), Error> {
        conn.driver_mut().ping().await
    }

    fn triage(&self, conn: &mut Tracked<Sqlite>) -> Triage {
        conn.end_lease();
        let sync_state = conn.sync_state();
        if sync_state != SyncState::Clean {
            // Whatever still runs for the borrower who is gone.
            conn.interrupt();
        }
        let is_memory = self.memory().is_some();
        match (self.reset, sync_state) {
            (ResetLevel::Replace, _) if !is_memory => Triage::Discard,
            (_, SyncState::Clean) => Triage::Keep,
            (_, SyncState::Broken) => Triage::Discard,
            (ResetLevel::Session, _) if !is_memory => Triage::Discard,
            (ResetLevel::None, _) if !conn.has_lost_transaction() => Triage::Keep,
            _ => Triage::Reset,
        }
    }

    async fn reset(&self, conn: &mut Tracked<Sqlite>) -> Result<(), Error> {
        // Until that is verified: a thread that hangs or is gone is not waited for once more at the
        // close.
        conn.degrade(SyncState::Broken);
        if conn.was_driver_exposed() {
            // Its borrower may have set another progress handler.
            let flag = conn.interrupt_flag();
            stop_on(conn.driver_mut(), flag).await?;
        }
        verify(conn.driver_mut()).await?;
        baseline::restore_on(conn).await?;
        conn.mark_in_sync();
        Ok(())
    }

    async fn close(&self, mut conn: Tracked<Sqlite>) -> Result<(), Error> {
        if self.memory().is_some_and(|memory| !memory.is_closed()) {
            drop(conn);
            return Ok(());
        }
        let sync_state = conn.sync_state();
        if sync_state != SyncState::Clean {
            conn.interrupt();
        }
        // It counts as open until it is closed.
        let _identity_check = conn.take_identity_check();
        let mut conn = conn.into_driver();
        match sync_state {
            SyncState::Clean => {}
            // Its thread may be gone, and what was sent to it at the last moment waits for ever.
            SyncState::Broken => return Ok(()),
            // What still runs holds up nobody else.
            _ => conn.ping().await?,
        }
        let _alone = self.closing.lock().await;
        conn.close().await
    }

    fn classify(&self, error: &Error) -> ErrorClass {
        error_class::classify(error)
    }
}

impl fmt::Debug for SqliteManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match *self.role {
            Role::File { .. } => "file",
            Role::Memory(_) => "memory",
            Role::Writer(_) => "writer",
            Role::Reader(_) => "reader",
        };
        // Not the options: a pragma may hold the key of an encrypted database.
        f.debug_struct("SqliteManager")
            .field("role", &role)
            .field("reset", &self.reset)
            .finish_non_exhaustive()
    }
}

/// Brings the connection that is kept out of every transaction and back to its settings.
async fn restored(kept: &mut Kept, baseline: Option<&Baseline>) -> Result<(), Error> {
    let Kept { conn, brake } = kept;
    is_alive(conn).await?;
    verify(conn).await?;
    stop_on(conn, Arc::clone(brake)).await?;
    match baseline {
        Some(baseline) => baseline::restore(conn, baseline).await,
        None => Ok(()),
    }
}

/// Opens a connection that stops when its brake is pulled.
async fn open(options: &SqliteConnectOptions) -> Result<Kept, Error> {
    let mut conn = match options.connect().await {
        Err(Error::WorkerCrashed) => return Err(Error::Configuration(PANICKED.into())),
        conn => conn?,
    };
    let brake = Arc::new(AtomicBool::new(false));
    stop_on(&mut conn, Arc::clone(&brake)).await?;
    Ok(Kept { conn, brake })
}

/// Has SQLite stop what it does for a connection when its brake is pulled.
async fn stop_on(conn: &mut SqliteConnection, brake: Arc<AtomicBool>) -> Result<(), Error> {
    let mut handle = conn.lock_handle().await?;
    handle.set_progress_handler(STEPS_BETWEEN_LOOKS, move || !brake.load(Ordering::Acquire));
    Ok(())
}

/// What is said when the driver's thread panics while it opens a connection.
const PANICKED: &str = "the driver's thread panicked when it opened the connection: is the \
                        busy_timeout of its options longer than 24 days?";

/// The options with the path from the root: SQLite opens a relative one from where the process is
/// at that moment.
fn from_root(options: SqliteConnectOptions) -> SqliteConnectOptions {
    let name = options.get_filename();
    if is_memory(name) || is_uri(name) {
        return options;
    }
    match path::absolute(name) {
        Ok(absolute) => options.filename(absolute),
        Err(_) => options,
    }
}

/// Whether a file name stands for a database in memory: SQLite's own word, none at all, and what
/// sqlx's parser makes of it.
fn is_memory(filename: &Path) -> bool {
    filename.to_str().is_some_and(|name| {
        name.is_empty() || name == ":memory:" || name.starts_with("file:sqlx-in-memory-")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_what_it_meant_when_the_pool_was_made_whatever_becomes_of_the_working_directory()
    {
        let name =
            |name| from_root(SqliteConnectOptions::new().filename(name)).get_filename().to_owned();
        let here = std::env::current_dir().unwrap();
        assert_eq!(name("ponds.db"), here.join("ponds.db"));
        assert_eq!(name("./ponds.db"), here.join("ponds.db"));
        for unchanged in ["/ponds.db", ":memory:", "", "file:ponds.db?mode=ro"] {
            assert_eq!(name(unchanged), Path::new(unchanged));
        }
    }
}
