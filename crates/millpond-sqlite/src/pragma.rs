//! Sets pragmas on every new connection, and checks that they were applied.

use crate::pragma_value::{PragmaError, PragmaValue, Setting};
use futures_util::TryStreamExt;
use futures_util::lock::Mutex;
use millpond_core::{BoxError, ConnectionInfo, HookPoint, HookPoints, Hooks, async_trait};
use millpond_sqlx::Tracked;
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Either, Error, Executor, Row, Sqlite, SqliteConnection, raw_sql};
use std::sync::Arc;
use std::time::Duration;

/// Sets pragmas on every new connection, such as the guide's `PRAGMA foreign_keys=ON`.
///
/// Names come from a table and values are checked by kind, so no text reaches SQL unchecked. A
/// pragma that already has the value is not set. Afterwards it is read back: SQLite silently
/// ignores pragmas that it does not support or cannot apply now; here that is an error, and the
/// connection is not lent. Changes by a borrower are reset before the connection is lent again.
///
/// ```
/// use millpond_sqlite::{PragmaHook, SqlitePoolOptions};
/// use std::time::Duration;
///
/// let pragmas = PragmaHook::new()
///     .foreign_keys(true)
///     .busy_timeout(Duration::from_secs(10))
///     .set("recursive_triggers", true)?;
/// let pool = SqlitePoolOptions::new().pragma(pragmas).connect_lazy("sqlite:///./ponds.db")?;
///
/// assert!(PragmaHook::new().set("journal_mode", "WAL; DROP TABLE ponds").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct PragmaHook {
    settings: Vec<Setting>,
    /// Held while a pragma of the file is changed, so that hundreds of connections do not compete
    /// for the file's lock.
    file: Arc<Mutex<()>>,
}

/// Where SQLite keeps temporary tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TempStore {
    /// The default of the SQLite build.
    Default,
    /// In a file.
    File,
    /// In memory.
    Memory,
}

impl PragmaHook {
    /// Creates a hook that sets no pragmas.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a pragma by name.
    ///
    /// # Errors
    ///
    /// Returns an error if no hook may set this pragma, or if the value is invalid. The error names
    /// the valid values.
    pub fn set(mut self, name: &str, value: impl Into<PragmaValue>) -> Result<Self, PragmaError> {
        let setting = Setting::new(name, &value.into())?;
        // The last value wins, as it would in SQLite.
        self.settings.retain(|earlier| earlier.pragma != setting.pragma);
        self.settings.push(setting);
        Ok(self)
    }

    /// Sets whether foreign keys are enforced. (sqlx turns them on; SQLite's own default is off.)
    #[must_use]
    pub fn foreign_keys(self, on: bool) -> Self {
        self.known("foreign_keys", on)
    }

    /// Sets how long a statement waits for a lock that another connection holds; at most 24 days.
    #[must_use]
    pub fn busy_timeout(self, limit: Duration) -> Self {
        self.known("busy_timeout", limit.min(Duration::from_millis(i32::MAX.unsigned_abs().into())))
    }

    /// Sets the journal mode. `Wal` is a property of the file: it is set once and stays.
    #[must_use]
    pub fn journal_mode(self, mode: SqliteJournalMode) -> Self {
        self.known(
            "journal_mode",
            match mode {
                SqliteJournalMode::Delete => "delete",
                SqliteJournalMode::Truncate => "truncate",
                SqliteJournalMode::Persist => "persist",
                SqliteJournalMode::Memory => "memory",
                SqliteJournalMode::Wal => "wal",
                SqliteJournalMode::Off => "off",
            },
        )
    }

    /// Sets how often SQLite waits for the disk.
    #[must_use]
    pub fn synchronous(self, level: SqliteSynchronous) -> Self {
        self.known(
            "synchronous",
            match level {
                SqliteSynchronous::Off => "off",
                SqliteSynchronous::Normal => "normal",
                SqliteSynchronous::Full => "full",
                SqliteSynchronous::Extra => "extra",
            },
        )
    }

    /// Sets the page cache of a connection: pages if positive, KiB if negative.
    #[must_use]
    pub fn cache_size(self, pages_or_kib: i32) -> Self {
        self.known("cache_size", pages_or_kib.max(-i32::MAX))
    }

    /// Sets where temporary tables are kept.
    #[must_use]
    pub fn temp_store(self, store: TempStore) -> Self {
        self.known(
            "temp_store",
            match store {
                TempStore::Default => "default",
                TempStore::File => "file",
                TempStore::Memory => "memory",
            },
        )
    }

    /// Sets how many bytes of the file are mapped into memory. SQLite has its own limit (2 GiB as
    /// built by default); a larger value fails when the connection is opened.
    #[must_use]
    pub fn mmap_size(self, bytes: u32) -> Self {
        self.known("mmap_size", i64::from(bytes))
    }

    /// Returns a pragma that conflicts with a connection's role in a pool of one writer and many
    /// readers.
    pub(crate) fn conflicts_with_read_write(&self) -> Option<&'static str> {
        let conflicts = |setting: &&Setting| match setting.pragma.name {
            "journal_mode" => !setting.is("wal"),
            "locking_mode" => !setting.is("normal"),
            "query_only" => true,
            _ => false,
        };
        self.settings.iter().find(conflicts).map(|setting| setting.pragma.name)
    }

    /// Returns true if the hook sets this pragma.
    pub(crate) fn sets(&self, name: &str) -> bool {
        self.settings.iter().any(|setting| setting.pragma.name == name)
    }

    /// Sets a pragma to a value that cannot be invalid, as the tests of each method show.
    fn known(self, name: &'static str, value: impl Into<PragmaValue>) -> Self {
        let unchanged = self.clone();
        let set = self.set(name, value);
        debug_assert!(set.is_ok(), "{set:?}");
        set.unwrap_or(unchanged)
    }

    async fn apply(&self, conn: &mut SqliteConnection) -> Result<(), Error> {
        let found = change_and_read(conn, &[], &self.settings).await?;
        let pairs = self.settings.iter().zip(&found);
        let wrong: Vec<_> = pairs
            .filter(|(setting, found)| !was_applied(setting, found))
            .map(|(setting, _)| *setting)
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let changes_file = wrong.iter().any(|setting| setting.pragma.name == "journal_mode");
        let _guard = if changes_file { Some(self.file.lock().await) } else { None };
        let found = change_and_read(conn, &wrong, &wrong).await?;
        match wrong.iter().zip(found).find(|(setting, found)| !was_applied(setting, found)) {
            None => Ok(()),
            Some((setting, found)) => {
                let (name, value) = (setting.pragma.name, setting.sql());
                Err(Error::Configuration(Box::new(PragmaError::NotApplied { name, value, found })))
            }
        }
    }
}

fn was_applied(setting: &Setting, found: &Option<String>) -> bool {
    found.as_deref().is_some_and(|found| setting.is(found))
}

/// Sets some pragmas and reads some, in one round trip to the worker. SQLite returns no row for an
/// unknown pragma.
async fn change_and_read(
    conn: &mut SqliteConnection,
    changed: &[Setting],
    asked: &[Setting],
) -> Result<Vec<Option<String>>, Error> {
    let mut sql = String::new();
    for setting in changed {
        sql += &format!("PRAGMA {} = {};", setting.pragma.name, setting.sql());
    }
    for setting in asked {
        sql += &format!("PRAGMA {};", setting.pragma.name);
    }
    let mut steps = conn.fetch_many(raw_sql(AssertSqlSafe(sql)));
    let (mut answers, mut answer) = (Vec::new(), None);
    while let Some(step) = steps.try_next().await? {
        match step {
            // Unchecked, since some values are numbers and some are words.
            Either::Right(row) => answer = Some(row.try_get_unchecked(0)?),
            Either::Left(_) => answers.push(answer.take()),
        }
    }
    Ok(answers.split_off(changed.len().min(answers.len())))
}

#[async_trait]
impl Hooks<Tracked<Sqlite>> for PragmaHook {
    fn points(&self) -> HookPoints {
        HookPoint::Connect.into()
    }

    async fn on_connect(
        &self,
        conn: &mut Tracked<Sqlite>,
        _info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        // Setting pragmas opens no transaction, so no verification is needed.
        Ok(self.apply(conn.driver_mut()).await?)
    }
}

#[async_trait]
impl Hooks<SqliteConnection> for PragmaHook {
    fn points(&self) -> HookPoints {
        HookPoint::Connect.into()
    }

    async fn on_connect(
        &self,
        conn: &mut SqliteConnection,
        _info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        Ok(self.apply(conn).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Connection;

    async fn open() -> SqliteConnection {
        SqliteConnection::connect("sqlite::memory:").await.unwrap()
    }

    #[tokio::test]
    async fn every_typed_setting_takes() {
        let hook = PragmaHook::new()
            .foreign_keys(false)
            .busy_timeout(Duration::MAX)
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Extra)
            .cache_size(-4000)
            .temp_store(TempStore::Memory);
        assert_eq!(hook.settings.len(), 6);
        let mut conn = open().await;
        hook.apply(&mut conn).await.unwrap();
        let kib: i64 = sqlx::query_scalar("PRAGMA cache_size").fetch_one(&mut conn).await.unwrap();
        assert_eq!(kib, -4000);
    }

    #[tokio::test]
    async fn a_pragma_that_was_not_applied_is_an_error() {
        // In memory, WAL is not supported; SQLite shows that only when the mode is read back.
        let error = PragmaHook::new()
            .journal_mode(SqliteJournalMode::Wal)
            .apply(&mut open().await)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("journal_mode was set to wal but is still memory"),
            "{error}"
        );
        // Inside a transaction SQLite silently ignores foreign_keys.
        let mut conn = open().await;
        raw_sql("BEGIN").execute(&mut conn).await.unwrap();
        let error = PragmaHook::new().foreign_keys(false).apply(&mut conn).await.unwrap_err();
        assert!(error.to_string().contains("foreign_keys was set to 0 but is still 1"), "{error}");
    }

    #[test]
    fn the_last_value_of_a_pragma_wins() {
        let hook = PragmaHook::new().foreign_keys(true).foreign_keys(false);
        assert_eq!(hook.settings.len(), 1);
    }

    #[test]
    fn pragmas_that_conflict_with_one_writer_and_many_readers_are_known() {
        assert_eq!(
            PragmaHook::new().journal_mode(SqliteJournalMode::Wal).conflicts_with_read_write(),
            None
        );
        let hook = PragmaHook::new().journal_mode(SqliteJournalMode::Delete);
        assert_eq!(hook.conflicts_with_read_write(), Some("journal_mode"));
    }
}
