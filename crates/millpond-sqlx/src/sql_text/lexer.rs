//! Lexes texts as their database does, as far as it shows what their statements do.

use std::ops::Range;

/// How a database writes strings, names, comments and placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// PostgreSQL's.
    Postgres,
    /// That of MySQL and MariaDB.
    MySql,
    /// SQLite's.
    Sqlite,
}

/// A token of a text. Blanks and comments are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// A keyword or a name.
    Word(&'a str),
    /// A number, or the part of one before its point.
    Number(&'a str),
    /// A quoted name without its quotes, or a part of one that contains quotes.
    Name(&'a str),
    /// `$1`, and SQLite's `?1`. A number that is too large is `usize::MAX`.
    Numbered(usize),
    /// `?`
    Unnumbered,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `;`
    End,
    /// A string, an operator.
    Other,
    /// A token of PostgreSQL that depends on a server setting, or has no end. What follows is lexed
    /// as with the default settings.
    Unclear,
}

/// The tokens of a text in order, each with its place.
#[derive(Debug)]
pub struct Lexer<'a> {
    sql: &'a str,
    at: usize,
    syntax: Syntax,
}

impl<'a> Iterator for Lexer<'a> {
    type Item = (Range<usize>, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at;
            let byte = self.peek()?;
            if let Some(token) = self.token(byte) {
                return Some((start..self.at, token));
            }
        }
    }
}

impl<'a> Lexer<'a> {
    /// Begins at the start of a text.
    pub fn new(sql: &'a str, syntax: Syntax) -> Self {
        Self { sql, at: 0, syntax }
    }

    /// Reads the token that begins with this byte; `None` for blanks and comments.
    fn token(&mut self, byte: u8) -> Option<Token<'a>> {
        use Syntax::{MySql, Postgres, Sqlite};
        if is_word_start(byte) && !self.begins_escape_string() {
            return Some(Token::Word(self.take_while(is_word)));
        }
        self.skip(1);
        Some(match (byte, self.syntax) {
            (b' ' | b'\n' | b'\r' | b'\t' | b'\x0c', _) => return None,
            // From PostgreSQL 16 on.
            (b'\x0b', Postgres) => return None,
            (b'e' | b'E', _) => {
                self.skip(1);
                self.string(b'\'', true)
            }
            (b'\'' | b'"', MySql) => self.string(byte, true),
            (b'\'', _) => self.string(byte, false),
            (b'"', _) | (b'`', Sqlite | MySql) => self.name(byte),
            (b'[', Sqlite) => self.name(b']'),
            (b'-', Postgres) if self.begins_dash_comment() => {
                self.take_while(|byte| !matches!(byte, b'\n' | b'\r' | 0));
                return None;
            }
            (b'-', _) if self.begins_dash_comment() => return self.skip_line(),
            (b'#', MySql) => return self.skip_line(),
            (b'/', _) if self.peek() == Some(b'*') => return self.comment(),
            (b'0'..=b'9', _) => self.number(),
            (b'$', _) => self.dollar(),
            (b'?', Sqlite) => self.placeholder().unwrap_or(Token::Unnumbered),
            (b'?', _) => Token::Unnumbered,
            (b'(', _) => Token::Open,
            (b')', _) => Token::Close,
            (b';', _) => Token::End,
            (0, Postgres) => Token::Unclear,
            _ => Token::Other,
        })
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

    fn skip(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn take_while(&mut self, is_part: fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(is_part) {
            self.skip(1);
        }
        self.sql.get(start..self.at).unwrap_or_default()
    }

    /// Skips past `end` and returns what comes before it, or skips the rest of the text.
    fn skip_past(&mut self, end: &str) -> Option<&'a str> {
        let rest = self.rest();
        let found = rest.find(end);
        self.skip(found.map_or(rest.len(), |at| at.saturating_add(end.len())));
        rest.get(..found?)
    }

    fn skip_line(&mut self) -> Option<Token<'a>> {
        self.skip_past("\n");
        None
    }

    /// Returns true at PostgreSQL's `E'..'`, the string in which a backslash escapes.
    fn begins_escape_string(&self) -> bool {
        self.syntax == Syntax::Postgres
            && matches!((self.ahead(0), self.ahead(1)), (Some(b'e' | b'E'), Some(b'\'')))
    }

    /// Returns true if the second dash of a comment follows. MySQL requires a space after it.
    fn begins_dash_comment(&self) -> bool {
        self.peek() == Some(b'-')
            && (self.syntax != Syntax::MySql || self.ahead(1).is_none_or(|byte| byte <= b' '))
    }

    /// Returns what a token without an end is.
    fn open_end(&self) -> Token<'a> {
        if self.syntax == Syntax::Postgres { Token::Unclear } else { Token::Other }
    }

    /// Reads a string after its opening quote; a doubled quote is part of the string. Whether a
    /// backslash escapes in a plain string of PostgreSQL is a server setting.
    fn string(&mut self, quote: u8, escapes: bool) -> Token<'a> {
        let mut token = Token::Other;
        while let Some(byte) = self.peek() {
            self.skip(1);
            match byte {
                b'\\' if escapes => {
                    self.skip(self.rest().chars().next().map_or(0, char::len_utf8));
                }
                b'\\' if self.syntax == Syntax::Postgres => token = Token::Unclear,
                _ if byte != quote => {}
                _ if self.peek() == Some(quote) => self.skip(1),
                _ => return token,
            }
        }
        self.open_end()
    }

    /// Reads a quoted name after its opening quote.
    fn name(&mut self, end: u8) -> Token<'a> {
        let end = char::from(end);
        self.skip_past(end.encode_utf8(&mut [0; 4])).map_or_else(|| self.open_end(), Token::Name)
    }

    /// Skips a comment after its `/`. PostgreSQL nests comments; comments that MySQL and MariaDB
    /// execute are read.
    fn comment(&mut self) -> Option<Token<'a>> {
        self.skip(1);
        match self.syntax {
            Syntax::MySql if self.rest().starts_with('!') || self.rest().starts_with("M!") => None,
            Syntax::MySql | Syntax::Sqlite => {
                self.skip_past("*/");
                None
            }
            Syntax::Postgres => {
                let mut depth = 1_usize;
                while depth > 0 {
                    match (self.ahead(0), self.ahead(1)) {
                        (None, _) => return Some(Token::Unclear),
                        (Some(b'/'), Some(b'*')) => depth = depth.saturating_add(1),
                        (Some(b'*'), Some(b'/')) => depth = depth.saturating_sub(1),
                        _ => {
                            self.skip(1);
                            continue;
                        }
                    }
                    self.skip(2);
                }
                None
            }
        }
    }

    /// Reads a number, whose first digit has been read. For MySQL and SQLite a `$` is part of it.
    fn number(&mut self) -> Token<'a> {
        let start = self.at.saturating_sub(1);
        match self.syntax {
            Syntax::Postgres => {
                self.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
            }
            Syntax::MySql | Syntax::Sqlite => self.take_while(is_word),
        };
        Token::Number(self.sql.get(start..self.at).unwrap_or_default())
    }

    /// Reads `$1`, or PostgreSQL's `$tag$ .. $tag$`, after its first `$`. SQLite's `$name` is
    /// neither: the driver refuses it.
    fn dollar(&mut self) -> Token<'a> {
        let placeholder = self.placeholder();
        if self.syntax != Syntax::Postgres || placeholder.is_some() {
            return placeholder.unwrap_or(Token::Other);
        }
        let after = self.rest();
        let tag = after.bytes().position(|byte| !is_word(byte) || byte == b'$');
        let Some(tag) = tag.filter(|tag| after.as_bytes().get(*tag) == Some(&b'$')) else {
            return Token::Other;
        };
        let mark = self.at.saturating_sub(1)..self.at.saturating_add(tag).saturating_add(1);
        self.at = mark.end;
        let is_closed = self.skip_past(self.sql.get(mark).unwrap_or_default()).is_some();
        if is_closed { Token::Other } else { Token::Unclear }
    }

    /// Reads the digits of a placeholder. A number that is too large becomes `usize::MAX`, which no
    /// statement has arguments for.
    fn placeholder(&mut self) -> Option<Token<'a>> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        (!digits.is_empty()).then(|| Token::Numbered(digits.parse().unwrap_or(usize::MAX)))
    }
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

/// Returns true for letters, digits, `_`, `$` and non-ASCII bytes: all three databases allow them
/// in a name.
fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(sql: &str, syntax: Syntax) -> impl Iterator<Item = Token<'_>> {
        Lexer::new(sql, syntax).map(|(_, token)| token)
    }

    fn placeholders(sql: &str, syntax: Syntax) -> Vec<Token<'_>> {
        let expected = |token: &Token<'_>| matches!(token, Token::Numbered(_) | Token::Unnumbered);
        tokens(sql, syntax).filter(expected).collect()
    }

    const ALL: [Syntax; 3] = [Syntax::Sqlite, Syntax::Postgres, Syntax::MySql];

    #[test]
    fn text_that_only_looks_like_a_placeholder_is_skipped_everywhere() {
        for syntax in ALL {
            for sql in [
                "SELECT '$1 ? ''$2''' , \"$3?\"",
                "SELECT 1 -- $1 ?\n, 2",
                "SELECT /* $7 ? -- */ 1 /* ?",
                "SELECT cost$1, a_$2, é$3 FROM t",
                "SELECT j ->> '$.a'",
                "SELECT :name, @name",
                "SELECT 'never closed $1",
            ] {
                assert_eq!(placeholders(sql, syntax), [], "{syntax:?}: {sql}");
            }
        }
    }

    #[test]
    fn every_database_quotes_in_its_own_way() {
        let one = [Token::Numbered(1)];
        for (syntax, sql) in [
            (Syntax::Sqlite, "SELECT `$2`, [$3 ?], '\\', $1"),
            (Syntax::Postgres, "SELECT a[$1], '\\', E'\\'$2', e'\\\\', `"),
            (Syntax::Postgres, "SELECT $$ $2 ? $$, $x$ $$ $2 $y$ $x$, $1"),
            (Syntax::Postgres, "SELECT $é2$ $2 $é2$, $1"),
            (Syntax::Postgres, "SELECT /* /* $2 */ $3 */ $1"),
            (Syntax::Postgres, "SELECT $1 -- $2"),
            (Syntax::Postgres, "SELECT 1 --\r, $1"),
            (Syntax::Sqlite, "SELECT 1 --\r, $2\n, $1"),
            (Syntax::MySql, "SELECT `$2`, '\\'$3', \"\\\"$4\", $1"),
            (Syntax::MySql, "SELECT 1 # $2\n, $1"),
            (Syntax::MySql, "SELECT 1--$1 -- $2"),
            (Syntax::MySql, "SELECT /* $2 */ 1 /*! , $1 */"),
            (Syntax::MySql, "SELECT 1 /*M!100100 , $1 */"),
        ] {
            assert_eq!(placeholders(sql, syntax), one, "{syntax:?}: {sql}");
        }
        assert_eq!(
            placeholders("SELECT ?1, ?", Syntax::Sqlite),
            [Token::Numbered(1), Token::Unnumbered]
        );
        assert_eq!(placeholders("SELECT ?1", Syntax::Postgres), [Token::Unnumbered]);
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
                for syntax in ALL {
                    for (at, _) in Lexer::new(&sql, syntax) {
                        assert!(sql.get(at.clone()).is_some(), "{syntax:?}: {sql:?} at {at:?}");
                    }
                }
            }
        }
    }

    /// The first words of the statements.
    fn beginnings(sql: &str) -> Vec<&str> {
        let tokens: Vec<_> = tokens(sql, Syntax::Postgres).collect();
        let statements = tokens.split(|token| *token == Token::End);
        let words = statements.filter_map(|statement| match statement.first()? {
            Token::Word(word) => Some(*word),
            Token::Unclear => Some("?"),
            _ => Some("-"),
        });
        words.collect()
    }

    #[test]
    fn statements_are_found_behind_comments_strings_and_names() {
        for (sql, wanted) in [
            ("/* hi! */ SET x = 1", &["SET"][..]),
            ("; ;SET x", &["SET"]),
            ("--\rBEGIN/*\nSELECT 1 */", &["BEGIN"]),
            ("/*/*/ SELECT 1 */ */ BEGIN", &["BEGIN"]),
            ("/* /* */ ; */ SELECT ';' ; A", &["SELECT", "A"]),
            ("SELECT E'\\';', 'it''s;' ; A", &["SELECT", "A"]),
            ("SELECT \"a;\"\"b;\" ; A", &["SELECT", "A"]),
            ("DO $x$ ; $$ ; $x$; A", &["DO", "A"]),
            ("SELECT $1; SELECT a$b$; A", &["SELECT", "SELECT", "A"]),
            ("SELECT 1$b$;$b$; A", &["SELECT", "A"]),
            ("SELECT name'a;b'; A", &["SELECT", "A"]),
            ("SELECT 1 -- ;\n; A", &["SELECT", "A"]),
            ("SELECT a-/*;*/-1; é", &["SELECT", "é"]),
            ("(SELECT 1); ''", &["-", "-"]),
            ("", &[]),
        ] {
            assert_eq!(beginnings(sql), wanted, "{sql}");
        }
    }

    #[test]
    fn text_that_depends_on_a_setting_or_has_no_end_is_unclear() {
        for sql in [
            "SELECT '\\'; SET x",
            "'a",
            "\"a",
            "/* /* */",
            "$$ a",
            "SELECT E'\\'",
            "SELECT \0",
            "E'a'\n'\\''",
        ] {
            assert!(tokens(sql, Syntax::Postgres).any(|it| it == Token::Unclear), "{sql}");
        }
    }

    #[test]
    fn a_quoted_name_is_known_without_its_quotes() {
        for (syntax, sql) in [
            (Syntax::Postgres, "\"a b\""),
            (Syntax::Sqlite, "\"a b\""),
            (Syntax::Sqlite, "[a b]"),
            (Syntax::Sqlite, "`a b`"),
            (Syntax::MySql, "`a b`"),
        ] {
            assert_eq!(tokens(sql, syntax).collect::<Vec<_>>(), [Token::Name("a b")], "{sql}");
        }
    }
}
