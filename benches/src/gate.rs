//! The gate: a pool that opens too many connections, loses one or does not serve a caller is not
//! timed.

use crate::books::Books;
use crate::competitor::{Competitor, Spec};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

const CAP: u32 = 10;
const TASKS: u32 = 64;
const TURNS: u32 = 50;
const ABORTED: u32 = 300;

/// The time limit of the whole trial; a working pool needs a tenth of a second.
const LIMIT: Duration = Duration::from_secs(20);

/// Counts the leases that are out.
#[derive(Default)]
struct Lent {
    now: AtomicU32,
    most: AtomicU32,
}

/// Tests a pool.
///
/// # Errors
///
/// Returns what the pool did wrong.
pub fn pass<P: Competitor>() -> Result<(), String> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let verdict = runtime.block_on(async {
        let trial = tokio::spawn(timeout(LIMIT, trial::<P>()));
        match trial.await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Err(format!("not every task was served within {LIMIT:?}")),
            Err(panic) => Err(format!("it panicked: {panic}")),
        }
    });
    // A hanging pool must not keep the others from starting.
    runtime.shutdown_background();
    verdict
}

async fn trial<P: Competitor>() -> Result<(), String> {
    let books = Books::new();
    books.connect_takes(Duration::from_millis(1));
    let pool = P::open(&books, Spec::of(CAP)).await;
    serve_all_tasks(&pool).await?;
    within_cap("connections were open", books.most_alive())?;
    abort_some(&pool).await;
    all_slots_can_be_lent(&pool).await?;
    // Where closes are not counted, connections closed by aborted acquires would count as open.
    if P::BOXED_WIRES { within_cap("connections were open", books.most_alive()) } else { Ok(()) }
}

/// Runs many tasks on a cold pool, each of which acquires many times.
async fn serve_all_tasks<P: Competitor>(pool: &P) -> Result<(), String> {
    let lent = Arc::new(Lent::default());
    let mut all = JoinSet::new();
    for _ in 0..TASKS {
        let (pool, lent) = (pool.clone(), Arc::clone(&lent));
        all.spawn(async move {
            for _ in 0..TURNS {
                let lease = pool.acquire().await;
                let now = lent.now.fetch_add(1, Ordering::SeqCst) + 1;
                lent.most.fetch_max(now, Ordering::SeqCst);
                yield_now().await;
                lent.now.fetch_sub(1, Ordering::SeqCst);
                drop(lease);
            }
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.map_err(|e| format!("a borrower failed: {e}"))?;
    }
    within_cap("connections were lent", lent.most.load(Ordering::SeqCst))
}

/// Aborts acquires while they wait, and tasks while they hold a lease.
async fn abort_some<P: Competitor>(pool: &P) {
    let mut all = JoinSet::new();
    for number in 0..ABORTED {
        let pool = pool.clone();
        let task = all.spawn(async move {
            let _lease = pool.acquire().await;
            yield_now().await;
        });
        for _ in 0..number % 5 {
            yield_now().await;
        }
        task.abort();
    }
    while all.join_next().await.is_some() {}
}

/// Checks that no slot was lost: as many connections as the limit can be lent at once.
async fn all_slots_can_be_lent<P: Competitor>(pool: &P) -> Result<(), String> {
    let mut leases = Vec::new();
    for _ in 0..CAP {
        match timeout(Duration::from_secs(5), pool.acquire()).await {
            Ok(lease) => leases.push(lease),
            Err(_) => {
                return Err(format!(
                    "after aborts only {} of {CAP} connections can be lent",
                    leases.len()
                ));
            }
        }
    }
    Ok(())
}

fn within_cap(what: &str, most: u32) -> Result<(), String> {
    if most <= CAP { Ok(()) } else { Err(format!("{most} {what} at once, {CAP} are allowed")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::{Opener, Wire};
    use crate::entrant::Entrant;

    /// Not a pool: opens a connection for every acquire.
    #[derive(Clone)]
    struct Boundless(Opener);

    impl Competitor for Boundless {
        const NAME: &'static str = "boundless";
        type Lease<'a> = Box<Wire>;

        async fn open(books: &Arc<Books>, _: Spec) -> Self {
            Self(Opener(Arc::clone(books)))
        }

        async fn acquire(&self) -> Box<Wire> {
            self.0.open().await
        }
    }

    #[test]
    fn a_pool_without_a_limit_is_not_timed() {
        assert!(pass::<Boundless>().unwrap_err().contains("10 are allowed"));
    }

    #[test]
    fn millpond_and_the_floor_may_be_timed() {
        for entrant in [Entrant::Millpond, Entrant::Observed, Entrant::Baseline] {
            assert_eq!(entrant.passes_the_gate(), Ok(()), "{entrant:?}");
        }
    }
}
