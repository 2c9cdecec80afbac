//! The settings of a connection as its hooks have left them, and how it gets them back from a
//! borrower.

use futures_util::TryStreamExt;
use millpond_sqlx::Tracked;
use sqlx::{AssertSqlSafe, Either, Error, Executor, Row, Sqlite, SqliteConnection, raw_sql};

/// The pragmas that belong to a connection and can be read back. Those that belong to a file or to
/// the process stay as the last borrower has set them, since others may rely on that.
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

/// Pragmas that are asked for in another way.
const SPECIAL: [(&str, &str); 2] = [
    // Cannot be read back as a pragma, so it is tried.
    ("case_sensitive_like", "SELECT 'a' NOT LIKE 'A'"),
    // The connection's own unless it is WAL, which belongs to the file.
    (JOURNAL, "SELECT journal_mode FROM pragma_journal_mode WHERE journal_mode <> 'wal'"),
];

/// Put back whatever it is, WAL too, where the pool has set it.
const JOURNAL: &str = "journal_mode";

/// What SQLite answers to each question; nothing if it does not know the setting, or if it is not
/// the connection's own.
pub(crate) type Baseline = Vec<Option<String>>;

/// Reads the settings in one trip.
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
            // Unchecked, since some answer with a number and some with a word.
            Either::Right(row) => answer = row.try_get_unchecked(0)?,
            Either::Left(_) => answers.push(answer.take()),
        }
    }
    Ok(answers)
}

/// Puts back what is not as it was.
///
/// # Errors
///
/// The driver's; `Error::Protocol` if a setting cannot be put back. Then the connection is to be
/// closed.
pub(crate) async fn restore(conn: &mut SqliteConnection, baseline: &Baseline) -> Result<(), Error> {
    let sets_journal = baseline.last().is_some_and(Option::is_some);
    let mut sql = String::new();
    for (name, value) in changed(baseline, &read(conn, sets_journal).await?) {
        sql += &format!("PRAGMA {name} = {value};");
    }
    if sql.is_empty() {
        return Ok(());
    }
    // An exclusive lock ends with the next look into the file.
    sql += "PRAGMA schema_version;";
    conn.execute(raw_sql(AssertSqlSafe(sql))).await?;
    match changed(baseline, &read(conn, sets_journal).await?).next() {
        None => Ok(()),
        Some((name, value)) => Err(Error::Protocol(format!(
            "a borrower has changed pragma {name} from {value} for good"
        ))),
    }
}

/// The settings that have another value, and the one that they had.
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

/// The same for a connection of a pool.
pub(crate) async fn restore_on(conn: &mut Tracked<Sqlite>) -> Result<(), Error> {
    let baseline = conn.baseline().to_vec();
    restore(conn.driver_mut(), &baseline).await
}
