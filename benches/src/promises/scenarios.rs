//! The scenarios with a misbehaving server, and those that need no real server.

use super::bb8::Bb8;
use super::contender::Contender;
use super::deadpool::Deadpool;
use super::millpond::Millpond;
use super::mobc::Mobc;
use super::server::Server;
use super::sqlx::Sqlx;
use super::{begin, print_result};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const MS: Duration = Duration::from_millis(1);

/// The result of sqlx::Pool where it cannot take part.
const NO_SCRIPT: &str = "not shown: it connects with its own drivers alone";

/// Runs a scenario for each pool.
macro_rules! all {
    ($scenario:ident, $sqlx:expr) => {
        print_result(Millpond::NAME, &$scenario::<Millpond>().await);
        print_result(Deadpool::NAME, &$scenario::<Deadpool>().await);
        print_result(Bb8::NAME, &$scenario::<Bb8>().await);
        print_result(Mobc::NAME, &$scenario::<Mobc>().await);
        print_result(Sqlx::NAME, $sqlx.as_ref());
    };
}

pub(crate) async fn run() {
    begin(
        "Cap after resizing",
        "A pool of 10 is resized to 1 and back to 10 five times. How many connections does it then \
         lend at once?",
        "10",
    );
    all!(cap_after_resizing, "cannot be resized");
    begin(
        "Cap while shrinking",
        "A pool of 10 that has two idle connections is resized to 1. How many connections does it \
         then lend at once?",
        "1",
    );
    all!(cap_while_shrinking, "cannot be resized");
    begin(
        "Slots left after connects that hang",
        "In a pool of 3, three connects hang forever; then the server works again. How many \
         connections can be held after 5 s?",
        "3 of 3",
    );
    all!(places_after_hanging_connects, NO_SCRIPT);
    begin(
        "Served after a connect that panics",
        "The first connect of a pool of 1 panics. How many of five later callers are served?",
        "4 or 5 of 5",
    );
    all!(served_after_a_panic, NO_SCRIPT);
    begin(
        "Deadline with four idle connections whose check hangs",
        "An acquire has a limit of 500 ms, a check one of 250 ms. How long does the acquire take?",
        "500 ms at most",
    );
    all!(deadline_with_hanging_checks, NO_SCRIPT);
    begin(
        "Fairness",
        "64 tasks use 2 connections for 3 s, and hold each for 2 ms. How often was the most and \
         the least served task served, and how long was the longest wait?",
        "47 : 47, 64 ms",
    );
    all!(fairness, fairness::<Sqlx>().await);
    begin(
        "Connects made by a herd",
        "10,000 callers use a pool of 10 and retry 100 ms after an error; the server is down for 1 \
         s. How many connects are made until all callers are served or 10 s have passed?",
        "few",
    );
    all!(herd, NO_SCRIPT);
}

/// Returns how many leases can be held at the same time.
async fn most_held<C: Contender>(pool: &C) -> usize {
    let mut leases = Vec::new();
    while leases.len() < 100 {
        match timeout(400 * MS, pool.acquire()).await {
            Ok(Some(lease)) => leases.push(lease),
            Ok(None) | Err(_) => break,
        }
    }
    leases.len()
}

/// Acquires this many leases at the same time.
async fn held<C: Contender>(pool: &C, count: usize) -> Vec<C::Lease> {
    let mut leases = Vec::new();
    for _ in 0..count {
        leases.extend(pool.acquire().await);
    }
    leases
}

async fn cap_after_resizing<C: Contender>() -> String {
    let pool = C::open(&Server::default(), 10, 200 * MS).await;
    drop(held(&pool, 10).await);
    sleep(20 * MS).await;
    for _ in 0..5 {
        if !(pool.resize(1).await && pool.resize(10).await) {
            return "cannot be resized".to_owned();
        }
    }
    most_held(&pool).await.to_string()
}

async fn cap_while_shrinking<C: Contender>() -> String {
    let pool = C::open(&Server::default(), 10, 200 * MS).await;
    drop(held(&pool, 2).await);
    sleep(20 * MS).await;
    if !pool.resize(1).await {
        return "cannot be resized".to_owned();
    }
    most_held(&pool).await.to_string()
}

async fn places_after_hanging_connects<C: Contender>() -> String {
    let server = Server::default();
    let pool = C::open(&server, 3, 500 * MS).await;
    server.hang(3);
    let mut callers = JoinSet::new();
    for _ in 0..3 {
        let pool = pool.clone();
        callers.spawn(
            async move { timeout(2_000 * MS, pool.acquire()).await.ok().flatten().is_some() },
        );
    }
    callers.join_all().await;
    sleep(3_000 * MS).await;
    format!("{} of 3", most_held(&pool).await)
}

async fn served_after_a_panic<C: Contender>() -> String {
    let server = Server::default();
    let pool = C::open(&server, 1, 500 * MS).await;
    server.panic(1);
    let mut served = 0;
    for _ in 0..5 {
        let pool = pool.clone();
        let caller = tokio::spawn(async move {
            timeout(2_000 * MS, pool.acquire()).await.ok().flatten().is_some()
        });
        served += u32::from(caller.await.unwrap_or(false));
    }
    format!("{served} of 5")
}

async fn deadline_with_hanging_checks<C: Contender>() -> String {
    let server = Server::default();
    let pool = C::open(&server, 4, 500 * MS).await;
    drop(held(&pool, 4).await);
    sleep(20 * MS).await;
    server.let_pings_hang();
    let began = Instant::now();
    let outcome = timeout(5_000 * MS, pool.acquire()).await;
    let end = match outcome {
        Ok(Some(_)) => "served",
        Ok(None) => "an error",
        Err(_) => "given up",
    };
    format!("{} ms, {end}", began.elapsed().as_millis())
}

async fn fairness<C: Contender>() -> String {
    let pool = C::open(&Server::default(), 2, 30_000 * MS).await;
    let end = Instant::now() + 3_000 * MS;
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let pool = pool.clone();
        tasks.spawn(async move {
            let (mut served, mut longest) = (0_u32, Duration::ZERO);
            while Instant::now() < end {
                let began = Instant::now();
                let Ok(Some(lease)) = timeout(end - began + 100 * MS, pool.acquire()).await else {
                    break;
                };
                longest = longest.max(began.elapsed());
                served += 1;
                sleep(2 * MS).await;
                drop(lease);
            }
            (served, longest)
        });
    }
    let results = tasks.join_all().await;
    let count = |result: &(u32, Duration)| result.0;
    let (most, least) = (
        results.iter().map(count).max().unwrap_or(0),
        results.iter().map(count).min().unwrap_or(0),
    );
    let longest = results.iter().map(|result| result.1).max().unwrap_or_default();
    format!("{most} : {least}, {} ms", longest.as_millis())
}

async fn herd<C: Contender>() -> String {
    let server = Server::default();
    let pool = C::open(&server, 10, 10_000 * MS).await;
    server.set_down(true);
    let end = Instant::now() + 10_000 * MS;
    let mut callers = JoinSet::new();
    for _ in 0..10_000 {
        let pool = pool.clone();
        callers.spawn(async move {
            while Instant::now() < end {
                match timeout(end - Instant::now(), pool.acquire()).await {
                    Ok(Some(_)) => return true,
                    Ok(None) => sleep(100 * MS).await,
                    Err(_) => return false,
                }
            }
            false
        });
    }
    sleep(1_000 * MS).await;
    server.set_down(false);
    let served = callers.join_all().await.into_iter().filter(|served| *served).count();
    format!("{} connects, {served} served", server.connects())
}
