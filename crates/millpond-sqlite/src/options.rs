//! Builds a SQLite pool from a URL or sqlx's options.

use crate::backend::SQLITE;
use crate::in_memory::InMemoryDatabase;
use crate::manager::SqliteManager;
use crate::only_reads::only_reads;
use crate::pragma::PragmaHook;
use crate::setup_hook::SetupHook;
use crate::url::{Target, parse};
use millpond_core::{
    Event, EventContext, Interest, NullPool, Observer, PoolKind, QueuePool, ResetLevel,
};
use millpond_sqlx::backend_api::{SqlPoolSettings, check_connects, config_error};
use millpond_sqlx::{SqlPool, pool_settings, sqlx_names};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Error, Sqlite, SqliteConnection};
use std::sync::Arc;
use std::time::Duration;

/// A pool of SQLite connections; it replaces `sqlx::SqlitePool`.
pub type SqlitePool = SqlPool<Sqlite>;

/// The options of an SQLite pool: kind, settings, hooks, pragmas.
///
/// A connection has only one progress handler, and the pool uses it to interrupt dropped queries. A
/// handler that a hook sets is replaced. A handler that a borrower sets stays until the lease ends;
/// queries dropped meanwhile run to completion.
///
/// ```
/// use millpond_sqlite::{PoolKind, PragmaHook, SqlitePoolOptions};
/// use std::time::Duration;
///
/// let pool = SqlitePoolOptions::new()
///     .name("ponds")
///     .pool(PoolKind::ReadWrite)
///     .pool_size(4)
///     .pool_timeout(Duration::from_secs(10))
///     .pragma(PragmaHook::new().foreign_keys(true))
///     .connect_lazy("sqlite:///./ponds.db")?;
/// # Ok::<(), sqlx::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "call connect or connect_lazy"]
pub struct SqlitePoolOptions {
    settings: SqlPoolSettings<Sqlite>,
    kind: Option<PoolKind>,
    pragmas: Vec<PragmaHook>,
}

impl SqlitePoolOptions {
    /// Creates options with the default settings: [`PoolKind::Null`] for a file, one kept
    /// connection for `:memory:`.
    pub fn new() -> Self {
        Self { settings: SqlPoolSettings::new("sqlite"), kind: None, pragmas: Vec::new() }
    }

    /// Sets how the connections to a file are pooled. Default [`PoolKind::Null`], as in SQLAlchemy.
    /// An in-memory database always has one connection.
    ///
    /// [`PoolKind::ReadWrite`] has one writer, a queue of one without overflow, and readers, a
    /// queue of exactly `pool_size` with `query_only` on. [`SqlPool::acquire`], [`SqlPool::begin`]
    /// (with `BEGIN IMMEDIATE`) and migrations use the writer. [`SqlPool::reader`] is a handle to
    /// the readers; a statement on `&pool` goes to them if its text can only read
    /// ([`only_reads`](crate::only_reads)). The other settings apply to both; `min_idle` keeps at
    /// most the one writer. The database is switched to WAL mode, `synchronous` is `NORMAL`, and
    /// `busy_timeout` is that of the options (5 s); it only matters for other processes, since
    /// connections of the pool never wait for each other's locks. The connections share no cache,
    /// whatever `cache` says, since a reader would wait for the writer. Hooks for new connections
    /// run on readers before `query_only` is set; `on_first_connect` is called once, on the
    /// connection that is opened first. In events, logs and metrics the two are named
    /// `<name>-writer` and `<name>-reader`.
    pub fn pool(mut self, kind: PoolKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Sets pragmas on every new connection, in the order of the hooks.
    pub fn pragma(mut self, pragmas: PragmaHook) -> Self {
        self.settings.add_tracked_hooks(pragmas.clone());
        self.pragmas.push(pragmas);
        self
    }

    /// Builds a pool from a URL, and opens a first connection to check that it works.
    ///
    /// | URL | database |
    /// |---|---|
    /// | `sqlite:///ponds.db`, `sqlite:///./ponds.db`, `sqlite:ponds.db`, `sqlite://ponds.db` | a file, from the working directory |
    /// | `sqlite:////var/lib/ponds.db` | a file, from the root |
    /// | `sqlite://`, `sqlite:///:memory:`, `sqlite::memory:` | in memory, the pool's own |
    /// | `sqlite+aiosqlite:///ponds.db` | the same as without the driver |
    ///
    /// Three slashes mean a relative path, as with SQLAlchemy and unlike with sqlx; with nothing
    /// after them they are an error, since a variable was probably not set. A missing file is
    /// created unless `mode` says otherwise. Parameters: `mode` (`ro`, `rw`, `rwc`, `memory`),
    /// `cache` (`private`, `shared`), `immutable`, `vfs`, `timeout` (seconds to wait for a lock),
    /// and `uri=true` for paths written as `file:`. Everything else is an error.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for an invalid URL or setting; the error of the first connection.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the pool is dropped.
    pub async fn connect(self, url: &str) -> Result<SqlitePool, Error> {
        check_connects(self.connect_lazy(url)?).await
    }

    /// Parses a URL as [`connect`](Self::connect) does, for [`connect_with`](Self::connect_with).
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for an invalid URL.
    pub fn parse_url(url: &str) -> Result<SqliteConnectOptions, Error> {
        match parse(url)? {
            Target::Memory(options) | Target::File(options) => Ok(options),
        }
    }

    /// Builds a pool from sqlx's options. The first connection is opened by the first acquire.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for an invalid setting.
    pub fn connect_lazy_with(self, options: SqliteConnectOptions) -> Result<SqlitePool, Error> {
        let SqlPoolSettings { sqlx_connections, sqlx_timeouts, .. } = self.settings;
        self.build(options)?.with_sqlx_settings(&SQLITE, sqlx_connections, sqlx_timeouts)
    }

    fn build(mut self, options: SqliteConnectOptions) -> Result<SqlitePool, Error> {
        self.settings.config.check().map_err(config_error)?;
        let manager = SqliteManager::new(options.clone()).with_reset(self.settings.reset);
        if let Some(memory) = manager.memory().cloned() {
            return self.in_memory(manager, memory);
        }
        let kind = self.kind.unwrap_or(PoolKind::Null);
        if kind == PoolKind::ReadWrite {
            return self.read_write(options);
        }
        let hook = manager.setup_hook(kind == PoolKind::Queue, self.sets_journal());
        self.settings.add_tracked_hooks(hook);
        let settings = &self.settings;
        match kind {
            PoolKind::Null => {
                let pool: NullPool<_> =
                    settings.build(manager, &settings.name, settings.config.clone())?;
                Ok(SqlPool::from_null(pool))
            }
            _ => {
                let files = manager.files();
                let pool: QueuePool<_> =
                    settings.build(manager, &settings.name, settings.config.clone())?;
                let [link, _] = &files.pools;
                link.attach(&pool);
                Ok(SqlPool::from_queue(pool))
            }
        }
    }

    /// Returns true if the pool's pragmas set the journal mode.
    fn sets_journal(&self) -> bool {
        self.pragmas.iter().any(|hook| hook.sets("journal_mode"))
    }

    /// Builds the pool of an in-memory database: one connection, which no limit closes.
    fn in_memory(
        mut self,
        manager: SqliteManager,
        memory: Arc<InMemoryDatabase>,
    ) -> Result<SqlitePool, Error> {
        let asked = match (self.kind, self.settings.reset) {
            (Some(PoolKind::Null | PoolKind::ReadWrite), _) => "a pool kind other than queue",
            (_, ResetLevel::Session | ResetLevel::Replace) => "a reset level above transaction",
            _ => {
                self.settings.add_observer(CloseWithPool(memory));
                let is_made_at_first = self.settings.has_first_connect_hooks();
                let hook = manager.setup_hook(true, self.sets_journal());
                self.settings.add_tracked_hooks(SetupHook { is_made_at_first, ..hook });
                let mut config = self.settings.config.clone();
                (config.pool_size, config.max_overflow, config.min_idle) = (1, 0, None);
                (config.pool_recycle, config.idle_timeout, config.pool_pre_ping) =
                    (None, None, false);
                (config.overflow_after, config.overflow_linger) = (Duration::ZERO, Duration::ZERO);
                let pool: QueuePool<_> =
                    self.settings.build(manager, &self.settings.name, config)?;
                return Ok(SqlPool::from_queue(pool));
            }
        };
        let message = format!(
            "{asked} is not supported for an in-memory database: its single connection is the \
             database"
        );
        Err(Error::Configuration(message.into()))
    }

    /// Builds the pool of one writer and many readers.
    fn read_write(self, options: SqliteConnectOptions) -> Result<SqlitePool, Error> {
        let mut settings = self.settings;
        settings.share_first_connect();
        if let Some(name) = self.pragmas.iter().find_map(PragmaHook::conflicts_with_read_write) {
            let message =
                format!("pragma {name} is set by the pool itself with one writer and many readers");
            return Err(Error::Configuration(message.into()));
        }
        let (writer, reader) = SqliteManager::read_write(options, settings.reset);
        let mut reading = settings.config.clone();
        reading.max_overflow = 0;
        (reading.overflow_after, reading.overflow_linger) = (Duration::ZERO, Duration::ZERO);
        let mut writing = reading.clone();
        writing.pool_size = 1;
        writing.min_idle = reading.min_idle.map(|idle| idle.min(1));
        if writing.min_idle != Some(0) {
            // A queue of one connection with `min_idle` has nothing to close.
            writing.idle_timeout = None;
        }
        let (mut writers, mut readers) = (settings.clone(), settings);
        writers.add_tracked_hooks(writer.setup_hook(true, true));
        readers.add_tracked_hooks(reader.setup_hook(true, true));
        let files = writer.files();
        let writer: QueuePool<_> =
            writers.build(writer, &format!("{}-writer", writers.name), writing)?;
        let readers: QueuePool<_> =
            readers.build(reader, &format!("{}-reader", readers.name), reading)?;
        let [writers, readers_of] = &files.pools;
        writers.attach(&writer);
        readers_of.attach(&readers);
        Ok(SqlPool::from_split(writer, readers, only_reads, "BEGIN IMMEDIATE"))
    }
}

pool_settings!(SqlitePoolOptions, SqliteConnection);
sqlx_names!(SqlitePoolOptions, SqliteConnection);

impl Default for SqlitePoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Ends the in-memory database when its pool closes.
struct CloseWithPool(Arc<InMemoryDatabase>);

impl Observer for CloseWithPool {
    fn observe(&self, event: &Event, _context: &EventContext<'_>) {
        if matches!(event, Event::Closing) {
            self.0.close();
        }
    }

    fn interest(&self) -> Interest {
        Interest::Incidents
    }
}
