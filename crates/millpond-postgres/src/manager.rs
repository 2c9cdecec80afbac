//! Opens, proves, resets and closes PostgreSQL connections.

use crate::backend::POSTGRES;
use crate::fault;
use crate::prove::clear_session;
use millpond_core::{ConnectInfo, Fault, Manager, ResetLevel, Triage};
use millpond_sqlx::{Backend, Standing, Tracked};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Error, Postgres};
use std::fmt;

/// The manager over `sqlx::PgConnection`. [`PgPoolOptions`](crate::PgPoolOptions) makes one for you; build a core pool over
/// it if you want to wrap one in a pool of your own.
pub struct PgManager {
    options: PgConnectOptions,
    reset: ResetLevel,
}

impl PgManager {
    /// A manager of connections that are opened with these options.
    pub fn new(options: PgConnectOptions) -> Self {
        Self { options, reset: ResetLevel::default() }
    }

    /// What is done to a connection between two borrowers.
    ///
    /// `Session` costs two round trips on every return, of clean connections too: a plain SELECT can call `set_config`
    /// or take an advisory lock. It clears role, settings, search path, cursors, LISTEN, advisory locks, temporary
    /// tables, sequence state and statements prepared by SQL, and keeps those that sqlx has prepared. Settings go back to
    /// those of the URL or the options; what an `on_connect` hook has set is cleared as well.
    #[must_use]
    pub fn with_reset(self, level: ResetLevel) -> Self {
        Self { reset: level, ..self }
    }
}

impl Manager for PgManager {
    type Connection = Tracked<Postgres>;
    type Error = Error;

    async fn connect(&self, _info: &ConnectInfo) -> Result<Tracked<Postgres>, Error> {
        Ok(Tracked::new(self.options.connect().await?, &POSTGRES))
    }

    async fn ping(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        conn.driver_mut().ping().await
    }

    fn triage(&self, conn: &mut Tracked<Postgres>) -> Triage {
        match (self.reset, conn.standing()) {
            (ResetLevel::Replace, _) | (_, Standing::Broken) => Triage::Discard,
            (ResetLevel::Session, _) => Triage::Reset,
            (ResetLevel::None, _) | (_, Standing::Clean) => Triage::Keep,
            _ => Triage::Reset,
        }
    }

    async fn reset(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        POSTGRES.settle(conn).await?;
        if self.reset == ResetLevel::Session {
            clear_session(conn.driver_mut()).await?;
        }
        Ok(())
    }

    async fn close(&self, conn: Tracked<Postgres>) -> Result<(), Error> {
        if conn.standing() == Standing::Broken {
            // Nobody is left to say goodbye to.
            drop(conn);
            return Ok(());
        }
        conn.into_driver().close().await
    }

    fn classify(&self, error: &Error) -> Fault {
        fault::classify(error)
    }
}

impl fmt::Debug for PgManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they hold the password.
        f.debug_struct("PgManager").field("reset", &self.reset).finish_non_exhaustive()
    }
}
