//! Lexes PostgreSQL texts, as far as is needed to find where statements begin and end.

/// A token of a text. Comments and blanks are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// A keyword or a name.
    Word(&'a str),
    /// A name in double quotes, without the quotes.
    Quoted(&'a str),
    /// `;`
    End,
    /// A string, a number, an operator.
    Other,
    /// A token that depends on a server setting, or is not terminated. The rest of the text is
    /// unknown.
    Unclear,
}

/// The tokens of a text, in order.
pub(crate) struct Parts<'a> {
    rest: &'a str,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(sql: &'a str) -> Self {
        Self { rest: sql }
    }

    fn skip(&mut self, bytes: usize) -> &'a str {
        let (skipped, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        skipped
    }

    fn skip_while(&mut self, wanted: fn(u8) -> bool) -> &'a str {
        self.skip(self.rest.bytes().position(|byte| !wanted(byte)).unwrap_or(self.rest.len()))
    }

    /// Skips past `end`, if the text contains it.
    fn skip_past(&mut self, end: &str) -> Option<&'a str> {
        let (inside, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(inside)
    }

    fn unclear(&mut self) -> Part<'a> {
        self.rest = "";
        Part::Unclear
    }

    /// Reads a string after its opening quote. Whether a backslash escapes in a plain string is a
    /// server setting.
    fn string(&mut self, escapes: bool) -> Part<'a> {
        loop {
            let Some(at) = self.rest.find(['\'', '\\']) else { return self.unclear() };
            let found = self.skip(at.saturating_add(1)).as_bytes().last();
            match (found, escapes) {
                (Some(b'\\'), true) => {
                    let escaped = self.rest.chars().next().map_or(0, char::len_utf8);
                    self.skip(escaped);
                }
                (Some(b'\\'), false) => return self.unclear(),
                _ if self.rest.starts_with('\'') => {
                    self.skip(1);
                }
                _ => return Part::Other,
            }
        }
    }

    /// Skips a comment after its `/*`; comments nest.
    fn comment(&mut self) -> Option<Part<'a>> {
        let mut depth = 1_usize;
        while depth > 0 {
            let Some(at) = self.rest.find(['/', '*']) else { return Some(self.unclear()) };
            self.skip(at);
            if self.rest.starts_with("/*") {
                depth = depth.saturating_add(1);
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                depth = depth.saturating_sub(1);
                self.skip(2);
            } else {
                self.skip(1);
            }
        }
        None
    }

    /// Reads `$1`, or `$tag$ .. $tag$`, from its first `$`.
    fn dollar(&mut self) -> Part<'a> {
        let after = self.rest.get(1..).unwrap_or_default();
        let tag = after
            .bytes()
            .position(|byte| !is_name_byte(byte) || byte == b'$')
            .unwrap_or(after.len());
        let begins_well = !after.as_bytes().first().is_some_and(u8::is_ascii_digit);
        if begins_well && after.as_bytes().get(tag) == Some(&b'$') {
            let mark = self.skip(tag.saturating_add(2));
            return if self.skip_past(mark).is_some() { Part::Other } else { self.unclear() };
        }
        self.skip(1);
        Part::Other
    }

    /// Reads the token that begins with this byte; `None` for blanks and comments.
    fn part(&mut self, byte: u8) -> Option<Part<'a>> {
        let escapes = matches!(byte, b'e' | b'E') && self.rest.as_bytes().get(1) == Some(&b'\'');
        match byte {
            0 => Some(self.unclear()),
            _ if byte.is_ascii_whitespace() => {
                self.skip(1);
                None
            }
            _ if escapes => {
                self.skip(2);
                Some(self.string(true))
            }
            _ if is_name_start(byte) => Some(Part::Word(self.skip_while(is_name_byte))),
            _ if byte.is_ascii_digit() => {
                self.skip_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
                Some(Part::Other)
            }
            b'$' => Some(self.dollar()),
            b'-' if self.rest.starts_with("--") => {
                self.skip_while(|byte| !matches!(byte, b'\n' | b'\r' | 0));
                None
            }
            b'/' if self.rest.starts_with("/*") => {
                self.skip(2);
                self.comment()
            }
            b'\'' => {
                self.skip(1);
                Some(self.string(false))
            }
            b'"' => {
                self.skip(1);
                let name = self.skip_past("\"").map(Part::Quoted);
                Some(name.unwrap_or_else(|| self.unclear()))
            }
            b';' => {
                self.skip(1);
                Some(Part::End)
            }
            _ => {
                self.skip(1);
                Some(Part::Other)
            }
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        loop {
            let byte = *self.rest.as_bytes().first()?;
            if let Some(part) = self.part(byte) {
                return Some(part);
            }
        }
    }
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

fn is_name_byte(byte: u8) -> bool {
    is_name_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first words of the statements.
    fn beginnings(sql: &str) -> Vec<&str> {
        let parts: Vec<_> = Parts::of(sql).collect();
        let words = parts.split(|part| *part == Part::End).filter_map(|statement| match statement
            .first()?
        {
            Part::Word(word) => Some(*word),
            Part::Unclear => Some("?"),
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
            assert_eq!(Parts::of(sql).last(), Some(Part::Unclear), "{sql}");
        }
    }
}
