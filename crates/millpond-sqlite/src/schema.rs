//! Whether the columns that sqlx remembers of a statement are still those of the database.
//!
//! sqlx reads the columns of a statement once, when it prepares it. When the schema has changed
//! SQLite prepares the statement anew by itself, and sqlx goes on with the columns of before: its
//! thread panics at one more, and two that have changed places have each other's names. That
//! concerns statements with a `*`; every other text names its columns. A statement that is prepared
//! for the first time is no better off if the connection has not noticed the change yet.
//!
//! Measured in one loop, a row by its key in a file: 40 us for `SELECT *` against 14 us for named
//! columns on a pool, and 17 us against 10 us in a transaction, which looks once. Each look is a
//! trip to the driver's thread.

use crate::only_reads::only_reads;
use futures_util::FutureExt;
use millpond_sqlx::backend_api::KnownSchema;
use sqlx::{AssertSqlSafe, Connection, Error, Executor, Row, SqliteConnection, raw_sql};

/// Whether a statement may have a `*` that stands for columns: every one but that of `count(*)`.
pub(crate) fn depends_on_it(sql: &str) -> bool {
    sql.match_indices('*')
        .any(|(at, _)| !sql.as_bytes().get(..at).is_some_and(|before| before.ends_with(b"(")))
}

/// Makes sqlx and SQLite forget what they know of the schema if it is not the one that was seen.
pub(crate) async fn look(
    conn: &mut SqliteConnection,
    seen: &mut KnownSchema,
    sql: &str,
    inside: bool,
) -> Result<(), Error> {
    if seen.version_query.is_empty() {
        seen.version_query = question(conn).await?;
    }
    if inside && !seen.is_frozen && !only_reads(sql) {
        // Asking would begin to read, and a transaction that has begun so gets no lock to write if
        // another one has it.
        seen.versions.clear();
        return forget(conn).await;
    }
    let versions = versions(conn, &seen.version_query).await?;
    if seen.versions != versions {
        forget(conn).await?;
        seen.versions = versions;
    }
    Ok(())
}

/// Whether the schema is the one that was seen.
pub(crate) async fn is_still(
    conn: &mut SqliteConnection,
    seen: &KnownSchema,
) -> Result<bool, Error> {
    Ok(seen.versions.is_empty() || versions(conn, &seen.version_query).await? == seen.versions)
}

/// Makes sqlx forget the statements that it has prepared, and SQLite the schema, without reading
/// the file.
pub(crate) async fn forget(conn: &mut SqliteConnection) -> Result<(), Error> {
    conn.clear_cached_statements().await?;
    let is_writable = conn.fetch_one(raw_sql("PRAGMA writable_schema")).await?.try_get(0)?;
    conn.execute(raw_sql("PRAGMA writable_schema = RESET")).await?;
    if is_writable {
        // Its borrower has set it, and resetting turns it off.
        conn.execute(raw_sql("PRAGMA writable_schema = ON")).await?;
    }
    Ok(())
}

/// The same before whatever is executed next: the driver's thread executes what it was sent in
/// turn, also if nobody waits for it.
pub(crate) fn clear_caches_first(conn: &mut SqliteConnection) {
    // The first poll sends it.
    let _ = conn.clear_cached_statements().now_or_never();
    let _ = conn.execute(raw_sql("PRAGMA writable_schema = RESET")).now_or_never();
}

/// The text that asks for the versions of all schemas that another connection can change.
async fn question(conn: &mut SqliteConnection) -> Result<String, Error> {
    let mut question = String::new();
    for row in conn.fetch_all("PRAGMA database_list").await? {
        let name: String = row.try_get(1)?;
        if name != "temp" {
            question += &format!("PRAGMA \"{}\".schema_version;", name.replace('"', "\"\""));
        }
    }
    Ok(question)
}

async fn versions(conn: &mut SqliteConnection, question: &str) -> Result<Vec<i64>, Error> {
    let rows = conn.fetch_all(raw_sql(AssertSqlSafe(question))).await?;
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
            assert!(depends_on_it(sql), "{sql}");
        }
        for sql in [
            "SELECT a, b FROM t",
            "SELECT COUNT(*) FROM t",
            "INSERT INTO t VALUES (1) RETURNING id",
            "",
        ] {
            assert!(!depends_on_it(sql), "{sql}");
        }
    }
}
