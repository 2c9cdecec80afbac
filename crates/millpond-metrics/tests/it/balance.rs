//! The counts in the metrics add up, as the pool's own counts do.

use crate::cache;
use crate::world::{Ear, ms, pool};
use millpond_core::{CloseReason, HookPoint, Invalidate, Lease, Totals};
use millpond_metrics::CacheMetrics;
use millpond_testkit::{Act, ByHand, Call, ScriptedManager};
use std::task::Poll;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn after_any_mix_of_operations_and_failures_the_metrics_add_up() {
    let mut lent = 0;
    for seed in 0..20 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let manager = ScriptedManager::new();
        let hooks = manager.hooks();
        let (pool, metrics) = pool(&manager, |builder| {
            let builder = builder
                .pool_size(3)
                .max_overflow(2)
                .hooks(hooks)
                .max_waiters(4)
                .pre_ping_idle(ms(5));
            builder
                .ping_timeout(ms(50))
                .connect_timeout(ms(80))
                .pool_timeout(ms(1000))
                .close_timeout(ms(100))
        });
        let mut ear = Ear::new();
        let (mut callers, mut loans) = (Vec::new(), Vec::new());
        for _ in 0..300 {
            match dice.u32(0..20) {
                0..8 => {
                    callers.push(ByHand::new(Box::pin(pool.acquire_within(ms(dice.u64(0..200))))))
                }
                8..10 if !callers.is_empty() => {
                    drop(callers.swap_remove(dice.usize(..callers.len())))
                }
                10..14 if !loans.is_empty() => drop(loans.swap_remove(dice.usize(..loans.len()))),
                14 if !loans.is_empty() => drop(Lease::detach(loans.swap_remove(0))),
                15 if !loans.is_empty() => {
                    Lease::discard(loans.swap_remove(0), CloseReason::Interrupted)
                }
                16 => manager.next(
                    Call::Connect,
                    [[Act::transient("no"), Act::Never, Act::Panic][dice.usize(..3)].clone()],
                ),
                17 => manager.next(Call::Ping, [Act::broken("gone")]),
                18 => ear.listen(&metrics),
                _ => sleep(ms(dice.u64(0..60))).await,
            }
            tokio::task::yield_now().await;
            let mut waiting = Vec::new();
            for mut caller in std::mem::take(&mut callers) {
                match caller.poll() {
                    Poll::Pending => waiting.push(caller),
                    Poll::Ready(lease) => loans.extend(lease),
                }
            }
            callers = waiting;
        }
        drop((callers, loans));
        manager.heal();
        let report = pool.close_within(ms(5000)).await;
        assert!(report.is_clean(), "seed {seed}: {report}");
        ear.listen(&metrics);

        let totals = pool.status().totals;
        compare(&ear, &totals, seed);
        lent += totals.succeeded;
    }
    assert!(lent > 500, "little was done: {lent}");
}

fn compare(ear: &Ear, totals: &Totals, seed: u64) {
    for (outcome, count) in [
        ("ok", totals.succeeded),
        ("timed_out", totals.timed_out),
        ("cancelled", totals.cancelled),
        ("failed", totals.failed),
    ] {
        assert_eq!(
            ear.count("millpond.acquires", &format!("outcome={outcome}")),
            count,
            "seed {seed}: {outcome}"
        );
    }
    assert_eq!(ear.count_of_all("millpond.acquires"), totals.acquires, "seed {seed}");
    assert_eq!(ear.count("db.client.connection.timeouts", ""), totals.timed_out, "seed {seed}");
    assert_eq!(ear.count("millpond.connections.created", ""), totals.created, "seed {seed}");
    assert_eq!(ear.count_of_all("millpond.connections.closed"), totals.closed, "seed {seed}");
    assert_eq!(ear.count("millpond.connections.detached", ""), totals.detached, "seed {seed}");
    assert_eq!(ear.count("millpond.connections.failed", ""), totals.connect_failed, "seed {seed}");
    assert_eq!(totals.created, totals.closed + totals.detached, "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn everything_that_the_documentation_lists_is_reported() {
    let manager = ScriptedManager::new();
    let (pool, metrics) = pool(&manager, |builder| {
        builder
            .pool_size(1)
            .max_overflow(0)
            .leak_after(ms(10))
            .fail_fast_after(ms(500))
            .pre_ping_idle(ms(0))
            .hooks(manager.hooks())
    });
    let lease = pool.acquire().await.unwrap();
    sleep(ms(1500)).await;
    drop(pool.acquire_within(ms(5)).await.unwrap_err());
    drop(lease);
    manager.next(Call::Ping, [Act::Panic]);
    manager.next(Call::Connect, [Act::transient("no")]);
    drop(Lease::detach(pool.acquire().await.unwrap()));
    manager.next(Call::Hook(HookPoint::Checkout), [Act::broken("refused")]);
    drop(pool.acquire().await);
    manager.always(Call::Connect, Act::transient("no"));
    pool.invalidate_all(Invalidate::Hard);
    drop(pool.acquire_within(ms(2000)).await.unwrap_err());
    let mut ear = Ear::new();
    ear.listen(&metrics);
    ear.hear(|| {
        for outcome in cache::OUTCOMES {
            CacheMetrics::record("ponds", outcome);
        }
    });
    let rows = include_str!("../../src/lib.rs").lines().filter(|line| line.starts_with("//! | `"));
    let mut listed = Vec::new();
    for names in rows.filter_map(|line| line.split('|').nth(1)) {
        let mut stem = "";
        for name in names.split('`').skip(1).step_by(2) {
            let whole =
                if name.starts_with('.') { format!("{stem}{name}") } else { name.to_owned() };
            stem = if stem.is_empty() {
                name.rsplit_once('.').map_or("", |(stem, _)| stem)
            } else {
                stem
            };
            listed.push(whole);
        }
    }
    listed.sort_unstable();
    assert_eq!(ear.names(), listed);
}
