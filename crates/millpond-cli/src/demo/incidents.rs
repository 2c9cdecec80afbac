//! Deliberate incidents that show what the pool reports: a burst, a timeout, a cancelled caller, a
//! leaked lease.

use super::{LEAK_AFTER, OVERFLOW, READERS, READERS_NAME};
use crate::interrupt::Interrupt;
use crate::observer::Tally;
use crate::terminal::{Screen, Tone, format_duration};
use millpond::{ConnectionId, DatabaseConnection, DatabaseLease, pool_error};
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

/// How long the caller that times out waits.
const PATIENCE: Duration = Duration::from_millis(300);
/// When the caller that is cancelled gives up.
const CHANGE_OF_MIND: Duration = Duration::from_millis(50);
/// How long the report of a leak may take after `leak_after`.
const LEAK_REPORT: Duration = Duration::from_secs(5);

/// The results of the incidents; empty where the user interrupted the demo first.
#[derive(Debug, Clone, Default)]
pub struct Incidents {
    /// The most connections beyond `pool_size` that were open in the burst.
    pub overflow: Option<u32>,
    /// The error of the caller that timed out.
    pub timeout: Option<String>,
    /// The holder that was reported for keeping a connection too long.
    pub leak: Option<String>,
}

/// Causes the incidents.
pub async fn run_incidents(
    db: &DatabaseConnection,
    tally: &Tally,
    mut interrupt: Interrupt,
    screen: &mut Screen,
) -> Result<Incidents, Box<dyn std::error::Error>> {
    let mut incidents = Incidents::default();
    let readers = db.reader();
    // At run time, as one would do before a busy hour: by the settings the readers have no
    // overflow.
    db.resize(READERS, OVERFLOW)?;
    let mut held = burst(&readers).await?;
    incidents.overflow = Some(readers.status().overflow());
    print_burst(screen, &readers, held.len())?;

    if let Some(reported) = until(&mut interrupt, time_out(&readers)).await {
        incidents.timeout = reported?;
        print_timeout(screen, incidents.timeout.as_deref())?;
    }
    let forgotten = held.pop();
    drop(held);
    if let Some(forgotten) = forgotten {
        let id = DatabaseLease::info(&forgotten).id;
        if let Some(reported) = until(&mut interrupt, leak(tally, id)).await {
            incidents.leak = reported;
            print_leak(screen, incidents.leak.as_deref())?;
        }
    }
    Ok(incidents)
}

/// Borrows all connections. Each from a new task, as in a server: the pool detects a task that
/// waits for its own lease.
async fn burst(readers: &DatabaseConnection) -> sqlx::Result<Vec<DatabaseLease>> {
    let mut held = Vec::new();
    for _ in 0..READERS + OVERFLOW {
        let lease = tokio::spawn(readers.acquire());
        held.push(lease.await.map_err(io::Error::other)??);
    }
    Ok(held)
}

/// Cancels one caller early, and lets another time out. Returns the error of the latter.
async fn time_out(readers: &DatabaseConnection) -> sqlx::Result<Option<String>> {
    if tokio::time::timeout(CHANGE_OF_MIND, readers.acquire()).await.is_ok() {
        return Ok(None);
    }
    match readers.acquire_within(PATIENCE).await {
        Ok(_) => Ok(None),
        Err(error) if pool_error(&error).is_some_and(|error| error.is_timeout()) => {
            Ok(pool_error(&error).map(ToString::to_string))
        }
        Err(error) => Err(error),
    }
}

/// Waits until the pool reports that this connection is held for too long.
async fn leak(tally: &Tally, id: ConnectionId) -> Option<String> {
    let deadline = Instant::now() + LEAK_AFTER + LEAK_REPORT;
    while Instant::now() < deadline {
        if let Some(leak) = tally.counts(READERS_NAME).leaks.iter().find(|leak| leak.id == id) {
            return Some(format!("{} for {}", leak.holder, format_duration(leak.held)));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}

/// Runs `work` unless the user interrupts the demo first.
async fn until<T>(interrupt: &mut Interrupt, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        outcome = work => Some(outcome),
        () = interrupt.wanted() => None,
    }
}

fn print_burst(screen: &mut Screen, readers: &DatabaseConnection, held: usize) -> io::Result<()> {
    let status = readers.status();
    screen.line(
        Tone::Plain,
        &format!(
            "\nburst: readers have no overflow in this mode, so {} were allowed at run time, and \
             {held} borrowers came at once.\n  {} of their connections are beyond pool_size ({}); \
             they are closed when they come back.",
            status.max_overflow,
            status.overflow(),
            status.pool_size
        ),
    )
}

fn print_timeout(screen: &mut Screen, reported: Option<&str>) -> io::Result<()> {
    let limit = format_duration(PATIENCE);
    match reported {
        Some(reported) => screen.line(
            Tone::Plain,
            &format!(
                "\ntimeout: one caller gave up by itself; the next timed out after \
                 {limit}:\n  {reported}"
            ),
        ),
        None => screen.line(
            Tone::Bad,
            "\ntimeout: a connection was lent beyond the limit, which must not happen",
        ),
    }
}

fn print_leak(screen: &mut Screen, leak: Option<&str>) -> io::Result<()> {
    let after = format_duration(LEAK_AFTER);
    match leak {
        Some(leak) => screen.line(
            Tone::Plain,
            &format!(
                "\nleak: all but one gave their connection back. After leak_after = {after} the \
                 pool reported who did not:\n  {leak}"
            ),
        ),
        None => screen
            .line(Tone::Bad, "\nleak: a holder kept a connection, and the pool did not report it"),
    }
}
