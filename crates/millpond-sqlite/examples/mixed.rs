//! Measures each kind of pool under a mixed load: 8 tasks, four reads per write, in operations per
//! second.
//!
//! `cargo run --release --example mixed -p millpond-sqlite [seconds]`

use millpond_sqlite::{
    PoolKind, PragmaHook, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TASKS: u64 = 8;
const ROWS: i64 = 1000;

/// How a task writes.
#[derive(Clone, Copy, PartialEq)]
enum Write {
    Statement,
    /// In a transaction that first reads and then writes.
    Transaction,
}

#[derive(Default)]
struct Tally {
    operations: AtomicU64,
    errors: AtomicU64,
    stop: AtomicBool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), sqlx::Error> {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3.0);
    for (title, write) in [
        ("single UPDATEs", Write::Statement),
        ("transactions (read, then write)", Write::Transaction),
    ] {
        println!("80 % point reads, 20 % {title}; {TASKS} tasks, WAL, synchronous NORMAL");
        for (name, kind, size) in [
            ("a connection each time", PoolKind::Null, 5),
            ("one pool of 5", PoolKind::Queue, 5),
            ("one writer, 4 readers", PoolKind::ReadWrite, 4),
        ] {
            let file = Scratch::new();
            let pool = prepared(&file, kind, size).await?;
            let (tally, took) = run(&pool, write, Duration::from_secs_f64(seconds)).await;
            let operations = tally.operations.load(Ordering::Relaxed);
            let errors = tally.errors.load(Ordering::Relaxed);
            println!(
                "  {name:24} {:9.0} op/s  {errors} errors",
                operations as f64 / took.as_secs_f64()
            );
            pool.close().await;
        }
    }
    Ok(())
}

async fn prepared(file: &Scratch, kind: PoolKind, size: u32) -> Result<SqlitePool, sqlx::Error> {
    let mut options = SqlitePoolOptions::new().pool(kind).pool_size(size).max_overflow(0);
    if kind != PoolKind::ReadWrite {
        let wal = PragmaHook::new()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        options = options.pragma(wal);
    }
    let pool = options.connect(&format!("sqlite:///{}", file.0.display())).await?;
    sqlx::query("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER NOT NULL)")
        .execute(&pool)
        .await?;
    let fill = "WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n LIMIT ?) INSERT \
        INTO t SELECT x, 0 FROM n";
    sqlx::query(fill).bind(ROWS).execute(&pool).await?;
    Ok(pool)
}

async fn run(pool: &SqlitePool, write: Write, time: Duration) -> (Arc<Tally>, Duration) {
    let tally = Arc::new(Tally::default());
    let began = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (pool, tally) = (pool.clone(), Arc::clone(&tally));
            tokio::spawn(async move {
                let mut n = task;
                while !tally.stop.load(Ordering::Relaxed) {
                    n += 1;
                    let id = (n * 7919) as i64 % ROWS;
                    let done = if n % 5 == 0 {
                        change(&pool, write, id).await
                    } else {
                        read(&pool, id).await
                    };
                    let counter = if done.is_ok() { &tally.operations } else { &tally.errors };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    tally.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        if task.await.is_err() {
            tally.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
    (tally, began.elapsed())
}

async fn read(pool: &SqlitePool, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query_scalar::<_, i64>("SELECT v FROM t WHERE id = ?")
        .bind(id)
        .fetch_one(pool)
        .await
        .map(|_| ())
}

async fn change(pool: &SqlitePool, write: Write, id: i64) -> Result<(), sqlx::Error> {
    const SQL: &str = "UPDATE t SET v = v + 1 WHERE id = ?";
    if write == Write::Statement {
        return sqlx::query(SQL).bind(id).execute(pool).await.map(|_| ());
    }
    let mut tx = pool.begin().await?;
    sqlx::query_scalar::<_, i64>("SELECT v FROM t WHERE id = ?")
        .bind(id)
        .fetch_one(&mut *tx)
        .await?;
    sqlx::query(SQL).bind(id).execute(&mut *tx).await?;
    tx.commit().await
}

/// A database file that is removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "millpond-mixed-{}-{}.db",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            // A file that does not exist need not be removed.
            let _ = std::fs::remove_file(format!("{}{suffix}", self.0.display()));
        }
    }
}
