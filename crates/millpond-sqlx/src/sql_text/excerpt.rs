//! Shortens statements for messages: their first words, without values.

/// The most words and bytes in a label.
const WORDS_MAX: usize = 6;
const BYTES_MAX: usize = 60;

/// The most bytes in an excerpt.
const SHOWN_MAX: usize = 80;

/// Returns the words before the first one that may be a value, or before the end of the line.
pub(crate) fn label_of(sql: &str) -> &str {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.,*".contains(&byte);
    // In `SET a TO secret` a value looks like a name.
    let first = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let unambiguous =
        ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "CREATE", "DROP", "REPLACE", "TRUNCATE"];
    let words_max =
        if unambiguous.iter().any(|word| word.eq_ignore_ascii_case(first)) { WORDS_MAX } else { 1 };
    let (mut end, mut begun, mut words) = (0, true, 0);
    for (at, byte) in sql.bytes().enumerate().take(BYTES_MAX) {
        match byte {
            b' ' => begun = true,
            _ if begun && (byte.is_ascii_digit() || words == words_max) => break,
            _ if is_name(byte) => {
                words += usize::from(begun);
                (begun, end) = (false, at + 1);
            }
            _ => break,
        }
    }
    sql.get(..end).unwrap_or_default()
}

/// Returns the beginning of a statement in one line, up to its first string or number.
pub(crate) fn excerpt(sql: &str) -> String {
    let mut shown = String::new();
    let mut before = ' ';
    for c in sql.trim_start().chars() {
        let is_number =
            c.is_ascii_digit() && !before.is_alphanumeric() && !matches!(before, '_' | '$');
        if is_number
            || matches!(c, '\'' | '"')
            || (c == '$' && before == '$')
            || shown.len() >= SHOWN_MAX
        {
            return shown.trim_end_matches(['$', ' ']).to_owned() + " ..";
        }
        if !(c.is_whitespace() && before.is_whitespace()) {
            shown.push(if c.is_whitespace() { ' ' } else { c });
        }
        before = c;
    }
    shown.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_words_of_a_statement_hold_no_value() {
        for (sql, shown) in [
            ("SELECT *\n  FROM t WHERE a = $1", "SELECT * FROM t WHERE a = $1"),
            ("  SELECT x2 FROM t3 WHERE a = 17", "SELECT x2 FROM t3 WHERE a = .."),
            ("INSERT INTO t VALUES ('secret')", "INSERT INTO t VALUES ( .."),
            ("SELECT $$secret$$", "SELECT .."),
            ("SELECT E'secret'", "SELECT E .."),
            ("", ""),
        ] {
            assert_eq!(excerpt(sql), shown);
        }
        assert!(excerpt(&"SELECT a, ".repeat(50)).len() < SHOWN_MAX + 8);
    }
}
