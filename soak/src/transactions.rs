//! Transactions that go on after a dropped operation: their reported outcome is compared with the
//! table's content.
//!
//! Every step of a transaction inserts the numbers of the transaction and of the step. A step may
//! be dropped half-way, fail on purpose, leave rows unread or be undone with its savepoint; the
//! transaction goes on, and is committed, rolled back or dropped. In the end a transaction must be
//! complete if its commit was Ok, complete or absent if its outcome is unknown, and otherwise
//! absent.

use crate::load::{PATIENCE, Soak, UNSERVED_MAX, USERS};
use crate::plan::flow;
use fastrand::Rng;
use futures_util::{FutureExt, TryStreamExt};
use millpond_testkit::{ChaosProxy, poll_n};
use sqlx::{AssertSqlSafe, Connection, Error, MySql, Postgres, raw_sql};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// The steps and the outcome of a transaction, as its user saw them.
#[derive(Debug, Clone, Default)]
pub struct History {
    number: i64,
    /// Steps that were Ok.
    done: HashSet<i64>,
    /// Steps that failed or were undone.
    undone: HashSet<i64>,
    end: End,
    cuts: u64,
}

/// How a transaction ended, as far as its user knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// It was not committed.
    #[default]
    Undone,
    /// The commit was Ok.
    Committed,
    /// The commit was dropped, or failed with the connection.
    Unknown,
}

/// A pool whose transactions are soaked.
pub trait Transacting: Clone + Send + Sync + 'static {
    /// The pool's name in the report.
    const NAME: &'static str;

    /// Runs one transaction and records it in `history`, however the future ends. Returns false if
    /// no transaction began.
    fn transact(&self, dice: &mut Rng, history: &mut History) -> impl Future<Output = bool> + Send;

    /// Creates the empty table, without the pool.
    fn prepare(url: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// Returns the content of the table, without the pool.
    fn found(url: &str) -> impl Future<Output = Result<Vec<(i64, i64)>, Error>> + Send;
}

/// The results of a soak of transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionReport {
    /// The pool under soak: `postgres`, `postgres by sqlx::Pool`.
    pub name: &'static str,
    /// Operations that were dropped before they completed.
    pub cuts: u64,
    /// Transactions whose commit was Ok.
    pub committed: u64,
    /// Committed transactions of which some or all steps are missing.
    pub missing: u64,
    /// Other transactions of which a part, or an undone step, is in the table.
    pub torn: u64,
    /// True if the soak ended before the required number of cuts.
    pub is_short: bool,
}

impl TransactionReport {
    /// Returns true if no promise was violated.
    pub fn is_clean(&self) -> bool {
        self.missing + self.torn == 0 && !self.is_short
    }

    fn judge(&mut self, history: &History, found: &HashSet<i64>) {
        self.cuts += history.cuts;
        let is_whole = history.done.is_subset(found) && history.undone.is_disjoint(found);
        let is_absent = found.is_empty();
        match history.end {
            End::Committed => {
                self.committed += 1;
                self.missing += u64::from(!history.done.is_subset(found));
                self.torn += u64::from(!history.undone.is_disjoint(found));
            }
            End::Undone => self.torn += u64::from(!is_absent),
            End::Unknown => self.torn += u64::from(!is_absent && !is_whole),
        }
    }
}

impl fmt::Display for TransactionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, cuts, committed, missing, torn, is_short } = self;
        write!(
            f,
            "{name}: {cuts} cuts within transactions, {committed} commits Ok, {missing} of them \
             not there, {torn} torn transactions"
        )?;
        if *is_short { f.write_str("; ended before all cuts were made") } else { Ok(()) }
    }
}

/// Soaks transactions on the pool that `connect` builds from the URL of a proxy in front of the
/// server at `address`.
///
/// # Errors
///
/// Returns an error if the proxy cannot be started, the pool cannot be built, or the table cannot
/// be created or read.
///
/// # Cancel safety
///
/// Dropping the future leaves only a table behind.
pub async fn transactions<S: Transacting>(
    soak: Soak,
    url: &str,
    address: &str,
    connect: impl FnOnce(&str) -> Result<S, Error>,
) -> Result<TransactionReport, String> {
    let text = |error: Error| error.to_string();
    S::prepare(url).await.map_err(text)?;
    let proxy = ChaosProxy::start(address).await.map_err(|error| format!("no proxy: {error}"))?;
    proxy.plan(move |number, direction| flow(soak.seed, number, direction));
    let pool = connect(&proxy.reroute(url)).map_err(text)?;
    let stories = Arc::new(Mutex::new((0_u64, 0_u64, Vec::new())));
    let end = Instant::now() + soak.limit;
    let mut users = JoinSet::new();
    for user in 0..USERS {
        let (pool, stories) = (pool.clone(), Arc::clone(&stories));
        users.spawn(async move {
            let mut dice = Rng::with_seed(soak.seed.wrapping_mul(USERS).wrapping_add(user));
            loop {
                let mut history = History { number: dice.i64(1..i64::MAX), ..History::default() };
                // A panic of the driver drops the transaction, as a user's panic does.
                let play =
                    AssertUnwindSafe(pool.transact(&mut dice, &mut history)).catch_unwind().await;
                let mut stories = stories.lock().unwrap_or_else(PoisonError::into_inner);
                let (cuts, unserved, reported) = &mut *stories;
                *cuts += history.cuts;
                *unserved = if play.unwrap_or(true) { 0 } else { *unserved + 1 };
                reported.push(history);
                if *cuts >= soak.cuts || *unserved >= UNSERVED_MAX || Instant::now() > end {
                    return;
                }
            }
        });
    }
    while users.join_next().await.is_some() {}
    drop(pool);
    let mut found: HashMap<i64, HashSet<i64>> = HashMap::new();
    for (number, step) in S::found(url).await.map_err(text)? {
        found.entry(number).or_default().insert(step);
    }
    let mut report = TransactionReport { name: S::NAME, ..TransactionReport::default() };
    let nothing = HashSet::new();
    let stories = stories.lock().unwrap_or_else(PoisonError::into_inner);
    for history in &stories.2 {
        report.judge(history, found.get(&history.number).unwrap_or(&nothing));
    }
    report.is_short = report.cuts < soak.cuts;
    Ok(report)
}

impl History {
    /// Runs an action within a transaction, to completion or for some polls. Returns `None` if it
    /// was dropped.
    async fn perform<T>(
        &mut self,
        dice: &mut Rng,
        action: impl Future<Output = Result<T, Error>>,
    ) -> Option<Result<T, Error>> {
        let polls = if dice.u8(0..3) == 0 { dice.usize(1..=6) } else { usize::MAX };
        let done = timeout(PATIENCE, poll_n(action, polls)).await.ok().flatten();
        self.cuts += u64::from(done.is_none());
        done
    }

    /// Records the outcome of a step.
    fn note<T>(&mut self, step: i64, said: &Option<Result<T, Error>>) {
        match said {
            Some(Ok(_)) => _ = self.done.insert(step),
            Some(Err(_)) => _ = self.undone.insert(step),
            None => {}
        }
    }

    /// Records whether the steps within a savepoint were kept or undone; `None` if that is unknown.
    fn close(&mut self, steps: HashSet<i64>, kept: Option<bool>) {
        match kept {
            Some(true) => self.done.extend(steps),
            Some(false) => self.undone.extend(steps),
            None => {}
        }
    }
}

macro_rules! transacting {
    (
        $pool:ty, $conn:ty, $db:ident, $name:literal, insert: $insert:literal,
        fails: $fails:literal, rows: $rows:literal, locks: $locks:literal
    ) => {
        impl Transacting for $pool {
            const NAME: &'static str = $name;

            async fn transact(&self, dice: &mut Rng, history: &mut History) -> bool {
                let number = history.number;
                let insert = |step: i64| sqlx::query::<$db>($insert).bind(number).bind(step);
                let Ok(Ok(mut tx)) = timeout(PATIENCE, <$pool>::begin(self)).await else {
                    return false;
                };
                for step in 0..dice.i64(2..8) {
                    match dice.u8(0..12) {
                        0 => _ = history.perform(dice, raw_sql($fails).execute(&mut *tx)).await,
                        1 => {
                            let one = async { raw_sql($rows).fetch(&mut *tx).try_next().await };
                            _ = history.perform(dice, one).await;
                        }
                        2 => {
                            let sql = $locks.replace("ROW", &dice.u8(1..9).to_string());
                            let lock = raw_sql(AssertSqlSafe(sql));
                            _ = history.perform(dice, lock.execute(&mut *tx)).await;
                        }
                        3 | 4 => {
                            // The savepoint borrows the transaction, so its steps are recorded
                            // afterwards.
                            let Some(Ok(mut inner)) = history.perform(dice, tx.begin()).await
                            else {
                                continue;
                            };
                            let said =
                                history.perform(dice, insert(step).execute(&mut *inner)).await;
                            let steps = HashSet::from([step]);
                            match (dice.u8(0..3), said) {
                                (_, Some(Err(_))) => history.close(steps, Some(false)),
                                (0, _) => {
                                    let end = history.perform(dice, inner.rollback()).await;
                                    let kept = end.and_then(|end| end.is_ok().then_some(false));
                                    history.close(steps, kept);
                                }
                                (1, _) => {
                                    drop(inner);
                                    history.close(steps, Some(false));
                                }
                                (_, said) => {
                                    let end = history.perform(dice, inner.commit()).await;
                                    let is_kept = said.is_some() && matches!(end, Some(Ok(())));
                                    history.close(steps, is_kept.then_some(true));
                                }
                            }
                        }
                        5 | 6 => {
                            let insert = raw_sql(AssertSqlSafe(insert_sql($insert, number, step)));
                            let said = history.perform(dice, insert.execute(&mut *tx)).await;
                            history.note(step, &said);
                        }
                        _ => {
                            let said = history.perform(dice, insert(step).execute(&mut *tx)).await;
                            history.note(step, &said);
                        }
                    }
                }
                match dice.u8(0..8) {
                    0 => drop(tx),
                    1 => _ = history.perform(dice, tx.rollback()).await,
                    _ => {
                        history.end = End::Unknown;
                        history.end = match history.perform(dice, tx.commit()).await {
                            Some(Ok(())) => End::Committed,
                            Some(Err(error)) if is_undone(&error) => End::Undone,
                            _ => End::Unknown,
                        };
                    }
                }
                true
            }

            async fn prepare(url: &str) -> Result<(), Error> {
                let mut conn = <$conn>::connect(url).await?;
                for sql in [
                    "DROP TABLE IF EXISTS soaked",
                    "DROP TABLE IF EXISTS soaked_locks",
                    "CREATE TABLE soaked (number BIGINT, step BIGINT)",
                    "CREATE TABLE soaked_locks (i BIGINT PRIMARY KEY, n BIGINT)",
                    "INSERT INTO soaked_locks VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, \
                     0), (7, 0), (8, 0)",
                ] {
                    raw_sql(sql).execute(&mut conn).await?;
                }
                conn.close().await
            }

            async fn found(url: &str) -> Result<Vec<(i64, i64)>, Error> {
                let mut conn = <$conn>::connect(url).await?;
                sqlx::query_as("SELECT number, step FROM soaked").fetch_all(&mut conn).await
            }
        }
    };
}

/// Returns the text of an insert with the values filled in.
fn insert_sql(insert: &str, number: i64, step: i64) -> String {
    let (number, step) = (number.to_string(), step.to_string());
    let numbered = insert.replace("$1", &number).replace("$2", &step);
    numbered.replacen('?', &number, 1).replacen('?', &step, 1)
}

/// Returns true if a commit's error says that nothing was kept.
fn is_undone(error: &Error) -> bool {
    millpond_postgres::transaction_lost(error)
        .is_some_and(|lost| lost.outcome() == millpond_postgres::TransactionOutcome::RolledBack)
}

transacting! {
    millpond_postgres::PgPool, sqlx::PgConnection, Postgres, "postgres",
    insert: "INSERT INTO soaked \
        VALUES ($1, $2)", fails: "SELECT 1 / 0", rows: "SELECT generate_series(1, 300)",
    locks: "SET LOCAL lock_timeout = '20ms'; UPDATE soaked_locks SET n = n + 1 WHERE i = ROW"
}
transacting! {
    sqlx::PgPool, sqlx::PgConnection, Postgres, "postgres by sqlx::Pool",
    insert: "INSERT INTO soaked \
        VALUES ($1, $2)", fails: "SELECT 1 / 0", rows: "SELECT generate_series(1, 300)",
    locks: "SET LOCAL lock_timeout = '20ms'; UPDATE soaked_locks SET n = n + 1 WHERE i = ROW"
}
transacting! {
    millpond_mysql::MySqlPool, sqlx::MySqlConnection, MySql, "mysql",
    insert: "INSERT INTO soaked VALUES (?, ?)", fails: "SELECT nonsense",
    rows: "WITH RECURSIVE n(i) AS \
        (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) SELECT i FROM n",
    locks: "UPDATE soaked_locks SET n = n + 1 WHERE i = ROW"
}
transacting! {
    sqlx::MySqlPool, sqlx::MySqlConnection, MySql, "mysql by sqlx::Pool",
    insert: "INSERT INTO soaked VALUES (?, ?)", fails: "SELECT nonsense",
    rows: "WITH RECURSIVE n(i) AS \
        (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) SELECT i FROM n",
    locks: "UPDATE soaked_locks SET n = n + 1 WHERE i = ROW"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(end: End, found: &[i64]) -> TransactionReport {
        let history =
            History { end, done: [1, 2].into(), undone: [3].into(), ..History::default() };
        let mut report = TransactionReport::default();
        report.judge(&history, &found.iter().copied().collect());
        report
    }

    #[test]
    fn a_transaction_is_complete_or_absent() {
        for (end, found) in [
            (End::Committed, &[1, 2][..]),
            (End::Committed, &[1, 2, 4]),
            (End::Unknown, &[1, 2]),
            (End::Unknown, &[]),
            (End::Undone, &[]),
        ] {
            assert!(judged(end, found).is_clean(), "{end:?} {found:?}");
        }
        for (end, found) in
            [(End::Committed, &[][..]), (End::Committed, &[1]), (End::Committed, &[1, 2, 3])]
        {
            assert!(!judged(end, found).is_clean(), "{end:?} {found:?}");
        }
        for (end, found) in [(End::Unknown, &[1][..]), (End::Undone, &[1, 2]), (End::Undone, &[4])]
        {
            assert_eq!(judged(end, found).torn, 1, "{end:?} {found:?}");
        }
    }
}
