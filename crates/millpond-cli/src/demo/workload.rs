//! The load: tasks that write and tasks that read, until the time is over or the user interrupts.

use super::bank::{self, ACCOUNTS, ALL_MONEY};
use crate::interrupt::Interrupt;
use crate::terminal::Screen;
use millpond::DatabaseConnection;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const WRITERS: i64 = 4;
const READERS: i64 = 8;
/// How often the progress line is updated.
const TICK: Duration = Duration::from_millis(100);

/// What the tasks did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Committed transfers.
    pub writes: u64,
    /// Sums that were read.
    pub reads: u64,
    /// Sums that differed from the total; more than 0 is an error.
    pub wrong: u64,
    /// How long the load ran.
    pub took: Duration,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writes, reads, wrong, took } = self;
        let seconds = took.as_secs_f64();
        writeln!(
            f,
            "\nload: {WRITERS} writing and {READERS} reading tasks did {writes} transfers and \
             {reads} sums in {seconds:.1} s."
        )?;
        match wrong {
            0 => write!(f, "  Every sum was correct, though read during the transfers."),
            wrong => write!(f, "  {wrong} sums were wrong: a reader saw half a transfer."),
        }
    }
}

#[derive(Default)]
struct Counters {
    stop: AtomicBool,
    writes: AtomicU64,
    reads: AtomicU64,
    wrong: AtomicU64,
}

/// Runs the load for `span`, or until the user interrupts it.
pub async fn run(
    db: &DatabaseConnection,
    span: Duration,
    interrupt: &Interrupt,
    screen: &mut Screen,
) -> sqlx::Result<Work> {
    let (counters, started) = (Arc::new(Counters::default()), Instant::now());
    let mut tasks = JoinSet::new();
    for number in 0..WRITERS {
        tasks.spawn(write(db.clone(), Arc::clone(&counters), number));
    }
    for _ in 0..READERS {
        tasks.spawn(read(db.clone(), Arc::clone(&counters)));
    }
    let mut interrupt = interrupt.clone();
    let mut tick = tokio::time::interval(TICK);
    let mut failure = None;
    while started.elapsed() < span && failure.is_none() {
        tokio::select! {
            _ = tick.tick() => screen.progress(&progress(db, &counters, started)),
            _ = interrupt.wanted() => break,
            Some(ended) = tasks.join_next() => failure = outcome(ended).err(),
        }
    }
    counters.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        failure = failure.or(outcome(ended).err());
    }
    screen.clear();
    match failure {
        Some(failure) => Err(failure),
        None => Ok(Work {
            writes: counters.writes.load(Ordering::Relaxed),
            reads: counters.reads.load(Ordering::Relaxed),
            wrong: counters.wrong.load(Ordering::Relaxed),
            took: started.elapsed(),
        }),
    }
}

fn outcome(ended: Result<sqlx::Result<()>, tokio::task::JoinError>) -> sqlx::Result<()> {
    ended.unwrap_or_else(|error| Err(sqlx::Error::Io(std::io::Error::other(error))))
}

async fn write(db: DatabaseConnection, counters: Arc<Counters>, number: i64) -> sqlx::Result<()> {
    // Every task goes through the accounts in its own order; each stride has no factor in common
    // with the number of accounts.
    let mut at = number;
    for line in 0.. {
        if counters.stop.load(Ordering::Relaxed) {
            break;
        }
        let from = at % ACCOUNTS;
        at += 37 + 2 * number;
        let to = match at % ACCOUNTS {
            to if to == from => (to + 1) % ACCOUNTS,
            to => to,
        };
        bank::transfer(&db, from, to, line * WRITERS + number).await?;
        counters.writes.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn read(db: DatabaseConnection, counters: Arc<Counters>) -> sqlx::Result<()> {
    while !counters.stop.load(Ordering::Relaxed) {
        if bank::count(&db).await? != ALL_MONEY {
            counters.wrong.fetch_add(1, Ordering::Relaxed);
        }
        counters.reads.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn progress(db: &DatabaseConnection, counters: &Counters, started: Instant) -> String {
    let (writer, readers) = (super::writer_status(db), db.reader().status());
    format!(
        "  {:4.1} s  {} transfers  {} sums  readers {}/{} in use, {} waiting  writer {} waiting",
        started.elapsed().as_secs_f64(),
        counters.writes.load(Ordering::Relaxed),
        counters.reads.load(Ordering::Relaxed),
        readers.in_use,
        readers.pool_size,
        readers.waiting,
        writer.waiting,
    )
}
