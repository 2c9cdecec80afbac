//! Drops every future of the limiters after every number of polls, over a network that splits
//! messages.

use crate::support::{PATIENCE, subject};
use millpond_core::Invalidate;
use millpond_ratelimit::{
    Admission, CentralizedStateStorage, ConcurrencyLease, ConcurrencyLimiter, DecisionSource,
    Limit, OnOutage, RateLimiter, StorageOptions,
};
use millpond_redis::Limits;
use millpond_testkit::{ChaosProxy, Direction, Flow, poll_n, until, variable};
use std::time::Duration;

/// More polls than any operation needs.
const POLLS_MAX: usize = 2_000;

const DAY: Duration = Duration::from_secs(86_400);

/// The burst; none of it returns while the test runs.
const BURST: u32 = 1_000;

/// The limit of concurrency.
const RUN_MAX: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operation {
    Check,
    CheckAnew,
    CheckN,
    CheckTwoLimits,
    Peek,
    Enter,
    Renew,
    Release,
}

const OPERATIONS: [Operation; 8] = [
    Operation::Check,
    Operation::CheckAnew,
    Operation::CheckN,
    Operation::CheckTwoLimits,
    Operation::Peek,
    Operation::Enter,
    Operation::Renew,
    Operation::Release,
];

/// The limiters over one connection.
struct Limiters {
    storage: CentralizedStateStorage,
    one: RateLimiter,
    two: RateLimiter,
    jobs: ConcurrencyLimiter,
}

impl Limiters {
    fn over(url: &str) -> Self {
        let options =
            StorageOptions::new().limits(Limits::Off).max_connections(1).timeout(PATIENCE);
        let storage = options.on_outage(OnOutage::Closed).connect_lazy(url).unwrap();
        let one = RateLimiter::new(&storage, "one", Limit::new(BURST, DAY * 100).unwrap()).unwrap();
        let two = one.clone().and("two", Limit::new(2 * BURST, DAY * 100).unwrap()).unwrap();
        let jobs = ConcurrencyLimiter::new(&storage, "jobs", RUN_MAX, DAY).unwrap();
        Self { storage, one, two, jobs }
    }

    /// Returns the remaining capacity of both limits.
    async fn left(&self, who: &str) -> [u32; 2] {
        let decision = self.two.peek(who).await.unwrap();
        assert_eq!(decision.source, DecisionSource::Redis);
        [decision.outcomes[0].remaining, decision.outcomes[1].remaining]
    }

    /// Takes all free leases and returns their number.
    async fn free(&self, who: &str) -> u32 {
        let mut free = 0;
        loop {
            match self.jobs.enter(who).await.unwrap() {
                // Not released: the lease stays taken.
                Admission::Granted(_) => free += 1,
                Admission::Full { used, .. } => {
                    assert_eq!(used, RUN_MAX);
                    return free;
                }
            }
        }
    }

    async fn lease(&self, who: &str) -> ConcurrencyLease {
        let Admission::Granted(lease) = self.jobs.enter(who).await.unwrap() else {
            panic!("all of them run")
        };
        lease
    }
}

/// Limiters of one connection over a network that splits messages, and those of another process
/// that connect to the server directly.
struct World {
    near: Limiters,
    straight: Limiters,
    proxy: ChaosProxy,
}

impl World {
    async fn new() -> Option<Self> {
        let url = variable("MILLPOND_TEST_REDIS_URL")?;
        let place = url.split_once("://").unwrap().1.split('/').next().unwrap();
        let proxy = ChaosProxy::start(place).await.unwrap();
        Direction::BOTH
            .into_iter()
            .for_each(|direction| proxy.set(direction, Flow::free().in_pieces_of(4)));
        Some(Self {
            near: Limiters::over(&proxy.reroute(&url)),
            straight: Limiters::over(&url),
            proxy,
        })
    }

    /// Returns a subject that has used up so much that the answer for another one can be
    /// recognised.
    async fn somebody(&self) -> (String, u32) {
        let (who, used) = (subject("anywhere"), fastrand::u32(1..BURST / 2));
        assert!(self.straight.two.check_n(&who, used).await.unwrap().allowed);
        (who, used)
    }

    /// Polls an operation at most this number of times; true if it finished.
    async fn done_within(&self, polls: usize, operation: Operation) -> bool {
        let Self { near, straight, .. } = self;
        match operation {
            Operation::Enter | Operation::Renew | Operation::Release => {
                return self.run_within(polls, operation).await;
            }
            Operation::CheckAnew => near.storage.pool().invalidate_all(Invalidate::Soft),
            _ => {}
        }
        let (who, used) = self.somebody().await;
        let (cost, decision) = match operation {
            Operation::CheckN => (7, poll_n(near.one.check_n(&who, 7), polls).await),
            Operation::CheckTwoLimits => (7, poll_n(near.two.check_n(&who, 7), polls).await),
            Operation::Peek => (0, poll_n(near.one.peek(&who), polls).await),
            _ => (1, poll_n(near.one.check(&who), polls).await),
        };
        let of_two = if operation == Operation::CheckTwoLimits { cost } else { 0 };
        let (before, after) =
            ([BURST - used, 2 * BURST - used], [BURST - used - cost, 2 * BURST - used - of_two]);
        let left = straight.left(&who).await;
        let Some(decision) = decision.map(Result::unwrap) else {
            assert!(
                left == before || left == after,
                "{operation:?}: {left:?}, {before:?}, {after:?}: charged in part"
            );
            return false;
        };
        assert!(
            decision.allowed && decision.source == DecisionSource::Redis,
            "{operation:?}: {decision:?}"
        );
        assert_eq!((decision.remaining(), left), (after[0], after), "{operation:?}");
        true
    }

    /// The same for operations of the concurrency limiter.
    async fn run_within(&self, polls: usize, operation: Operation) -> bool {
        let Self { near, straight, .. } = self;
        let who = subject("running");
        let first = near.lease(&who).await;
        let (ended, free) = match operation {
            Operation::Enter => {
                match poll_n(near.jobs.enter(&who), polls).await.map(Result::unwrap) {
                    Some(Admission::Granted(second)) => {
                        assert!(second.renew().await.unwrap());
                        (true, 1..=1)
                    }
                    Some(full) => panic!("{full:?}"),
                    None => (false, 1..=2),
                }
            }
            Operation::Renew => {
                let renewed = poll_n(first.renew(), polls).await.map(Result::unwrap);
                assert!(
                    renewed.unwrap_or(true) && first.renew().await.unwrap(),
                    "it has not expired"
                );
                (renewed.is_some(), 2..=2)
            }
            _ => match poll_n(first.release(), polls).await {
                Some(released) => (released.is_ok(), 3..=3),
                None => (false, 2..=3),
            },
        };
        let found = straight.free(&who).await;
        assert!(free.contains(&found), "{operation:?}: {found} free, not {free:?}");
        ended
    }

    /// Checks that the next decision depends only on its own subject, and that the pool has all its
    /// slots.
    async fn next_is_served(&self, operation: Operation) {
        let (who, used) = self.somebody().await;
        let decision = self.near.one.check(&who).await.unwrap();
        assert_eq!(
            (decision.source, decision.remaining()),
            (DecisionSource::Redis, BURST - used - 1),
            "after {operation:?}"
        );
        let pool = self.near.storage.pool();
        until("one connection is there and nobody waits", async || {
            let status = pool.status();
            (status.open, status.connecting, status.resetting, status.closing, status.waiting)
                == (1, 0, 0, 0, 0)
        })
        .await;
        let totals = pool.status().totals;
        let ended = totals.succeeded + totals.timed_out + totals.cancelled + totals.failed;
        assert_eq!(totals.acquires, ended, "after {operation:?}");
    }
}

#[tokio::test]
async fn a_dropped_operation_is_charged_wholly_or_not_at_all_and_the_next_decision_is_right() {
    let Some(world) = World::new().await else { return };
    let mut cuts = 0;
    for operation in OPERATIONS {
        let mut polls = 0;
        while !world.done_within(polls, operation).await {
            polls += 1;
            assert!(polls < POLLS_MAX, "{operation:?} is polled without end");
            world.next_is_served(operation).await;
        }
        cuts += polls;
        world.next_is_served(operation).await;
    }
    assert!(cuts > OPERATIONS.len(), "{cuts} cuts: the messages came in one piece");
    let open = || world.proxy.links().iter().filter(|link| link.is_open()).count();
    until("one connection is left", async || open() == 1).await;
}

#[tokio::test]
async fn a_lease_whose_caller_was_dropped_is_free_when_it_expires() {
    let Some(world) = World::new().await else { return };
    let jobs = ConcurrencyLimiter::new(&world.near.storage, "jobs", 1, Duration::from_millis(100))
        .unwrap();
    for polls in 0..POLLS_MAX {
        let who = subject("untold");
        let ended = poll_n(jobs.enter(&who), polls).await.is_some();
        until("its place is free", async || {
            matches!(jobs.enter(&who).await.unwrap(), Admission::Granted(_))
        })
        .await;
        if ended {
            return;
        }
    }
    panic!("it is polled without end");
}
