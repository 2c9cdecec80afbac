//! Searches texts for words. False positives cost one check; false negatives must not occur.

use crate::sql_text::lexer::{Lexer, Syntax, Token};

/// Returns everything in a text that looks like a word: keywords, names and quoted names. Strings
/// and comments are searched too, so no quoting rule can hide a word.
pub fn words(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Returns true if a text contains `before`, a `_` and `after` in a row, ignoring case.
///
/// ```
/// use millpond_sqlx::backend_api::mentions;
///
/// assert!(mentions("SELECT Get_Lock('a', 1)", "get", "lock"));
/// assert!(!mentions("SELECT get_locker", "get", "unlock"));
/// ```
pub fn mentions(sql: &str, before: &str, after: &str) -> bool {
    let text = sql.as_bytes();
    let is_there = |at: usize| {
        let (front, back) = text.split_at_checked(at)?;
        let front = front.get(front.len().checked_sub(before.len())?..)?;
        let back = back.get(1..after.len().checked_add(1)?)?;
        Some(
            front.eq_ignore_ascii_case(before.as_bytes())
                && back.eq_ignore_ascii_case(after.as_bytes()),
        )
    };
    text.iter().enumerate().any(|(at, byte)| *byte == b'_' && is_there(at).unwrap_or(false))
}

/// Returns true if a text contains `part`, ignoring case.
pub(crate) fn has(sql: &str, part: &str) -> bool {
    sql.as_bytes().windows(part.len()).any(|found| found.eq_ignore_ascii_case(part.as_bytes()))
}

/// Returns true if a text contains no statement, as SQLite reads it.
pub fn is_blank(sql: &str) -> bool {
    Lexer::new(sql.trim(), Syntax::Sqlite).all(|(_, token)| token == Token::End)
}
