//! What a statement does to the transaction in which it is executed, judged by its text.

use crate::sql_text::statement::{first_keyword, is_single, next_word, without_comments};
use crate::sql_text::words::has;

/// What a statement does to transactions. Computed only if its effect is not `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    Begin,
    Savepoint,
    Release,
    RollbackTo,
    /// COMMIT or ROLLBACK; `chained` if the next transaction may begin at once.
    End {
        commits: bool,
        chained: bool,
    },
    /// Several statements, or a text that backends read differently. `ends` if one of them may end
    /// a transaction explicitly, `reopens` if one may begin the next transaction or hides what it
    /// does, `nests` if they may set savepoints or roll back to one.
    Several {
        ends: bool,
        reopens: bool,
        nests: bool,
    },
    /// `SET autocommit`.
    Autocommit,
    Other(&'a str),
}

/// Every text that ends a transaction explicitly contains one of these words; strings and comments
/// are searched too.
const ENDING: [&str; 5] = ["commit", "rollback", "end", "abort", "prepare"];

/// Every text that begins a transaction, or hides what it does, contains one of these words.
const REOPENING: [&str; 7] = ["begin", "start", "chain", "autocommit", "call", "execute", "xa"];

/// Classifies a text.
pub(crate) fn meaning(sql: &str) -> Meaning<'_> {
    if is_single(sql) {
        return single(sql);
    }
    if let Some(meaning) = compound(sql) {
        return meaning;
    }
    // The `;` may be in a comment.
    match without_comments(sql).filter(|plain| is_single(plain)).as_deref().map(single) {
        Some(Meaning::Other(_)) => first_keyword(sql).map_or_else(|| several(sql), Meaning::Other),
        Some(Meaning::Begin) => Meaning::Begin,
        Some(Meaning::Savepoint) => Meaning::Savepoint,
        Some(Meaning::Release) => Meaning::Release,
        Some(Meaning::RollbackTo) => Meaning::RollbackTo,
        Some(Meaning::End { commits, chained }) => Meaning::End { commits, chained },
        Some(Meaning::Autocommit) => Meaning::Autocommit,
        Some(Meaning::Several { .. }) | None => several(sql),
    }
}

/// Classifies a single statement.
fn single(sql: &str) -> Meaning<'_> {
    let Some((keyword, rest)) = next_word(sql) else { return unclear(sql) };
    match keyword.to_ascii_uppercase().as_str() {
        "" => unclear(sql),
        // MariaDB has a block that begins like this.
        "BEGIN" if has(sql, "atomic") => unclear(sql),
        "BEGIN" | "START" => Meaning::Begin,
        "SAVEPOINT" => Meaning::Savepoint,
        "RELEASE" => Meaning::Release,
        "COMMIT" | "END" => ending(true, sql, rest),
        "ROLLBACK" | "ABORT" => ending(false, sql, rest),
        "SET" if has(sql, "autocommit") => Meaning::Autocommit,
        _ => Meaning::Other(keyword),
    }
}

/// Classifies by `rest`, which follows COMMIT or ROLLBACK: `[WORK | TRANSACTION] [AND ..| RELEASE |
/// TO ..]`, with nothing in between that backends read differently.
fn ending<'a>(commits: bool, sql: &'a str, rest: &'a str) -> Meaning<'a> {
    let is =
        |word: &str, others: &[&str]| others.iter().any(|other| word.eq_ignore_ascii_case(other));
    let next = match next_word(rest) {
        Some((word, rest)) if is(word, &["WORK", "TRANSACTION"]) => next_word(rest),
        next => next,
    };
    match next {
        Some((word, _)) if !commits && is(word, &["TO"]) => Meaning::RollbackTo,
        Some(("", rest)) if !rest.is_empty() && !rest.starts_with(';') => unclear(sql),
        Some((word, _)) if is(word, &["", "AND", "NO", "RELEASE"]) => {
            Meaning::End { commits, chained: has(sql, "chain") }
        }
        // SQLite lets a name follow TRANSACTION.
        _ => unclear(sql),
    }
}

/// Classifies several statements. The text is split at every `;`, also in strings and comments: so
/// every statement begins a part, and an additional part can only add an effect. The rest of a
/// statement may be in another part.
fn several(sql: &str) -> Meaning<'_> {
    let (mut ends, mut reopens, mut nests) = (false, false, false);
    for part in sql.split(';').filter(|part| !part.trim_ascii().is_empty()) {
        let Some((keyword, rest)) = next_word(part) else { return unclear(sql) };
        match keyword.to_ascii_uppercase().as_str() {
            "" => return unclear(sql),
            "COMMIT" | "END" => ends = true,
            "ROLLBACK" | "ABORT" => match ending(false, part, rest) {
                Meaning::RollbackTo => nests = true,
                Meaning::End { .. } => ends = true,
                _ => return unclear(sql),
            },
            "PREPARE" => ends |= has(sql, "transaction"),
            "SAVEPOINT" | "RELEASE" => nests = true,
            "SET" => reopens |= has(sql, "autocommit"),
            "BEGIN" | "START" | "CALL" | "EXECUTE" | "XA" => reopens = true,
            _ => {}
        }
    }
    Meaning::Several { ends, reopens: reopens || ends && has(sql, "chain"), nests }
}

/// Classifies a MariaDB block, `BEGIN NOT ATOMIC .. END`; returns `None` for any other text. In the
/// block BEGIN and END belong to blocks; a BEGIN after it begins a transaction.
fn compound(sql: &str) -> Option<Meaning<'_>> {
    let mut rest = sql;
    for expected in ["begin", "not", "atomic"] {
        let (word, after) = next_word(rest)?;
        rest = Some(after).filter(|_| word.eq_ignore_ascii_case(expected))?;
    }
    let has_one = |words: &[&str]| words.iter().any(|word| has(rest, word));
    Some(Meaning::Several {
        ends: has_one(&["commit", "abort", "prepare"]) || rolls_back(rest),
        reopens: has_one(&REOPENING),
        nests: has_one(&["savepoint", "release", "rollback"]),
    })
}

/// Returns true if a text contains a ROLLBACK that is not certainly one to a savepoint.
fn rolls_back(sql: &str) -> bool {
    let text = sql.to_ascii_lowercase();
    text.split("rollback").skip(1).any(|after| {
        let after = after.trim_ascii_start();
        let after = after.strip_prefix("work").unwrap_or(after).trim_ascii_start();
        !after
            .strip_prefix("to")
            .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_whitespace()))
    })
}

/// Classifies a text that cannot be split into statements by the words that it contains.
fn unclear(sql: &str) -> Meaning<'_> {
    let has_one = |words: &[&str]| words.iter().any(|word| has(sql, word));
    let has_to = || {
        sql.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.eq_ignore_ascii_case("to"))
    };
    Meaning::Several {
        ends: has_one(&ENDING),
        reopens: has_one(&REOPENING),
        nests: has_one(&["savepoint", "release"]) || has_to(),
    }
}

/// Returns true if a text may set MySQL's `completion_type`, which changes what COMMIT and ROLLBACK
/// do.
pub(crate) fn sets_completion(sql: &str) -> bool {
    has(sql, "completion_type")
}

/// Returns true if the first of several statements may be a COMMIT. After any other statement a
/// failed transaction refuses the whole text, or was rolled back.
pub(crate) fn may_begin_with_a_commit(sql: &str) -> bool {
    match first_keyword(sql) {
        Some(keyword) => {
            ["commit", "end", "prepare"].iter().any(|word| keyword.eq_ignore_ascii_case(word))
        }
        None => ["commit", "end", "prepare"].iter().any(|word| has(sql, word)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_control_is_recognised_by_its_keyword() {
        let kept = |chained| Meaning::End { commits: true, chained };
        let undone = |chained| Meaning::End { commits: false, chained };
        for (sql, expected) in [
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
            ("ROLLBACK /* back to the start */", undone(false)),
            ("ROLLBACK -- to be sure", undone(false)),
            ("rollback/* a */transaction -- to\n;", undone(false)),
            ("ROLLBACK WORK -- the\n TO SAVEPOINT \"to\"", Meaning::RollbackTo),
            ("ROLLBACK AND /* to */ CHAIN", undone(true)),
            ("COMMIT RELEASE", kept(false)),
        ] {
            assert_eq!(meaning(sql), expected, "{sql}");
        }
    }

    #[test]
    fn text_that_backends_read_differently_is_left_to_the_server() {
        for sql in [
            "ROLLBACK /*! TO a */",
            "ROLLBACK /* /* */ TO a */",
            "ROLLBACK # b\n TO a",
            "ROLLBACK -- b\rTO a",
            "ROLLBACK\u{b}TO a",
            "ROLLBACK TRANSACTION x TO a",
            "ROLLBACK TRANSACTION \"to\"",
            "COMMIT PREPARED 'x'",
            "COMMIT TRANSACTION x",
        ] {
            assert!(matches!(meaning(sql), Meaning::Several { ends: true, .. }), "{sql}");
        }
        assert!(matches!(meaning("BEGIN NOT ATOMIC END"), Meaning::Several { reopens: true, .. }));
    }

    #[test]
    fn text_after_a_semicolon_in_a_comment_is_read_too() {
        for (sql, expected) in [
            ("COMMIT -- ;\n AND CHAIN", Meaning::End { commits: true, chained: true }),
            ("COMMIT /* a;b */ AND CHAIN", Meaning::End { commits: true, chained: true }),
            ("PREPARE -- ;\nTRANSACTION 'x'", Meaning::Other("PREPARE")),
            ("SET -- ;\nautocommit = 0", Meaning::Autocommit),
            ("ROLLBACK -- ;\n TO a", Meaning::RollbackTo),
            ("/* ; */ ROLLBACK /* ; */ TO \"a\"", Meaning::RollbackTo),
        ] {
            assert_eq!(meaning(sql), expected, "{sql}");
        }
        for sql in [
            "SELECT 1; COMMIT -- ;\n AND CHAIN",
            "COMMIT --;\n AND CHAIN",
            "COMMIT /* ; /* */ AND CHAIN",
            "COMMIT # ; --\n AND CHAIN",
        ] {
            assert!(
                matches!(meaning(sql), Meaning::Several { ends: true, reopens: true, .. }),
                "{sql}"
            );
        }
        // A part of it may be in a comment that ends elsewhere.
        for sql in ["ROLLBACK -- ;\r TO a", "ROLLBACK --;\n TO a", "ROLLBACK /*! ; */ TO a"] {
            assert!(matches!(meaning(sql), Meaning::Several { ends: true, .. }), "{sql}");
        }
    }

    #[test]
    fn in_a_block_of_mariadb_begin_and_end_are_those_of_blocks() {
        let several = |ends, reopens, nests| Meaning::Several { ends, reopens, nests };
        for (sql, expected) in [
            ("BEGIN NOT ATOMIC SAVEPOINT a; ROLLBACK WORK TO a; END", several(false, false, true)),
            (
                "begin not /* x */ atomic INSERT INTO t VALUES (1); end",
                several(false, false, false),
            ),
            ("BEGIN NOT ATOMIC SAVEPOINT a; ROLLBACK; END", several(true, false, true)),
            ("BEGIN NOT ATOMIC SELECT 1; ROLLBACK -- TO a\n; END", several(true, false, true)),
            ("BEGIN NOT ATOMIC SELECT 1; ROLLBACK TODAY; END", several(true, false, true)),
            ("BEGIN NOT ATOMIC SELECT 1; END; BEGIN", several(false, true, false)),
            ("BEGIN NOT ATOMIC CALL p(); SAVEPOINT a; END", several(false, true, true)),
            ("BEGIN; SELECT 'NOT ATOMIC'", several(false, true, false)),
        ] {
            assert_eq!(meaning(sql), expected, "{sql}");
        }
    }

    #[test]
    fn several_statements_are_classified_by_what_they_may_do() {
        let several = |ends, reopens, nests| Meaning::Several { ends, reopens, nests };
        assert_eq!(
            meaning("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)"),
            several(false, false, false)
        );
        assert_eq!(meaning("COMMIT; BEGIN"), several(true, true, false));
        assert_eq!(meaning("INSERT INTO t VALUES (1); COMMIT"), several(true, false, false));
        assert_eq!(
            meaning("SAVEPOINT a; DELETE FROM t; ROLLBACK TO a"),
            several(false, false, true)
        );
        assert_eq!(meaning("SELECT 1; COMMIT AND CHAIN; SAVEPOINT a"), several(true, true, true));
        assert_eq!(
            meaning("INSERT INTO t VALUES ('to; /*'); SAVEPOINT a; COMMIT"),
            several(true, false, true)
        );
        assert_eq!(meaning("SELECT ';', /* ; */ 1; -- ;\nEND"), several(true, false, false));
        assert_eq!(meaning("/*! COMMIT */"), several(true, false, false));
    }
}
