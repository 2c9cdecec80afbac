//! Opens, proves and closes MySQL and MariaDB connections.

use crate::backend::MYSQL;
use crate::fault;
use crate::prove::{lead_home, prove};
use millpond_core::{ConnectInfo, Fault, Manager, ResetLevel, Triage};
use millpond_sqlx::{Standing, Tracked};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, Error, MySql};
use std::fmt;
use std::sync::OnceLock;

/// The manager over `sqlx::MySqlConnection`. [`MySqlPoolOptions`](crate::MySqlPoolOptions) makes one for you; build a core
/// pool over it if you want to wrap one in a pool of your own.
pub struct MySqlManager {
    options: MySqlConnectOptions,
    reset: ResetLevel,
    /// The database in which connections begin, as the server spells it. Known from the first one on.
    home: OnceLock<Option<String>>,
}

impl MySqlManager {
    /// A manager of connections that are opened with these options.
    pub fn new(options: MySqlConnectOptions) -> Self {
        Self { options, reset: ResetLevel::default(), home: OnceLock::new() }
    }

    /// What is done to a connection between two borrowers.
    ///
    /// SQL cannot reset a session of MySQL: user variables, temporary tables (which can hide real ones) and prepared
    /// statements stay, and what the protocol has for it sqlx does not offer. So `Session` closes every connection on
    /// return, as `Replace` does: a plain SELECT can set a variable or take a lock. With `min_idle` the next one is opened
    /// before it is asked for.
    #[must_use]
    pub fn with_reset(self, level: ResetLevel) -> Self {
        Self { reset: level, ..self }
    }
}

impl Manager for MySqlManager {
    type Connection = Tracked<MySql>;
    type Error = Error;

    async fn connect(&self, _info: &ConnectInfo) -> Result<Tracked<MySql>, Error> {
        let mut conn = self.options.connect().await?;
        let here = prove(&mut conn).await?;
        // They all begin in the same one.
        let _ = self.home.set(here);
        Ok(Tracked::new(conn, &MYSQL))
    }

    async fn ping(&self, conn: &mut Tracked<MySql>) -> Result<(), Error> {
        conn.driver_mut().ping().await
    }

    fn triage(&self, conn: &mut Tracked<MySql>) -> Triage {
        match (self.reset, conn.standing()) {
            (_, Standing::Broken) => Triage::Broken,
            // What was cut off cannot be proved: sqlx-mysql may have lost its place in the stream.
            (_, Standing::Cut) => Triage::Discard,
            (ResetLevel::Session | ResetLevel::Replace, _) => Triage::Discard,
            (ResetLevel::None, _) | (_, Standing::Clean) => Triage::Keep,
            _ => Triage::Reset,
        }
    }

    async fn reset(&self, conn: &mut Tracked<MySql>) -> Result<(), Error> {
        let here = prove(conn.driver_mut()).await?;
        let home = self.home.get().and_then(Option::as_deref);
        lead_home(conn.driver_mut(), here.as_deref(), home).await?;
        conn.trust();
        Ok(())
    }

    async fn close(&self, conn: Tracked<MySql>) -> Result<(), Error> {
        if conn.standing() >= Standing::Cut {
            // Nobody is left to say goodbye to, or what is said would be taken for the rest of something else.
            drop(conn);
            return Ok(());
        }
        conn.into_driver().close().await
    }

    fn classify(&self, error: &Error) -> Fault {
        fault::classify(error)
    }
}

impl fmt::Debug for MySqlManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they hold the password.
        f.debug_struct("MySqlManager").field("reset", &self.reset).finish_non_exhaustive()
    }
}
