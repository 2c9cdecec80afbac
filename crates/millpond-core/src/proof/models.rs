//! Exhaustive models of the hand-off: every order in which a few threads can meet in the pool's own
//! code.
//!
//! Callers run the real `Acquire`, returns are dropped leases, and what the maintenance task would
//! do is done by its real jobs in one of the threads. Nothing here is a copy. `cargo xtask models`
//! runs them and counts the orders that were tried.
//!
//! The clock stands still, so nobody times out: a waiter to whom nothing comes hangs, and that is
//! found.

use crate::ConnectInfo;
use crate::PoolConfig;
use crate::engine::{Acquire, Closing, PoolParts, Shared, SlotGuard, close_connection, connect};
use crate::error::PoolError;
use crate::hooks::HookLists;
use crate::lease::Lease;
use crate::ledger::Job;
use crate::manager::Manager;
use crate::proof::paused_runtime;
use crate::request::Request;
use crate::rt::Time;
use crate::rt::lock::AtomicBool;
use crate::rt::lock::model::{block_on, explore, thread};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Opens connections at once, after so many failures. It counts what is alive for itself.
struct Server {
    fails: AtomicU32,
    alive: Arc<AtomicU32>,
}

struct Wire(Arc<AtomicU32>);

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Manager for Server {
    type Connection = Wire;
    type Error = io::Error;

    async fn connect(&self, _: &ConnectInfo) -> io::Result<Wire> {
        let fails = |left: u32| left.checked_sub(1);
        if self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return Err(io::Error::other("scripted"));
        }
        self.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Wire(Arc::clone(&self.alive)))
    }

    async fn ping(&self, _: &mut Wire) -> io::Result<()> {
        Ok(())
    }
}

type Loan = Lease<Wire>;

/// A pool of so many slots, and its maintenance task's part.
#[derive(Clone)]
struct World(Arc<Shared<Server>>);

impl World {
    fn new(slots: u32) -> Self {
        let server = Server { fails: AtomicU32::new(0), alive: Arc::default() };
        let mut config = PoolConfig::default();
        config.pool_size = slots;
        config.max_overflow = 0;
        let parts = PoolParts {
            manager: server,
            config,
            name: Arc::from("model"),
            hooks: HookLists::new(),
            observers: Vec::new(),
            runtime: None,
        };
        let shared = Arc::new(Shared::new(parts, "QueuePool", true));
        shared.change(|ledger, now| {
            ledger.maintenance_starts(paused_runtime().handle().clone(), now)
        });
        Self(shared)
    }

    /// The same where many have waited before: then the shortest ways in and out are taken.
    fn contended(slots: u32) -> Self {
        let world = Self::new(slots);
        world.0.change(|ledger, _| ledger.register_deadlines());
        world.0.unlocked.contended.store(true, Ordering::Relaxed);
        world
    }

    fn acquire(&self) -> Acquire<Server> {
        Acquire::new(&self.0, Request::here())
    }

    /// Waits for a connection, however long it takes.
    fn wait(&self) -> Result<Loan, PoolError> {
        block_on(self.acquire())
    }

    /// One who waits already.
    fn waiter(&self) -> Pin<Box<Acquire<Server>>> {
        let mut acquire = Box::pin(self.acquire());
        assert!(acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        acquire
    }

    /// Asks, does not wait, and goes away.
    fn ask_once(&self) {
        let mut acquire = pin!(self.acquire());
        drop(acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    }

    /// A connection that is opened for this.
    fn lend(&self) -> Loan {
        let mut acquire = pin!(self.acquire());
        for _ in 0..2 {
            if let Poll::Ready(lease) =
                acquire.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                return lease.expect("the server opens one");
            }
            self.keep();
        }
        panic!("no connection came");
    }

    /// The maintenance task's part, until there is nothing left to do. Pauses after failures are
    /// over at once.
    fn keep(&self) {
        loop {
            let later = Time::at(Duration::from_secs(1));
            let turn = self.0.change_at(later, |ledger, now| ledger.turn(now));
            if turn.jobs.is_empty() {
                return;
            }
            turn.jobs.into_iter().for_each(|job| self.perform(job));
        }
    }

    fn perform(&self, job: Job<Wire>) {
        let shared = Arc::clone(&self.0);
        match job {
            Job::Connect(attempt) => {
                block_on(connect(SlotGuard::new(shared, attempt.slot), attempt))
            }
            Job::Close(held, reason) => {
                block_on(close_connection(Closing::new(shared, held, reason)))
            }
            Job::Checkin { .. } | Job::Validate(_) | Job::Complete(_) => {
                panic!("nothing is reset or validated here")
            }
        }
    }

    /// Every slot can be used, and there is not one more.
    fn assert_sound(&self, slots: u32) {
        self.keep();
        let loans: Vec<Loan> = (0..slots).map(|_| self.lend()).collect();
        let status = self.0.read(|ledger| ledger.status(Time::ZERO));
        assert_eq!((status.in_use, status.open, status.waiting), (slots, slots, 0), "{status:?}");
        let mut one_more = pin!(self.acquire());
        assert!(one_more.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(self.alive(), slots);
        drop(loans);
    }

    fn alive(&self) -> u32 {
        self.0.manager.alive.load(Ordering::SeqCst)
    }
}

/// Tries every order and says how many there were.
fn model(name: &str, preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let _here = paused_runtime().enter();
    let tried = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&tried);
    explore(preemptions, move || {
        count.fetch_add(1, Ordering::Relaxed);
        body();
    });
    println!("{} interleavings: {name}", tried.load(Ordering::Relaxed));
}

fn spawn(world: &World, action: impl FnOnce(&World) + Send + 'static) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || action(&world))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
}

/// One who waits until served, and gives back.
fn served(world: &World) {
    drop(world.wait().expect("it is served"));
}

#[test]
fn a_return_and_a_cancel_lose_nothing() {
    for (name, world) in
        [("plain", World::new as fn(u32) -> World), ("contended", World::contended)]
    {
        model(&format!("return against cancel, {name}"), 6, move || {
            let world = world(1);
            let lease = world.lend();
            let threads = [spawn(&world, World::ask_once), spawn(&world, served)];
            drop(lease);
            join(threads);
            world.assert_sound(1);
        });
    }
}

#[test]
fn two_returns_serve_two_waiters() {
    for (name, world) in
        [("plain", World::new as fn(u32) -> World), ("contended", World::contended)]
    {
        model(&format!("return against return with two waiters, {name}"), 3, move || {
            let world = world(2);
            let (one, two) = (world.lend(), world.lend());
            let threads =
                [spawn(&world, served), spawn(&world, served), spawn(&world, |_| drop(two))];
            drop(one);
            join(threads);
            world.assert_sound(2);
        });
    }
}

#[test]
fn a_close_against_an_acquire_and_a_return_leaves_nothing_open() {
    model("close against acquire and return", 6, || {
        let world = World::new(1);
        let lease = world.lend();
        let caller = spawn(&world, |world| match world.wait() {
            Ok(lease) => drop(lease),
            Err(error) => assert!(error.is_closed(), "{error}"),
        });
        let closer = spawn(&world, |world| world.0.begin_close());
        drop(lease);
        join([caller, closer]);
        world.keep();
        let status = world.0.read(|ledger| ledger.status(Time::ZERO));
        assert_eq!((status.open, status.waiting, world.alive()), (0, 0, 0), "{status:?}");
        assert!(world.wait().is_err_and(|error| error.is_closed()));
    });
}

#[test]
fn a_resize_against_an_acquire_and_a_return_keeps_to_the_new_size() {
    for (before, after) in [(2, 1), (1, 2)] {
        model(
            &format!("resize from {before} to {after} against acquire and return"),
            6,
            move || {
                let world = World::new(before);
                let leases: Vec<Loan> = (0..before).map(|_| world.lend()).collect();
                let caller = spawn(&world, served);
                let resizer = spawn(&world, move |world| {
                    world.0.change(|ledger, now| ledger.resize(after, 0, now))
                });
                drop(leases);
                join([caller, resizer]);
                world.assert_sound(after);
            },
        );
    }
}

#[test]
fn a_failed_connect_strands_neither_of_two_waiters() {
    model("create failure against two waiters", 4, || {
        let world = World::new(1);
        world.0.manager.fails.store(1, Ordering::SeqCst);
        let waiters = [world.waiter(), world.waiter()];
        let threads = waiters
            .map(|waiter| thread::spawn(move || drop(block_on(waiter).expect("it is served"))));
        // The maintenance task's first attempt fails, its second one does not.
        world.keep();
        join(threads);
        world.assert_sound(1);
    });
}

#[test]
fn once_an_invalidation_has_returned_nothing_older_is_lent() {
    type Change = fn(&World);
    let changes: [(&str, Change); 2] = [
        ("invalidation", |world| world.0.invalidate_all(false)),
        ("suspension", |world| world.0.change(|ledger, now| ledger.suspend(now))),
    ];
    for (name, change) in changes {
        model(&format!("{name} against return and look"), 5, move || {
            let world = World::contended(1);
            let lease = world.lend();
            let mut waiter = world.waiter();
            let over = Arc::new(AtomicBool::new(false));
            let done = Arc::clone(&over);
            let changer = spawn(&world, move |world| {
                change(world);
                done.store(true, Ordering::SeqCst);
            });
            let giver = spawn(&world, move |_| drop(lease));
            let late = over.load(Ordering::SeqCst);
            if let Poll::Ready(lent) = waiter.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                assert!(!late, "what was out of date was lent: {lent:?}");
            }
            join([changer, giver]);
            drop(waiter);
            world.0.change(|ledger, now| ledger.resume(now));
            world.assert_sound(1);
        });
    }
}
