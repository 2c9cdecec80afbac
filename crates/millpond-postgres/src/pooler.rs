//! Connections behind a transaction pooler, which have no session.

use crate::backend::POSTGRES;
use crate::verify::{end_transactions, verify};
use millpond_core::async_trait;
use millpond_sqlx::backend_api::{
    Backend, CacheValidity, ErrorImpact, Lexer, MayEnd, StatementEffect, Syntax, Token,
    TransactionState, TransactionWrapper, Unfinished, Verified,
};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Connection, Error, PgConnection, Postgres, raw_sql};

/// Begins a transaction and drops statements that other clients prepared.
pub(crate) const BEGIN: &str = "BEGIN; DEALLOCATE ALL";

/// Clears the session of a server that another client gets next: a trigger or a function may have
/// changed it, which a statement's text does not show. It contains no quotes, and works in a block
/// of several statements, unlike DISCARD ALL.
macro_rules! clear {
    () => {
        "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; \
         SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; \
         DEALLOCATE ALL"
    };
}

/// The pooler releases the server only after the last statement of a message. Statements before
/// COMMIT fail in a failed transaction, so COMMIT reports the failure, and a COMMIT that fails
/// leaves no locks.
const COMMIT: &str = concat!("SELECT pg_catalog.pg_advisory_unlock_all(); COMMIT; ", clear!());
const ROLLBACK: &str = concat!("ROLLBACK; ", clear!());
/// Like [`COMMIT`] and [`ROLLBACK`], followed by an empty transaction for the driver to end,
/// because the driver counts transactions.
const COMMIT_FOR_DRIVER: &str =
    concat!("SELECT pg_catalog.pg_advisory_unlock_all(); COMMIT; ", clear!(), "; BEGIN");
const ROLLBACK_FOR_DRIVER: &str = concat!("ROLLBACK; ", clear!(), "; BEGIN");

/// PostgreSQL's [`Backend`] behind a transaction pooler.
#[derive(Debug)]
pub(crate) struct Pooled;

/// The instance that all connections behind a pooler share.
pub(crate) static POOLED: Pooled = Pooled;

#[async_trait]
impl Backend<Postgres> for Pooled {
    fn effect(&self, sql: &str) -> StatementEffect {
        POSTGRES.effect(sql)
    }

    fn transaction_wrapper(&self) -> Option<TransactionWrapper> {
        Some(TransactionWrapper {
            begin: BEGIN,
            commit: COMMIT,
            rollback: ROLLBACK,
            deallocate: "DEALLOCATE ALL",
        })
    }

    fn runs_outside_transaction(&self, sql: &str) -> bool {
        classify(sql) == Ok(ExecutionMode::OutsideTransaction)
    }

    fn admit(&self, sql: &str) -> Result<(), Error> {
        classify(sql).map(drop).map_err(|what| {
            Error::InvalidArgument(format!(
                "{what}, and behind a transaction pooler there is no session: begin and end \
                 transactions with `pool.begin()`, change settings within one with SET LOCAL, and \
                 connect to the server itself for everything else"
            ))
        })
    }

    async fn before_end(&self, conn: &mut PgConnection, commits: bool) -> Result<(), Error> {
        let sql = if commits { COMMIT_FOR_DRIVER } else { ROLLBACK_FOR_DRIVER };
        raw_sql(sql).execute(conn).await.map(drop)
    }

    fn error_impact(&self, error: &Error) -> ErrorImpact {
        POSTGRES.error_impact(error)
    }

    fn is_suspicious(&self, error: &Error) -> bool {
        POSTGRES.is_suspicious(error)
    }

    fn cache_validity(&self, error: &Error) -> CacheValidity {
        POSTGRES.cache_validity(error)
    }

    fn has_large_arguments(&self, arguments: &mut PgArguments) -> bool {
        POSTGRES.has_large_arguments(arguments)
    }

    fn is_large(&self, row: &PgRow) -> bool {
        POSTGRES.is_large(row)
    }

    fn has_volatile_types(&self, row: &PgRow) -> bool {
        POSTGRES.has_volatile_types(row)
    }

    fn is_decodable(&self, row: &PgRow) -> bool {
        POSTGRES.is_decodable(row)
    }

    fn changes_parse_settings(&self, sql: &str, effect: StatementEffect) -> bool {
        POSTGRES.changes_parse_settings(sql, effect)
    }

    async fn clear_caches(&self, conn: &mut PgConnection) -> Result<(), Error> {
        POSTGRES.clear_caches(conn).await
    }

    async fn resume(
        &self,
        conn: &mut PgConnection,
        unfinished: Unfinished,
    ) -> Result<Vec<Error>, Error> {
        POSTGRES.resume(conn, unfinished).await
    }

    async fn transaction_state(
        &self,
        conn: &mut PgConnection,
        mark: Option<&str>,
    ) -> Result<TransactionState, Error> {
        POSTGRES.transaction_state(conn, mark).await
    }

    async fn mark(&self, conn: &mut PgConnection) -> Result<Option<String>, Error> {
        POSTGRES.mark(conn).await
    }

    fn mark_is_savepoint(&self) -> bool {
        POSTGRES.mark_is_savepoint()
    }

    fn refuses_after_failure(&self) -> bool {
        POSTGRES.refuses_after_failure()
    }

    fn ends_transaction(&self, keyword: &str) -> MayEnd {
        POSTGRES.ends_transaction(keyword)
    }

    async fn check_sync(
        &self,
        conn: &mut PgConnection,
        unfinished: Unfinished,
    ) -> Result<(), Error> {
        POSTGRES.check_sync(conn, unfinished).await
    }

    async fn verify(&self, conn: &mut PgConnection) -> Result<Verified, Error> {
        let mut late_errors = Vec::new();
        if conn.is_in_transaction() {
            // The transaction was dropped. The driver would release the server without clearing it.
            late_errors = end_transactions(conn, ROLLBACK_FOR_DRIVER).await?;
        }
        late_errors.append(&mut verify(conn, ROLLBACK).await?);
        Ok(Verified::InSync { late_errors })
    }
}

/// How a text can be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExecutionMode {
    /// In a transaction.
    InTransaction,
    /// Only outside of a transaction. It does not change the session.
    OutsideTransaction,
}

/// First keywords of statements that can be executed in a transaction and do not end it. What they
/// leave in the session is cleared afterwards.
const IN_TRANSACTION: [&str; 38] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "VALUES",
    "WITH",
    "TABLE",
    "EXPLAIN",
    "SHOW",
    "COPY",
    "CREATE",
    "ALTER",
    "DROP",
    "TRUNCATE",
    "GRANT",
    "REVOKE",
    "COMMENT",
    "SECURITY",
    "REASSIGN",
    "ANALYZE",
    "ANALYSE",
    "LOCK",
    "REFRESH",
    "IMPORT",
    "DO",
    "CALL",
    "NOTIFY",
    "DECLARE",
    "FETCH",
    "MOVE",
    "CLOSE",
    "SAVEPOINT",
    "RELEASE",
    "CLUSTER",
    "REINDEX",
    "VACUUM",
    "CHECKPOINT",
];

/// Functions whose session locks would be lost at the end of the statement or its transaction.
const SESSION_LOCKS: [&str; 4] = [
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
];

/// Returns how a text can be executed, or why it cannot be. Unknown statements are refused.
fn classify(sql: &str) -> Result<ExecutionMode, String> {
    let (mut mode, mut statements, mut start) = (ExecutionMode::InTransaction, 0_u32, Vec::new());
    let tokens = Lexer::new(sql, Syntax::Postgres).map(|(_, token)| token);
    for token in tokens.chain([Token::End]) {
        match token {
            Token::End if start.is_empty() => {}
            Token::End => {
                mode = classify_statement(&start)?;
                start.clear();
                statements = statements.saturating_add(1);
            }
            Token::Unclear => {
                return Err(
                    "the text cannot be read with certainty (a backslash in a plain string, or \
                     something without an end), so it might need a session"
                        .to_owned(),
                );
            }
            Token::Word(word) | Token::Name(word)
                if SESSION_LOCKS.iter().any(|lock| word.eq_ignore_ascii_case(lock)) =>
            {
                return Err(format!(
                    "{word} takes a session lock (pg_advisory_xact_lock does not)"
                ));
            }
            token if start.len() < START_MAX => start.push(token),
            _ => {}
        }
    }
    // Several statements in one text are executed in a transaction.
    Ok(if statements == 1 { mode } else { ExecutionMode::InTransaction })
}

/// The number of leading tokens that determine a statement.
const START_MAX: usize = 4;

fn classify_statement(start: &[Token<'_>]) -> Result<ExecutionMode, String> {
    let word = |n: usize| match start.get(n) {
        Some(Token::Word(word)) => *word,
        _ => "",
    };
    let is =
        |n: usize, words: &[&str]| words.iter().any(|wanted| word(n).eq_ignore_ascii_case(wanted));
    let concurrent = |n: usize| is(n, &["INDEX"]) && is(n.saturating_add(1), &["CONCURRENTLY"]);
    let databases = ["DATABASE", "TABLESPACE", "SUBSCRIPTION", "SYSTEM"];
    let is_admitted = match start.first() {
        // Only queries can begin with a parenthesis.
        Some(token) if !matches!(token, Token::Word(_) | Token::Name(_)) => true,
        _ if is(0, &["SET"]) => is(1, &["LOCAL", "TRANSACTION", "CONSTRAINTS"]),
        _ if is(0, &["ROLLBACK"]) => {
            is(1, &["TO"]) || (is(1, &["WORK", "TRANSACTION"]) && is(2, &["TO"]))
        }
        _ => is(0, &IN_TRANSACTION),
    };
    let is_outside = is(0, &["VACUUM", "CHECKPOINT", "CLUSTER", "REINDEX"])
        || (is(0, &["CREATE", "DROP", "ALTER"]) && is(1, &databases))
        || (is(0, &["CREATE", "DROP"]) && (concurrent(1) || (is(1, &["UNIQUE"]) && concurrent(2))));
    match (is_admitted, is_outside) {
        (true, true) => Ok(ExecutionMode::OutsideTransaction),
        (true, false) => Ok(ExecutionMode::InTransaction),
        (false, _) if word(0).is_empty() => {
            Err("the statement is unknown, so it might need a session".to_owned())
        }
        (false, _) => Err(format!("{} needs a session", word(0).to_ascii_uppercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_need_a_session_are_refused_in_every_spelling() {
        for sql in [
            "begin",
            "/* x */ LISTEN a",
            "/* hi! */ SET x = 1",
            "; SET x = 1",
            "SELECT 1; SET x = 1",
            "SELECT 1; COMMIT; SELECT 1",
            "set session x = 1",
            "SET \"local\" = 1",
            "Prepare a AS SELECT 1",
            "RESET ALL",
            "COMMIT",
            "rollback",
            "ROLLBACK AND CHAIN",
            "END",
            "ABORT",
            "LOAD 'x'",
            "DISCARD ALL",
            "PREPARE TRANSACTION 'x'",
            "SELECT '\\'; SET x = 1 --'",
            "SELECT pg_advisory_lock(1)",
            "SELECT pg_catalog.\"pg_try_advisory_lock\"(1)",
            "FROBNICATE",
        ] {
            assert!(classify(sql).is_err(), "{sql}");
        }
    }

    #[test]
    fn statements_that_can_be_wrapped_in_a_transaction_are() {
        for sql in [
            "SELECT 1",
            "SET LOCAL x = 1",
            "-- SET\n set transaction read only",
            "",
            ";",
            "INSERT INTO t",
            "(SELECT 1)",
            "SELECT 'a;b'; SELECT 2;",
            "ROLLBACK TO SAVEPOINT a",
            "CREATE FUNCTION f() RETURNS INT LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$",
            "SELECT pg_advisory_xact_lock(1)",
            "CREATE INDEX i ON t (a); VACUUM",
        ] {
            assert_eq!(classify(sql), Ok(ExecutionMode::InTransaction), "{sql}");
        }
    }

    #[test]
    fn statements_that_cannot_run_in_a_transaction_run_alone() {
        for sql in [
            "VACUUM t",
            "/* x */ CREATE DATABASE a",
            "create unique index concurrently i ON t (a)",
            "REINDEX TABLE t;",
        ] {
            assert_eq!(classify(sql), Ok(ExecutionMode::OutsideTransaction), "{sql}");
        }
    }
}
