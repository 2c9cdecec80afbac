//! Decides from a statement's text whether it can go to a reader; in doubt it goes to the writer.
//!
//! A reader refuses every write anyway (`query_only`), so a write sent to a reader is an error and
//! not a wrong answer; a read sent to the writer only costs a turn there. Statements that only read
//! but depend on the writer's connection must not go to a reader: its last row id, its changes, its
//! temporary tables.

use millpond_sqlx::backend_api::{first_keyword, is_single, words};

/// Words with which a `SELECT` reads state of the writer's connection.
const WRITER_ONLY: [&str; 6] = [
    "last_insert_rowid",
    "changes",
    "total_changes",
    "temp",
    "sqlite_temp_master",
    "sqlite_temp_schema",
];
/// Words that begin a write, or make a `WITH` write.
const WRITES: [&str; 4] = ["insert", "update", "delete", "replace"];

/// Returns true if a statement can go to a reader: a single `SELECT`, `VALUES` or `WITH` that uses
/// no state of the writer's connection.
///
/// ```
/// use millpond_sqlite::only_reads;
///
/// assert!(only_reads("SELECT name FROM ponds"));
/// assert!(!only_reads("SELECT last_insert_rowid()"));
/// assert!(!only_reads("INSERT INTO ponds VALUES ('mill') RETURNING name"));
/// ```
pub fn only_reads(sql: &str) -> bool {
    let Some(keyword) = first_keyword(sql) else { return false };
    let is = |word: &str| keyword.eq_ignore_ascii_case(word);
    if !(is("SELECT") || is("VALUES") || is("WITH")) || !is_single(sql) {
        return false;
    }
    let may_write = is("WITH");
    !words(sql).any(|word| is_in(word, &WRITER_ONLY) || (may_write && is_in(word, &WRITES)))
}

/// Returns true if a statement returns the rows that it has written (`RETURNING`). SQLite writes
/// all of them before it returns the first one.
pub(crate) fn returns_what_it_wrote(sql: &str) -> bool {
    let Some(keyword) = first_keyword(sql) else { return false };
    let is_with = || keyword.eq_ignore_ascii_case("WITH");
    let writes =
        is_in(keyword, &WRITES) || (is_with() && words(sql).any(|word| is_in(word, &WRITES)));
    writes && is_single(sql) && words(sql).any(|word| word.eq_ignore_ascii_case("returning"))
}

fn is_in(word: &str, list: &[&str]) -> bool {
    list.iter().any(|entry| word.eq_ignore_ascii_case(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_returning_gives_rows_that_were_written() {
        assert!(returns_what_it_wrote("INSERT INTO t VALUES (1) RETURNING id"));
        assert!(returns_what_it_wrote("WITH a AS (SELECT 1) DELETE FROM t RETURNING v"));
        assert!(!returns_what_it_wrote("WITH a AS (SELECT 1) SELECT replace(v, 'a', 'b') FROM a"));
        assert!(!returns_what_it_wrote("SELECT 1 RETURNING"));
    }

    #[test]
    fn plain_reads_go_to_a_reader() {
        for sql in [
            "SELECT 1",
            " \n select v from t where id = ?;",
            "VALUES (1), (2)",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "-- name: find\nSELECT v FROM t",
            "/* trace */ SELECT v FROM t",
        ] {
            assert!(only_reads(sql), "{sql}");
        }
    }

    #[test]
    fn all_writes_go_to_the_writer() {
        for sql in [
            "INSERT INTO t VALUES (1)",
            "INSERT INTO t VALUES (1) RETURNING id",
            "UPDATE t SET v = 1",
            "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a",
            "with a as (select 1) Delete from t",
            "WITH a AS (SELECT 1) REPLACE INTO t SELECT * FROM a",
            "SELECT 1; DELETE FROM t",
            "BEGIN",
            "PRAGMA user_version",
            "PRAGMA user_version = 3",
            "CREATE TEMP TABLE a (i)",
            "EXPLAIN DELETE FROM t",
            "",
        ] {
            assert!(!only_reads(sql), "{sql}");
        }
    }

    #[test]
    fn state_of_the_writers_connection_is_read_from_the_writer() {
        for sql in [
            "SELECT last_insert_rowid()",
            "SELECT LAST_INSERT_ROWID ()",
            "SELECT \"changes\"()",
            "SELECT [total_changes]()",
            "SELECT * FROM temp.t",
            "SELECT * FROM sqlite_temp_schema",
        ] {
            assert!(!only_reads(sql), "{sql}");
        }
    }

    #[test]
    fn a_statement_in_doubt_goes_to_the_writer() {
        assert!(!only_reads("SELECT ';'"));
        assert!(!only_reads("SELECT 'changes'"));
        assert!(!only_reads("WITH a AS (SELECT 'insert') SELECT * FROM a"));
        assert!(!only_reads("(SELECT 1)"));
    }
}
