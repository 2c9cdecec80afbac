//! A session of the server: the requests it gets, the faults it has, and the replies it sends.

use super::execution::{NAMED, Outcome, State, Stop};
use super::server::{Book, Server, Temper};
use super::wire::{Asked, INT8, Reply, Value};
use fastrand::Rng;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::mem;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::task::yield_now;

/// How many of the last statements are printed with a violation.
const HISTORY: usize = 12;

/// A prepared statement.
struct Prepared {
    sql: String,
    /// The schema version for which the statement was planned.
    schema: u64,
}

pub struct Session {
    stream: UnixStream,
    pub(super) server: Arc<Server>,
    pub(super) dice: Rng,
    reply: Reply,
    pub(super) state: State,
    /// The action that owns the open transaction.
    pub(super) owner: Option<i64>,
    /// When the transaction began.
    pub(super) began: u64,
    /// Steps that are not yet committed.
    pub(super) pending: Vec<(i64, i64)>,
    pub(super) savepoints: Vec<(String, usize)>,
    statements: HashMap<String, Prepared>,
    /// The names of forgotten statements, and whether the client knows that one was forgotten.
    forgotten: (HashSet<String>, bool),
    bound: (String, Vec<i64>),
    /// True if messages up to the next Sync are skipped.
    skips: bool,
    /// The last statements and their results.
    history: VecDeque<String>,
}

impl Session {
    pub fn new(stream: UnixStream, server: Arc<Server>, dice: Rng) -> Self {
        server.book().sessions += 1;
        Self {
            stream,
            server,
            dice,
            reply: Reply::default(),
            state: State::Idle,
            owner: None,
            began: 0,
            pending: Vec::new(),
            savepoints: Vec::new(),
            statements: HashMap::new(),
            forgotten: (HashSet::new(), false),
            bound: (String::new(), Vec::new()),
            skips: false,
            history: VecDeque::new(),
        }
    }

    /// Serves the client until one side closes the connection.
    pub async fn serve(mut self) {
        let _ = self.converse().await;
    }

    async fn converse(&mut self) -> io::Result<()> {
        Asked::first(&mut self.stream).await?;
        self.reply.message(b'R', &[0; 4]);
        self.ready();
        self.reply.say(&mut self.stream, self.reply.len()).await?;
        loop {
            let mut asked = Asked::next(&mut self.stream).await?;
            let stop = match asked.kind {
                b'X' => return Ok(()),
                b'Q' => self.simple(&asked.text()),
                b'S' => {
                    self.skips = false;
                    self.end_of_message();
                    Ok(())
                }
                _ if self.skips => Ok(()),
                kind => self.extended(kind, &mut asked),
            };
            if let Err(stop) = &stop {
                self.note(format!("{stop:?}"));
            }
            let goes_on = match stop {
                Ok(()) => true,
                Err(Stop::HungUp) => false,
                Err(Stop::Fatal) => {
                    self.reply.error(
                        "FATAL",
                        "57P01",
                        "terminating connection due to administrator command",
                        "",
                    );
                    false
                }
                Err(Stop::Error(code, message, routine)) => {
                    self.fail();
                    self.reply.error("ERROR", code, &message, routine);
                    self.skips = asked.kind != b'Q';
                    true
                }
            };
            if matches!(asked.kind, b'Q') && goes_on {
                self.end_of_message();
            }
            if matches!(asked.kind, b'Q' | b'S') || !goes_on {
                self.deliver(goes_on).await?;
            }
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Sends the pending reply: at once, late, in pieces, or only a part of it before hanging up.
    async fn deliver(&mut self, goes_on: bool) -> io::Result<()> {
        let is_healed = self.server.book().is_healed;
        let pieces = if is_healed { 1 } else { self.dice.usize(1..4) };
        for piece in 0..pieces {
            for _ in 0..if is_healed { 0 } else { self.dice.usize(0..12) } {
                yield_now().await;
            }
            let is_last = piece + 1 == pieces;
            let until = if is_last && goes_on {
                self.reply.len()
            } else {
                self.dice.usize(0..=self.reply.len())
            };
            self.reply.say(&mut self.stream, until).await?;
        }
        Ok(())
    }

    fn ready(&mut self) {
        let state = match self.state {
            State::Idle => b'I',
            State::Open => b'T',
            State::Failed => b'E',
        };
        self.reply.message(b'Z', &[state]);
    }

    /// Ends a message; steps that were executed outside a transaction are committed.
    fn end_of_message(&mut self) {
        if self.state == State::Idle {
            self.commit();
        }
        self.ready();
    }

    pub(super) fn commit(&mut self) {
        let mut book = self.server.book();
        for (number, step) in mem::take(&mut self.pending) {
            if !book.committed.entry(number).or_default().insert(step) {
                book.violations.push(format!("step {step} of {number} was executed twice"));
            }
        }
        drop(book);
        self.leave();
    }

    /// Ends the transaction; its pending steps are dropped.
    pub(super) fn leave(&mut self) {
        self.state = State::Idle;
        self.owner = None;
        self.pending.clear();
        self.savepoints.clear();
    }

    fn note(&mut self, text: String) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(text);
    }

    pub(super) fn violation(&self, text: &str) {
        self.server.violation(format!("{text}; before: {:?}", self.history));
    }

    /// Handles a failed statement.
    fn fail(&mut self) {
        match (self.state, self.server.temper) {
            (State::Idle, _) => self.pending.clear(),
            (_, Temper::Refuses) => self.state = State::Failed,
            (_, Temper::RollsBack) => {
                if self.dice.bool() {
                    self.leave();
                }
            }
        }
    }

    fn simple(&mut self, text: &str) -> Result<(), Stop> {
        self.note(text.to_owned());
        for sql in text.split(';').filter(|sql| !sql.trim().is_empty()) {
            let outcome = self.statement(sql, &[])?;
            if !outcome.columns.is_empty() {
                self.reply.columns(&outcome.columns, false);
            }
            self.answer(outcome, false)?;
        }
        Ok(())
    }

    /// Adds the rows to the reply, and how they end.
    fn answer(&mut self, outcome: Outcome, binary: bool) -> Result<(), Stop> {
        outcome.rows.iter().for_each(|row| self.reply.row(row, binary));
        match outcome.stop {
            Some(stop) => Err(stop),
            None => {
                self.reply.complete(&outcome.tag);
                Ok(())
            }
        }
    }

    fn extended(&mut self, kind: u8, asked: &mut Asked) -> Result<(), Stop> {
        match kind {
            b'P' => {
                let (name, sql) = (asked.text(), asked.text());
                self.refuse_if_failed(&sql)?;
                let schema = self.server.book().schema;
                self.forgotten.0.remove(&name);
                self.statements.insert(name, Prepared { sql, schema });
                self.reply.message(b'1', &[]);
            }
            b'D' => {
                let ([_kind], name) = (asked.bytes(), asked.text());
                let sql = &self.known(&name)?.sql;
                let (parameters, is_query) =
                    (sql.matches('$').count() as u16, sql.contains("SELECT"));
                self.reply.parameters(parameters);
                if is_query {
                    self.reply.columns(&[INT8], true)
                } else {
                    self.reply.message(b'n', &[])
                }
            }
            b'B' => {
                let (_portal, name) = (asked.text(), asked.text());
                let parameters = asked.numbers();
                self.maybe_forget();
                let schema = self.server.book().schema;
                let prepared = self.known(&name)?;
                let sql = prepared.sql.clone();
                if prepared.schema != schema && sql.contains("SELECT") {
                    let message = "cached plan must not change result type".to_owned();
                    return Err(Stop::Error("0A000", message, "RevalidateCachedQuery"));
                }
                self.refuse_if_failed(&sql)?;
                self.note(format!("{name}: {sql}"));
                self.bound = (sql, parameters);
                self.reply.message(b'2', &[]);
            }
            b'E' => {
                let (sql, parameters) = mem::take(&mut self.bound);
                let outcome = self.statement(&sql, &parameters)?;
                self.answer(outcome, true)?;
            }
            b'C' => {
                let ([kind], name) = (asked.bytes(), asked.text());
                if kind == b'S' {
                    self.statements.remove(&name);
                    self.forgotten.0.remove(&name);
                }
                self.reply.message(b'3', &[]);
            }
            kind => panic!("the driver has sent a message of kind {}", kind as char),
        }
        Ok(())
    }

    pub(super) fn refuse_if_failed(&self, sql: &str) -> Result<(), Stop> {
        let ends =
            ["ROLLBACK", "COMMIT", "END"].iter().any(|word| sql.trim_start().starts_with(word));
        if self.state == State::Failed && !ends {
            return Err(Stop::Error("25P02", "current transaction is aborted".to_owned(), ""));
        }
        Ok(())
    }

    /// Returns a prepared statement, unless it was forgotten. A client that knows that one was
    /// forgotten must not use another of the forgotten ones.
    fn known(&mut self, name: &str) -> Result<&Prepared, Stop> {
        if self.forgotten.0.contains(name) && mem::replace(&mut self.forgotten.1, true) {
            self.violation(&format!(
                "{name} was asked for, and the client knows that others were forgotten with it"
            ));
        }
        let gone =
            || Stop::Error("26000", format!("prepared statement \"{name}\" does not exist"), "");
        self.statements.get(name).ok_or_else(gone)
    }

    pub(super) fn forget(&mut self) {
        self.forgotten = (self.statements.drain().map(|(name, _)| name).collect(), false);
    }

    /// Returns true, on average once in this many times, for a fault to happen.
    pub(super) fn happens(&mut self, once_in: u32) -> bool {
        let happens = self.dice.u32(0..once_in) == 0;
        let mut book = self.server.book();
        let happens = happens && !book.is_healed;
        book.faults += u64::from(happens);
        happens
    }

    fn maybe_forget(&mut self) {
        if self.happens(30) {
            self.forget();
        }
        if self.happens(100) {
            self.server.book().schema += 1;
        }
    }

    /// Executes a statement, or causes a fault.
    fn statement(&mut self, sql: &str, parameters: &[i64]) -> Result<Outcome, Stop> {
        let before = self.happens(100);
        let after = self.happens(100);
        let in_words = self.dice.bool();
        let stop = || if in_words { Stop::Fatal } else { Stop::HungUp };
        if before {
            return Err(stop());
        }
        let mut outcome = self.execute(sql, parameters)?;
        if after {
            // The statement was executed, and the client does not learn it.
            if self.state == State::Idle {
                self.commit();
            }
            return Err(stop());
        }
        if outcome.rows.len() > 1 && self.happens(3) {
            let whose = outcome.rows.first().and_then(|row| row.first().cloned());
            let whose = if let Some(Value::Int(first)) = whose {
                format!("{NAMED}{first}")
            } else {
                String::new()
            };
            outcome.rows.truncate(self.dice.usize(0..outcome.rows.len()));
            outcome.stop = Some(Stop::Error("22012", format!("division by zero{whose}"), ""));
        }
        Ok(outcome)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut book: std::sync::MutexGuard<'_, Book> = self.server.book();
        book.sessions -= 1;
    }
}
