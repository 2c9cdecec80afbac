//! The pools as JSON.

use crate::pools::{Pools, Snapshot};
use crate::recorder::{Recorded, short};
use millpond_core::{Health, Histogram, Holder, PoolHistograms, Status};
use serde_json::{Value, json};
use std::time::Duration;

/// The most holders that are shown of a pool.
const HOLDERS: usize = 100;

/// The upper bounds of the classes that are shown, in seconds; a last class has what is above.
const BOUNDS: [f64; 12] =
    [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// Returns all pools.
pub(crate) fn pools(inspect: &Pools) -> Value {
    let pools: Vec<_> =
        inspect.read().map(|(name, snapshot)| pool(inspect, name, &snapshot)).collect();
    json!({ "pools": pools, "bounds_s": BOUNDS })
}

/// Returns the verdict on each pool, and whether all of them serve callers.
pub(crate) fn health(inspect: &Pools) -> (Value, bool) {
    let mut is_serving = true;
    let pools: Vec<_> = inspect
        .read()
        .map(|(name, snapshot)| {
            is_serving &= snapshot.health.is_serving();
            json!({ "name": name, "health": health_of(&snapshot.health) })
        })
        .collect();
    (json!({ "serving": is_serving, "pools": pools }), is_serving)
}

fn health_of(health: &Health) -> Value {
    json!({
        "verdict": health.verdict.name(),
        "since_s": seconds(health.since),
        "cause": health.cause.as_ref().map(|cause| short(&cause.to_string())),
        "last_success_s": seconds(health.last_success),
        "oldest_wait_s": seconds(health.oldest_wait),
    })
}

fn pool(inspect: &Pools, name: &str, snapshot: &Snapshot) -> Value {
    let recorded = inspect.recorder.with(name, recorded);
    json!({
        "name": name,
        "health": health_of(&snapshot.health),
        "status": status(&snapshot.status),
        "holders": snapshot.holders.iter().take(HOLDERS).map(holder).collect::<Vec<_>>(),
        "holders_left_out": snapshot.holders.len().saturating_sub(HOLDERS),
        "recorded": recorded,
    })
}

fn status(status: &Status) -> Value {
    let totals = &status.totals;
    json!({
        "pool_size": status.pool_size,
        "max_overflow": status.max_overflow,
        "min_idle": status.min_idle,
        "limit": status.limit(),
        "open": status.open,
        "connecting": status.connecting,
        "idle": status.idle,
        "in_use": status.in_use,
        "resetting": status.resetting,
        "closing": status.closing,
        "reserved": status.reserved,
        "waiting": status.waiting,
        "oldest_waiter_s": seconds(status.oldest_waiter),
        "failing_s": seconds(status.failing_since),
        "suspended": status.suspended,
        "closed": status.closed,
        "totals": {
            "created": totals.created,
            "closed": totals.closed,
            "detached": totals.detached,
            "connect_failed": totals.connect_failed,
            "acquires": totals.acquires,
            "succeeded": totals.succeeded,
            "timed_out": totals.timed_out,
            "cancelled": totals.cancelled,
            "failed": totals.failed,
            "peak": totals.peak,
        },
    })
}

fn holder(holder: &Holder) -> Value {
    json!({
        "connection": holder.id.get(),
        "location": format!("{}:{}", holder.location.file(), holder.location.line()),
        "label": holder.label.map(short),
        "held_s": holder.held.as_secs_f64(),
    })
}

fn recorded(recorded: &Recorded) -> Value {
    let events = recorded.events.iter().rev();
    let events = events.map(|it| json!({ "at_ms": it.at, "error": it.is_error, "text": it.text }));
    let of = |which: fn(&PoolHistograms) -> &Histogram| {
        classes(recorded.histograms.iter().map(|histograms| which(histograms)))
    };
    json!({
        "events": events.collect::<Vec<_>>(),
        "wait": of(PoolHistograms::wait),
        "hold": of(PoolHistograms::hold),
        "connect": of(PoolHistograms::connect),
    })
}

/// Returns how many values are in each class of [`BOUNDS`], and above them.
fn classes<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> [u64; BOUNDS.len() + 1] {
    let mut counts = [0_u64; BOUNDS.len() + 1];
    for (nanos, count) in histograms.flat_map(Histogram::classes) {
        let class = BOUNDS.partition_point(|bound| *bound < nanos * 1e-9);
        if let Some(all) = counts.get_mut(class) {
            *all = all.saturating_add(count);
        }
    }
    counts
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}
