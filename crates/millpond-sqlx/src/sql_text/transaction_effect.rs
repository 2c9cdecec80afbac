//! What a statement means for the transaction in which it is executed, judged by its text.

use crate::sql_text::statement::{first_keyword, is_single};
use crate::sql_text::words::has;

/// What a statement does with transactions. Only asked of a statement that is not plainly harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    Begin,
    Savepoint,
    Release,
    RollbackTo,
    /// COMMIT or ROLLBACK; `chained` if the next transaction may begin at once.
    End {
        keeps: bool,
        chained: bool,
    },
    /// Several statements, or a text that not every backend reads alike. `ends` if one of them may end a transaction by
    /// name, `reopens` if another one may begin the next or hides what it does, `nests` if they may set savepoints or go
    /// back to one.
    Several {
        ends: bool,
        reopens: bool,
        nests: bool,
    },
    /// `SET autocommit`.
    Autocommit,
    Other(&'a str),
}

/// What may begin a transaction, or do what its text does not say.
const REOPENING: [&str; 6] = ["begin", "start", "chain", "autocommit", "call", "execute"];

/// Reads a text.
pub(crate) fn meaning(sql: &str) -> Meaning<'_> {
    let Some(keyword) = first_keyword(sql).filter(|_| is_single(sql)) else {
        return several(sql);
    };
    let chained = || has(sql, "chain");
    match keyword.to_ascii_uppercase().as_str() {
        "BEGIN" | "START" => Meaning::Begin,
        "SAVEPOINT" => Meaning::Savepoint,
        "RELEASE" => Meaning::Release,
        "COMMIT" | "END" => Meaning::End { keeps: true, chained: chained() },
        "ROLLBACK" | "ABORT" if rolls_back_to(sql) => Meaning::RollbackTo,
        "ROLLBACK" | "ABORT" => Meaning::End { keeps: false, chained: chained() },
        "SET" if has(sql, "autocommit") => Meaning::Autocommit,
        _ => Meaning::Other(keyword),
    }
}

/// Reads several statements. They are split at every `;`, be it in a string or a comment: so what begins a statement
/// begins a part as well, and a part too many can only seem to do something.
fn several(sql: &str) -> Meaning<'_> {
    let (mut ends, mut reopens, mut nests) = (false, false, false);
    for part in sql.split(';').filter(|part| !part.trim_ascii().is_empty()) {
        let Some(keyword) = first_keyword(part) else { return unclear(sql) };
        let chains = has(part, "chain");
        match keyword.to_ascii_uppercase().as_str() {
            "ROLLBACK" | "ABORT" if rolls_back_to(part) => nests = true,
            "COMMIT" | "END" | "ROLLBACK" | "ABORT" => (ends, reopens) = (true, reopens || chains),
            "PREPARE" if has(part, "transaction") => ends = true,
            "SAVEPOINT" | "RELEASE" => nests = true,
            "SET" => reopens |= has(part, "autocommit"),
            "BEGIN" | "START" | "CALL" | "EXECUTE" | "XA" => reopens = true,
            _ => {}
        }
    }
    Meaning::Several { ends, reopens, nests }
}

/// What a text may do that cannot be told apart into statements, by the words that are somewhere in it.
fn unclear(sql: &str) -> Meaning<'_> {
    Meaning::Several {
        ends: ["commit", "rollback", "end", "abort", "prepare"].iter().any(|word| has(sql, word)),
        reopens: REOPENING.iter().any(|word| has(sql, word)),
        nests: has(sql, "savepoint") || has(sql, " to "),
    }
}

/// Whether a text may change what COMMIT and ROLLBACK do: MySQL has a variable for that.
pub(crate) fn sets_completion(sql: &str) -> bool {
    has(sql, "completion_type")
}

/// Whether the first of several statements may be a COMMIT. Behind any other one a failed transaction refuses the whole
/// text by itself, or was rolled back.
pub(crate) fn may_begin_with_a_commit(sql: &str) -> bool {
    match first_keyword(sql) {
        Some(keyword) => ["commit", "end", "prepare"].iter().any(|word| keyword.eq_ignore_ascii_case(word)),
        None => !has(sql, "rollback") && !has(sql, "abort"),
    }
}

/// Whether TO stands among the first words: `ROLLBACK [WORK | TRANSACTION] TO [SAVEPOINT] x`.
fn rolls_back_to(sql: &str) -> bool {
    sql.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|word| word.eq_ignore_ascii_case("to"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_transaction_is_known_by_its_keyword() {
        let kept = |chained| Meaning::End { keeps: true, chained };
        let undone = |chained| Meaning::End { keeps: false, chained };
        for (sql, wanted) in [
            ("BEGIN IMMEDIATE", Meaning::Begin),
            ("/* x */ start transaction", Meaning::Begin),
            ("savepoint a", Meaning::Savepoint),
            ("RELEASE a", Meaning::Release),
            ("commit;", kept(false)),
            ("END", kept(false)),
            ("COMMIT AND CHAIN", kept(true)),
            ("ROLLBACK", undone(false)),
            ("ABORT", undone(false)),
            ("rollback work to savepoint a", Meaning::RollbackTo),
            ("ROLLBACK AND CHAIN", undone(true)),
            ("SET autocommit = 0", Meaning::Autocommit),
            ("CREATE TABLE t (i INT)", Meaning::Other("CREATE")),
        ] {
            assert_eq!(meaning(sql), wanted, "{sql}");
        }
    }

    #[test]
    fn of_several_statements_it_is_only_known_what_they_may_do() {
        let several = |ends, reopens, nests| Meaning::Several { ends, reopens, nests };
        assert_eq!(meaning("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)"), several(false, false, false));
        assert_eq!(meaning("COMMIT; BEGIN"), several(true, true, false));
        assert_eq!(meaning("INSERT INTO t VALUES (1); COMMIT"), several(true, false, false));
        assert_eq!(meaning("SAVEPOINT a; DELETE FROM t; ROLLBACK TO a"), several(false, false, true));
        assert_eq!(meaning("SELECT 1; COMMIT AND CHAIN; SAVEPOINT a"), several(true, true, true));
        assert_eq!(meaning("INSERT INTO t VALUES ('to; /*'); SAVEPOINT a; COMMIT"), several(true, false, true));
        assert_eq!(meaning("SELECT ';', /* ; */ 1; -- ;\nEND"), several(true, false, false));
        assert_eq!(meaning("/*! COMMIT */"), several(true, false, false));
    }
}
