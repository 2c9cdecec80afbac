//! Reads from a statement's text how many arguments it needs and what it does.
//!
//! Only words, placeholders and parentheses are read; see [`Tokens`]. What is not understood is
//! left to the database.

use crate::dialect::Dialect;
use crate::tokens::{Token, Tokens};

/// What is known of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) placeholders: Placeholders,
    /// What it does.
    pub(crate) effect: RowEffect,
    /// It begins with CREATE or PREPARE: its placeholders may be those of what it defines.
    pub(crate) defines: bool,
}

/// The placeholders of a statement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Placeholders {
    /// How many are written with a number.
    pub(crate) numbered: usize,
    /// The highest number among them.
    pub(crate) highest: usize,
    /// Whether one has the number 0, which means nothing.
    pub(crate) zero: bool,
    /// How many question marks there are without a number.
    pub(crate) unnumbered: usize,
}

/// What a statement does to rows, judged by its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowEffect {
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
    pub(crate) fn of(sql: &str, dialect: Dialect) -> Self {
        let (mut placeholders, mut verb) = (Placeholders::default(), Verb::Awaited);
        let (mut depth, mut defines) = (0_usize, false);
        for (_, token) in Tokens::new(sql, dialect) {
            match token {
                Token::Numbered(number) => placeholders.add_numbered(number),
                Token::Unnumbered => {
                    placeholders.unnumbered = placeholders.unnumbered.saturating_add(1)
                }
                Token::Open => depth = depth.saturating_add(1),
                Token::Close => depth = depth.saturating_sub(1),
                Token::End => verb = verb.ended(),
                Token::Word(word) if depth == 0 => {
                    defines |= verb == Verb::Awaited && is_one_of(word, &["create", "prepare"]);
                    verb = verb.then(word);
                }
                Token::Word(_) => {}
            }
        }
        Self { placeholders, effect: verb.effect(), defines }
    }
}

impl Placeholders {
    fn add_numbered(&mut self, number: usize) {
        self.numbered = self.numbered.saturating_add(1);
        self.highest = self.highest.max(number);
        self.zero |= number == 0;
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
    /// `INSERT` and, as the last word, `DO` or MySQL's `DUPLICATE KEY`: an `UPDATE` may follow.
    InsertOr,
    Change,
    Other,
    /// A statement has ended; another word would be one too many.
    Ended(RowEffect),
    Several,
}

impl Verb {
    fn then(self, word: &str) -> Self {
        let is = |keywords: &[&str]| is_one_of(word, keywords);
        match self {
            Self::Awaited if is(&["with"]) => Self::AfterWith,
            Self::Awaited | Self::AfterWith if is(&["insert", "replace"]) => Self::Insert,
            Self::Awaited | Self::AfterWith if is(&["update", "delete", "merge", "copy"]) => {
                Self::Change
            }
            Self::AfterWith if is(&["select", "values"]) => Self::Other,
            Self::Awaited => Self::Other,
            Self::Insert if is(&["do", "key"]) => Self::InsertOr,
            Self::InsertOr if is(&["update"]) => Self::Change,
            Self::InsertOr => Self::Insert,
            Self::Ended(_) => Self::Several,
            Self::AfterWith | Self::Insert | Self::Change | Self::Other | Self::Several => self,
        }
    }

    fn ended(self) -> Self {
        match self {
            Self::Awaited | Self::Ended(_) | Self::Several => self,
            Self::AfterWith | Self::Insert | Self::InsertOr | Self::Change | Self::Other => {
                Self::Ended(self.effect())
            }
        }
    }

    fn effect(self) -> RowEffect {
        match self {
            Self::Awaited | Self::AfterWith | Self::Other => RowEffect::Other,
            Self::Insert | Self::InsertOr => RowEffect::Insert,
            Self::Change => RowEffect::Change,
            Self::Ended(effect) => effect,
            Self::Several => RowEffect::Several,
        }
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
            ("", RowEffect::Other),
            ("SELECT 'INSERT'", RowEffect::Other),
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
            ("WITH x AS (INSERT) SELECT replace('a', 'b', 'c')", RowEffect::Other),
            ("WITH RECURSIVE n(i) AS (VALUES (1)) UPDATE t SET a = 1", RowEffect::Change),
            ("EXPLAIN INSERT INTO t VALUES (1)", RowEffect::Other),
            ("CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END", RowEffect::Several),
            ("PRAGMA foreign_keys = ON; -- done\n;", RowEffect::Other),
            ("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", RowEffect::Several),
        ] {
            for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
                assert_eq!(Outline::of(sql, dialect).effect, effect, "{dialect}: {sql}");
            }
        }
    }
}
