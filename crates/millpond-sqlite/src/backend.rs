//! What SQLite brings along to be pooled, apart from opening connections.

use crate::fault;
use crate::prove::prove;
use millpond_core::async_trait;
use millpond_sqlx::{Aftermath, Backend, Effect, Tracked, effect_of};
use sqlx::{Error, Sqlite};

/// SQLite's answers to what a tracked connection has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqliteBackend;

#[async_trait]
impl Backend<Sqlite> for SqliteBackend {
    fn effect(&self, sql: &str) -> Effect {
        match effect_of(sql) {
            Effect::None => Effect::None,
            // SQLite has no setting that turns autocommit off, so doubt ends with the proof.
            _ => Effect::Doubt,
        }
    }

    /// SQLite ends a text at a NUL; the driver then asks it for the rest for ever.
    fn admit(&self, sql: &str) -> Result<(), Error> {
        if sql.as_bytes().contains(&0) {
            let text =
                "the statement contains a NUL character, at which SQLite ends a text: bind the value that has it";
            return Err(Error::InvalidArgument(text.to_owned()));
        }
        Ok(())
    }

    fn stops_after_one_row(&self) -> bool {
        // sqlx's worker resets the statement after the first row.
        true
    }

    fn aftermath(&self, error: &Error) -> Aftermath {
        fault::aftermath(error)
    }

    async fn settle(&self, conn: &mut Tracked<Sqlite>) -> Result<(), Error> {
        prove(conn.driver_mut()).await?;
        conn.trust();
        Ok(())
    }
}

/// The one that every connection refers to.
pub(crate) static SQLITE: SqliteBackend = SqliteBackend;
