//! Finds the placeholder `$0`, which SQLite reads as a name and on which the driver's thread
//! panics.

use std::iter;

/// Returns true if a statement has a placeholder with the number 0.
pub(crate) fn has_parameter_zero(sql: &str) -> bool {
    // Almost no text has these characters, not even in a string.
    sql.contains("$0") && tokens(sql).any(is_parameter_zero)
}

fn is_parameter_zero(token: &str) -> bool {
    let Some(name) = token.strip_prefix('$') else { return false };
    let zeros = name.trim_start_matches('0');
    zeros.len() < name.len() && !zeros.starts_with(|c: char| c.is_ascii_digit())
}

/// Splits a text into SQLite's tokens: words, strings, quoted names, comments, and single
/// characters.
fn tokens(sql: &str) -> impl Iterator<Item = &str> {
    let mut rest = sql;
    iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (token, behind) = rest.split_at_checked(length(rest, first))?;
        rest = behind;
        Some(token)
    })
}

/// Returns the length in bytes of the first token of a text, which must not be empty.
fn length(text: &str, first: char) -> usize {
    let through = |begin: usize, end: &str| {
        let found = text.get(begin..).and_then(|inside| inside.find(end));
        found.map_or(text.len(), |at| begin.saturating_add(at).saturating_add(end.len()))
    };
    match first {
        // A doubled quote ends one string and begins another, with the same result.
        '\'' => through(1, "'"),
        '"' => through(1, "\""),
        '`' => through(1, "`"),
        '[' => through(1, "]"),
        '-' if text.starts_with("--") => through(2, "\n"),
        '/' if text.starts_with("/*") => through(2, "*/"),
        _ if is_in_word(first) => text.find(|c| !is_in_word(c)).unwrap_or(text.len()),
        _ => first.len_utf8(),
    }
}

/// Returns true if a character can be part of a name; a `$` can also begin a placeholder.
fn is_in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_placeholder_is_found() {
        for sql in ["SELECT $0", "select $1,$00", "SELECT 1 WHERE 1=$0x", "SELECT 'a'''+$0"] {
            assert!(has_parameter_zero(sql), "{sql}");
        }
        for sql in [
            "SELECT 'costs $0'",
            "SELECT '''$0', \"$0\", `$0`, [$0], a$0",
            "SELECT 1 -- $0\n, /* $0 */ 2",
            "SELECT $01, $010, $10",
            "SELECT '$0",
        ] {
            assert!(!has_parameter_zero(sql), "{sql}");
        }
    }
}
