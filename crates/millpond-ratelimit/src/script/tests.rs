//! The script on a real server, by a clock of our own, held against the same algorithm in Rust.

use super::*;
use crate::gcra::evaluate;
use millpond_redis::{Command, RedisError, SharedRedisPool, SharedRedisPoolOptions};
use std::collections::HashMap;
use std::time::Duration;

/// The last argument is the time. Keys outlive the test's own idea of it.
const CLOCK_OF_THE_TEST: &str = "
local now = tonumber(ARGV[#ARGV])
local slack = 3600000
";

const START: u64 = 1_764_000_000_000_000;

async fn server() -> Option<SharedRedisPool> {
    let Ok(url) = std::env::var("MILLPOND_TEST_REDIS_URL") else {
        println!("SKIP a test against a real server: no MILLPOND_TEST_REDIS_URL");
        return None;
    };
    Some(SharedRedisPoolOptions::new().connect(&url).await.unwrap())
}

fn scripted() -> Script {
    Script::new([CLOCK_OF_THE_TEST, DECIDE].concat())
}

async fn ask(
    pool: &SharedRedisPool,
    script: &Script,
    keys: &[String],
    limits: &[Limit],
    cost: u32,
    now: u64,
) -> Result<Vec<Verdict>, RedisError> {
    let mut args = arguments(limits, cost);
    args.push(now);
    let answer: Vec<u64> = script.call(keys, args).run(pool).await?;
    Ok(verdicts(&answer, limits.len()).unwrap())
}

/// The algorithm in Rust.
fn expected(
    stored: &mut HashMap<usize, Span>,
    limits: &[Limit],
    cost: u32,
    now: Span,
) -> Vec<Verdict> {
    let evaluations: Vec<_> = limits
        .iter()
        .enumerate()
        .map(|(n, limit)| evaluate(limit, stored.get(&n).copied(), cost, now))
        .collect();
    let all = evaluations.iter().all(|evaluation| evaluation.fits);
    for (n, evaluation) in evaluations.iter().enumerate() {
        if all && cost > 0 {
            stored.insert(n, now.saturating_add(evaluation.after));
        } else if evaluation.write_back {
            stored.insert(n, now.saturating_add(evaluation.ahead));
        }
    }
    evaluations
        .iter()
        .map(|evaluation| Verdict {
            fits: evaluation.fits,
            ahead: if all { evaluation.after } else { evaluation.ahead },
        })
        .collect()
}

fn any_limit(random: &mut fastrand::Rng) -> Limit {
    let period = Duration::from_micros(random.u64(2_000..5_000_000));
    Limit::new(random.u32(1..1000), period).unwrap().burst(random.u32(1..30)).unwrap()
}

/// One schedule: up to three limits, requests of costs 0 to 3 from many clients, limits that change
/// and a clock that goes back now and then. Returns when requests of the first limit were admitted,
/// if its numbers and clock stayed the same.
async fn schedule(pool: SharedRedisPool, script: Script, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut limits: Vec<Limit> = (0..random.usize(1..=3)).map(|_| any_limit(&mut random)).collect();
    let keys: Vec<String> = (0..limits.len())
        .map(|n| format!("{{schedule:{seed}:{:x}}}:{n}", fastrand::u64(..)))
        .collect();
    let (mut stored, mut now) = (HashMap::new(), START + random.u64(0..1_000_000));
    let changes = random.u32(0..4) == 0;
    let step = limits[0].interval().duration().as_micros() as u64 * 2;
    let mut admitted: Vec<(u64, u32)> = Vec::new();
    for _ in 0..40 {
        now += if random.u32(0..15) == 0 { random.u64(0..3_000_000) } else { random.u64(0..=step) };
        if changes && random.u32(0..10) == 0 {
            limits[0] = any_limit(&mut random);
        }
        if changes && random.u32(0..10) == 0 {
            now -= random.u64(0..10_000_000);
        }
        let cost = random.u32(0..=3);
        let found = ask(&pool, &script, &keys, &limits, cost, now).await.unwrap();
        let wanted = expected(&mut stored, &limits, cost, Span::micros(now));
        assert_eq!(found, wanted, "seed {seed} at {now}: {limits:?} {cost}");
        if found.iter().all(|verdict| verdict.fits) {
            admitted.push((now, cost));
        }
    }
    if !changes {
        for limit in &limits {
            keeps(limit, &admitted, seed);
        }
    }
}

/// No window admits more than it may.
fn keeps(limit: &Limit, admitted: &[(u64, u32)], seed: u64) {
    for (first, (start, _)) in admitted.iter().enumerate() {
        let mut sum = 0.0;
        for (end, cost) in admitted.iter().skip(first) {
            sum += f64::from(*cost);
            let window = (end - start) as f64 / limit.period().as_micros() as f64;
            let most = f64::from(limit.burst_size()) + f64::from(limit.count()) * window;
            assert!(sum <= most + 1e-6, "seed {seed}: {sum} of {most} for {limit:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_thousands_of_schedules_the_script_decides_as_the_algorithm_and_never_too_much() {
    let Some(pool) = server().await else { return };
    let script = scripted();
    let mut running = tokio::task::JoinSet::new();
    for seed in 0..3_000 {
        if running.len() >= 64 {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(schedule(pool.clone(), script.clone(), seed));
    }
    while let Some(outcome) = running.join_next().await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn a_clock_that_goes_back_locks_nobody_out_for_longer_than_a_full_burst() {
    let Some(pool) = server().await else { return };
    let (script, limit) = (scripted(), [Limit::per_second(10).unwrap()]);
    let key = [format!("{{back:{:x}}}", fastrand::u64(..))];
    let fits = async |now| ask(&pool, &script, &key, &limit, 1, now).await.unwrap()[0].fits;
    for _ in 0..10 {
        assert!(fits(START).await);
    }
    let hour_ago = START - 3_600_000_000;
    assert!(!fits(hour_ago).await);
    assert!(!fits(hour_ago + 99_999).await);
    assert!(fits(hour_ago + 100_000).await, "an interval later one is there again");
    assert!(!fits(hour_ago + 100_001).await);
}

#[tokio::test]
async fn a_key_lives_until_it_is_empty_and_no_longer() {
    let Some(pool) = server().await else { return };
    // As it runs in production, with the server's own clock: a limit whose interval is below a
    // millisecond.
    let own = script();
    let limit = [Limit::per_second(10_000).unwrap()];
    let key = [format!("{{lives:{:x}}}", fastrand::u64(..))];
    let answer: Vec<u64> = own.call(&key, arguments(&limit, 1)).run(&pool).await.unwrap();
    assert_eq!(verdicts(&answer, 1).unwrap()[0].ahead.pair(), (100, 0));
    let slow = [Limit::new(1, Duration::from_secs(10)).unwrap()];
    let key = [format!("{{lives:{:x}}}", fastrand::u64(..))];
    own.call(&key, arguments(&slow, 1)).run::<Vec<u64>>(&pool).await.unwrap();
    let ttl: i64 = pool.run(Command::new("PTTL").key(&key[0])).await.unwrap();
    assert!((9_000..=10_002).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn looking_leaves_no_key_behind() {
    let Some(pool) = server().await else { return };
    let limit = [Limit::per_second(10).unwrap()];
    let key = [format!("{{peek:{:x}}}", fastrand::u64(..))];
    script().call(&key, arguments(&limit, 0)).run::<Vec<u64>>(&pool).await.unwrap();
    assert!(!pool.run::<bool>(Command::new("EXISTS").key(&key[0])).await.unwrap());
}
