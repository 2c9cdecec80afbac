//! Records a connection's settings after its hooks ran, and restores them after a borrower.

use futures_util::TryStreamExt;
use millpond_sqlx::Tracked;
use sqlx::{AssertSqlSafe, Either, Error, Executor, Row, Sqlite, SqliteConnection, raw_sql};

/// The pragmas of a connection that can be read back. Pragmas of the file or of the process keep
/// the last borrower's value, since others may rely on it.
const PRAGMAS: [&str; 31] = [
    "analysis_limit",
    "automatic_index",
    "busy_timeout",
    "cache_size",
    "cache_spill",
    "cell_size_check",
    "checkpoint_fullfsync",
    "count_changes",
    "defer_foreign_keys",
    "empty_result_callbacks",
    "foreign_keys",
    "full_column_names",
    "fullfsync",
    "ignore_check_constraints",
    "journal_size_limit",
    "legacy_alter_table",
    "locking_mode",
    "max_page_count",
    "mmap_size",
    "query_only",
    "read_uncommitted",
    "recursive_triggers",
    "reverse_unordered_selects",
    "secure_delete",
    "short_column_names",
    "synchronous",
    "temp_store",
    "threads",
    "trusted_schema",
    "wal_autocheckpoint",
    "writable_schema",
];

/// Settings that need another query.
const SPECIAL: [(&str, &str); 2] = [
    // Cannot be read back as a pragma, so its effect is tested.
    ("case_sensitive_like", "SELECT 'a' NOT LIKE 'A'"),
    // Belongs to the connection, except that WAL mode belongs to the file.
    (JOURNAL, "SELECT journal_mode FROM pragma_journal_mode WHERE journal_mode <> 'wal'"),
];

/// Restored in any mode, WAL included, if the pool has set it.
const JOURNAL: &str = "journal_mode";

/// SQLite's answer to each query; `None` if it does not support the setting, or if the setting does
/// not belong to the connection.
pub(crate) type Baseline = Vec<Option<String>>;

/// Reads the settings in one round trip to the worker.
pub(crate) async fn read(
    conn: &mut SqliteConnection,
    sets_journal: bool,
) -> Result<Baseline, Error> {
    let mut sql: String = PRAGMAS.iter().map(|name| format!("PRAGMA {name};")).collect();
    SPECIAL.iter().for_each(|(_, question)| sql += &format!("{question};"));
    sql += if sets_journal { "PRAGMA journal_mode" } else { "SELECT NULL" };
    let mut steps = conn.fetch_many(raw_sql(AssertSqlSafe(sql)));
    let (mut answers, mut answer) = (Vec::new(), None);
    while let Some(step) = steps.try_next().await? {
        match step {
            // Unchecked, since some values are numbers and some are words.
            Either::Right(row) => answer = row.try_get_unchecked(0)?,
            Either::Left(_) => answers.push(answer.take()),
        }
    }
    Ok(answers)
}

/// Restores settings that have changed.
///
/// # Errors
///
/// The driver's error; `Error::Protocol` if a setting cannot be restored. The connection must then
/// be closed.
pub(crate) async fn restore(conn: &mut SqliteConnection, baseline: &Baseline) -> Result<(), Error> {
    let sets_journal = baseline.last().is_some_and(Option::is_some);
    let mut sql = String::new();
    for (name, value) in changed(baseline, &read(conn, sets_journal).await?) {
        sql += &format!("PRAGMA {name} = {value};");
    }
    if sql.is_empty() {
        return Ok(());
    }
    // An exclusive lock ends with the next read of the file.
    sql += "PRAGMA schema_version;";
    conn.execute(raw_sql(AssertSqlSafe(sql))).await?;
    match changed(baseline, &read(conn, sets_journal).await?).next() {
        None => Ok(()),
        Some((name, value)) => Err(Error::Protocol(format!(
            "a borrower has permanently changed pragma {name} from {value}"
        ))),
    }
}

/// Returns the settings that have changed, and their former values.
fn changed<'a>(
    was: &'a Baseline,
    is: &'a Baseline,
) -> impl Iterator<Item = (&'static str, &'a String)> {
    let names = PRAGMAS.into_iter().chain(SPECIAL.map(|(name, _)| name)).chain([JOURNAL]);
    names.zip(was.iter().zip(is)).filter_map(|(name, (was, is))| match (was, is) {
        (Some(was), Some(is)) if was != is => Some((name, was)),
        _ => None,
    })
}

/// Restores the settings of a pool's connection.
pub(crate) async fn restore_on(conn: &mut Tracked<Sqlite>) -> Result<(), Error> {
    let baseline = conn.baseline().to_vec();
    restore(conn.driver_mut(), &baseline).await
}
