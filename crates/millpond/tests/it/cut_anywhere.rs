//! Drops every future of a `DatabaseConnection`, its leases and its transactions after every number
//! of polls; where there is a network, with messages that arrive in pieces.

use crate::world::{self, Directory};
use futures_util::TryStreamExt;
use millpond::{DatabaseBuilder, DatabaseConnection, DatabaseTransaction, Dialect, Invalidate};
use millpond_testkit::{ChaosProxy, Direction, Flow, poll_n, until};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Executor, SqlStr};
use std::fs;
use std::time::Duration;

/// More polls than any of the futures needs.
const POLLS_MAX: usize = 5_000;

const LONG: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Action {
    Connect,
    FromFile,
    Acquire,
    AcquireNew,
    AcquireInTime,
    Fetch,
    FetchPrepared,
    FetchOnLease,
    FetchInTransaction,
    Stream,
    Prepare,
    PrepareOnLease,
    Describe,
    DescribeInTransaction,
    Begin,
    Savepoint,
    Commit,
    Rollback,
    Migrate,
}

const ACTIONS: [Action; 19] = [
    Action::Connect,
    Action::FromFile,
    Action::Acquire,
    Action::AcquireNew,
    Action::AcquireInTime,
    Action::Fetch,
    Action::FetchPrepared,
    Action::FetchOnLease,
    Action::FetchInTransaction,
    Action::Stream,
    Action::Prepare,
    Action::PrepareOnLease,
    Action::Describe,
    Action::DescribeInTransaction,
    Action::Begin,
    Action::Savepoint,
    Action::Commit,
    Action::Rollback,
    Action::Migrate,
];

/// A pool of one connection over a network in pieces, and a pool that connects to the server
/// directly.
struct World {
    db: DatabaseConnection,
    straight: DatabaseConnection,
    url: String,
    proxy: Option<ChaosProxy>,
    directory: Directory,
}

/// Returns options of a pool of one connection, which is kept.
fn one(url: &str) -> DatabaseBuilder {
    DatabaseConnection::builder(url).pool_size(1).max_overflow(0).set("db.pool", "queue")
}

/// Returns a random number that no other answer contains, always with the same number of digits.
fn nonce() -> i64 {
    fastrand::i64(1 << 40..1 << 50)
}

impl World {
    async fn everywhere() -> Vec<Self> {
        let file = Directory::new();
        let url = file.url("anywhere.db");
        let mut worlds = vec![Self::over(one(&url).connect().await.unwrap(), file).await];
        for server in world::servers().await {
            worlds.push(Self::over(server, Directory::new()).await);
        }
        worlds
    }

    async fn over(straight: DatabaseConnection, directory: Directory) -> Self {
        let url =
            straight.settings().storage.connection_string.clone().unwrap().expose().to_owned();
        let (url, proxy) = match straight.dialect() {
            Dialect::Sqlite => (url, None),
            _ => {
                let place = url.split_once("://").unwrap().1.split('/').next().unwrap();
                let proxy = ChaosProxy::start(place.rsplit('@').next().unwrap()).await.unwrap();
                Direction::BOTH
                    .into_iter()
                    .for_each(|direction| proxy.set(direction, Flow::free().in_pieces_of(4)));
                (proxy.reroute(&url), Some(proxy))
            }
        };
        sqlx::query("CREATE TABLE numbers (n BIGINT NOT NULL)").execute(&straight).await.unwrap();
        let db = one(&url).connect().await.unwrap();
        let toml = format!("[storage]\nconnection_string = {url:?}\n");
        fs::write(directory.path().join("millpond.toml"), toml).unwrap();
        Self { db, straight, url, proxy, directory }
    }

    /// Returns how many of these numbers are stored, as another connection sees it.
    async fn count(&self, numbers: [i64; 2]) -> i64 {
        let sql = "SELECT count(*) FROM numbers WHERE n IN ($1, $2)";
        let count = sqlx::query_scalar(sql).bind(numbers[0]).bind(numbers[1]);
        count.fetch_one(&self.straight).await.unwrap()
    }

    /// Begins a transaction and inserts these numbers.
    async fn writes(&self, numbers: [i64; 2]) -> DatabaseTransaction<'static> {
        let mut tx = self.db.begin().await.unwrap();
        for n in numbers {
            sqlx::query("INSERT INTO numbers VALUES ($1)").bind(n).execute(&mut tx).await.unwrap();
        }
        tx
    }

    /// Performs an action and drops it after `polls` polls. Returns true if it completed.
    async fn done_within(&self, polls: usize, action: Action) -> bool {
        let Self { db, url, directory, .. } = self;
        match action {
            Action::Connect => poll_n(one(url).connect(), polls)
                .await
                .inspect(|done| assert!(done.is_ok()))
                .is_some(),
            Action::FromFile => {
                let done = poll_n(
                    DatabaseConnection::from_file(directory.path().join("millpond.toml")),
                    polls,
                )
                .await;
                done.inspect(|done| assert!(done.is_ok(), "{done:?}")).is_some()
            }
            Action::Acquire => poll_n(db.acquire(), polls).await.is_some(),
            Action::AcquireNew => {
                db.invalidate_all(Invalidate::Soft);
                poll_n(db.acquire(), polls).await.inspect(|lease| assert!(lease.is_ok())).is_some()
            }
            Action::AcquireInTime => {
                db.invalidate_all(Invalidate::Hard);
                poll_n(db.acquire_within(LONG), polls)
                    .await
                    .inspect(|lease| assert!(lease.is_ok()))
                    .is_some()
            }
            Action::Begin => {
                poll_n(db.begin(), polls).await.inspect(|tx| assert!(tx.is_ok())).is_some()
            }
            Action::Savepoint => {
                let mut tx = db.begin().await.unwrap();
                poll_n(tx.begin(), polls).await.inspect(|inner| assert!(inner.is_ok())).is_some()
            }
            Action::Commit | Action::Rollback => self.ended_within(polls, action).await,
            Action::Migrate => self.migrated_within(polls).await,
            _ => self.asked_within(polls, action).await,
        }
    }

    /// Sends a query whose answer no other query has, and drops it after `polls` polls. Returns
    /// true if it completed.
    async fn asked_within(&self, polls: usize, action: Action) -> bool {
        let (db, n) = (&self.db, nonce());
        let one = AssertSqlSafe(format!("SELECT {n}"));
        let two = AssertSqlSafe(format!("SELECT {n} UNION ALL SELECT {}", n + 1));
        // A new text each time, so that it has to be prepared.
        let sum =
            sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!("SELECT {n} + $1"))).bind(1_i64);
        let sql = || SqlStr::from_static("SELECT n FROM numbers WHERE n = $1");
        let answer = match action {
            Action::Fetch => poll_n(sqlx::query_scalar(two).fetch_all(db), polls).await,
            Action::FetchPrepared => poll_n(sum.fetch_all(db), polls).await,
            Action::FetchOnLease => {
                let mut lease = db.acquire().await.unwrap();
                poll_n(sqlx::query_scalar(one).fetch_all(&mut lease), polls).await
            }
            Action::FetchInTransaction => {
                let mut tx = db.begin().await.unwrap();
                poll_n(sum.fetch_all(&mut *tx), polls).await
            }
            // Reads only the first answer; the second one stays unread.
            Action::Stream => {
                let first = async || sqlx::query_scalar(two).fetch(db).try_next().await;
                poll_n(first(), polls).await.map(|first| first.map(Vec::from_iter))
            }
            Action::Prepare => return is_done(poll_n(db.prepare(sql()), polls).await),
            Action::PrepareOnLease => {
                let mut lease = db.acquire().await.unwrap();
                return is_done(poll_n((&mut *lease).prepare(sql()), polls).await);
            }
            Action::Describe => return is_done(poll_n(db.describe(sql()), polls).await),
            _ => {
                let mut tx = db.begin().await.unwrap();
                return is_done(poll_n((&mut *tx).describe(sql()), polls).await);
            }
        };
        let right = match action {
            Action::Fetch => vec![n, n + 1],
            Action::FetchPrepared | Action::FetchInTransaction => vec![n + 1],
            _ => vec![n],
        };
        answer
            .inspect(|answer| assert_eq!(*answer.as_ref().unwrap(), right, "{action:?}"))
            .is_some()
    }

    async fn ended_within(&self, polls: usize, action: Action) -> bool {
        let numbers = [nonce(), nonce()];
        let tx = self.writes(numbers).await;
        let ended = match action {
            Action::Commit => poll_n(tx.commit(), polls).await,
            _ => poll_n(tx.rollback(), polls).await,
        };
        let ended = ended.inspect(|ended| assert!(ended.is_ok(), "{ended:?}")).is_some();
        self.next_is_served(action).await;
        match (action, self.count(numbers).await) {
            (Action::Commit, 2) => {}
            (Action::Commit, 0) => assert!(!ended),
            (Action::Rollback, 0) => {}
            (_, count) => panic!("after {action:?}: {count} of 2 are there"),
        }
        ended
    }

    async fn migrated_within(&self, polls: usize) -> bool {
        let migration = SqlStr::from_static("CREATE TABLE migrated (n BIGINT)");
        let migration =
            Migration::new(1, "numbers".into(), MigrationType::Simple, migration, false);
        let migrator = Migrator::with_migrations(vec![migration]);
        let done = poll_n(self.db.migrate(&migrator), polls).await.map(|done| done.unwrap());
        // SQLite has no lock for migrations, and the dropped migration may still be committed.
        self.next_is_served(Action::Migrate).await;
        // A lock that no task holds any more must not block the next migration.
        let next = tokio::time::timeout(LONG, self.straight.migrate(&migrator))
            .await
            .expect("the migrations are locked");
        match next {
            Ok(()) => {
                let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM migrated")
                    .fetch_one(&self.straight);
                assert_eq!(count.await.unwrap(), 0);
            }
            // MySQL commits each statement of a migration by itself; sqlx reports the one that was
            // interrupted.
            Err(error) => {
                assert!(self.db.dialect() == Dialect::MySql && done.is_none(), "{error}");
                assert!(error.to_string().contains("partially applied"), "{error}");
            }
        }
        for sql in ["DROP TABLE IF EXISTS migrated", "DELETE FROM _sqlx_migrations"] {
            sqlx::query(sql).execute(&self.straight).await.unwrap();
        }
        done.is_some()
    }

    /// Asserts that the next caller gets the answer to its own query, outside any transaction, and
    /// that the pool's slot is free.
    async fn next_is_served(&self, action: Action) {
        let (db, n) = (&self.db, nonce());
        let backend = db.dialect();
        let sql = AssertSqlSafe(format!("SELECT {n} + $1"));
        let sum: i64 = sqlx::query_scalar(sql).bind(1_i64).fetch_one(db).await.unwrap();
        assert_eq!(sum, n + 1, "{backend}, after {action:?}");
        sqlx::query("INSERT INTO numbers VALUES ($1)").bind(n).execute(db).await.unwrap();
        assert_eq!(
            self.count([n, n]).await,
            1,
            "{backend}, after {action:?}: a transaction was open"
        );
        until("one connection is open and no caller waits", async || {
            let status = db.status();
            let under_way = status.connecting
                + status.resetting
                + status.closing
                + status.reserved
                + status.waiting;
            (status.open, status.in_use, under_way) == (1, 0, 0)
        })
        .await;
        let totals = db.status().totals;
        let ended = totals.succeeded + totals.timed_out + totals.cancelled + totals.failed;
        assert_eq!(totals.acquires, ended, "{backend}, after {action:?}");
    }
}

/// Returns true if the future completed; panics if it failed.
fn is_done<T>(outcome: Option<Result<T, sqlx::Error>>) -> bool {
    outcome.inspect(|outcome| assert!(outcome.is_ok())).is_some()
}

#[tokio::test]
async fn the_next_borrower_sees_no_trace_of_a_call_dropped_at_any_poll() {
    for world in World::everywhere().await {
        let mut cuts = 0;
        for action in ACTIONS {
            let mut polls = 0;
            while !world.done_within(polls, action).await {
                polls += 1;
                assert!(polls < POLLS_MAX, "{action:?} is polled without end");
                world.next_is_served(action).await;
            }
            cuts += polls;
            world.next_is_served(action).await;
        }
        assert!(cuts > ACTIONS.len(), "{}: {cuts} cuts", world.db.dialect());
        let open =
            || world.proxy.iter().flat_map(ChaosProxy::links).filter(|link| link.is_open()).count();
        let left = usize::from(world.proxy.is_some());
        until("one connection is left", async || open() == left).await;
    }
}

#[tokio::test]
async fn a_close_goes_on_when_its_future_is_dropped_at_any_poll() {
    for world in World::everywhere().await {
        for (polls, has_limit) in (0..POLLS_MAX).flat_map(|polls| [(polls, false), (polls, true)]) {
            let db = one(&world.url).connect().await.unwrap();
            let close =
                async || if has_limit { db.close_within(LONG).await } else { db.close().await };
            let ended = poll_n(close(), polls).await;
            if polls > 0 {
                assert!(db.is_closed() && db.acquire().await.is_err());
                until("nothing is open", async || db.status().open == 0).await;
            }
            if ended.is_some() && has_limit {
                break;
            }
            assert!(polls + 1 < POLLS_MAX, "it is polled without end");
        }
    }
}
