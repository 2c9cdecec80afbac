//! Finds the placeholder `$0`, which SQLite reads as a name and on which the driver's thread
//! panics.

use millpond_sqlx::backend_api::{Lexer, Syntax, Token};

/// Returns true if a statement has a placeholder with the number 0.
pub(crate) fn has_parameter_zero(sql: &str) -> bool {
    // Almost no text has these characters, not even in a string.
    sql.contains("$0")
        && Lexer::new(sql, Syntax::Sqlite).any(|(at, token)| {
            token == Token::Numbered(0) && sql.get(at).is_some_and(|text| text.starts_with('$'))
        })
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
