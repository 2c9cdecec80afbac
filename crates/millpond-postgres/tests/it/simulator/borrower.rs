//! A borrower: uses a pool as users do, drops some operations half-way, and records the results.

use super::execution::{NAMED, nonce};
use super::server::{Server, Temper};
use fastrand::Rng;
use futures_util::TryStreamExt;
use millpond_postgres::{
    PgPool, Postgres, Tracked, Transaction, TransactionOutcome, transaction_lost,
};
use millpond_testkit::poll_n;
use sqlx::{AssertSqlSafe, Error, Executor, Row, raw_sql};
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// No operation in a world takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// How an action ended, as far as its borrower knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// No part of it was kept.
    Undone,
    /// All of it was kept.
    Committed,
    /// All of it was kept, or nothing.
    Unknown,
}

/// The history of a transaction, or of a statement that commits by itself, as its borrower saw it.
#[derive(Debug)]
pub struct Story {
    number: i64,
    /// Steps that were Ok.
    done: HashSet<i64>,
    /// Steps that failed or were undone.
    undone: HashSet<i64>,
    pub end: End,
    /// True if a statement was executed that commits implicitly on such a server.
    commits: bool,
    step: i64,
}

impl Story {
    fn of(number: i64) -> Self {
        let (done, undone) = Default::default();
        Self { number, done, undone, end: End::Undone, commits: false, step: 0 }
    }

    pub fn number(&self) -> i64 {
        self.number
    }

    fn next_step(&mut self) -> i64 {
        self.step += 1;
        self.step
    }

    /// Records the result of a step.
    fn note<T>(&mut self, step: i64, said: Option<&Result<T, Error>>) {
        match said {
            Some(Ok(_)) => _ = self.done.insert(step),
            Some(Err(_)) => _ = self.undone.insert(step),
            None => {}
        }
    }

    /// Returns what is wrong with the committed steps, compared with this history.
    pub fn judge(&self, committed: Option<&HashSet<i64>>) -> Option<String> {
        let nothing = HashSet::new();
        let found = committed.unwrap_or(&nothing);
        let is_whole = self.done.is_subset(found) && self.undone.is_disjoint(found);
        let is_right = match self.end {
            End::Committed => is_whole,
            End::Undone => found.is_empty(),
            End::Unknown => is_whole || found.is_empty(),
        };
        (!is_right).then(|| format!("{self:?}, and this was committed: {found:?}"))
    }
}

/// One of the concurrent borrowers.
pub struct Borrower {
    pool: PgPool,
    server: Arc<Server>,
    dice: Rng,
    steps: Arc<AtomicU64>,
    stories: Vec<Story>,
    /// The number that the current statement queries, if it names it: see [`nonce`].
    asked: Option<i64>,
}

impl Borrower {
    pub fn new(pool: PgPool, server: Arc<Server>, dice: Rng, steps: Arc<AtomicU64>) -> Self {
        Self { pool, server, dice, steps, stories: Vec::new(), asked: None }
    }

    /// Runs until all borrowers together have made this many steps.
    pub async fn live(mut self, steps: u64) -> Vec<Story> {
        while self.steps.load(Ordering::Relaxed) < steps {
            match self.dice.u8(0..10) {
                0..4 => self.transact().await,
                4..6 => self.transact_by_hand().await,
                6..8 => self.borrow_without_a_transaction().await,
                _ => self.use_the_pool().await,
            }
        }
        self.stories
    }

    /// Runs an operation to completion, or for some polls. Returns `None` if it was dropped.
    async fn does<T>(
        &mut self,
        action: impl Future<Output = Result<T, Error>>,
    ) -> Option<Result<T, Error>> {
        let asked = self.asked.take();
        let said = self.does_unseen(action).await;
        if let Some(Err(error)) = &said {
            self.check_error(error, asked);
        }
        said
    }

    /// Runs an operation that the pool does not track; the driver may then return errors of earlier
    /// dropped operations.
    async fn does_unseen<T>(
        &mut self,
        action: impl Future<Output = Result<T, Error>>,
    ) -> Option<Result<T, Error>> {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let polls = if self.dice.u8(0..4) == 0 { self.dice.usize(1..=6) } else { usize::MAX };
        match timeout(PATIENCE, poll_n(action, polls)).await {
            Ok(said) => said,
            Err(_) => {
                self.server.violation("something hangs".to_owned());
                None
            }
        }
    }

    /// Asserts that an error that names a statement names the statement that it ended.
    fn check_error(&self, error: &Error, asked: Option<i64>) {
        let Error::Database(error) = error else { return };
        let named = error.message().rsplit_once(NAMED).map(|(_, named)| named.parse().unwrap());
        if named.is_some() && named != asked {
            self.server.violation(format!("the error of {named:?} was reported to {asked:?}"));
        }
    }

    /// Runs an operation that must succeed for the borrower to continue; it is never dropped.
    async fn gets<T>(&mut self, action: impl Future<Output = Result<T, Error>>) -> Option<T> {
        self.steps.fetch_add(1, Ordering::Relaxed);
        match timeout(PATIENCE, action).await {
            Ok(Ok(got)) => Some(got),
            Ok(Err(error))
                if matches!(&error, Error::Io(_))
                    && millpond_sqlx::pool_error(&error).is_some() =>
            {
                self.server.violation(format!("the pool does not serve: {error}"));
                None
            }
            Ok(Err(_)) => None,
            Err(_) => {
                self.server.violation("the pool does not answer".to_owned());
                None
            }
        }
    }

    async fn transact(&mut self) {
        let mut story = Story::of(self.server.number());
        let Some(mut tx) = self.gets(self.pool.begin()).await else { return };
        for _ in 0..self.dice.u8(1..7) {
            if self.dice.u8(0..4) == 0 {
                self.nest(&mut tx, &mut story).await;
            } else {
                self.step(&mut tx, &mut story).await;
            }
        }
        story.end = match self.dice.u8(0..8) {
            0 => End::Undone,
            1 => {
                let said = self.does(tx.rollback()).await;
                end_of(said, End::Undone)
            }
            _ => {
                let said = self.does(tx.commit()).await;
                end_of(said, End::Committed)
            }
        };
        self.record(story);
    }

    /// Runs a transaction with plain statements instead of a guard.
    async fn transact_by_hand(&mut self) {
        let mut story = Story::of(self.server.number());
        let Some(mut lease) = self.gets(self.pool.acquire()).await else { return };
        let begin = ["BEGIN", "START TRANSACTION", "/* plain */ BEGIN", "BEGIN; SAVEPOINT b"]
            [self.dice.usize(0..4)];
        let begun = if self.dice.u8(0..6) == 0 {
            self.does_unseen((&mut **lease).execute(begin)).await
        } else {
            self.does(lease.execute(begin)).await
        };
        let Some(Ok(_)) = begun else { return };
        for _ in 0..self.dice.u8(1..6) {
            self.step(&mut lease, &mut story).await;
        }
        story.end = match self.dice.u8(0..6) {
            0 => End::Undone,
            1 => {
                let said = self.does(lease.execute("ROLLBACK")).await;
                end_of(said, End::Undone)
            }
            n => {
                let said = self.does(lease.execute(if n == 2 { "END" } else { "COMMIT" })).await;
                end_of(said, End::Committed)
            }
        };
        self.record(story);
    }

    async fn borrow_without_a_transaction(&mut self) {
        let number = self.server.number();
        let Some(mut lease) = self.gets(self.pool.acquire()).await else { return };
        self.ask(&mut *lease, number, 0, " AS first").await;
        for step in 1..self.dice.i64(1..6) {
            match self.dice.u8(0..8) {
                0 => _ = self.does(lease.execute("DEALLOCATE ALL")).await,
                1 => _ = self.does(lease.execute("ALTER TABLE book ADD c INT")).await,
                2 => self.leave_rows(&mut lease, number, step).await,
                3 => self.insert_alone(&mut *lease).await,
                _ => self.ask(&mut *lease, number, step, "").await,
            }
        }
        if self.dice.u8(0..6) == 0 {
            // The connection is returned with an open transaction that the pool did not track.
            let _ = self.does_unseen((&mut **lease).execute("BEGIN")).await;
        }
    }

    async fn use_the_pool(&mut self) {
        let pool = self.pool.clone();
        match self.dice.u8(0..4) {
            0 => self.insert_alone(&pool).await,
            1 => {
                let mut story = Story::of(self.server.number());
                let (number, step) = (story.number, story.next_step());
                let sql = format!("BEGIN; INSERT INTO book VALUES ({number}, {step}); COMMIT");
                self.asked = Some(nonce(number, step));
                let said = self.does(pool.execute(raw_sql(AssertSqlSafe(sql)))).await;
                story.note(step, said.as_ref());
                story.end = if let Some(Ok(_)) = said { End::Committed } else { End::Unknown };
                story.undone.clear();
                self.record(story);
            }
            _ => {
                let number = self.server.number();
                self.ask(&pool, number, 0, " AS first").await;
            }
        }
    }

    /// Runs an INSERT that commits by itself.
    async fn insert_alone<'c>(&mut self, on: impl Executor<'c, Database = Postgres>) {
        let mut story = Story::of(-self.server.number());
        let step = story.next_step();
        let said = self.insert(on, story.number, step).await;
        story.note(step, said.as_ref());
        story.end = match said {
            Some(Ok(_)) => End::Committed,
            Some(Err(Error::Database(error))) if error.code().as_deref() != Some("57P01") => {
                End::Undone
            }
            _ => End::Unknown,
        };
        story.undone.clear();
        self.record(story);
    }

    async fn insert<'c>(
        &mut self,
        on: impl Executor<'c, Database = Postgres>,
        number: i64,
        step: i64,
    ) -> Option<Result<(), Error>> {
        self.asked = Some(nonce(number, step));
        if self.dice.bool() {
            let query = sqlx::query("INSERT INTO book VALUES ($1, $2)").bind(number).bind(step);
            self.does(async { query.execute(on).await.map(drop) }).await
        } else {
            let sql = AssertSqlSafe(format!("INSERT INTO book VALUES ({number}, {step})"));
            self.does(async { raw_sql(sql).execute(on).await.map(drop) }).await
        }
    }

    /// Queries a number, in one of several wordings, and asserts that the answer is that number.
    async fn ask<'c>(
        &mut self,
        on: impl Executor<'c, Database = Postgres>,
        number: i64,
        step: i64,
        alias: &str,
    ) {
        let wanted = nonce(number, step);
        self.asked = Some(wanted);
        let said = if self.dice.u8(0..3) > 0 {
            let sql = AssertSqlSafe(format!("SELECT $1{alias} /* {} */", self.dice.u8(0..4)));
            self.does(async { sqlx::query_scalar::<_, i64>(sql).bind(wanted).fetch_one(on).await })
                .await
        } else {
            let sql = AssertSqlSafe(format!("SELECT {wanted}{alias}"));
            let row = self.does(async { raw_sql(sql).fetch_one(on).await }).await;
            row.map(|row| {
                row.and_then(|row| row.try_get_unchecked::<String, _>(0))
                    .map(|text| text.parse().unwrap())
            })
        };
        match said {
            Some(Ok(answer)) if answer != wanted => {
                self.server.violation(format!("{wanted} was asked for, and {answer} was answered"));
            }
            Some(Err(Error::RowNotFound)) => {
                self.server.violation(format!("{wanted} was not answered, without an error"))
            }
            _ => {}
        }
    }

    /// Reads some of the rows of a statement and drops the others.
    async fn leave_rows(&mut self, conn: &mut Tracked<Postgres>, number: i64, step: i64) {
        let wanted = nonce(number, step);
        self.asked = Some(wanted);
        let read = self.dice.i64(0..60);
        let server = Arc::clone(&self.server);
        let rows = async {
            let mut rows =
                sqlx::query_scalar::<_, i64>("SELECT $1 FROM rows").bind(wanted).fetch(conn);
            for expected in (wanted..).take(read as usize) {
                match rows.try_next().await? {
                    Some(row) if row == expected => {}
                    None if expected == wanted + 40 => break,
                    other => {
                        server.violation(format!("row {expected} was read as {other:?}"));
                        break;
                    }
                }
            }
            Ok(())
        };
        let _ = self.does(rows).await;
    }

    /// Runs a random step of a transaction.
    async fn step(&mut self, conn: &mut Tracked<Postgres>, story: &mut Story) {
        let (number, step) = (story.number, story.next_step());
        match self.dice.u8(0..14) {
            0 => _ = self.does(conn.execute("SELECT nonsense")).await,
            1 => self.leave_rows(conn, number, step).await,
            2 | 3 => self.ask(&mut *conn, number, step, "").await,
            4 => {
                // A savepoint in plain SQL, which is rolled back.
                let Some(Ok(_)) = self.does(conn.execute("SAVEPOINT a")).await else { return };
                let said = self.insert(&mut *conn, number, step).await;
                let end = self.does(conn.execute("ROLLBACK TO SAVEPOINT a")).await;
                if matches!(said, Some(Err(_))) || matches!(end, Some(Ok(_))) {
                    story.undone.insert(step);
                }
            }
            5 if self.dice.u8(0..3) == 0 => {
                story.commits |= self.server.temper == Temper::RollsBack;
                let _ = self.does(conn.execute("ALTER TABLE book ADD c INT")).await;
            }
            _ => {
                let said = self.insert(&mut *conn, number, step).await;
                story.note(step, said.as_ref());
            }
        }
    }

    /// Runs a savepoint, which borrows the transaction.
    async fn nest(&mut self, tx: &mut Transaction<'_, Postgres>, story: &mut Story) {
        let Some(Ok(mut inner)) = self.does(tx.begin()).await else { return };
        let (number, step) = (story.number, story.next_step());
        let said = self.insert(&mut *inner, number, step).await;
        if let Some(Err(_)) = said {
            story.undone.insert(step);
        }
        match self.dice.u8(0..3) {
            0 => {
                if let Some(Ok(())) = self.does(inner.rollback()).await {
                    story.undone.insert(step);
                }
            }
            1 => {
                drop(inner);
                story.undone.insert(step);
            }
            _ => {
                if let (Some(Ok(())), Some(Ok(()))) = (self.does(inner.commit()).await, said) {
                    story.done.insert(step);
                }
            }
        }
    }

    fn record(&mut self, mut story: Story) {
        if story.commits && story.end == End::Undone {
            story.end = End::Unknown;
        }
        self.stories.push(story);
    }
}

/// Returns the outcome of a transaction by the result of its end; `wanted` if that is Ok.
fn end_of<T>(said: Option<Result<T, Error>>, wanted: End) -> End {
    match said {
        Some(Ok(_)) => wanted,
        None if wanted == End::Undone => End::Undone,
        None => End::Unknown,
        Some(Err(error)) => match (transaction_lost(&error).map(|lost| lost.outcome()), &error) {
            (Some(TransactionOutcome::RolledBack), _) => End::Undone,
            (Some(TransactionOutcome::Committed), _) => End::Committed,
            (None, Error::Database(error)) if error.code().as_deref() == Some("23503") => {
                End::Undone
            }
            (None, _) if wanted == End::Undone => End::Undone,
            _ => End::Unknown,
        },
    }
}
