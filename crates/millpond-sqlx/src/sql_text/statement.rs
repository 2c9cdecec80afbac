//! What a statement may leave behind, judged by its text alone, erring on the safe side.
//!
//! No SQL is parsed. Only text that means the same to every backend is skipped before the first
//! keyword: ASCII blanks, `--` comments and plain `/* */` comments. Where lexers differ, the answer
//! is
//! [`StatementEffect::Doubt`]: a `\r` ends a `--` comment for PostgreSQL alone, PostgreSQL nests
//! `/* */`, MySQL executes `/*! .. */`, SQLite ends at a NUL, and a name may contain letters that
//! are not ASCII. Likewise a text with a `;` anywhere but at the end counts as several statements,
//! even if it is inside a string, so no string mode (`standard_conforming_strings`,
//! `NO_BACKSLASH_ESCAPES`, `ANSI_QUOTES`, dollar quotes) matters. A needless verification costs
//! microseconds; a missing one could lend an open transaction.

/// What a statement may leave behind on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementEffect {
    /// Nothing but its result.
    None,
    /// Possibly an open transaction or changed session state: the connection is verified on return.
    Doubt,
    /// Possibly a setting that makes later statements leave something behind: the connection is
    /// verified on every return.
    Lasting,
}

/// Classifies a statement by the rule that holds for every backend: a single statement that begins
/// with SELECT, INSERT, UPDATE, DELETE, VALUES or WITH has no effect. SET and CALL are `Lasting`,
/// and so are several statements in one text, which may contain one of them. A backend without a
/// setting that disables autocommit can lower that to `Doubt`.
///
/// ```
/// use millpond_sqlx::backend_api::{StatementEffect, effect_of};
///
/// assert_eq!(effect_of("SELECT 1"), StatementEffect::None);
/// assert_eq!(effect_of("-- who\n insert into t values (1);"), StatementEffect::None);
/// assert_eq!(effect_of("BEGIN"), StatementEffect::Doubt);
/// assert_eq!(effect_of("SET autocommit = 0"), StatementEffect::Lasting);
/// assert_eq!(effect_of("SELECT 1; BEGIN"), StatementEffect::Lasting);
/// ```
pub fn effect_of(sql: &str) -> StatementEffect {
    // The fast path for nearly every query.
    if begins_plainly(sql.as_bytes()) && !has_semicolon(sql.as_bytes()) {
        return StatementEffect::None;
    }
    let Some(keyword) = first_keyword(sql) else { return StatementEffect::Doubt };
    if !is_single(sql) {
        // The statements after the first one are not read, so the worst is assumed.
        return StatementEffect::Lasting;
    }
    let is_one_of = |words: &[&str]| words.iter().any(|word| keyword.eq_ignore_ascii_case(word));
    if is_one_of(&["SELECT", "INSERT", "UPDATE", "DELETE", "VALUES", "WITH"]) {
        StatementEffect::None
    } else if is_one_of(&["SET", "CALL"]) {
        StatementEffect::Lasting
    } else {
        StatementEffect::Doubt
    }
}

/// Returns true if a text begins with a keyword of six letters that has no effect, and a blank.
fn begins_plainly(text: &[u8]) -> bool {
    const WORDS: [u64; 5] = [
        number(b"select "),
        number(b"insert "),
        number(b"update "),
        number(b"delete "),
        number(b"values "),
    ];
    // `| 0x20` lower-cases ASCII letters, turns no other byte into a letter, and yields a space
    // only for space and NUL.
    const SMALL: u64 = number(&[0x20; 7]);
    text.first_chunk().is_some_and(|begin| WORDS.contains(&(number(begin) | SMALL)))
}

const fn number(&[a, b, c, d, e, f, g]: &[u8; 7]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, g, 0])
}

/// Compares eight bytes at a time, so that the comparison vectorises.
fn has_semicolon(text: &[u8]) -> bool {
    let (pieces, rest) = text.as_chunks::<8>();
    let has_one = |piece: &[u8]| piece.iter().fold(false, |found, &byte| found | (byte == b';'));
    pieces.iter().any(|piece| has_one(piece)) || has_one(rest)
}

/// Returns the first keyword of a statement, or `None` if there is none on which all backends
/// agree.
pub fn first_keyword(sql: &str) -> Option<&str> {
    next_word(sql).map(|(keyword, _)| keyword).filter(|keyword| !keyword.is_empty())
}

/// Returns the next word after blanks and comments, and the rest of the text. The word is empty if
/// something else or nothing follows. Returns `None` if backends read it differently.
pub(crate) fn next_word(sql: &str) -> Option<(&str, &str)> {
    let rest = behind_comments(sql)?;
    let end = rest.bytes().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(rest.len());
    // Another byte of a name makes it another word.
    let goes_on = |byte: &u8| {
        byte.is_ascii_digit() || matches!(byte, b'_' | b'$' | b'\0') || !byte.is_ascii()
    };
    let ends = !rest.as_bytes().get(end).is_some_and(goes_on);
    rest.split_at_checked(end).filter(|_| ends)
}

/// Returns the text after leading blanks and comments, if all backends agree on where those end.
fn behind_comments(sql: &str) -> Option<&str> {
    let mut rest = sql;
    // The common case has none.
    while !rest.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) {
        rest = rest.trim_ascii_start();
        if !rest.starts_with("--") && !rest.starts_with("/*") {
            break;
        }
        rest = behind_comment(rest)?;
    }
    Some(rest)
}

/// Returns the text after a leading comment, if all backends agree on where it ends.
fn behind_comment(text: &str) -> Option<&str> {
    if let Some(comment) = text.strip_prefix("--") {
        let (body, after) = comment.split_once('\n').unwrap_or((comment, ""));
        let is_agreed = !body.strip_suffix('\r').unwrap_or(body).contains(['\r', '\0']);
        return is_agreed.then_some(after);
    }
    let comment = text.strip_prefix("/*")?;
    let end = comment.find("*/")?;
    // Up to the slash, since the star of `*/` may be that of a nested `/*`.
    let body = comment.get(..=end)?;
    if body.starts_with(['!', '/'])
        || body.starts_with("M!")
        || body.contains("/*")
        || body.contains('\0')
    {
        return None;
    }
    comment.get(end.saturating_add(2)..)
}

/// Replaces each comment by a blank, if all backends agree on where comments begin and end: no
/// string or quoted name comes before one.
pub(crate) fn without_comments(sql: &str) -> Option<String> {
    let mut plain = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = [rest.find("--"), rest.find("/*")].into_iter().flatten().min() {
        let (before, comment) = rest.split_at_checked(at)?;
        // MySQL reads `--` as two minus signs if no blank follows.
        let is_line = comment.starts_with("--");
        let is_signs = is_line && !comment.get(2..)?.starts_with([' ', '\t', '\n']);
        if before.contains(['\'', '"', '`', '$', '#', '[', '\\', '\0']) || is_signs {
            return None;
        }
        plain.push_str(before);
        plain.push(' ');
        rest = behind_comment(comment)?;
    }
    plain.push_str(rest);
    Some(plain)
}

/// Returns true if a text is certainly a single statement: it has no `;` except at its end.
pub fn is_single(sql: &str) -> bool {
    let ends = |byte: u8| byte == b';' || byte.is_ascii_whitespace();
    sql.split_once(';').is_none_or(|(_, rest)| rest.bytes().all(ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_statements_that_only_read_or_write_rows_leave_nothing_behind() {
        for sql in [
            "SELECT 1",
            "select 1;",
            "\n\tInsert into t values (1) ;\n",
            "UPDATE t SET x = 1",
            "DELETE FROM t",
            "VALUES (1)",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "-- name: find\nSELECT 1",
            "/* trace 17 */ SELECT 1",
            "/* a */ -- b\n /* c */ SELECT 1",
        ] {
            assert_eq!(effect_of(sql), StatementEffect::None, "{sql}");
        }
    }

    #[test]
    fn every_spelling_of_begin_leaves_doubt() {
        for sql in [
            "BEGIN",
            "begin",
            "  Begin immediate",
            "-- SELECT\nBEGIN",
            "/* SELECT */ BEGIN",
            "SAVEPOINT a",
            "START TRANSACTION",
            "PRAGMA foreign_keys = OFF",
            "ATTACH 'x.db' AS x",
            "CREATE TEMP TABLE t (i)",
            "EXPLAIN SELECT 1",
            "(SELECT 1)",
            "SELECTED",
            "AAAAAAAASELECT",
            "",
            "--",
            "/* SELECT 1",
        ] {
            assert_ne!(effect_of(sql), StatementEffect::None, "{sql}");
        }
    }

    #[test]
    fn a_second_statement_is_never_overlooked() {
        for sql in [
            "SELECT 1; BEGIN",
            "SELECT 1;BEGIN;",
            "SELECT ';' ; BEGIN",
            "SELECT 1;\n;BEGIN",
            "BEGIN; SELECT 1/0",
        ] {
            assert_eq!(effect_of(sql), StatementEffect::Lasting, "{sql}");
        }
    }

    #[test]
    fn a_semicolon_in_a_string_counts_as_a_second_statement() {
        assert_ne!(effect_of("SELECT 'a;b'"), StatementEffect::None);
    }

    #[test]
    fn comments_on_which_backends_differ_are_not_skipped() {
        assert_ne!(effect_of("/*! SET autocommit = 0 */ SELECT 1"), StatementEffect::None);
        assert_ne!(effect_of("/*M! BEGIN */ SELECT 1"), StatementEffect::None);
        assert_ne!(effect_of("/* /* */ SELECT 1 */ BEGIN"), StatementEffect::None);
        assert_ne!(effect_of("/*/*/ SELECT 1 */ */ BEGIN"), StatementEffect::None);
        assert_ne!(effect_of("--\rBEGIN/*\nSELECT 1 */"), StatementEffect::None);
        assert_ne!(effect_of("-- a\0\nSELECT 1"), StatementEffect::None);
        assert_ne!(effect_of("/* \0 */ SELECT 1"), StatementEffect::None);
        assert_ne!(effect_of("\u{a0}SELECT 1"), StatementEffect::None);
        assert_ne!(effect_of("\u{feff}SELECT 1"), StatementEffect::None);
    }

    #[test]
    fn comments_on_which_backends_agree_are_skipped() {
        for sql in [
            "-- a\r\nSELECT 1",
            "--a\n\r\tSELECT 1",
            "/***/SELECT 1",
            "/* a * / b! */SELECT 1",
            "/**/-- /*\nSELECT 1",
        ] {
            assert_eq!(effect_of(sql), StatementEffect::None, "{sql:?}");
        }
    }

    #[test]
    fn a_keyword_that_goes_on_is_another_word() {
        for sql in ["SELECTé", "SELECT_1", "SELECT1", "SELECT$", "SELECT\0"] {
            assert_eq!(first_keyword(sql), None, "{sql:?}");
        }
    }

    #[test]
    fn set_and_call_leave_every_later_return_in_doubt() {
        assert_eq!(effect_of("SET autocommit = 0"), StatementEffect::Lasting);
        assert_eq!(effect_of("call p()"), StatementEffect::Lasting);
    }
}
