//! What PostgreSQL brings along to be pooled, apart from opening connections.

use crate::fault;
use crate::prove::{drain, prove};
use millpond_core::async_trait;
use millpond_sqlx::{Aftermath, Backend, Effect, Tracked, effect_of};
use sqlx::{Error, PgConnection, Postgres};

/// PostgreSQL's answers to what a tracked connection has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgBackend;

#[async_trait]
impl Backend<Postgres> for PgBackend {
    fn effect(&self, sql: &str) -> Effect {
        match effect_of(sql) {
            Effect::None => Effect::None,
            // PostgreSQL has no setting that turns autocommit off, so doubt ends with the proof.
            _ => Effect::Doubt,
        }
    }

    fn stops_after_one_row(&self) -> bool {
        // The driver reads on to the end, for errors that come after the rows.
        true
    }

    fn aftermath(&self, error: &Error) -> Aftermath {
        fault::aftermath(error)
    }

    fn is_suspicious(&self, error: &Error) -> bool {
        fault::is_suspicious(error)
    }

    async fn resume(&self, conn: &mut PgConnection) -> Result<(), Error> {
        drain(conn).await
    }

    async fn settle(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        prove(conn.driver_mut()).await?;
        conn.trust();
        Ok(())
    }
}

/// The one that every connection refers to.
pub(crate) static POSTGRES: PgBackend = PgBackend;
