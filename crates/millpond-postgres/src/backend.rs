//! PostgreSQL's implementation of [`Backend`].

use crate::composite::{has_composites, is_as_known};
use crate::error_class;
use crate::stand_in;
use crate::verify::{check_sync, is_late, mark, state_after_hook, transaction_state, verify};
use millpond_core::async_trait;
use millpond_sqlx::backend_api::{
    Backend, CacheValidity, ErrorImpact, LARGE, MayEnd, StatementEffect, TransactionState,
    Unfinished, Verified, argument_size, effect_of, mentions, read_late_errors,
};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::{Connection, Error, PgConnection, Postgres, Row};

/// PostgreSQL's [`Backend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgBackend;

#[async_trait]
impl Backend<Postgres> for PgBackend {
    fn effect(&self, sql: &str) -> StatementEffect {
        match effect_of(sql) {
            StatementEffect::None => StatementEffect::None,
            // PostgreSQL has no setting that disables autocommit, so doubt ends with a
            // verification.
            _ => StatementEffect::Doubt,
        }
    }

    fn stand_in(&self) -> Result<Option<PgConnectOptions>, Error> {
        stand_in::options().map(Some)
    }

    fn stops_after_one_row(&self) -> bool {
        // The driver reads to the end, for errors that follow the rows.
        true
    }

    fn error_impact(&self, error: &Error) -> ErrorImpact {
        error_class::error_impact(error)
    }

    fn is_suspicious(&self, error: &Error) -> bool {
        error_class::is_suspicious(error)
    }

    fn cache_validity(&self, error: &Error) -> CacheValidity {
        error_class::cache_validity(error)
    }

    fn has_large_arguments(&self, arguments: &mut PgArguments) -> bool {
        argument_size::<Postgres>(arguments, |buffer| buffer.len()) > LARGE
    }

    fn is_large(&self, row: &PgRow) -> bool {
        let size = |n| {
            row.try_get_raw(n)
                .ok()
                .and_then(|value| Some(value.as_bytes().ok()?.len()))
                .unwrap_or(0)
        };
        (0..row.len()).map(size).sum::<usize>() > LARGE
    }

    fn has_volatile_types(&self, row: &PgRow) -> bool {
        has_composites(row)
    }

    fn is_decodable(&self, row: &PgRow) -> bool {
        is_as_known(row)
    }

    fn takes_session_lock(&self, sql: &str) -> bool {
        mentions(sql, "pg", "advisory_lock") || mentions(sql, "pg_try", "advisory_lock")
    }

    /// The driver reports a notification that arrives during a statement as that statement's error.
    fn subscribes(&self, sql: &str) -> bool {
        has(sql, "listen")
    }

    fn deallocates(&self, sql: &str) -> bool {
        has(sql, "discard") || has(sql, "deallocate")
    }

    /// Types are looked up in the search path, which may contain a schema with the role's name.
    /// Constants of a statement (`'2020-01-01'::timestamptz`) are evaluated when it is prepared.
    fn changes_parse_settings(&self, sql: &str, effect: StatementEffect) -> bool {
        const WORDS: [&str; 9] = [
            "search_path",
            "schema",
            "role",
            "authorization",
            "timezone",
            "time zone",
            "datestyle",
            "intervalstyle",
            "reset",
        ];
        if effect == StatementEffect::None && !mentions(sql, "set", "config") {
            return false;
        }
        WORDS.iter().any(|word| has_word(sql, word)) || sets_what_is_not_named(sql)
    }

    async fn state_after_hook(
        &self,
        conn: &mut PgConnection,
    ) -> Result<(TransactionState, Option<String>), Error> {
        state_after_hook(conn).await
    }

    async fn clear_caches(&self, conn: &mut PgConnection) -> Result<(), Error> {
        conn.clear_cached_statements().await
    }

    async fn resume(
        &self,
        conn: &mut PgConnection,
        _unfinished: Unfinished,
    ) -> Result<Vec<Error>, Error> {
        read_late_errors::<Postgres>(conn, is_late).await
    }

    async fn check_sync(
        &self,
        conn: &mut PgConnection,
        _unfinished: Unfinished,
    ) -> Result<(), Error> {
        check_sync(conn).await
    }

    async fn transaction_state(
        &self,
        conn: &mut PgConnection,
        mark: Option<&str>,
    ) -> Result<TransactionState, Error> {
        transaction_state(conn, mark).await
    }

    async fn mark(&self, conn: &mut PgConnection) -> Result<Option<String>, Error> {
        mark(conn).await
    }

    fn mark_is_savepoint(&self) -> bool {
        // The mark is the time at which the transaction began.
        false
    }

    fn refuses_after_failure(&self) -> bool {
        true
    }

    fn ends_transaction(&self, keyword: &str) -> MayEnd {
        // PREPARE TRANSACTION; a procedure cannot end a transaction that it did not begin.
        if keyword.eq_ignore_ascii_case("PREPARE") { MayEnd::Perhaps } else { MayEnd::Never }
    }

    async fn verify(&self, conn: &mut PgConnection) -> Result<Verified, Error> {
        Ok(Verified::InSync { late_errors: verify(conn, "ROLLBACK").await? })
    }
}

/// Returns true if a text contains a word, also within strings: a false positive costs one round
/// trip.
fn has(sql: &str, word: &str) -> bool {
    sql.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// Returns true if a text contains a word that is no part of another one, and no name of a custom
/// setting (`app.role`).
fn has_word(sql: &str, word: &str) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let (text, word) = (sql.as_bytes(), word.as_bytes());
    text.windows(word.len()).enumerate().any(|(at, part)| {
        part.eq_ignore_ascii_case(word)
            && at.checked_sub(1).and_then(|before| text.get(before)).is_none_or(|it| !is_part(it))
    })
}

/// Returns true if a text calls `set_config` with anything but a literal as the setting's name.
fn sets_what_is_not_named(sql: &str) -> bool {
    let is_literal =
        |name: &str| name.trim_start().trim_start_matches('(').trim_start().starts_with('\'');
    sql.to_ascii_lowercase().split("set_config").skip(1).any(|name| !is_literal(name))
}

/// The instance that all connections share.
pub(crate) static POSTGRES: PgBackend = PgBackend;

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_sqlx::backend_api::effect_of;

    #[test]
    fn custom_settings_change_no_parsing_and_an_unnamed_one_may() {
        for (sql, changes) in [
            ("SET search_path = a", true),
            ("set local \"TimeZone\" = 'UTC'", true),
            ("SET TIME ZONE 'UTC'", true),
            ("SET ROLE a", true),
            ("RESET ALL", true),
            ("SELECT set_config('search_path', $1, true)", true),
            ("SELECT pg_catalog.set_config ( $1, $2, false)", true),
            ("SELECT SET_CONFIG(name, value, false) FROM settings", true),
            ("SELECT set_config('app.user_role', $1, true)", false),
            ("SELECT set_config( 'request.jwt.claim.role', $1, true)", false),
            ("SET LOCAL app.schema = 'a'", false),
            ("SELECT role, preset FROM t", false),
        ] {
            assert_eq!(POSTGRES.changes_parse_settings(sql, effect_of(sql)), changes, "{sql}");
        }
    }
}
