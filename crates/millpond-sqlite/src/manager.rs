//! Opens, verifies, resets and closes SQLite connections.

use crate::backend::SQLITE;
use crate::baseline::{self, Baseline};
use crate::error_class;
use crate::file_check::{has_file, refuse_device};
use crate::files::Files;
use crate::in_memory::{InMemoryDatabase, OpenConnection, lost};
use crate::interrupt::install_interrupt_handler;
use crate::open_error::{DatabasePath, is_uri, open_error};
use crate::role::Role;
use crate::setup_hook::SetupHook;
use crate::verify::{is_alive, verify};
use crate::wal_mode::SharedFile;
use futures_util::lock::Mutex;
use millpond_core::{ConnectInfo, ErrorClass, Manager, ResetLevel, Triage};
use millpond_sqlx::{SyncState, Tracked};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Error, Sqlite};
use std::fmt;
use std::path::{self, Path};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The manager of `sqlx::SqliteConnection`. [`SqlitePoolOptions`](crate::SqlitePoolOptions) creates
/// one; use it directly to build a core pool for a custom pool.
///
/// Options that name an in-memory database (`:memory:`, or sqlx's form of `sqlite::memory:`) create
/// a manager of that one database: it has a single connection, which outlives any failure of the
/// pool. Give such a pool a limit of one.
pub struct SqliteManager {
    /// With an absolute path, so that all connections open the same file even if the working
    /// directory changes.
    options: SqliteConnectOptions,
    /// The path as the options give it.
    path: Arc<DatabasePath>,
    role: Arc<Role>,
    reset: ResetLevel,
    /// Held while a connection is closed. SQLite copies the write-ahead log into the file when the
    /// last connection closes; if two close at the same time, neither is the last.
    closing: Arc<Mutex<()>>,
    files: Arc<Files>,
}

impl SqliteManager {
    /// Creates a manager of connections that are opened with these options.
    pub fn new(options: SqliteConnectOptions) -> Self {
        let role = if is_memory(options.get_filename()) {
            Role::InMemory(Arc::default())
        } else {
            Role::File { checked: AtomicBool::new(false) }
        };
        Self {
            path: Arc::new(DatabasePath::of(&options)),
            options: with_absolute_path(options),
            role: Arc::new(role),
            reset: ResetLevel::default(),
            closing: Arc::default(),
            files: Arc::default(),
        }
    }

    /// Sets what is reset between two borrowers. SQLite cannot reset a session by SQL, so `Session`
    /// replaces a connection whose session may have changed. On an in-memory database `Session` and
    /// `Replace` do the same as `Transaction`, since its connection is the database.
    ///
    /// With `Transaction`, in pools that [`SqlitePoolOptions`](crate::SqlitePoolOptions) builds,
    /// pragmas that a borrower has changed get back the values that they had after `on_connect`;
    /// temporary tables and attached databases stay. Only `Replace` clears the results of
    /// `last_insert_rowid()`, `changes()` and `total_changes()`: SQLite has no way to do so.
    /// Settings made through `lock_handle` on the driver's own connection stay as well (for example
    /// a commit hook), except for a progress handler.
    #[must_use]
    pub fn with_reset(self, level: ResetLevel) -> Self {
        Self { reset: level, ..self }
    }

    /// Creates the managers of one writer and many readers of a file.
    pub(crate) fn read_write(options: SqliteConnectOptions, reset: ResetLevel) -> (Self, Self) {
        let path = Arc::new(DatabasePath::of(&options));
        // A reader that shares the writer's cache waits for the writer's transactions, without a
        // limit.
        let options = with_absolute_path(options).shared_cache(false);
        let file = Arc::new(SharedFile::default());
        let (closing, files) = (Arc::<Mutex<()>>::default(), Arc::<Files>::default());
        let role = Arc::new(Role::Reader(Arc::clone(&file)));
        let reader = Self {
            options: options.clone(),
            path: Arc::clone(&path),
            role,
            reset,
            closing: Arc::clone(&closing),
            files: Arc::clone(&files),
        };
        let role = Arc::new(Role::Writer(file));
        (Self { options, path, role, reset, closing, files }, reader)
    }

    /// Returns the list of files that the connections have open.
    pub(crate) fn files(&self) -> Arc<Files> {
        Arc::clone(&self.files)
    }

    /// Returns the in-memory database, if this is its manager.
    pub(crate) fn memory(&self) -> Option<&Arc<InMemoryDatabase>> {
        match &*self.role {
            Role::InMemory(memory) => Some(memory),
            _ => None,
        }
    }

    /// Returns the hook that runs on connections after all other hooks. `reuses` is true if they
    /// are lent again, `sets_journal` if the pool sets the journal mode.
    pub(crate) fn setup_hook(&self, reuses: bool, sets_journal: bool) -> SetupHook {
        if let Some(memory) = self.memory() {
            memory.set_unfinished(true);
        }
        SetupHook {
            role: Arc::clone(&self.role),
            files: Arc::clone(&self.files),
            options: self.options.clone(),
            path: Arc::clone(&self.path),
            reuses,
            sets_journal,
            is_made_at_first: false,
        }
    }

    /// Opens a connection to the file without reading from it.
    async fn open_file(&self) -> Result<Tracked<Sqlite>, Error> {
        if self.files.admit(self.options.get_filename())? {
            match &*self.role {
                Role::File { checked } => checked.store(false, Ordering::Relaxed),
                Role::Writer(file) | Role::Reader(file) => file.on_replaced().await,
                Role::InMemory(_) => {}
            }
        }
        refuse_device(self.options.get_filename())?;
        let OpenConnection { mut conn, interrupt_flag } = open(&self.options).await?;
        match &*self.role {
            Role::File { checked } if !checked.load(Ordering::Relaxed) => {
                has_file(&mut conn).await?
            }
            Role::Writer(file) | Role::Reader(file) => {
                file.set_synchronous_normal(&mut conn).await?
            }
            _ => {}
        }
        Ok(Tracked::with_interrupt_flag(conn, &SQLITE, interrupt_flag))
    }

    /// Returns the connection to the in-memory database, restored or new.
    async fn borrow(&self, memory: &Arc<InMemoryDatabase>) -> Result<Tracked<Sqlite>, Error> {
        let mut borrowed = memory.take()?;
        if memory.is_unfinished() {
            // The effects of a failed hook would disturb its second attempt.
            borrowed.connection = None;
        }
        match &mut borrowed.connection {
            None => borrowed.connection = Some(open(&self.options).await?),
            Some(connection) => match restore(connection, memory.baseline()).await {
                Err(Error::WorkerCrashed) => {
                    borrowed.mark_lost();
                    return Err(lost());
                }
                outcome => outcome?,
            },
        }
        let OpenConnection { conn, interrupt_flag } =
            borrowed.into_connection().ok_or(Error::WorkerCrashed)?;
        interrupt_flag.store(false, Ordering::Release);
        let (owner, own_flag) = (Arc::clone(memory), Arc::clone(&interrupt_flag));
        let put_back =
            move |conn| owner.put_back(OpenConnection { conn, interrupt_flag: own_flag });
        let mut conn =
            Tracked::with_interrupt_flag(conn, &SQLITE, interrupt_flag).on_drop(put_back);
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
            Role::InMemory(memory) => self.borrow(memory).await,
            _ => {
                self.open_file().await.map_err(|error| open_error(error, &self.options, &self.path))
            }
        }
    }

    async fn ping(&self, conn: &mut Tracked<Sqlite>) -> Result<(), Error> {
        conn.driver_mut().ping().await
    }

    fn triage(&self, conn: &mut Tracked<Sqlite>) -> Triage {
        conn.end_lease();
        let sync_state = conn.sync_state();
        if sync_state != SyncState::Clean {
            // A statement of the last borrower may still be running.
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
        // Broken until it is verified, so that a close does not wait for a thread that hangs or has
        // ended.
        conn.degrade(SyncState::Broken);
        if conn.was_driver_exposed() {
            // The borrower may have set another progress handler.
            let flag = conn.interrupt_flag();
            install_interrupt_handler(conn.driver_mut(), flag).await?;
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
        // The connection counts as open until it is closed.
        let _identity_check = conn.take_identity_check();
        let flag = conn.interrupt_flag();
        let mut conn = conn.into_driver();
        match sync_state {
            SyncState::Clean => {}
            // The driver's thread may have ended; a command sent to it would never be answered.
            SyncState::Broken => return Ok(()),
            // Waits for a running statement; this blocks no other connection.
            _ => {
                conn.ping().await?;
                // What the driver executes when it closes is not interrupted.
                flag.store(false, Ordering::Release);
            }
        }
        let _guard = self.closing.lock().await;
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
            Role::InMemory(_) => "memory",
            Role::Writer(_) => "writer",
            Role::Reader(_) => "reader",
        };
        // Without the options: a pragma may contain the key of an encrypted database.
        f.debug_struct("SqliteManager")
            .field("role", &role)
            .field("reset", &self.reset)
            .finish_non_exhaustive()
    }
}

/// Rolls back every transaction on the kept connection, and restores its settings.
async fn restore(
    connection: &mut OpenConnection,
    baseline: Option<&Baseline>,
) -> Result<(), Error> {
    let OpenConnection { conn, interrupt_flag } = connection;
    is_alive(conn).await?;
    verify(conn).await?;
    install_interrupt_handler(conn, Arc::clone(interrupt_flag)).await?;
    match baseline {
        Some(baseline) => baseline::restore(conn, baseline).await,
        None => Ok(()),
    }
}

/// Opens a connection whose statements stop when its interrupt flag is set.
async fn open(options: &SqliteConnectOptions) -> Result<OpenConnection, Error> {
    let mut conn = match options.connect().await {
        Err(Error::WorkerCrashed) => return Err(Error::Configuration(PANICKED.into())),
        conn => conn?,
    };
    let interrupt_flag = Arc::new(AtomicBool::new(false));
    install_interrupt_handler(&mut conn, Arc::clone(&interrupt_flag)).await?;
    Ok(OpenConnection { conn, interrupt_flag })
}

/// The error if the driver's thread panics while it opens a connection.
const PANICKED: &str = "the driver's thread panicked when it opened the connection: is the \
                        busy_timeout of its options longer than 24 days?";

/// Makes the path in the options absolute: SQLite resolves a relative path against the working
/// directory at the time of each open.
fn with_absolute_path(options: SqliteConnectOptions) -> SqliteConnectOptions {
    let name = options.get_filename();
    if is_memory(name) || is_uri(name) {
        return options;
    }
    match path::absolute(name) {
        Ok(absolute) => options.filename(absolute),
        Err(_) => options,
    }
}

/// Returns true if a file name denotes an in-memory database: `:memory:`, an empty name, or the
/// name that sqlx's parser generates.
fn is_memory(filename: &Path) -> bool {
    filename.to_str().is_some_and(|name| {
        name.is_empty() || name == ":memory:" || name.starts_with("file:sqlx-in-memory-")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_change_of_the_working_directory_does_not_change_the_file() {
        let name = |name| {
            with_absolute_path(SqliteConnectOptions::new().filename(name)).get_filename().to_owned()
        };
        let here = std::env::current_dir().unwrap();
        assert_eq!(name("ponds.db"), here.join("ponds.db"));
        assert_eq!(name("./ponds.db"), here.join("ponds.db"));
        for unchanged in ["/ponds.db", ":memory:", "", "file:ponds.db?mode=ro"] {
            assert_eq!(name(unchanged), Path::new(unchanged));
        }
    }
}
