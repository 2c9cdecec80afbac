//! A random walk through everything one can do to a pool: at each step, and at the end, the books
//! balance.

use crate::support::{Loan, Pool, World, assert_books, assert_books_closed, ms, secs, settle};
use millpond_core::{CloseReason, HookPoint, Invalidate, Lease, PoolError, Status};
use millpond_testkit::{Act, ByHand, Call};
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep};

type Acquire = Pin<Box<dyn Future<Output = Result<Loan, PoolError>> + Send>>;

/// A caller who has not got an answer yet.
struct Caller {
    /// Its arrival number.
    number: u64,
    acquire: ByHand<Acquire>,
    wakes_seen: usize,
    since: Instant,
    limit: Duration,
}

pub struct Walk {
    pub world: World,
    pub dice: fastrand::Rng,
    pub loans: Vec<Loan>,
    callers: Vec<Caller>,
    asked: u64,
    /// Whether nothing is validated before it is lent, so that callers are answered strictly in
    /// turn.
    plain: bool,
    /// The generation at the last look: with each new one, what was granted may be taken back.
    generation: u64,
    /// The largest cap that still has connections under it.
    cap: usize,
    answered: u64,
    /// What was planned to go wrong, and who went away.
    pub faults: u64,
}

impl Walk {
    pub fn new(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let world = World::hooked(4, 3, |builder| {
            let builder = builder
                .pre_ping_idle(ms(20))
                .fail_fast_after(secs(2))
                .pool_timeout(secs(4))
                .max_connecting(2);
            let builder =
                if dice.bool() { builder.min_idle(2).idle_timeout(secs(1)) } else { builder };
            let builder = if dice.bool() { builder.max_waiters(5) } else { builder };
            let builder = if dice.bool() {
                builder.overflow_after(ms(30)).overflow_linger(ms(300))
            } else {
                builder
            };
            builder
                .ping_timeout(ms(200))
                .hook_timeout(ms(300))
                .connect_timeout(secs(1))
                .close_timeout(ms(500))
        });
        Self::over(world, dice)
    }

    /// A walk over a pool of four and three that has neither pings, nor hooks, nor an observer:
    /// what can be lent, waited for and given back in the shortest way is.
    pub fn plain(seed: u64) -> Self {
        let world = World::unwatched(4, 3, |builder| {
            let builder = builder.fail_fast_after(secs(2)).pool_timeout(secs(4)).max_connecting(2);
            builder.ping_timeout(ms(200)).connect_timeout(secs(1)).close_timeout(ms(500))
        });
        Self { plain: true, ..Self::over(world, fastrand::Rng::with_seed(seed)) }
    }

    fn over(world: World, dice: fastrand::Rng) -> Self {
        let (loans, callers, cap) = (Vec::new(), Vec::new(), world.pool.status().limit() as usize);
        Self {
            world,
            dice,
            loans,
            callers,
            asked: 0,
            plain: false,
            generation: 0,
            cap,
            answered: 0,
            faults: 0,
        }
    }

    fn pool(&self) -> &Pool {
        &self.world.pool
    }

    /// One operation, chosen at random.
    pub fn step(&mut self) {
        match self.dice.u32(0..100) {
            0..30 => self.ask(),
            30..55 => self.give_back(),
            55..60 => self.end_a_loan(|lease| Lease::discard(lease, CloseReason::Interrupted)),
            60..63 => self.end_a_loan(|lease| drop(Lease::detach(lease))),
            63..68 => self.end_a_loan(|mut lease| lease.set_dirty(true)),
            68..75 => self.cancel(),
            75..80 => self.try_to_take(),
            80..90 => self.plan(),
            90..93 => self.world.manager.heal(),
            93..95 => self.resize(),
            95..96 => self.pool().invalidate_all(Invalidate::Soft),
            96..97 => self.pool().invalidate_all(Invalidate::Hard),
            97..98 => self.pool().suspend(),
            _ => self.pool().resume(),
        }
    }

    pub fn ask(&mut self) {
        let limit = ms(self.dice.u64(0..2_000));
        let acquire: Acquire = Box::pin(self.pool().acquire_within(limit));
        self.asked += 1;
        let number = self.asked;
        let caller = Caller {
            number,
            acquire: ByHand::new(acquire),
            wakes_seen: usize::MAX,
            since: Instant::now(),
            limit,
        };
        self.callers.push(caller);
    }

    fn try_to_take(&mut self) {
        if let Some(lease) = self.world.pool.try_acquire() {
            self.take(lease);
        }
    }

    fn take(&mut self, lease: Loan) {
        assert!(!lease.is_dirty(), "I11: nobody gets what another one left dirty");
        let lendable = self.pool().status().generation;
        assert_eq!(
            lease.generation(),
            lendable,
            "I19: what is lent is older than the last invalidation"
        );
        self.loans.push(lease);
    }

    fn give_back(&mut self) {
        self.end_a_loan(drop);
    }

    fn end_a_loan(&mut self, end: impl FnOnce(Loan)) {
        if !self.loans.is_empty() {
            let chosen = self.dice.usize(..self.loans.len());
            end(self.loans.swap_remove(chosen));
        }
    }

    fn cancel(&mut self) {
        if !self.callers.is_empty() {
            let chosen = self.dice.usize(..self.callers.len());
            drop(self.callers.swap_remove(chosen));
            self.faults += 1;
        }
    }

    /// Something will go wrong, or slowly, in one of the next calls.
    fn plan(&mut self) {
        let points = [
            HookPoint::FirstConnect,
            HookPoint::Connect,
            HookPoint::Checkout,
            HookPoint::Checkin,
            HookPoint::Close,
        ];
        let call = match self.dice.u32(0..8) {
            0 | 1 => Call::Connect,
            2 => Call::Ping,
            3 => Call::Triage,
            4 => Call::Reset,
            5 => Call::Close,
            _ => Call::Hook(points[self.dice.usize(..points.len())]),
        };
        let end = match self.dice.u32(0..12) {
            0..4 => Act::transient("scripted"),
            4..6 => Act::broken("scripted"),
            6 => Act::permanent("scripted"),
            7 => Act::failover("scripted"),
            8 => Act::Panic,
            9 => Act::Never,
            _ => Act::Ok,
        };
        let act =
            if self.dice.bool() { Act::slow(ms(self.dice.u64(0..600))).then(end) } else { end };
        self.world.manager.next(call, [act]);
        self.faults += 1;
    }

    fn resize(&mut self) {
        let (size, overflow) = (self.dice.u32(2..6), self.dice.u32(0..4));
        let before = self.pool().status();
        if self.pool().resize(size, overflow).is_ok() {
            self.cap = (size + overflow).max(before.open + before.connecting) as usize;
        }
    }

    /// Polls the callers who were woken, as a runtime would.
    pub fn poll_callers(&mut self) {
        let mut served = None;
        for mut caller in std::mem::take(&mut self.callers) {
            let wakes = caller.acquire.wakes();
            let answer =
                if wakes == caller.wakes_seen { Poll::Pending } else { caller.acquire.poll() };
            caller.wakes_seen = wakes;
            match answer {
                Poll::Pending => self.callers.push(caller),
                Poll::Ready(answer) => {
                    served = served.max(answer.is_ok().then_some(caller.number));
                    self.take_answer(answer, &caller);
                }
            }
        }
        let generation = self.pool().status().generation;
        if self.plain && std::mem::replace(&mut self.generation, generation) == generation {
            let passed = self.callers.iter().find(|caller| Some(caller.number) < served);
            assert!(
                passed.is_none(),
                "I5: caller {served:?} was served before caller {:?}",
                passed.map(|one| one.number)
            );
        }
    }

    fn take_answer(&mut self, answer: Result<Loan, PoolError>, caller: &Caller) {
        self.answered += 1;
        match answer {
            Ok(lease) => self.take(lease),
            Err(error) if error.is_timeout() => {
                assert!(caller.since.elapsed() >= caller.limit, "too early: {error}")
            }
            Err(_) => {}
        }
    }

    pub fn check(&mut self, seed: u64) {
        let status = self.pool().status();
        assert_books(&status);
        let places = (status.open + status.connecting) as usize;
        // Besides those that hang: one since 250 ms and one since 500 ms, and after a second they
        // are cut off.
        assert!(
            status.connecting <= 2 + 2,
            "I20: seed {seed}: more than max_connecting at once: {status:?}"
        );
        assert!(
            places <= self.cap,
            "seed {seed}: {places} places, the cap is {}: {status:?}",
            self.cap
        );
        self.cap = (status.limit() as usize).max(places);
        let (alive, sockets) = (self.world.manager.alive(), self.world.manager.sockets());
        assert!(sockets <= places, "seed {seed}: {sockets} sockets in {places} places: {status:?}");
        assert!(alive >= status.open as usize, "seed {seed}: {alive} alive: {status:?}");
        assert!(
            status.in_use as usize >= self.loans.len(),
            "seed {seed}: {} are out: {status:?}",
            self.loans.len()
        );
        for caller in &self.callers {
            let late = caller.since.elapsed().saturating_sub(caller.limit);
            assert!(late <= ms(100), "seed {seed}: a caller has waited {late:?} beyond its limit");
        }
    }

    /// Nobody waits while something could be lent: checked when nothing is in motion.
    fn check_nobody_sleeps_needlessly(status: &Status) {
        let free = status.idle > 0 || (status.open + status.connecting < status.limit());
        assert!(!(status.waiting > 0 && free && !status.suspended), "{status:?}");
    }

    pub async fn finish(mut self, seed: u64) {
        self.world.manager.heal();
        self.pool().resume();
        self.callers.clear();
        self.loans.clear();
        sleep(secs(30)).await;
        let status = self.pool().status();
        assert_books_closed(&status);
        assert_eq!(
            (status.in_use, status.resetting, status.closing, status.connecting),
            (0, 0, 0, 0),
            "seed {seed}"
        );
        let connects = self.world.manager.calls(Call::Connect);
        sleep(secs(300)).await;
        assert_eq!(
            self.world.manager.calls(Call::Connect),
            connects,
            "I20: seed {seed}: opened although nobody asks"
        );
        self.world.assert_sound().await;
        assert!(self.world.pool.close().await.is_clean());
        settle().await;
        let status = self.pool().status();
        assert_books_closed(&status);
        assert_eq!((status.open, self.world.manager.sockets()), (0, 0), "seed {seed}: {status:?}");
        assert!(self.answered > 300, "seed {seed}: {} answers", self.answered);
    }
}

#[tokio::test(start_paused = true)]
async fn after_any_mix_of_operations_and_faults_the_books_balance() {
    for seed in 0..12 {
        let mut walk = Walk::new(seed);
        for _ in 0..3_000 {
            walk.step();
            walk.poll_callers();
            let pause = walk.dice.u64(0..12);
            sleep(ms(pause)).await;
            walk.poll_callers();
            walk.check(seed);
        }
        walk.finish(seed).await;
    }
}

/// With a server that always answers, every quiet moment is one at which nobody waits for what is
/// there.
#[tokio::test(start_paused = true)]
async fn nobody_ever_waits_for_what_is_there() {
    for seed in 0..8 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let world = World::with(3, 2, |builder| builder.pool_pre_ping(false));
        let mut walk = Walk::over(world, dice.fork());
        for _ in 0..2_000 {
            match dice.u32(0..100) {
                0..40 => walk.ask(),
                40..70 => walk.give_back(),
                70..75 => walk.end_a_loan(|lease| Lease::discard(lease, CloseReason::Interrupted)),
                75..80 => walk.end_a_loan(|lease| drop(Lease::detach(lease))),
                80..85 => walk.end_a_loan(|mut lease| lease.set_dirty(true)),
                85..95 => walk.cancel(),
                _ => walk.resize(),
            }
            walk.poll_callers();
            sleep(ms(2)).await;
            walk.poll_callers();
            sleep(ms(2)).await;
            Walk::check_nobody_sleeps_needlessly(&walk.pool().status());
            walk.check(seed);
        }
        walk.finish(seed).await;
    }
}
