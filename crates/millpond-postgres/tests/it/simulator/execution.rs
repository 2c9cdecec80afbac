//! Executes statements in a session. Each statement names its owner, so the server detects one that
//! does not belong there.
//!
//! `INSERT INTO book VALUES (7, 2)` is step 2 of the borrower's action 7, and `SELECT 7002` is a
//! query in that step. A negative number commits by itself; a `first` statement is the first of a
//! borrower.

use super::server::Temper;
use super::session::Session;
use super::wire::{BOOL, INT8, TEXT, Value};

/// The most answers of an action: see [`nonce`].
const ANSWERS: i64 = 1_000;

/// The text before the statement that an error names.
pub const NAMED: &str = " in statement ";

/// Returns the number that an action queries in one of its steps.
pub fn nonce(number: i64, step: i64) -> i64 {
    number * ANSWERS + step
}

/// The state of a session's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Idle,
    Open,
    Failed,
}

/// Why a statement does not complete.
#[derive(Debug)]
pub enum Stop {
    /// An error: its code, the server's message and routine.
    Error(&'static str, String, &'static str),
    /// The session ends, with or without a message.
    Fatal,
    HungUp,
}

/// The results of a statement.
#[derive(Debug, Default)]
pub struct Outcome {
    pub columns: Vec<u32>,
    pub rows: Vec<Vec<Value>>,
    pub tag: String,
    /// The error that ends the statement after some of its rows.
    pub stop: Option<Stop>,
}

impl Session {
    pub fn execute(&mut self, sql: &str, parameters: &[i64]) -> Result<Outcome, Stop> {
        let text = sql.trim().trim_start_matches("/* plain */").trim();
        let mut words = text.split([' ', '(', ')', ',']).filter(|word| !word.is_empty());
        let keyword = words.next().unwrap_or_default();
        self.refuse_if_failed(text)?;
        // A parameter, or the number itself.
        let number = |word: &str| match word.strip_prefix('$') {
            Some(n) => parameters[n.parse::<usize>().unwrap() - 1],
            None => word.parse().unwrap(),
        };
        match keyword {
            "BEGIN" | "START" => self.begin(),
            "COMMIT" | "END" => return self.end(),
            "ROLLBACK" if !text.contains(" TO ") => self.leave(),
            "ROLLBACK" | "RELEASE" | "SAVEPOINT" => {
                self.savepoint(keyword, words.next_back().unwrap_or_default())?
            }
            "ALTER" => {
                self.server.book().schema += 1;
                if self.server.temper == Temper::RollsBack {
                    self.commit();
                }
                self.maybe_refuse("")?;
            }
            "DEALLOCATE" | "DISCARD" if text.ends_with("ALL") => self.forget(),
            "INSERT" => {
                let mut words = words.skip(3);
                let (action, step) = (number(words.next().unwrap()), number(words.next().unwrap()));
                self.belongs(action, text);
                self.maybe_refuse(&format!("{NAMED}{}", nonce(action, step)))?;
                self.pending.push((action, step));
            }
            "SELECT" => {
                return self.select(text, words.map(|word| word.to_owned()).collect(), number);
            }
            _ => {}
        }
        Ok(Outcome { tag: format!("{keyword} 0"), ..Outcome::default() })
    }

    fn maybe_refuse(&mut self, whose: &str) -> Result<(), Stop> {
        if self.happens(12) {
            return Err(Stop::Error(
                "23505",
                format!("duplicate key value violates unique constraint{whose}"),
                "",
            ));
        }
        Ok(())
    }

    fn begin(&mut self) {
        if self.state != State::Idle {
            self.violation("a transaction was begun in another one");
        }
        let mut book = self.server.book();
        book.begun += 1;
        (self.state, self.began) = (State::Open, book.begun);
    }

    fn end(&mut self) -> Result<Outcome, Stop> {
        let tag = if self.state == State::Failed { "ROLLBACK" } else { "COMMIT" };
        let is_violated = self.happens(20);
        if self.state == State::Failed {
            self.leave();
        } else if is_violated {
            self.leave();
            return Err(Stop::Error("23503", "a deferred constraint is violated".to_owned(), ""));
        } else {
            self.commit();
        }
        Ok(Outcome { tag: tag.to_owned(), ..Outcome::default() })
    }

    fn savepoint(&mut self, keyword: &str, name: &str) -> Result<(), Stop> {
        if self.state == State::Idle {
            return Err(Stop::Error(
                "25P01",
                format!("{keyword} can only be used in transaction blocks"),
                "",
            ));
        }
        if keyword == "SAVEPOINT" {
            self.maybe_refuse("")?;
            self.savepoints.push((name.to_owned(), self.pending.len()));
            return Ok(());
        }
        let Some(at) = self.savepoints.iter().rposition(|(other, _)| other == name) else {
            return Err(Stop::Error("3B001", format!("savepoint \"{name}\" does not exist"), ""));
        };
        if keyword == "RELEASE" {
            self.savepoints.truncate(at);
        } else {
            self.pending.truncate(self.savepoints[at].1);
            self.savepoints.truncate(at + 1);
            self.state = State::Open;
        }
        Ok(())
    }

    /// Records a violation if a statement of this action does not belong here.
    fn belongs(&mut self, action: i64, text: &str) {
        let is_first = text.contains("first");
        let fault = match self.state {
            State::Idle if action < 0 || is_first => return,
            State::Idle if text.starts_with("INSERT") => "outside of a transaction",
            State::Idle => return,
            _ if is_first => "in a transaction, and it is a borrower's first statement",
            _ if action < 0 => "in a transaction, and was to commit by itself",
            _ if *self.owner.get_or_insert(action) != action => "in the transaction of another one",
            _ => return,
        };
        self.violation(&format!(
            "a statement of {action} was executed {fault} ({:?}): {text}",
            self.owner
        ));
    }

    fn select(
        &mut self,
        text: &str,
        words: Vec<String>,
        number: impl Fn(&str) -> i64,
    ) -> Result<Outcome, Stop> {
        let outcome = |columns: &[u32], rows: Vec<Vec<Value>>| {
            Ok(Outcome {
                columns: columns.to_vec(),
                tag: format!("SELECT {}", rows.len()),
                rows,
                stop: None,
            })
        };
        let word = words.first().map_or("", String::as_str);
        if let Some(rest) = word.strip_prefix('\'') {
            // The pool's query whether it is in sync, and whether a transaction is open.
            let outside = if self.state == State::Idle { "t" } else { "f" };
            let nonce = rest.split('\'').next().unwrap_or_default();
            let row =
                [nonce, outside, &self.began.to_string()].map(|text| Value::Text(text.to_owned()));
            return outcome(&[TEXT, BOOL, TEXT], vec![row.to_vec()]);
        }
        if text.contains("pg_stat_get_activity")
            || text.contains("pg_settings")
            || word == "nonsense"
        {
            return Err(Stop::Error("42883", "function does not exist".to_owned(), ""));
        }
        if text.contains("pg_is_in_recovery") {
            return outcome(&[BOOL], vec![vec![Value::Text("t".to_owned())]]);
        }
        if !word.starts_with('$') && word.parse::<i64>().is_err() {
            return outcome(&[TEXT], Vec::new());
        }
        let wanted = number(word);
        self.belongs(wanted.div_euclid(ANSWERS), text);
        let rows = if text.contains("rows") { 40 } else { 1 };
        outcome(&[INT8], (0..rows).map(|n| vec![Value::Int(wanted + n)]).collect())
    }
}
