//! What a statement's text tells before it runs: how many arguments it asks for, and what it does.
//!
//! `$1` is the one way to write a placeholder that every backend of [`DatabaseConnection`](crate::DatabaseConnection)
//! understands; the `?` of [`QueryBuilder`](sqlx::QueryBuilder) is understood too. SQLite takes both as they are, so
//! nothing is rewritten here. But it takes a placeholder without an argument for NULL, where other databases refuse
//! the statement; so the arguments are counted before anything is sent.

use sqlx::Error;

/// What is known of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outline {
    /// How many arguments it asks for; `None` if it has a placeholder with the number 0, which means nothing.
    arguments: Option<usize>,
    /// What it does.
    pub(crate) effect: Effect,
}

/// What a statement does to rows, as far as its text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It adds rows, and never changes one instead.
    Insert,
    /// It changes rows, or adds them if there is nothing to change.
    Change,
    /// It changes no row: it reads, or is about tables, transactions, settings.
    Other,
    /// There are several statements.
    Several,
}

impl Outline {
    pub(crate) fn of(sql: &str) -> Self {
        let (mut arguments, mut unnumbered, mut verb) = (Some(0), 0_usize, Verb::Awaited);
        let mut depth = 0_usize;
        for token in Tokens::new(sql) {
            match token {
                Token::Numbered(0) => arguments = None,
                Token::Numbered(number) => arguments = arguments.map(|most| most.max(number)),
                Token::Unnumbered => unnumbered = unnumbered.saturating_add(1),
                Token::Open => depth = depth.saturating_add(1),
                Token::Close => depth = depth.saturating_sub(1),
                Token::End => verb = verb.ended(),
                Token::Word(word) if depth == 0 => verb = verb.then(word),
                Token::Word(_) => {}
            }
        }
        Self { arguments: arguments.map(|most| most.max(unnumbered)), effect: verb.effect() }
    }

    /// Refuses a statement whose placeholders and arguments do not match.
    pub(crate) fn check(self, bound: usize) -> Result<(), Error> {
        let wrong = match self.arguments {
            Some(wanted) if wanted == bound => return Ok(()),
            Some(wanted) if wanted > bound => {
                format!("the statement asks for argument ${wanted}, but {bound} are bound")
            }
            Some(wanted) => format!("{bound} arguments are bound, but the statement asks for {wanted}"),
            None => "placeholders are counted from 1: there is no argument $0".to_owned(),
        };
        Err(Error::InvalidArgument(wrong))
    }
}

/// The statement's main verb, as far as it has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// No word yet.
    Awaited,
    /// `WITH`: the verb comes after its tables, which stand in parentheses.
    AfterWith,
    Insert,
    /// `INSERT` and, as the last word, `DO`: an `UPDATE` may follow.
    InsertDo,
    Change,
    Other,
    /// A statement has ended; another word would be one too many.
    Ended(Effect),
    Several,
}

impl Verb {
    fn then(self, word: &str) -> Self {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        match self {
            Self::Awaited if is("with") => Self::AfterWith,
            Self::Awaited | Self::AfterWith if is("insert") || is("replace") => Self::Insert,
            Self::Awaited | Self::AfterWith if is("update") || is("delete") => Self::Change,
            Self::AfterWith if is("select") || is("values") => Self::Other,
            Self::Awaited => Self::Other,
            Self::Insert if is("do") => Self::InsertDo,
            Self::InsertDo if is("update") => Self::Change,
            Self::InsertDo => Self::Insert,
            Self::Ended(_) => Self::Several,
            Self::AfterWith | Self::Insert | Self::Change | Self::Other | Self::Several => self,
        }
    }

    fn ended(self) -> Self {
        match self {
            Self::Awaited | Self::Ended(_) | Self::Several => self,
            Self::AfterWith | Self::Insert | Self::InsertDo | Self::Change | Self::Other => Self::Ended(self.effect()),
        }
    }

    fn effect(self) -> Effect {
        match self {
            Self::Awaited | Self::AfterWith | Self::Other => Effect::Other,
            Self::Insert | Self::InsertDo => Effect::Insert,
            Self::Change => Effect::Change,
            Self::Ended(effect) => effect,
            Self::Several => Effect::Several,
        }
    }
}

/// The parts of a statement that matter here. Strings, quoted names and comments are passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// `$1` or `?1`.
    Numbered(usize),
    /// `?`
    Unnumbered,
    Open,
    Close,
    /// `;`
    End,
}

struct Tokens<'a> {
    sql: &'a str,
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let start = self.at;
            let byte = self.byte(0)?;
            self.at = self.at.saturating_add(1);
            match byte {
                b'\'' | b'"' | b'`' => self.skip_quoted(byte),
                b'[' => self.skip_past("]"),
                b'-' if self.byte(0) == Some(b'-') => self.skip_past("\n"),
                b'/' if self.byte(0) == Some(b'*') => {
                    self.at = self.at.saturating_add(1);
                    self.skip_past("*/");
                }
                b'(' => return Some(Token::Open),
                b')' => return Some(Token::Close),
                b';' => return Some(Token::End),
                b'$' | b'?' => match self.number() {
                    Some(number) => return Some(Token::Numbered(number)),
                    None if byte == b'?' => return Some(Token::Unnumbered),
                    // `$name`: the driver refuses it.
                    None => {}
                },
                byte if is_word(byte) => {
                    self.skip_while(is_word);
                    return self.sql.get(start..self.at).map(Token::Word);
                }
                _ => {}
            }
        }
    }
}

impl<'a> Tokens<'a> {
    fn new(sql: &'a str) -> Self {
        Self { sql, at: 0 }
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.sql.as_bytes().get(self.at.saturating_add(ahead)).copied()
    }

    fn skip_while(&mut self, wanted: fn(u8) -> bool) {
        while self.byte(0).is_some_and(wanted) {
            self.at = self.at.saturating_add(1);
        }
    }

    fn skip_past(&mut self, end: &str) {
        let rest = self.sql.get(self.at..).unwrap_or_default();
        self.at =
            rest.find(end).map_or(self.sql.len(), |found| self.at.saturating_add(found).saturating_add(end.len()));
    }

    /// To the closing quote; a doubled one stands for itself.
    fn skip_quoted(&mut self, quote: u8) {
        while let Some(byte) = self.byte(0) {
            self.at = self.at.saturating_add(1);
            if byte == quote {
                if self.byte(0) != Some(quote) {
                    return;
                }
                self.at = self.at.saturating_add(1);
            }
        }
    }

    /// The digits of a placeholder. A number that fits nothing asks for more arguments than anybody can bind.
    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        self.skip_while(|byte| byte.is_ascii_digit());
        let digits = self.sql.get(start..self.at).filter(|digits| !digits.is_empty())?;
        Some(digits.parse().unwrap_or(usize::MAX))
    }
}

/// Letters, digits, `_`, `$` and whatever is not ASCII: what SQLite takes for a part of a name.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn wants(sql: &str, arguments: usize) {
        assert_eq!(Outline::of(sql).arguments, Some(arguments), "{sql}");
    }

    #[test]
    fn placeholders_are_counted_in_both_spellings() {
        wants("SELECT 1", 0);
        wants("SELECT $1, $2, $1", 2);
        wants("SELECT $2", 2);
        wants("SELECT ?, ?,?", 3);
        wants("SELECT ?1, ?2", 2);
        wants("INSERT INTO t VALUES ($1,$2),($3,$4)", 4);
        wants("SELECT $12", 12);
    }

    #[test]
    fn what_only_looks_like_a_placeholder_is_none() {
        wants("SELECT '$1 ? ''$2''' , \"$3?\", `$4`, [$5 ?]", 0);
        wants("SELECT 1 -- $1 ?\n, $1", 1);
        wants("SELECT /* $7 ? -- */ $1 /* ?", 1);
        wants("SELECT cost$1, a_$2, é$3 FROM t", 0);
        wants("SELECT j ->> '$.a', $1", 1);
        wants("SELECT $name, :name, @name", 0);
        wants("SELECT 'never closed $1", 0);
    }

    #[test]
    fn placeholders_and_arguments_must_match() {
        let two = Outline::of("SELECT $1, $2");
        assert!(two.check(2).is_ok());
        assert_eq!(two.check(1).unwrap_err().to_string(), "the statement asks for argument $2, but 1 are bound");
        assert_eq!(two.check(3).unwrap_err().to_string(), "3 arguments are bound, but the statement asks for 2");
        assert!(Outline::of("SELECT $0").check(1).unwrap_err().to_string().contains("counted from 1"));
        assert!(Outline::of("SELECT $99999999999999999999999").check(1).is_err());
    }

    #[test]
    fn a_statement_is_known_by_its_main_verb() {
        for (sql, effect) in [
            ("", Effect::Other),
            ("SELECT 'INSERT'", Effect::Other),
            (" /* UPDATE */ -- DELETE\n insert into t values (1);", Effect::Insert),
            ("REPLACE INTO t VALUES (1)", Effect::Insert),
            ("INSERT OR IGNORE INTO t SELECT 1 WHERE true ON CONFLICT DO NOTHING", Effect::Insert),
            ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1", Effect::Change),
            ("INSERT INTO t (do, \"update\") VALUES (1, 2)", Effect::Insert),
            ("update t set a = 1", Effect::Change),
            ("DELETE FROM t", Effect::Change),
            ("WITH x AS (SELECT 1), y(a) AS (DELETE) INSERT INTO t SELECT * FROM x", Effect::Insert),
            ("WITH x AS (INSERT) SELECT replace('a', 'b', 'c')", Effect::Other),
            ("WITH RECURSIVE n(i) AS (VALUES (1)) UPDATE t SET a = 1", Effect::Change),
            ("EXPLAIN INSERT INTO t VALUES (1)", Effect::Other),
            ("CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END", Effect::Several),
            ("PRAGMA foreign_keys = ON; -- done\n;", Effect::Other),
            ("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", Effect::Several),
        ] {
            assert_eq!(Outline::of(sql).effect, effect, "{sql}");
        }
    }

    #[test]
    fn no_text_confuses_the_reader() {
        let parts = [
            "'", "\"", "`", "[", "]", "--", "\n", "/*", "*/", "$", "?", "1", "0", "é", "(", ")", ";", "with", " ", "$$",
        ];
        // Every row of four parts: it must end, and never stand in the middle of a character.
        for (a, b) in parts.iter().flat_map(|a| parts.iter().map(move |b| (a, b))) {
            for (c, d) in parts.iter().flat_map(|c| parts.iter().map(move |d| (c, d))) {
                Outline::of(&format!("{a}{b}{c}{d}"));
            }
        }
    }
}
