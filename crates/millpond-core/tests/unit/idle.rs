//! What a reset and a sweep look at, of the idle connections.

use crate::PoolConfig;
use crate::ledger::entry::{Attempt, Job, PoolTraits};
use crate::ledger::slots::Caller;
use crate::ledger::state::Ledger;
use crate::proof::paused_runtime;
use crate::rt::Time;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

/// A pool with so many idle connections, in which all that needs the maintenance task is
/// switched on.
fn ledger_with(idle: u32) -> Ledger<u32> {
    let mut config = PoolConfig::default();
    config.pool_size = idle + 10;
    config.pool_recycle = Some(S * 3_600);
    config.idle_timeout = Some(S * 600);
    config.min_idle = Some(1);
    config.leak_after = Some(S * 60);
    let traits = PoolTraits {
        name: Arc::from("test"),
        kind: "QueuePool",
        keeps: true,
        first_connect_hooks: false,
        checkout_hooks: false,
        checkin_hooks: false,
    };
    let mut ledger = Ledger::new(config, traits, 1);
    ledger.maintenance_starts(paused_runtime().handle().clone(), Time::ZERO);
    for n in 0..idle {
        let (slot, id) = ledger.slots.take(Time::ZERO);
        let attempt = Attempt { slot, id, generation: 0, attempt: 1, first: false };
        ledger.connected(n, &attempt, Duration::ZERO, Time::ZERO);
    }
    ledger.turn(Time::ZERO);
    ledger
}

/// How many connections and places are looked at while one is lent, returned, reset and
/// returned again.
fn visits_of_a_reset(idle: u32) -> u64 {
    let mut ledger = ledger_with(idle);
    let caller = Caller { location: Location::caller(), label: None, task: None };
    let now = Time::ZERO.after(S / 10);
    crate::ledger::visits::VISITS.take();
    let held = ledger.try_claim(caller, now).expect("one is idle");
    ledger.send_to_checkin(held, true, now);
    for job in ledger.turn(now).jobs {
        if let Job::Checkin { held, .. } = job {
            ledger.settle_checked(held, now);
        }
    }
    ledger.turn(now);
    crate::ledger::visits::VISITS.take()
}

#[test]
fn a_reset_looks_at_no_more_connections_if_two_thousand_are_idle() {
    assert_eq!(visits_of_a_reset(2_000), visits_of_a_reset(20));
}

#[test]
fn a_sweep_looks_at_all_that_are_idle_once_something_is_due() {
    let mut ledger = ledger_with(20);
    crate::ledger::visits::VISITS.take();
    ledger.turn(Time::ZERO.after(S * 3_500));
    assert!(crate::ledger::visits::VISITS.take() >= 20);
}
