//! Behind a pooler that lends a server for each transaction there is no session: what that means for a connection.

use crate::backend::POSTGRES;
use millpond_core::async_trait;
use millpond_sqlx::{Aftermath, Backend, Effect, Enclosure, Memory, Tracked, first_keyword};
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Postgres};

/// What stands between the pool and its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pooler {
    /// Nothing, or a pooler that lends a server for a whole session.
    #[default]
    None,
    /// PgBouncer with `pool_mode = transaction`, or another one that works like it.
    PgBouncer,
}

/// Begins a transaction on a server that somebody else has had before. What is prepared there is not ours, though it may
/// have the names that the driver would give.
pub(crate) const BEGIN: &str = "BEGIN; DEALLOCATE ALL";

/// PostgreSQL behind a pooler.
#[derive(Debug)]
pub(crate) struct Pooled;

/// The one that every connection behind a pooler refers to.
pub(crate) static POOLED: Pooled = Pooled;

#[async_trait]
impl Backend<Postgres> for Pooled {
    fn effect(&self, sql: &str) -> Effect {
        POSTGRES.effect(sql)
    }

    fn enclosure(&self) -> Option<Enclosure> {
        Some(Enclosure { begin: BEGIN, forget: "DEALLOCATE ALL" })
    }

    fn admit(&self, sql: &str) -> Result<(), Error> {
        match session_statement(sql) {
            None => Ok(()),
            Some(keyword) => Err(Error::InvalidArgument(format!(
                "{keyword} needs a session, and behind a transaction pooler there is none: begin transactions with \
                 `pool.begin()`, set what is needed in one of them with SET LOCAL, and connect to the server itself for \
                 everything else"
            ))),
        }
    }

    fn aftermath(&self, error: &Error) -> Aftermath {
        POSTGRES.aftermath(error)
    }

    fn is_suspicious(&self, error: &Error) -> bool {
        POSTGRES.is_suspicious(error)
    }

    fn memory(&self, error: &Error) -> Memory {
        POSTGRES.memory(error)
    }

    fn is_large(&self, row: &PgRow) -> bool {
        POSTGRES.is_large(row)
    }

    async fn forget(&self, conn: &mut PgConnection) -> Result<(), Error> {
        POSTGRES.forget(conn).await
    }

    async fn resume(&self, conn: &mut PgConnection) -> Result<(), Error> {
        POSTGRES.resume(conn).await
    }

    async fn settle(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        POSTGRES.settle(conn).await
    }
}

/// The keyword of a statement that begins, changes or needs a session, seen by its first words.
fn session_statement(sql: &str) -> Option<&'static str> {
    const SESSION: [&str; 10] =
        ["BEGIN", "START", "LISTEN", "UNLISTEN", "PREPARE", "EXECUTE", "DEALLOCATE", "DISCARD", "RESET", "LOAD"];
    let keyword = first_keyword(sql)?;
    if keyword.eq_ignore_ascii_case("SET") {
        // The keyword is a part of the text, so what follows it can be found.
        let after = sql.split_once(keyword).map_or("", |(_, after)| after);
        let scope = after.split_whitespace().next().unwrap_or_default();
        let local = ["LOCAL", "TRANSACTION", "CONSTRAINTS"].iter().any(|word| scope.eq_ignore_ascii_case(word));
        return (!local).then_some("SET");
    }
    SESSION.into_iter().find(|word| keyword.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_session_is_known_by_its_first_words() {
        for sql in ["begin", "/* x */ LISTEN a", "SET x = 1", "set session x = 1", "Prepare a AS SELECT 1", "RESET ALL"]
        {
            assert!(session_statement(sql).is_some(), "{sql}");
        }
        for sql in ["SELECT 1", "SET LOCAL x = 1", "-- SET\n set transaction read only", "COMMIT", "", "INSERT INTO t"]
        {
            assert_eq!(session_statement(sql), None, "{sql}");
        }
    }
}
