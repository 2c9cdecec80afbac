//! Reads from a statement's text how many arguments it needs and what it does to rows.
//!
//! Only words, placeholders and parentheses are read; see [`Lexer`]. Everything else is left to
//! the database.

use crate::dialect::Dialect;
use millpond_sqlx::backend_api::{Lexer, Token};
use std::mem;

/// What the text says about its statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) placeholders: Placeholders,
    /// True if a statement begins with CREATE or PREPARE: its placeholders may belong to what it
    /// defines.
    pub(crate) defines: bool,
    /// The effect of each statement, in order.
    effects: Vec<RowEffect>,
    /// The effect assumed for results beyond those statements.
    beyond: RowEffect,
}

/// The placeholders of a statement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Placeholders {
    /// How many have a number.
    pub(crate) numbered: usize,
    /// The highest number.
    pub(crate) highest: usize,
    /// True if one has the number 0, which is invalid.
    pub(crate) zero: bool,
    /// How many question marks have no number.
    pub(crate) unnumbered: usize,
}

/// What a statement does to rows, according to its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowEffect {
    /// It inserts rows, and never updates one instead.
    Insert,
    /// It changes rows, or inserts them if there is nothing to change.
    Change,
    /// It changes no rows: it reads or defines something.
    Nothing,
    /// It may change rows, as a procedure does, or it concerns transactions or settings.
    Unknown,
}

impl Outline {
    pub(crate) fn of(sql: &str, dialect: Dialect) -> Self {
        let (mut placeholders, mut defines, mut depth) = (Placeholders::default(), false, 0_usize);
        let (mut effects, mut statement) = (Vec::new(), Statement::default());
        for (_, token) in Lexer::new(sql, dialect.syntax()) {
            match token {
                Token::Numbered(number) => placeholders.add_numbered(number),
                Token::Unnumbered => {
                    placeholders.unnumbered = placeholders.unnumbered.saturating_add(1)
                }
                Token::Open => {
                    statement.open();
                    depth = depth.saturating_add(1);
                }
                Token::Close => depth = depth.saturating_sub(1),
                Token::End => effects.extend(statement.end()),
                // The version in a comment that MySQL executes counts as a word.
                Token::Word(word) | Token::Number(word) if depth == 0 => {
                    statement.add(word);
                    defines |= statement.verb == Verb::Defines;
                }
                _ => {}
            }
        }
        effects.extend(statement.verb.effect());
        if dialect == Dialect::MySql {
            // A procedure returns several results, and none of them has a row count for rows that
            // were read.
            effects.truncate(usize::from(effects.len() == 1));
            return Self { placeholders, defines, effects, beyond: RowEffect::Unknown };
        }
        Self { placeholders, defines, effects, beyond: RowEffect::Nothing }
    }

    /// Returns the effect of the statement that the result at this index belongs to.
    pub(crate) fn effect(&self, result: usize) -> RowEffect {
        self.effects.get(result).copied().unwrap_or(self.beyond)
    }
}

impl Placeholders {
    fn add_numbered(&mut self, number: usize) {
        self.numbered = self.numbered.saturating_add(1);
        self.highest = self.highest.max(number);
        self.zero |= number == 0;
    }
}

/// The statement that is being read.
#[derive(Debug, Default)]
struct Statement {
    verb: Verb,
    /// True if the statement defines something that itself contains statements, up to `; END`.
    is_compound: bool,
    /// Whether the last token was a `;`, or the last ones were `; END`.
    inner: Inner,
}

/// The last tokens read in a compound statement.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Inner {
    #[default]
    Within,
    Ended,
    Closed,
}

impl Statement {
    fn add(&mut self, word: &str) {
        let is_end = self.inner == Inner::Ended && is_one_of(word, &["end"]);
        self.inner = if is_end { Inner::Closed } else { Inner::Within };
        // Triggers of SQLite, and functions of PostgreSQL.
        self.is_compound |= self.verb == Verb::Defines && is_one_of(word, &["trigger", "atomic"]);
        self.verb = self.verb.then(word);
    }

    /// Records a `(`. A statement that begins with one reads: `(SELECT 1) UNION (SELECT 2)`.
    fn open(&mut self) {
        if self.verb == Verb::Awaited {
            self.verb = Verb::Reads;
        }
    }

    /// Ends a statement at a `;` and returns its effect, unless the text was empty or the `;` is
    /// inside a compound statement.
    fn end(&mut self) -> Option<RowEffect> {
        if self.is_compound && self.inner != Inner::Closed {
            self.inner = Inner::Ended;
            return None;
        }
        mem::take(self).verb.effect()
    }
}

/// The main verb of the statement that is being read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// No word was read yet.
    #[default]
    Awaited,
    /// `WITH` was read: the verb comes after its tables, which are in parentheses.
    AfterWith,
    Insert,
    /// `INSERT` was read and then `DO` or MySQL's `DUPLICATE KEY`: an `UPDATE` may follow.
    InsertOr,
    Change,
    Reads,
    Defines,
    Other,
}

/// Verbs that only read, whatever row count the server returns.
const READS: [&str; 10] =
    ["select", "values", "show", "explain", "describe", "desc", "fetch", "move", "table", "pragma"];

impl Verb {
    fn then(self, word: &str) -> Self {
        let is = |keywords: &[&str]| is_one_of(word, keywords);
        match self {
            Self::Awaited if is(&["with"]) => Self::AfterWith,
            Self::Awaited if is(&["create", "prepare"]) => Self::Defines,
            Self::Awaited | Self::AfterWith if is(&["insert", "replace"]) => Self::Insert,
            Self::Awaited | Self::AfterWith if is(&["update", "delete", "merge", "copy"]) => {
                Self::Change
            }
            Self::Awaited if is(&READS) => Self::Reads,
            Self::AfterWith if is(&["select", "values", "table"]) => Self::Reads,
            Self::Awaited => Self::Other,
            Self::Insert if is(&["do", "key"]) => Self::InsertOr,
            Self::InsertOr if is(&["update"]) => Self::Change,
            Self::InsertOr => Self::Insert,
            known => known,
        }
    }

    /// Returns the effect, or `None` if no word was read.
    fn effect(self) -> Option<RowEffect> {
        Some(match self {
            Self::Awaited => return None,
            Self::Insert | Self::InsertOr => RowEffect::Insert,
            Self::Change => RowEffect::Change,
            Self::AfterWith | Self::Reads | Self::Defines => RowEffect::Nothing,
            Self::Other => RowEffect::Unknown,
        })
    }
}

fn is_one_of(word: &str, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_main_verb() {
        for (sql, effect) in [
            ("SELECT 'INSERT'", RowEffect::Nothing),
            (" /* UPDATE */ -- DELETE\n insert into t values (1);", RowEffect::Insert),
            ("REPLACE INTO t VALUES (1)", RowEffect::Insert),
            (
                "INSERT OR IGNORE INTO t SELECT 1 WHERE true ON CONFLICT DO NOTHING",
                RowEffect::Insert,
            ),
            ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1", RowEffect::Change),
            ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE b = 1", RowEffect::Change),
            ("INSERT INTO t (do, \"update\") VALUES (1, 2)", RowEffect::Insert),
            ("update t set a = 1", RowEffect::Change),
            ("DELETE FROM t", RowEffect::Change),
            ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DO NOTHING", RowEffect::Change),
            (
                "WITH x AS (SELECT 1), y(a) AS (DELETE) INSERT INTO t SELECT * FROM x",
                RowEffect::Insert,
            ),
            ("WITH x AS (INSERT) SELECT replace('a', 'b', 'c')", RowEffect::Nothing),
            ("WITH RECURSIVE n(i) AS (VALUES (1)) UPDATE t SET a = 1", RowEffect::Change),
            ("EXPLAIN INSERT INTO t VALUES (1)", RowEffect::Nothing),
            ("(SELECT 1) UNION (SELECT 2)", RowEffect::Nothing),
            ("CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END", RowEffect::Nothing),
            ("PRAGMA foreign_keys = ON; -- done\n;", RowEffect::Nothing),
            ("CALL p()", RowEffect::Unknown),
        ] {
            for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
                if sql.contains("TRIGGER") && dialect == Dialect::MySql {
                    continue;
                }
                let outline = Outline::of(sql, dialect);
                assert_eq!(outline.effects.len(), 1, "{dialect}: {sql}");
                assert_eq!(outline.effect(0), effect, "{dialect}: {sql}");
            }
        }
    }

    #[test]
    fn every_result_belongs_to_a_statement() {
        use RowEffect::{Change, Insert, Nothing, Unknown};
        for (sql, effects) in [
            ("", vec![]),
            (" ; ; -- nothing", vec![]),
            ("INSERT INTO t VALUES (1); SELECT 1; ; DELETE FROM t", vec![Insert, Nothing, Change]),
            (
                "CREATE TEMP TRIGGER g AFTER INSERT ON t BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; \
                 UPDATE t SET a = 1; END; UPDATE t SET b = 1; BEGIN; END",
                vec![Nothing, Change, Unknown, Unknown],
            ),
        ] {
            assert_eq!(Outline::of(sql, Dialect::Sqlite).effects, effects, "{sql}");
        }
        let sql =
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; DELETE FROM t";
        assert_eq!(Outline::of(sql, Dialect::Postgres).effects, [Nothing, Change]);
        let outline = Outline::of("SELECT 1; UPDATE t SET a = 1", Dialect::MySql);
        assert_eq!((outline.effect(0), outline.effect(7)), (Unknown, Unknown));
        assert_eq!(Outline::of("SELECT 1", Dialect::Sqlite).effect(1), Nothing);
    }
}
