//! Transactions in which anything happens, by chance: each is kept whole or not at all, the same
//! rows are found by a full-text search, and every column has its name.

use crate::support::{Dir, abandon_endless};
use fastrand::Rng;
use futures_util::TryStreamExt;
use millpond_sqlite::{
    PoolKind, PragmaHook, Sqlite, SqlitePool, SqlitePoolOptions, SqliteSynchronous, Transaction,
};
use millpond_testkit::poll_n;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, ConnectOptions, Error, Executor, Row, SqliteConnection, raw_sql};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

const TABLES: &str = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT); \
    CREATE VIRTUAL TABLE search USING fts5(body, content='notes', content_rowid='id'); \
    CREATE TRIGGER indexed AFTER INSERT ON notes BEGIN \
    INSERT INTO search(rowid, body) VALUES (new.id, new.body); END; \
    INSERT INTO notes VALUES (0, 'a pond')";
const FOUND: &str = "SELECT count(*) FROM search WHERE search MATCH 'pond'";

/// The rows that a transaction has written: for sure, and perhaps.
#[derive(Debug, Default, Clone)]
struct Rows {
    sure: BTreeSet<i64>,
    perhaps: BTreeSet<i64>,
}

impl Rows {
    fn note(&mut self, id: i64, outcome: Option<Result<(), Error>>) {
        match outcome {
            Some(Ok(())) => self.sure.insert(id),
            Some(Err(_)) => false,
            None => self.perhaps.insert(id),
        };
    }
}

struct World {
    dice: Rng,
    last_id: i64,
    /// What transactions before have committed.
    kept: BTreeSet<i64>,
    story: Vec<String>,
}

fn insert(id: i64) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("INSERT INTO notes (id, body) VALUES ({id}, 'a pond')"))
}

fn insert_returning(id: i64) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("INSERT INTO notes (id, body) VALUES ({id}, 'a pond') RETURNING *"))
}

/// What a function does that knows sqlx alone.
async fn write(conn: &mut SqliteConnection, id: i64) -> Result<(), Error> {
    sqlx::query(insert(id)).execute(conn).await.map(drop)
}

impl World {
    fn is_note(&self, row: &SqliteRow) {
        assert_eq!(row.get::<String, _>("body"), "a pond", "{:?}", self.story);
    }

    /// One step in a transaction or a savepoint.
    async fn step(&mut self, tx: &mut Transaction<'_, Sqlite>, rows: &mut Rows, depth: u8) {
        self.last_id += 1;
        let (id, step) = (self.last_id, self.dice.u8(0..12));
        self.story.push(format!("{depth}: {step}, {id}"));
        match step {
            0 => {
                rows.note(id, Some(tx.execute(insert(id)).await.map(drop)));
            }
            1 => {
                let row = sqlx::query(insert_returning(id)).fetch_one(&mut **tx).await;
                let row = row.map(|row| self.is_note(&row));
                rows.note(id, Some(row));
            }
            // Functions that only know sqlx are not tracked: skipped in a lost transaction.
            2 => {
                if tx.execute("SELECT 1").await.is_ok() {
                    rows.note(id, Some(write(tx, id).await));
                    let driver: &mut SqliteConnection = tx;
                    driver.fetch_one(FOUND).await.unwrap();
                }
            }
            3 => {
                let polls = self.dice.usize(1..4);
                let outcome = poll_n(tx.execute(insert(id)), polls).await;
                rows.note(id, outcome.map(|outcome| outcome.map(drop)));
            }
            4 => {
                let row = sqlx::query(insert_returning(id)).fetch(&mut **tx).try_next().await;
                let row = row.map(|row| self.is_note(&row.unwrap()));
                rows.note(id, Some(row));
            }
            5 => assert!(tx.execute(insert(0)).await.is_err(), "{:?}", self.story),
            6 if self.dice.u8(0..4) == 0 => {
                let sql = "INSERT OR ROLLBACK INTO notes (id, body) VALUES (0, 'a pond')";
                assert!(tx.execute(sql).await.is_err(), "{:?}", self.story);
                // Whatever comes now is refused.
                rows.sure.clear();
                rows.perhaps.clear();
            }
            7 if depth < 3 => self.savepoint(tx, rows, depth).await,
            8 => self.look(tx, rows).await,
            9 if self.dice.u8(0..3) == 0 => {
                let sql = format!("ALTER TABLE notes ADD COLUMN extra_{id}");
                drop(tx.execute(AssertSqlSafe(sql)).await);
            }
            10 if self.dice.u8(0..4) == 0 => {
                if tx.execute("SELECT 1").await.is_ok() {
                    abandon_endless(&mut **tx).await;
                }
            }
            _ => {
                drop(tx.fetch_all("SELECT * FROM notes").await);
            }
        }
    }

    /// What is found in the transaction is what it has written.
    async fn look(&mut self, tx: &mut Transaction<'_, Sqlite>, rows: &Rows) {
        let Ok(found) = sqlx::query("SELECT * FROM notes").fetch_all(&mut **tx).await else {
            return;
        };
        found.iter().for_each(|row| self.is_note(row));
        let ids: BTreeSet<i64> = found.iter().map(|row| row.get("id")).collect();
        assert!(rows.sure.is_subset(&ids), "{rows:?}, {ids:?}: {:?}", self.story);
        let searched: i64 = sqlx::query_scalar(FOUND).fetch_one(&mut **tx).await.unwrap();
        assert_eq!(usize::try_from(searched).unwrap(), ids.len(), "{:?}", self.story);
    }

    fn savepoint<'a>(
        &'a mut self,
        tx: &'a mut Transaction<'_, Sqlite>,
        rows: &'a mut Rows,
        depth: u8,
    ) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            if self.dice.u8(0..8) == 0 {
                drop(poll_n(tx.begin(), 1).await);
                return;
            }
            let Ok(mut inner) = tx.begin().await else { return };
            let mut written = rows.clone();
            for _ in 0..self.dice.u8(0..4) {
                self.step(&mut inner, &mut written, depth + 1).await;
            }
            let end = self.dice.u8(0..4);
            self.story.push(format!("{depth}: savepoint ends by {end}"));
            match end {
                0 => drop(inner),
                1 => drop(inner.rollback().await),
                _ => match inner.commit().await {
                    Ok(()) => *rows = written,
                    // It is lost, and so is the transaction, or rolled back.
                    Err(_) => rows.perhaps.extend(written.sure.union(&written.perhaps)),
                },
            }
        })
    }

    async fn transaction(&mut self, pool: &SqlitePool) {
        let mut tx = pool.begin().await.unwrap();
        let mut rows = Rows::default();
        for _ in 0..self.dice.u8(1..8) {
            self.step(&mut tx, &mut rows, 0).await;
        }
        let end = self.dice.u8(0..8);
        self.story.push(format!("ends by {end}"));
        let is_kept = match end {
            0 => {
                drop(tx);
                Some(false)
            }
            1 => {
                drop(tx.rollback().await);
                Some(false)
            }
            2 => {
                let polls = self.dice.usize(1..3);
                poll_n(tx.commit(), polls).await.map(|outcome| outcome.is_ok())
            }
            _ => Some(tx.commit().await.is_ok()),
        };
        // A commit that was cut off has ended when its connection is lent again.
        drop(pool.acquire().await.unwrap());
        let found = sqlx::query("SELECT * FROM notes").fetch_all(pool).await.unwrap();
        found.iter().for_each(|row| self.is_note(row));
        let ids: BTreeSet<i64> = found.iter().map(|row| row.get("id")).collect();
        assert!(self.kept.is_subset(&ids), "what was committed is gone: {:?}", self.story);
        let new: BTreeSet<i64> = ids.difference(&self.kept).copied().collect();
        if is_kept == Some(false) {
            assert!(new.is_empty(), "not committed, and kept: {new:?}: {:?}", self.story);
        }
        if is_kept == Some(true) || !new.is_empty() {
            assert!(rows.sure.is_subset(&new), "torn: {rows:?}, {new:?}: {:?}", self.story);
            let all = rows.sure.union(&rows.perhaps).copied().collect();
            assert!(new.is_subset(&all), "too much: {rows:?}, {new:?}: {:?}", self.story);
        }
        let searched: i64 = sqlx::query_scalar(FOUND).fetch_one(pool).await.unwrap();
        assert_eq!(usize::try_from(searched).unwrap(), ids.len(), "{:?}", self.story);
        self.kept = ids;
    }
}

async fn random_transactions(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let dir = Dir::new();
        let kind = [PoolKind::Queue, PoolKind::ReadWrite, PoolKind::Null][seed as usize % 3];
        let options = SqlitePoolOptions::new().pool(kind).pool_size(1).max_overflow(0);
        let quick = PragmaHook::new().synchronous(SqliteSynchronous::Off);
        let options = options.ping_timeout(Duration::from_secs(5)).pragma(quick);
        let pool = options.connect(&dir.url("x.db")).await.unwrap();
        pool.execute(raw_sql(TABLES)).await.unwrap();
        let mut outsider = dir.options("x.db").connect().await.unwrap();
        let story = vec![format!("seed {seed}")];
        let kept = BTreeSet::from([0]);
        let mut world = World { dice: Rng::with_seed(seed), last_id: 0, kept, story };
        for round in 0..20 {
            if world.dice.u8(0..4) == 0 {
                world.story.push("the outsider alters the table".to_owned());
                let sql = format!("ALTER TABLE notes ADD COLUMN outer_{round}");
                outsider.execute(AssertSqlSafe(sql)).await.unwrap();
            }
            world.transaction(&pool).await;
        }
        let check = "INSERT INTO search(search, rank) VALUES ('integrity-check', 1)";
        pool.execute(raw_sql(check)).await.unwrap();
        pool.close().await;
    }
}

#[tokio::test]
async fn whatever_happens_in_a_transaction_it_is_kept_whole_or_not_at_all() {
    random_transactions(0..20).await;
}
