//! Sets up a new connection after all its other hooks; nothing is read or written before.
//!
//! A hook may have to run first: to set the key of an encrypted file, or a `page_size`, which
//! cannot be changed once the database exists.

use crate::baseline;
use crate::file_check::is_database;
use crate::files::Files;
use crate::interrupt::install_interrupt_handler;
use crate::open_error::{DatabasePath, open_error};
use crate::role::Role;
use millpond_core::{BoxError, ConnectionInfo, HookPoint, HookPoints, Hooks, async_trait};
use millpond_sqlx::Tracked;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Error, Executor, Sqlite};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The last hook of every pool that [`SqlitePoolOptions`](crate::SqlitePoolOptions) builds.
pub(crate) struct SetupHook {
    pub(crate) role: Arc<Role>,
    pub(crate) files: Arc<Files>,
    pub(crate) options: SqliteConnectOptions,
    pub(crate) path: Arc<DatabasePath>,
    /// True if the connections are lent again, so that their settings must be restored.
    pub(crate) reuses: bool,
    /// True if the pool sets the journal mode, which then must be restored too.
    pub(crate) sets_journal: bool,
    /// True if the pool has hooks for its first connection. They may create the database and are
    /// not called again.
    pub(crate) is_made_at_first: bool,
}

impl SetupHook {
    async fn set_up(&self, conn: &mut Tracked<Sqlite>) -> Result<(), Error> {
        match &*self.role {
            Role::File { checked } if !checked.load(Ordering::Relaxed) => {
                is_database(conn.driver_mut()).await?;
                checked.store(true, Ordering::Relaxed);
            }
            Role::Writer(file) | Role::Reader(file) => {
                file.prepare(conn.driver_mut()).await?;
                if matches!(*self.role, Role::Reader(_)) {
                    conn.driver_mut().execute("PRAGMA query_only = ON").await?;
                }
            }
            _ => {}
        }
        // A hook may have set its own progress handler.
        let flag = conn.interrupt_flag();
        install_interrupt_handler(conn.driver_mut(), flag).await?;
        if self.reuses {
            let settings = baseline::read(conn.driver_mut(), self.sets_journal).await?;
            match &*self.role {
                Role::InMemory(memory) => memory.note_baseline(&settings),
                _ => self.files.set_identity_check(conn, self.options.get_filename()),
            }
            conn.set_baseline(settings);
        }
        Ok(())
    }
}

#[async_trait]
impl Hooks<Tracked<Sqlite>> for SetupHook {
    fn points(&self) -> HookPoints {
        HookPoint::FirstConnect | HookPoint::Connect
    }

    async fn on_first_connect(
        &self,
        _conn: &mut Tracked<Sqlite>,
        _info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        if let (Role::InMemory(memory), true) = (&*self.role, self.is_made_at_first) {
            memory.set_unfinished(false);
        }
        Ok(())
    }

    async fn on_connect(
        &self,
        conn: &mut Tracked<Sqlite>,
        _info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        Ok(self.set_up(conn).await.map_err(|error| open_error(error, &self.options, &self.path))?)
    }
}
