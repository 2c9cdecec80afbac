//! Splits a statement's text into the tokens that show what the statement does.

use crate::dialect::Dialect;
use std::ops::Range;

/// A token. Strings, quoted names and comments are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Word(&'a str),
    /// `$1`, and SQLite's `?1`.
    Numbered(usize),
    /// `?`
    Unnumbered,
    Open,
    Close,
    /// `;`
    End,
}

/// The tokens of a text in order, each with its position.
pub(crate) struct Tokens<'a> {
    sql: &'a str,
    at: usize,
    dialect: Dialect,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (Range<usize>, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at;
            let byte = self.peek()?;
            self.at = self.at.saturating_add(1);
            if let Some(token) = self.token(start, byte) {
                return Some((start..self.at, token));
            }
        }
    }
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(sql: &'a str, dialect: Dialect) -> Self {
        Self { sql, at: 0, dialect }
    }

    /// Returns the token that begins with this byte, which has been read, or `None` if it is
    /// skipped.
    fn token(&mut self, start: usize, byte: u8) -> Option<Token<'a>> {
        match (byte, self.dialect) {
            (b'\'', Dialect::MySql) | (b'"', Dialect::MySql) => self.skip_quoted(byte, true),
            (b'\'' | b'"', _) | (b'`', Dialect::Sqlite | Dialect::MySql) => {
                self.skip_quoted(byte, false)
            }
            (b'[', Dialect::Sqlite) => self.skip_past("]"),
            (b'-', Dialect::Postgres) if self.begins_a_dash_comment() => {
                self.skip_while(|byte| byte != b'\n' && byte != b'\r');
            }
            (b'-', _) if self.begins_a_dash_comment() => self.skip_past("\n"),
            (b'#', Dialect::MySql) => self.skip_past("\n"),
            (b'/', _) if self.peek() == Some(b'*') => self.skip_comment(),
            (b'(', _) => return Some(Token::Open),
            (b')', _) => return Some(Token::Close),
            (b';', _) => return Some(Token::End),
            (b'?', Dialect::Sqlite) => {
                return Some(self.number().map_or(Token::Unnumbered, Token::Numbered));
            }
            (b'?', _) => return Some(Token::Unnumbered),
            (b'$', _) => match self.number() {
                Some(number) => return Some(Token::Numbered(number)),
                // SQLite's `$name`, which the driver refuses.
                None if self.dialect == Dialect::Postgres => self.skip_dollar_quoted(),
                None => {}
            },
            (byte, _) if is_word(byte) => {
                self.skip_while(is_word);
                let word = self.sql.get(start..self.at)?;
                if self.dialect == Dialect::Postgres
                    && word.eq_ignore_ascii_case("e")
                    && self.peek() == Some(b'\'')
                {
                    // `E'..'`: a string with backslash escapes.
                    self.at = self.at.saturating_add(1);
                    self.skip_quoted(b'\'', true);
                    return None;
                }
                return Some(Token::Word(word));
            }
            _ => {}
        }
        None
    }

    fn peek(&self) -> Option<u8> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Option<u8> {
        self.sql.as_bytes().get(self.at.saturating_add(by)).copied()
    }

    fn rest(&self) -> &'a str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn skip_while(&mut self, expected: fn(u8) -> bool) {
        while self.peek().is_some_and(expected) {
            self.at = self.at.saturating_add(1);
        }
    }

    fn skip_past(&mut self, end: &str) {
        let found = self.rest().find(end);
        self.at = found.map_or(self.sql.len(), |found| {
            self.at.saturating_add(found).saturating_add(end.len())
        });
    }

    /// Skips to the closing quote; a doubled quote is part of the string.
    fn skip_quoted(&mut self, quote: u8, backslash_escapes: bool) {
        while let Some(byte) = self.peek() {
            self.at = self.at.saturating_add(1);
            if byte == b'\\' && backslash_escapes {
                self.at = self.at.saturating_add(1);
            } else if byte == quote {
                if self.peek() != Some(quote) {
                    return;
                }
                self.at = self.at.saturating_add(1);
            }
        }
    }

    /// Returns true if the second dash of a comment follows. MySQL requires a space after it.
    fn begins_a_dash_comment(&self) -> bool {
        self.peek() == Some(b'-')
            && (self.dialect != Dialect::MySql || self.ahead(1).is_none_or(|byte| byte <= b' '))
    }

    /// Skips to the end of a comment. PostgreSQL nests comments; comments that MySQL and MariaDB
    /// execute are read.
    fn skip_comment(&mut self) {
        self.at = self.at.saturating_add(1);
        match self.dialect {
            Dialect::MySql if self.rest().starts_with('!') || self.rest().starts_with("M!") => {}
            Dialect::Postgres => {
                let mut depth = 1_usize;
                while depth > 0 && self.at < self.sql.len() {
                    match (self.ahead(0), self.ahead(1)) {
                        (Some(b'/'), Some(b'*')) => depth = depth.saturating_add(1),
                        (Some(b'*'), Some(b'/')) => depth = depth.saturating_sub(1),
                        _ => {
                            self.at = self.at.saturating_add(1);
                            continue;
                        }
                    }
                    self.at = self.at.saturating_add(2);
                }
            }
            _ => self.skip_past("*/"),
        }
    }

    /// Skips `$$..$$` or `$tag$..$tag$`, whose first `$` has been read.
    fn skip_dollar_quoted(&mut self) {
        let rest = self.rest();
        let name = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if rest.as_bytes().get(name) == Some(&b'$') {
            let tag = self
                .sql
                .get(self.at.saturating_sub(1)..=self.at.saturating_add(name))
                .unwrap_or_default();
            self.at = self.at.saturating_add(name).saturating_add(1);
            self.skip_past(tag);
        }
    }

    /// Reads the digits of a placeholder. A number that is too large becomes `usize::MAX`, which no
    /// statement has arguments for.
    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        self.skip_while(|byte| byte.is_ascii_digit());
        let digits = self.sql.get(start..self.at).filter(|digits| !digits.is_empty())?;
        Some(digits.parse().unwrap_or(usize::MAX))
    }
}

/// Returns true for letters, digits, `_`, `$` and non-ASCII bytes: all three databases allow them
/// in a name.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders(sql: &str, dialect: Dialect) -> Vec<Token<'_>> {
        let expected = |token: &Token<'_>| matches!(token, Token::Numbered(_) | Token::Unnumbered);
        Tokens::new(sql, dialect).map(|(_, token)| token).filter(expected).collect()
    }

    const ALL: [Dialect; 3] = [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql];

    #[test]
    fn text_that_only_looks_like_a_placeholder_is_skipped_everywhere() {
        for dialect in ALL {
            for sql in [
                "SELECT '$1 ? ''$2''' , \"$3?\"",
                "SELECT 1 -- $1 ?\n, 2",
                "SELECT /* $7 ? -- */ 1 /* ?",
                "SELECT cost$1, a_$2, é$3 FROM t",
                "SELECT j ->> '$.a'",
                "SELECT :name, @name",
                "SELECT 'never closed $1",
            ] {
                assert_eq!(placeholders(sql, dialect), [], "{dialect}: {sql}");
            }
        }
    }

    #[test]
    fn every_database_quotes_in_its_own_way() {
        let one = [Token::Numbered(1)];
        for (dialect, sql) in [
            (Dialect::Sqlite, "SELECT `$2`, [$3 ?], '\\', $1"),
            (Dialect::Postgres, "SELECT a[$1], '\\', E'\\'$2', e'\\\\', `"),
            (Dialect::Postgres, "SELECT $$ $2 ? $$, $x$ $$ $2 $y$ $x$, $1"),
            (Dialect::Postgres, "SELECT /* /* $2 */ $3 */ $1"),
            (Dialect::Postgres, "SELECT $1 -- $2"),
            (Dialect::Postgres, "SELECT 1 --\r, $1"),
            (Dialect::Sqlite, "SELECT 1 --\r, $2\n, $1"),
            (Dialect::MySql, "SELECT `$2`, '\\'$3', \"\\\"$4\", $1"),
            (Dialect::MySql, "SELECT 1 # $2\n, $1"),
            (Dialect::MySql, "SELECT 1--$1 -- $2"),
            (Dialect::MySql, "SELECT /* $2 */ 1 /*! , $1 */"),
            (Dialect::MySql, "SELECT 1 /*M!100100 , $1 */"),
        ] {
            assert_eq!(placeholders(sql, dialect), one, "{dialect}: {sql}");
        }
        assert_eq!(
            placeholders("SELECT ?1, ?", Dialect::Sqlite),
            [Token::Numbered(1), Token::Unnumbered]
        );
        assert_eq!(placeholders("SELECT ?1", Dialect::Postgres), [Token::Unnumbered]);
    }

    #[test]
    fn the_lexer_ends_on_every_text() {
        let parts = [
            "'", "\"", "`", "[", "]", "--", "\n", "/*", "*/", "$", "?", "1", "0", "é", "(", ")",
            ";", "with", " ", "$$", "e", "\\", "#", "!",
        ];
        // Every sequence of four parts: the lexer must end, and never stop in the middle of a
        // character.
        for (a, b) in parts.iter().flat_map(|a| parts.iter().map(move |b| (a, b))) {
            for (c, d) in parts.iter().flat_map(|c| parts.iter().map(move |d| (c, d))) {
                let sql = format!("{a}{b}{c}{d}");
                for dialect in ALL {
                    for (at, _) in Tokens::new(&sql, dialect) {
                        assert!(sql.get(at.clone()).is_some(), "{dialect}: {sql:?} at {at:?}");
                    }
                }
            }
        }
    }
}
