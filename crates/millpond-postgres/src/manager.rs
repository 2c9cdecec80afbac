//! Opens, proves, resets and closes PostgreSQL connections.

use crate::backend::POSTGRES;
use crate::fault;
use crate::prove::{cancel, clear_session, session};
use millpond_core::{ConnectInfo, Fault, Manager, ResetLevel, Triage, async_trait};
use millpond_sqlx::{Backend, Canceller, Errand, PoolLink, Standing, Tracked};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Error, PgConnection, Postgres};
use std::fmt;
use std::time::Duration;

/// The manager over `sqlx::PgConnection`. [`PgPoolOptions`](crate::PgPoolOptions) makes one for you; build a core pool over
/// it if you want to wrap one in a pool of your own.
pub struct PgManager {
    options: PgConnectOptions,
    reset: ResetLevel,
    link: PoolLink<Postgres>,
    canceller: Option<Canceller<Postgres>>,
}

impl PgManager {
    /// A manager of connections that are opened with these options.
    pub fn new(options: PgConnectOptions) -> Self {
        Self { options, reset: ResetLevel::default(), link: PoolLink::new(), canceller: None }
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

    /// Cancels at the server what was abandoned and goes on there, `limit` being the pool's `ping_timeout`. Needs a
    /// [link](Self::link) to the pool. Costs a round trip for every new connection.
    #[must_use]
    pub fn with_cancel(self, limit: Duration) -> Self {
        Self { canceller: Some(Canceller::new(self.link.clone(), limit)), ..self }
    }

    /// The manager's way to its pool, to be joined when the pool is built.
    pub fn link(&self) -> PoolLink<Postgres> {
        self.link.clone()
    }

    async fn open(&self) -> Result<PgConnection, Error> {
        self.options.connect().await
    }
}

impl Manager for PgManager {
    type Connection = Tracked<Postgres>;
    type Error = Error;

    async fn connect(&self, _info: &ConnectInfo) -> Result<Tracked<Postgres>, Error> {
        let mut conn = self.open().await?;
        let session = match self.canceller {
            Some(_) => Some(session(&mut conn).await?),
            None => None,
        };
        let mut conn = Tracked::new(conn, &POSTGRES);
        session.into_iter().for_each(|session| conn.set_session(session));
        Ok(conn)
    }

    async fn ping(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        conn.driver_mut().ping().await
    }

    fn triage(&self, conn: &mut Tracked<Postgres>) -> Triage {
        match (self.reset, conn.standing()) {
            (_, Standing::Broken) => Triage::Broken,
            (ResetLevel::Replace, _) => Triage::Discard,
            (ResetLevel::Session, _) => Triage::Reset,
            (ResetLevel::None, _) | (_, Standing::Clean) => Triage::Keep,
            _ => Triage::Reset,
        }
    }

    async fn reset(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        match &self.canceller {
            Some(canceller) => canceller.settle(conn, self).await?,
            None => POSTGRES.settle(conn).await?,
        }
        if self.reset == ResetLevel::Session {
            clear_session(conn.driver_mut()).await?;
        }
        Ok(())
    }

    async fn close(&self, mut conn: Tracked<Postgres>) -> Result<(), Error> {
        match conn.standing() {
            // Nobody is left to say goodbye to.
            Standing::Broken => return Ok(()),
            // The server would go on with it for nobody.
            Standing::Cut | Standing::Undrained => {
                if let Some(canceller) = &self.canceller {
                    canceller.stop(&mut conn, self).await;
                }
            }
            Standing::Clean | Standing::Raw => {}
        }
        conn.into_driver().close().await
    }

    fn classify(&self, error: &Error) -> Fault {
        fault::classify(error)
    }
}

#[async_trait]
impl Errand<Postgres> for PgManager {
    async fn connect(&self) -> Result<PgConnection, Error> {
        self.open().await
    }

    async fn cancel(&self, conn: &mut PgConnection, session: u64) -> Result<(), Error> {
        cancel(conn, session).await
    }
}

impl fmt::Debug for PgManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they hold the password.
        f.debug_struct("PgManager").field("reset", &self.reset).finish_non_exhaustive()
    }
}
