//! Checks that sqlx's cached columns of a statement are still those of the database.
//!
//! sqlx reads the columns of a statement once, when it prepares it. When the schema has changed,
//! SQLite prepares the statement again by itself, and sqlx uses the old columns: its thread panics
//! at an additional one, and swapped columns would be returned under each other's names. That
//! concerns statements with a `*`; every other text names its columns. A statement that is prepared
//! for the first time is affected too, if the connection has not noticed the change yet.
//!
//! Measured in one loop, a row by its key in a file: 40 us for `SELECT *` against 14 us for named
//! columns on a pool, and 17 us against 10 us in a transaction, which checks once. Each check is a
//! round trip to the driver's thread.

use crate::only_reads::only_reads;
use futures_util::FutureExt;
use millpond_sqlx::backend_api::{KnownSchema, OpenTransaction};
use sqlx::{AssertSqlSafe, Connection, Error, Executor, Row, SqliteConnection, raw_sql};

/// Whether a statement may have a `*` that stands for columns: every one but that of `count(*)`.
pub(crate) fn depends_on_schema(sql: &str) -> bool {
    sql.match_indices('*')
        .any(|(at, _)| !sql.as_bytes().get(..at).is_some_and(|before| before.ends_with(b"(")))
}

/// Clears the schema caches of sqlx and SQLite if the schema has changed.
pub(crate) async fn refresh_if_changed(
    conn: &mut SqliteConnection,
    known: &mut KnownSchema,
    sql: &str,
    open: OpenTransaction,
) -> Result<(), Error> {
    if known.version_query.is_empty() {
        read_databases(conn, known).await?;
    }
    if open != OpenTransaction::None && !known.is_frozen && !only_reads(sql) {
        // The query would begin a read transaction, which cannot be upgraded to write while another
        // one writes.
        known.versions.clear();
        return clear_caches(conn, known, open).await;
    }
    let versions = versions(conn, &known.version_query).await?;
    if known.versions != versions {
        clear_caches(conn, known, open).await?;
        known.versions = versions;
    }
    Ok(())
}

/// Returns true if the schema has not changed.
pub(crate) async fn is_unchanged(
    conn: &mut SqliteConnection,
    known: &KnownSchema,
) -> Result<bool, Error> {
    Ok(known.versions.is_empty() || versions(conn, &known.version_query).await? == known.versions)
}

/// Makes SQLite read the schema again, without reading the file now.
///
/// Never in a transaction that has written. SQLite would open virtual tables a second time, which
/// know nothing of what the first ones have yet to write, and the two would spoil an index for
/// full-text search. And it would not know any more that a rollback has to undo a change of the
/// schema.
const RESET: &str = "PRAGMA writable_schema = RESET";

/// What every database has. By reading it SQLite compares its own version of the schema with the
/// file's. In a transaction that has written they are the same.
const SCHEMA_TABLE: &str = "SELECT 1 FROM sqlite_master LIMIT 0";

/// Makes sqlx forget the statements that it has prepared, and SQLite an outdated schema.
async fn clear_caches(
    conn: &mut SqliteConnection,
    known: &KnownSchema,
    open: OpenTransaction,
) -> Result<(), Error> {
    conn.clear_cached_statements().await?;
    if open == OpenTransaction::Written {
        conn.execute(raw_sql(AssertSqlSafe(known.refresh_query.as_str()))).await?;
        return Ok(());
    }
    let is_writable = conn.fetch_one(raw_sql("PRAGMA writable_schema")).await?.try_get(0)?;
    conn.execute(raw_sql(RESET)).await?;
    if is_writable {
        // Its borrower has set it, and resetting turns it off.
        conn.execute(raw_sql("PRAGMA writable_schema = ON")).await?;
    }
    Ok(())
}

/// The same before whatever is executed next, without attached databases: the driver's thread
/// executes what it was sent in turn, also if nobody waits for it.
pub(crate) fn clear_caches_first(conn: &mut SqliteConnection, open: OpenTransaction) {
    let refresh = if open == OpenTransaction::Written { SCHEMA_TABLE } else { RESET };
    // The first poll sends it.
    let _ = conn.clear_cached_statements().now_or_never();
    let _ = conn.execute(raw_sql(refresh)).now_or_never();
}

/// Notes the queries of all schemas that another connection can change.
async fn read_databases(conn: &mut SqliteConnection, known: &mut KnownSchema) -> Result<(), Error> {
    let (mut version_query, mut refresh_query) = (String::new(), String::new());
    for row in conn.fetch_all("PRAGMA database_list").await? {
        let name: String = row.try_get(1)?;
        if name != "temp" {
            let name = name.replace('"', "\"\"");
            version_query += &format!("PRAGMA \"{name}\".schema_version;");
            refresh_query += &format!("SELECT 1 FROM \"{name}\".sqlite_master LIMIT 0;");
        }
    }
    (known.version_query, known.refresh_query) = (version_query, refresh_query);
    Ok(())
}

async fn versions(conn: &mut SqliteConnection, version_query: &str) -> Result<Vec<i64>, Error> {
    let rows = conn.fetch_all(raw_sql(AssertSqlSafe(version_query))).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_columns_unless_it_is_counted() {
        for sql in [
            "SELECT * FROM t",
            "select t.* from t",
            "INSERT INTO t VALUES (1) RETURNING *",
            "SELECT/**/*FROM t",
        ] {
            assert!(depends_on_schema(sql), "{sql}");
        }
        for sql in [
            "SELECT a, b FROM t",
            "SELECT COUNT(*) FROM t",
            "INSERT INTO t VALUES (1) RETURNING id",
            "",
        ] {
            assert!(!depends_on_schema(sql), "{sql}");
        }
    }
}
