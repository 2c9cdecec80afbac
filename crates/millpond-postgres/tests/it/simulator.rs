//! The simulator of transactions: borrowers that act like users, over the real pool and the real
//! driver, and a server that misbehaves, all from one seed.
//!
//! The server speaks PostgreSQL's protocol over a socket of this process. It answers late, in
//! pieces and with errors between rows, forgets prepared statements, changes its schema, refuses
//! commits, and hangs up before and after it has executed a request. In every other world it also
//! rolls back whole transactions by itself and continues outside a transaction, as MySQL and SQLite
//! do. The borrowers drop operations after some polls, leave rows unread, use savepoints, begin and
//! commit by plain SQL, and leave in the middle.
//!
//! In every world:
//!
//! - A commit that was Ok is in the server's book as a whole, without anything that was undone; a
//!   transaction that was certainly not committed is not in it; one with an unknown outcome is in
//!   it as a whole or not at all. Nothing is executed twice.
//! - No statement is executed in another borrower's transaction or, if it belongs to a transaction,
//!   outside of it.
//! - No connection is lent with an open transaction.
//! - Every answer belongs to its query, and every error to its statement.
//! - The pool uses at most one prepared statement that the server has forgotten on a connection.
//! - Every borrower is served. In the end all connections can be acquired at once, and a close
//!   leaves no session.
//!
//! `cargo xtask sim --transactions` runs it for any length of time. The seed determines the actions
//! and the faults; the order in which sockets become ready depends on the kernel, so a failing seed
//! may need several attempts to fail again.

mod borrower;
mod execution;
mod rolls_back;
mod server;
mod session;
mod wire;

use borrower::Borrower;
use fastrand::Rng;
use millpond_core::{PoolConfig, ResetLevel};
use millpond_postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use server::{Server, Temper};
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The steps of one world before it is healed and closed.
const WORLD_STEPS: u64 = 500;

/// The steps of a run without `cargo xtask sim`.
const STEPS: u64 = 10_000;

const POOL_SIZE: u32 = 2;
const MAX_OVERFLOW: u32 = 1;
const BORROWERS: u64 = 6;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn transactions_are_whole_and_answers_belong_to_their_queries_whatever_a_server_does() {
    let steps = number("MILLPOND_SIM_STEPS").unwrap_or(STEPS);
    let first = number("MILLPOND_SIM_SEED").unwrap_or(1);
    let (mut done, mut faults, mut violations) = (0, 0, 0);
    for seed in first..first + steps.div_ceil(WORLD_STEPS) {
        let length = WORLD_STEPS.min(steps - (seed - first) * WORLD_STEPS);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let world = runtime.block_on(live(seed, length));
        done += world.steps;
        faults += world.faults;
        if !world.violations.is_empty() {
            violations += 1;
            eprintln!("VIOLATION in the world of seed {seed}; to see it again:");
            eprintln!("    cargo xtask sim --transactions --steps {length} --seed {seed}");
            world.violations.iter().for_each(|text| eprintln!("    {text}"));
        }
    }
    println!("{done} steps, {faults} faults, {violations} violations");
    assert_eq!(violations, 0, "the commands above show each of them again");
}

/// The results of a world.
struct Life {
    steps: u64,
    faults: u64,
    violations: Vec<String>,
}

/// Runs one world from beginning to end.
async fn live(seed: u64, length: u64) -> Life {
    let mut dice = Rng::with_seed(seed);
    let temper = if seed.is_multiple_of(2) { Temper::Refuses } else { Temper::RollsBack };
    let (server, _accepting) = Server::start(temper, seed);
    let pool = pool(&server, &mut dice);
    let steps = Arc::new(AtomicU64::new(0));
    let mut borrowers = JoinSet::new();
    for _ in 0..BORROWERS {
        let borrower =
            Borrower::new(pool.clone(), Arc::clone(&server), dice.fork(), Arc::clone(&steps));
        borrowers.spawn(borrower.live(length));
    }
    let stories: Vec<_> = borrowers.join_all().await.into_iter().flatten().collect();
    server.book().is_healed = true;
    assert_all_can_be_acquired(&pool, &server).await;
    pool.close().await;
    millpond_testkit::until("all sessions end", async || server.book().sessions == 0).await;
    let mut book = server.book();
    let torn: Vec<_> = stories
        .iter()
        .filter_map(|story| story.judge(book.committed.get(&story.number())))
        .collect();
    book.violations.extend(torn);
    Life {
        steps: steps.load(Ordering::Relaxed),
        faults: book.faults,
        violations: std::mem::take(&mut book.violations),
    }
}

fn pool(server: &Server, dice: &mut Rng) -> PgPool {
    let options = PgConnectOptions::new_without_pgpass()
        .socket(server.dir())
        .port(5432)
        .username("miller")
        .ssl_mode(PgSslMode::Disable)
        .statement_cache_capacity(dice.usize(2..20));
    let mut config = PoolConfig::default();
    (config.pool_size, config.max_overflow, config.pool_pre_ping) =
        (POOL_SIZE, MAX_OVERFLOW, dice.bool());
    let reset = if dice.u8(0..4) == 0 { ResetLevel::Session } else { ResetLevel::Transaction };
    match server.temper {
        Temper::RollsBack => rolls_back::pool(options, reset, config),
        Temper::Refuses => {
            PgPoolOptions::new().config(config).reset(reset).connect_lazy_with(options).unwrap()
        }
    }
}

/// Asserts that no slot was lost and that every connection is clean.
async fn assert_all_can_be_acquired(pool: &PgPool, server: &Server) {
    let mut leases = Vec::new();
    for _ in 0..POOL_SIZE + MAX_OVERFLOW {
        match timeout(Duration::from_secs(10), pool.acquire()).await {
            Ok(Ok(lease)) => leases.push(lease),
            Ok(Err(error)) => return server.violation(format!("a place is lost: {error}")),
            Err(_) => return server.violation("a place is lost".to_owned()),
        }
    }
    for lease in &mut leases {
        // The first attempt may find that the prepared statement was forgotten.
        for attempt in 0..2 {
            let wanted = execution::nonce(server.number(), 0);
            let answer = sqlx::query_scalar::<_, i64>("SELECT $1 AS first /* 1 */")
                .bind(wanted)
                .fetch_one(&mut **lease)
                .await;
            match answer {
                Ok(answer) if answer == wanted => {}
                Err(_) if attempt == 0 => {}
                other => server.violation(format!(
                    "{wanted} was asked for when all was well, and the answer was {other:?}"
                )),
            }
        }
    }
}
