//! The fast paths against the paths that they shorten: after the same random events, two ledgers
//! are the same, whether the fast paths are tried or not.

use super::*;
use crate::error::share;
use crate::ledger::effects::Effect;
use crate::ledger::entry::{Answer, Job, PoolTraits, Verdict};
use crate::proof::paused_runtime;
use crate::{ErrorClass, PoolConfig, SharedError};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const WORLDS: u64 = 80;
const EVENTS: u32 = 300;

/// Indices are taken modulo the length of what they point into.
#[derive(Debug, Clone, Copy)]
enum Event {
    Ask { contended: bool },
    Return(usize),
    GiveUp(usize),
    Turn,
    JobEnds { which: usize, well: bool },
    Resize(u32, u32),
    Suspend,
    Resume,
    Invalidate,
    Suspect,
}

struct World {
    ledger: Ledger<u32>,
    fast: bool,
    /// How often each fast path was taken: a loan, a place in the queue, a granted connection, a
    /// return.
    shortcuts: [u32; 4],
    loans: Vec<PooledConnection<u32>>,
    waiting: Vec<(Ticket<Grant<u32>>, Claimant)>,
    jobs: Vec<Job<u32>>,
    now: Time,
}

impl World {
    fn new(config: PoolConfig, keeps: bool, seed: u64, fast: bool) -> Self {
        let traits = PoolTraits {
            name: Arc::from("test"),
            kind: "QueuePool",
            keeps,
            first_connect_hooks: false,
            checkout_hooks: false,
            checkin_hooks: false,
        };
        let mut ledger = Ledger::new(config, traits, seed);
        ledger.maintenance_starts(paused_runtime().handle().clone(), Time::ZERO);
        let (loans, waiting, jobs) = (Vec::new(), Vec::new(), Vec::new());
        Self { ledger, fast, shortcuts: [0; 4], loans, waiting, jobs, now: Time::ZERO }
    }

    fn happens(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Ask { contended } => self.ask(contended),
            Event::Return(which) if !self.loans.is_empty() => {
                let held = self.loans.swap_remove(which % self.loans.len());
                self.put_back(held);
            }
            Event::GiveUp(which) if !self.waiting.is_empty() => {
                let (ticket, claimant) = self.waiting.remove(which % self.waiting.len());
                self.ledger.cancel(Some(ticket), &claimant, now);
            }
            Event::JobEnds { which, well } if !self.jobs.is_empty() => {
                let job = self.jobs.swap_remove(which % self.jobs.len());
                self.job_ends(job, well);
            }
            Event::Turn => {
                self.jobs.extend(self.ledger.turn(now).jobs);
                self.ledger.try_sleep(&mut Some(Waker::noop().clone()));
            }
            Event::Resize(size, overflow) => self.ledger.resize(size, overflow, now),
            Event::Suspend => self.ledger.suspend(now),
            Event::Resume => self.ledger.resume(now),
            Event::Invalidate => drop(self.ledger.invalidate_all(false, now)),
            Event::Suspect => self.ledger.mark_suspect(now, now),
            Event::Return(_) | Event::GiveUp(_) | Event::JobEnds { .. } => {}
        }
        self.follow();
        for (ticket, claimant) in std::mem::take(&mut self.waiting) {
            self.poll(ticket, claimant);
            self.follow();
        }
    }

    fn ask(&mut self, contended: bool) {
        let caller = Caller { location: Location::caller(), label: None, task: None };
        let mut claimant = Claimant::new(caller, Duration::from_secs(30), false);
        let (now, mut waker) = (self.now, Some(Waker::noop().clone()));
        if self.fast && contended {
            if let Some(ticket) = self.ledger.join_fresh(&mut claimant, &mut waker, now) {
                self.shortcuts[1] += 1;
                self.waiting.push((ticket, claimant));
                return;
            }
        } else if self.fast
            && let Some(held) = self.ledger.take_fresh(caller, now)
        {
            self.shortcuts[0] += 1;
            self.loans.push(held);
            return;
        }
        let answer = self.ledger.begin(&mut claimant, &mut waker, now);
        self.follow_answer(answer, claimant);
    }

    /// A ping that is due is answered.
    fn follow_answer(&mut self, answer: Answer<u32>, mut claimant: Claimant) {
        let now = self.now;
        let next = match answer {
            Answer::Lent(held) => return self.loans.push(held),
            Answer::Queued { ticket, .. } => return self.waiting.push((ticket, claimant)),
            Answer::Failed(_) => return,
            Answer::NeedsMaintenance => panic!("there is a maintenance task"),
            Answer::Validate(mut held, phase) => {
                held.inner.meta.validated_at = now;
                self.ledger.validated(held, phase, &mut claimant, now)
            }
            Answer::AskAgain | Answer::Refused(_) => {
                self.ledger.claim(&mut claimant, &mut Some(Waker::noop().clone()), now)
            }
        };
        self.follow_answer(next, claimant);
    }

    fn poll(&mut self, ticket: Ticket<Grant<u32>>, mut claimant: Claimant) {
        let (now, lendable) = (self.now, self.ledger.unlocked().lendable.load(Ordering::Relaxed));
        let ping_after = self.ledger.ping_after;
        let fresh = |granted: &Grant<u32>| match granted {
            Grant::Ready(held) => held.inner.meta.is_fresh(lendable, ping_after, now),
            _ => false,
        };
        if self.fast
            && let Some(Grant::Ready(mut held)) = ticket.cell.take_if(fresh)
        {
            self.shortcuts[2] += 1;
            held.inner.cell = Some(ticket.cell);
            self.ledger.totals.succeeded += 1;
            self.loans.push(held);
            return;
        }
        match self.ledger.poll(ticket, &mut claimant, &mut None, now) {
            Err(ticket) => self.waiting.push((ticket, claimant)),
            Ok(answer) => self.follow_answer(answer, claimant),
        }
    }

    fn put_back(&mut self, mut held: PooledConnection<u32>) {
        let now = self.now;
        if self.fast {
            match self.ledger.put_back_fresh(held, now) {
                None => return self.shortcuts[3] += 1,
                Some(considered) => held = considered,
            }
        }
        self.ledger.returned(held, Verdict::Keep, now);
    }

    fn job_ends(&mut self, job: Job<u32>, well: bool) {
        let now = self.now;
        match job {
            Job::Connect(attempt) if well => {
                self.ledger.connected(attempt.slot, &attempt, Duration::from_millis(1), now);
            }
            Job::Connect(attempt) => {
                let error: SharedError = share("scripted".into());
                self.ledger.connect_failed(&attempt, &error, ErrorClass::Transient, now);
            }
            Job::Checkin { mut held, .. } | Job::Validate(mut held) => {
                held.inner.meta.validated_at = now;
                self.ledger.settle_checked(held, now);
            }
            Job::Close(held, reason) => {
                self.ledger.connection_closed(&held.inner.meta, reason, None, now);
            }
            Job::Complete(_) => panic!("no validation is left by its caller"),
        }
    }

    fn follow(&mut self) {
        while let Some(effects) = self.ledger.take_effects() {
            for effect in effects.others {
                if let Effect::Drop(held, reason) = effect {
                    self.ledger.connection_closed(&held.inner.meta, reason, None, self.now);
                }
            }
        }
    }

    /// Everything that is known, but for what may differ: spare cells, what is read without the
    /// lock, and since when no leak was reported, which counts only without fast paths.
    fn picture(&self) -> String {
        let waiting: Vec<u64> = self.waiting.iter().map(|(_, claimant)| claimant.arrival).collect();
        let mut text = format!("{:?} {:?} {waiting:?} {:?}", self.ledger, self.loans, self.jobs);
        for (from, to) in
            [("spare: [", "]"), ("oldest_unreported: ", "suspects"), ("Unlocked {", "}")]
        {
            let start = text.find(from).expect("the ledger has this field");
            let end = text[start..].find(to).expect("another field follows") + start;
            text.replace_range(start..end, "");
        }
        text
    }
}

fn drawn_config(dice: &mut fastrand::Rng) -> PoolConfig {
    let ms = |millis: u32| Duration::from_millis(millis.into());
    let mut rarely = |value| (dice.u32(0..20) == 0).then_some(value);
    let mut config = PoolConfig::default();
    config.min_idle = rarely(1);
    config.max_waiters = rarely(2);
    config.idle_timeout = rarely(300).map(ms);
    config.leak_after = rarely(100).map(ms);
    config.max_lease = rarely(400).map(ms);
    config.overflow_after = rarely(50).map_or(Duration::ZERO, ms);
    config.overflow_linger = rarely(80).map_or(Duration::ZERO, ms);
    (config.pool_size, config.max_overflow) = (dice.u32(1..4), dice.u32(0..3));
    config.pool_pre_ping = dice.bool();
    config.pre_ping_idle = ms([0, 20, 500][dice.usize(0..3)]);
    config.pool_recycle = Some(ms([500, 5_000, 3_600_000][dice.usize(0..3)]));
    config
}

fn drawn_event(dice: &mut fastrand::Rng) -> Event {
    let which = dice.usize(0..1_000);
    match dice.u32(0..100) {
        0..35 => Event::Ask { contended: dice.bool() },
        35..65 => Event::Return(which),
        65..70 => Event::GiveUp(which),
        70..80 => Event::Turn,
        80..95 => Event::JobEnds { which, well: dice.u32(0..10) > 0 },
        95 => Event::Resize(dice.u32(1..4), dice.u32(0..3)),
        96 if which < 200 => Event::Suspend,
        96..=97 => Event::Resume,
        98 => Event::Invalidate,
        _ => Event::Suspect,
    }
}

#[test]
fn the_fast_paths_leave_the_ledger_as_the_others_do() {
    let mut shortcuts = [0; 4];
    for seed in 0..WORLDS {
        let mut dice = fastrand::Rng::with_seed(seed);
        let (config, keeps) = (drawn_config(&mut dice), dice.u32(0..8) > 0);
        let mut worlds = [false, true].map(|fast| World::new(config.clone(), keeps, seed, fast));
        for n in 0..EVENTS {
            let event = drawn_event(&mut dice);
            let longest = [50, 5_000, 50_000][dice.usize(0..3)];
            let passed = Duration::from_micros(dice.u64(0..longest));
            for world in &mut worlds {
                world.now = world.now.after(passed);
                world.happens(event);
            }
            let [slow, fast] = worlds.each_ref().map(World::picture);
            assert_eq!(slow, fast, "world {seed}, event {n}: {event:?}, {config:?}");
        }
        let [_, World { shortcuts: taken, .. }] = &worlds;
        shortcuts.iter_mut().zip(taken).for_each(|(sum, taken)| *sum += taken);
    }
    assert!(shortcuts.iter().all(|taken| *taken > 50), "hardly taken: {shortcuts:?}");
}
