//! The suite detects flaws: for every flaw some case fails, and a pool without it passes the same
//! case.

use millpond_core::{
    CloseReport, ConnectInfo, Invalidate, Lease, Manager, Pool, PoolError, QueuePool, Request,
    Status, async_trait,
};
use millpond_testkit::conformance::{self as suite, FixtureAndPool, Stage};
use millpond_testkit::{Capability, Fixture, Nowhere, PoolUnderTest, ScriptedManager};
use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

type Scripted = ScriptedManager<Nowhere>;

const SOUND: u8 = 0;
const UNPUNCTUAL: u8 = 1;
const BARGING: u8 = 2;
const LOSING: u8 = 3;
const STALE: u8 = 4;
const NEVER_CLOSING: u8 = 5;
const WITHOUT_CAP: u8 = 6;
const MISCOUNTING: u8 = 7;
const SWALLOWING: u8 = 8;
const HOARDING: u8 = 9;
const LENDING_AFTER_CLOSE: u8 = 10;

/// A wrapper that adds one flaw to a working pool.
#[derive(Clone)]
struct Flawed<const FLAW: u8> {
    pool: QueuePool<Scripted>,
    /// Opens the connections that a flaw adds.
    more: QueuePool<Scripted>,
    loans: Arc<AtomicU32>,
    hoard: Arc<std::sync::Mutex<Vec<Lease<<Scripted as Manager>::Connection>>>>,
}

#[async_trait]
impl<const FLAW: u8> Pool for Flawed<FLAW> {
    type Connection = <Scripted as Manager>::Connection;

    async fn acquire_with(&self, request: Request) -> Result<Lease<Self::Connection>, PoolError> {
        let loan = self.loans.fetch_add(1, Ordering::SeqCst);
        match FLAW {
            UNPUNCTUAL => {
                let limit = request.limit.unwrap_or(self.pool.config().pool_timeout);
                self.pool.acquire_with(request.within(limit + Duration::from_millis(30))).await
            }
            BARGING if self.pool.status().open > 0 => loop {
                if let Some(lease) = self.pool.try_acquire_with(request) {
                    return Ok(lease);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            },
            LOSING if loan % 7 == 6 => {
                std::mem::forget(self.pool.acquire_with(request).await?);
                self.pool.acquire_with(request).await
            }
            WITHOUT_CAP if self.pool.status().in_use == self.pool.status().limit() => {
                self.more.acquire_with(request).await
            }
            SWALLOWING => self.pool.acquire_with(request).await.map_err(|_| PoolError::Closed),
            LENDING_AFTER_CLOSE if self.pool.is_closed() => self.more.acquire_with(request).await,
            HOARDING => {
                let lease = self.pool.acquire_with(request).await?;
                let mut hoard = self.hoard.lock().unwrap();
                if hoard.is_empty() && self.pool.status().limit() > 1 {
                    hoard.extend(self.pool.try_acquire_with(request));
                }
                Ok(lease)
            }
            _ => self.pool.acquire_with(request).await,
        }
    }

    fn try_acquire_with(&self, request: Request) -> Option<Lease<Self::Connection>> {
        Pool::try_acquire_with(&self.pool, request)
    }

    fn status(&self) -> Status {
        let mut status = self.pool.status();
        if FLAW == MISCOUNTING && status.in_use > 1 {
            status.open -= 1;
        }
        status
    }

    async fn close_within(&self, limit: Duration) -> CloseReport {
        if FLAW == NEVER_CLOSING {
            CloseReport::clean(Duration::ZERO)
        } else {
            self.pool.close_within(limit).await
        }
    }
}

impl<const FLAW: u8> PoolUnderTest for Flawed<FLAW> {
    type Manager = Scripted;
    type Base = QueuePool<Scripted>;

    const CAN: &'static [Capability] = &[Capability::Exclusive, Capability::Keeps];

    fn over(pool: QueuePool<Scripted>) -> Self {
        let more =
            QueuePool::builder(pool.manager().clone()).config(pool.config()).build().unwrap();
        Self { pool, more, loans: Arc::default(), hoard: Arc::default() }
    }

    fn queue(&self) -> Option<&QueuePool<Scripted>> {
        Some(&self.pool)
    }

    fn invalidate_all(&self, how: Invalidate) {
        if FLAW != STALE {
            self.pool.invalidate_all(how);
        }
    }
}

/// Runs a case and returns true if it passed.
pub fn passes<F, P, Played>(
    fixture: F,
    claims: &[Capability],
    case: impl FnOnce(Stage<FixtureAndPool<F, P>>) -> Played,
) -> bool
where
    F: Fixture,
    P: PoolUnderTest<Manager = ScriptedManager<F::Manager>>,
    Played: Future<Output = ()>,
{
    let run = std::panic::AssertUnwindSafe(|| {
        suite::run::<F, P, Played>(fixture, claims, &[], "a case", case)
    });
    // Only the outcome counts; the panic message would clutter the output of a passing test.
    catch_unwind(run).map_err(|panic: Box<dyn Any + Send>| drop(panic)).is_ok()
}

const PAUSED: &[Capability] = &[Capability::PausedClock];

macro_rules! falls {
    ($($test:ident: $flaw:ident falls at $case:ident;)*) => {
        $(
            #[test]
            fn $test() {
                let case = |stage| suite::$case(stage);
                assert!(passes::<_, Flawed<SOUND>, _>(|| async { Nowhere }, PAUSED, case));
                let case = |stage| suite::$case(stage);
                assert!(!passes::<_, Flawed<$flaw>, _>(|| async { Nowhere }, PAUSED, case));
            }
        )*
    };
}

falls! {
    a_pool_that_is_late_is_seen: UNPUNCTUAL falls at c40_a_wait_ends_at_its_deadline;
    a_pool_without_a_queue_is_seen: BARGING falls at c30_waiters_are_served_in_order_of_arrival;
    a_pool_in_which_newcomers_pass_is_seen: BARGING
        falls at c31_a_new_caller_does_not_overtake_a_woken_waiter;
    a_pool_that_loses_slots_is_seen: LOSING falls at c04_a_crowd_is_served_by_few_connections;
    a_pool_that_lends_what_is_out_of_date_is_seen: STALE
        falls at c56_after_an_invalidation_nothing_older_is_lent;
    a_pool_that_says_closed_and_is_not_is_seen: NEVER_CLOSING
        falls at c84_everything_that_was_opened_is_closed;
    a_pool_that_closes_and_keeps_waiters_is_seen: NEVER_CLOSING
        falls at c80_close_fails_all_waiters_at_once;
    a_pool_without_a_limit_is_seen: WITHOUT_CAP
        falls at c20_nothing_beyond_the_limit_is_open_at_any_instant;
    a_pool_that_miscounts_is_seen: MISCOUNTING falls at c03_the_status_shows_every_step;
    a_pool_that_swallows_the_cause_is_seen: SWALLOWING
        falls at c93_a_timeout_names_the_last_connect_error;
    a_pool_that_hoards_is_seen: HOARDING
        falls at c20_nothing_beyond_the_limit_is_open_at_any_instant;
    a_pool_that_lends_after_close_is_seen: LENDING_AFTER_CLOSE
        falls at c80_after_close_every_acquire_is_refused;
}

/// A device that answers in order, like every server on one connection: queries that were sent and
/// not read are answered first.
struct Device {
    tracked: bool,
    honest_ping: bool,
}

#[derive(Default)]
struct Wire {
    answers: std::collections::VecDeque<i64>,
    asking: bool,
    dead: AtomicBool,
    asked: AtomicI64,
}

impl Manager for Device {
    type Connection = Wire;
    type Error = io::Error;

    async fn connect(&self, _: &ConnectInfo) -> io::Result<Wire> {
        Ok(Wire::default())
    }

    async fn ping(&self, wire: &mut Wire) -> io::Result<()> {
        let dead = self.honest_ping && wire.dead.load(Ordering::SeqCst);
        if dead { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    fn triage(&self, wire: &mut Wire) -> millpond_core::Triage {
        if self.tracked && wire.asking {
            millpond_core::Triage::Discard
        } else {
            millpond_core::Triage::Keep
        }
    }
}

struct Bench(fn() -> Device);

impl Fixture for Bench {
    type Manager = Device;

    async fn manager(&self) -> Result<Device, String> {
        Ok((self.0)())
    }

    async fn ask(&self, wire: &mut Wire, number: i64) -> Result<i64, millpond_core::BoxError> {
        wire.asking = true;
        wire.answers.push_back(number);
        wire.asked.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let answer = wire.answers.pop_front();
        wire.asking = false;
        answer.ok_or_else(|| "no answer".into())
    }

    async fn kill(&self, wire: &mut Wire) -> Result<(), millpond_core::BoxError> {
        wire.dead.store(true, Ordering::SeqCst);
        Ok(())
    }
}

fn device(make: fn() -> Device, case: &str) -> bool {
    let claims = &[Capability::PausedClock, Capability::Answers, Capability::Dies];
    match case {
        "c57" => passes::<_, QueuePool<_>, _>(Bench(make), claims, |s| {
            suite::c57_an_answer_never_reaches_another_borrower(s)
        }),
        _ => passes::<_, QueuePool<_>, _>(Bench(make), claims, |s| {
            suite::c59_a_connection_that_its_server_has_ended_is_not_lent_again(s)
        }),
    }
}

#[test]
fn a_manager_that_keeps_connections_out_of_sync_fails() {
    assert!(device(|| Device { tracked: true, honest_ping: true }, "c57"));
    assert!(!device(|| Device { tracked: false, honest_ping: true }, "c57"));
}

#[test]
fn a_manager_whose_ping_always_succeeds_fails() {
    assert!(device(|| Device { tracked: true, honest_ping: true }, "c59"));
    assert!(!device(|| Device { tracked: true, honest_ping: false }, "c59"));
}

#[test]
fn a_claim_without_its_method_fails() {
    assert!(!passes::<_, QueuePool<_>, _>(
        || async { Nowhere },
        &[Capability::Answers],
        |stage| { suite::c57_an_answer_never_reaches_another_borrower(stage) }
    ));
}

/// A manager that never opens anything.
struct Nothing;

impl Manager for Nothing {
    type Connection = ();
    type Error = Infallible;

    async fn connect(&self, _: &ConnectInfo) -> Result<(), Infallible> {
        std::future::pending().await
    }

    async fn ping(&self, (): &mut ()) -> Result<(), Infallible> {
        Ok(())
    }
}

#[test]
fn a_manager_that_opens_nothing_fails() {
    assert!(!passes::<_, QueuePool<_>, _>(
        || async { Nothing },
        PAUSED,
        |stage| { suite::c04_a_crowd_is_served_by_few_connections(stage) }
    ));
}
