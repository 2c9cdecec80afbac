//! MySQL's implementation of [`Backend`].

use crate::error_class;
use crate::in_transaction::{check_sync, ends_transaction, is_marked, mark, transaction_state};
use crate::stand_in;
use crate::verify::{drain, verify};
use millpond_core::async_trait;
use millpond_sqlx::SyncState;
use millpond_sqlx::backend_api::{
    Backend, CacheValidity, ErrorImpact, LARGE, MayEnd, StatementEffect, TransactionState,
    Unfinished, Verified, argument_size, effect_of, first_keyword, mentions, words,
};
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlRow};
use sqlx::{Connection, Error, MySql, MySqlConnection, Row, raw_sql};

/// The error of an operation after an earlier one of the same borrower was dropped.
const INTERRUPTED: &str = "an operation on this connection was dropped before it ended, after \
    which a MySQL connection cannot be used: drop it and acquire another one; an open transaction \
    on it is rolled back";

/// The error of an answer that the driver has misread.
const MISREAD: &str = "the driver has misread a row of more than 16 MiB, so rows are missing and \
    the connection is lost: execute the statement with `sqlx::query`, which prepares it, instead \
    of `raw_sql` or a plain text";

/// MySQL's [`Backend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MySqlBackend;

#[async_trait]
impl Backend<MySql> for MySqlBackend {
    fn effect(&self, sql: &str) -> StatementEffect {
        match effect_of(sql) {
            StatementEffect::None => StatementEffect::None,
            // A verification enables autocommit, so doubt ends with it.
            _ => StatementEffect::Doubt,
        }
    }

    fn stand_in(&self) -> Result<Option<MySqlConnectOptions>, Error> {
        stand_in::options().map(Some)
    }

    /// With the SQL mode ORACLE of MariaDB, `BEGIN` begins a block.
    fn begin_statement(&self) -> Option<&'static str> {
        Some("START TRANSACTION")
    }

    /// A trigger or a function may have set `completion_type`, which the borrower's statements do
    /// not show; COMMIT and ROLLBACK then begin another transaction.
    fn transaction_end(&self) -> SyncState {
        SyncState::InDoubt
    }

    /// A row of text begins with the length of its first column. From 16 MiB on that begins with
    /// the byte by which the driver knows the end of the rows.
    fn misreads_large_rows(&self, sql: &str) -> bool {
        const ROWLESS: [&str; 24] = [
            "INSERT",
            "UPDATE",
            "DELETE",
            "REPLACE",
            "CREATE",
            "ALTER",
            "DROP",
            "TRUNCATE",
            "SET",
            "BEGIN",
            "START",
            "COMMIT",
            "ROLLBACK",
            "USE",
            "LOAD",
            "DO",
            "LOCK",
            "UNLOCK",
            "GRANT",
            "REVOKE",
            "FLUSH",
            "SAVEPOINT",
            "RELEASE",
            "RENAME",
        ];
        // FOUND_ROWS() would count those of the confirmation.
        if words(sql).any(|word| word.eq_ignore_ascii_case("sql_calc_found_rows")) {
            return false;
        }
        // The answer to a confirmation would be what ROW_COUNT() and the warnings are about. Each
        // statement begins a part, also where a part is in a string.
        let is_rowless = |part: &str| {
            let keyword = first_keyword(part).unwrap_or_default();
            part.trim_ascii().is_empty()
                || ROWLESS.iter().any(|it| keyword.eq_ignore_ascii_case(it))
        };
        let has_rows = |word: &str| {
            // `INSERT .. RETURNING`, and MariaDB's `SET STATEMENT .. FOR SELECT ..`
            ["returning", "statement"].iter().any(|it| word.eq_ignore_ascii_case(it))
        };
        !sql.split(';').all(is_rowless) || words(sql).any(has_rows)
    }

    async fn confirm(&self, conn: &mut MySqlConnection) -> Result<(), Error> {
        check_sync(conn).await.map_err(|error| match error {
            Error::Protocol(_) => Error::Protocol(MISREAD.to_owned()),
            error => error,
        })
    }

    fn error_impact(&self, error: &Error) -> ErrorImpact {
        error_class::error_impact(error)
    }

    fn is_suspicious(&self, error: &Error) -> bool {
        error_class::is_suspicious(error)
    }

    fn is_savepoint_gone(&self, error: &Error) -> bool {
        error_class::is_savepoint_gone(error)
    }

    fn cache_validity(&self, error: &Error) -> CacheValidity {
        error_class::cache_validity(error)
    }

    fn has_large_arguments(&self, arguments: &mut MySqlArguments) -> bool {
        argument_size::<MySql>(arguments, |buffer| buffer.len()) > LARGE
    }

    fn is_large(&self, row: &MySqlRow) -> bool {
        let size =
            |n| row.try_get_unchecked::<Option<&[u8]>, _>(n).ok().flatten().map_or(0, <[u8]>::len);
        (0..row.len()).map(size).sum::<usize>() > LARGE
    }

    fn takes_session_lock(&self, sql: &str) -> bool {
        mentions(sql, "get", "lock")
    }

    /// UNLOCK TABLES ends only LOCK TABLES and FLUSH TABLES. BACKUP LOCK, BACKUP STAGE, an open
    /// HANDLER and an XA transaction end with the session.
    fn outlasts_reset(&self, sql: &str) -> bool {
        let is_one = |word: &str| {
            ["BACKUP", "HANDLER", "XA"].iter().any(|one| word.eq_ignore_ascii_case(one))
        };
        sql.split(|letter: char| !letter.is_ascii_alphanumeric()).any(is_one)
    }

    /// A prepared statement keeps the database, SQL mode and collation with which it was prepared.
    fn changes_parse_settings(&self, sql: &str, effect: StatementEffect) -> bool {
        const WORDS: [&str; 8] = [
            "use",
            "execute",
            "sql_mode",
            "names",
            "character",
            "charset",
            "character_set_connection",
            "collation_connection",
        ];
        let is_one = |word: &str| {
            // The digits are the version of a comment that is executed.
            let word = word.trim_start_matches(|letter: char| letter.is_ascii_digit());
            WORDS.iter().any(|one| word.eq_ignore_ascii_case(one))
        };
        effect != StatementEffect::None && words(sql).any(is_one)
    }

    fn clears_cache_after_direct_use(&self) -> bool {
        true
    }

    async fn clear_caches(&self, conn: &mut MySqlConnection) -> Result<(), Error> {
        conn.clear_cached_statements().await
    }

    /// Only between rows can the stream be drained; elsewhere the driver has lost its position. It
    /// may have read half a packet, or wait for an answer that it has already read, and would
    /// confuse answers or panic.
    async fn resume(
        &self,
        conn: &mut MySqlConnection,
        unfinished: Unfinished,
    ) -> Result<Vec<Error>, Error> {
        refuse_if_interrupted(unfinished)?;
        drain(conn).await
    }

    async fn check_sync(
        &self,
        conn: &mut MySqlConnection,
        unfinished: Unfinished,
    ) -> Result<(), Error> {
        refuse_if_interrupted(unfinished)?;
        check_sync(conn).await
    }

    async fn transaction_state(
        &self,
        conn: &mut MySqlConnection,
        mark: Option<&str>,
    ) -> Result<TransactionState, Error> {
        match mark {
            Some(mark) => is_marked(conn, mark).await,
            None => transaction_state(conn).await,
        }
    }

    async fn mark(&self, conn: &mut MySqlConnection) -> Result<Option<String>, Error> {
        mark(conn).await
    }

    async fn unchain(&self, conn: &mut MySqlConnection) -> Result<(), Error> {
        raw_sql("SET completion_type = 0").execute(conn).await.map(drop)
    }

    fn ends_transaction(&self, keyword: &str) -> MayEnd {
        ends_transaction(keyword)
    }

    async fn verify(&self, conn: &mut MySqlConnection) -> Result<Verified, Error> {
        let (_database, late_errors) = verify(conn).await?;
        Ok(Verified::InSync { late_errors })
    }
}

fn refuse_if_interrupted(unfinished: Unfinished) -> Result<(), Error> {
    let is_interrupted = unfinished == Unfinished::Operation;
    if is_interrupted { Err(Error::Protocol(INTERRUPTED.to_owned())) } else { Ok(()) }
}

/// The instance that all connections share.
pub(crate) static MYSQL: MySqlBackend = MySqlBackend;
