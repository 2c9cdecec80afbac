//! Runs a tenth of the soak for every change.

use soak::{Report, Soak, TransactionReport, soak, transactions};
use std::env;
use std::time::Duration;

/// Returns the URL and the address of a server, or prints why the test is skipped.
fn server(stem: &str) -> Option<(String, String)> {
    let variable = |name: &str| env::var(format!("MILLPOND_TEST_{stem}_{name}")).ok();
    let found = variable("URL").zip(variable("ADDRESS"));
    if found.is_none() {
        println!("SKIP a test against a real server: no MILLPOND_TEST_{stem}_URL");
    }
    found
}

/// Returns a soak with a new random seed, which a failure prints.
fn cuts(cuts: u64) -> Soak {
    Soak { cuts, seed: fastrand::u64(..), limit: Duration::from_secs(1200) }
}

#[track_caller]
fn assert_clean(report: &Report, soak: Soak) {
    println!("{report}");
    assert!(report.is_clean(), "{report}; again with `cargo xtask soak --seed {}`", soak.seed);
    assert!(report.queries > soak.cuts / 2, "hardly anything was asked: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_cuts_on_postgres_leave_no_wrong_answer_no_open_transaction_and_every_slot() {
    let Some((url, address)) = server("POSTGRES") else { return };
    let wanted = cuts(10_000);
    assert_clean(&soak(wanted, &url, &address, soak::postgres).await.unwrap(), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_cuts_on_mariadb_leave_no_wrong_answer_no_open_transaction_and_every_slot() {
    let Some((url, address)) = server("MARIADB") else { return };
    let wanted = cuts(1_000);
    assert_clean(&soak(wanted, &url, &address, soak::mysql).await.unwrap(), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_cuts_on_mysql_leave_no_wrong_answer_no_open_transaction_and_every_slot() {
    let Some((url, address)) = server("MYSQL") else { return };
    let wanted = cuts(1_000);
    assert_clean(&soak(wanted, &url, &address, soak::mysql).await.unwrap(), wanted);
}

#[track_caller]
fn assert_whole(report: &TransactionReport, soak: Soak) {
    println!("{report}");
    assert!(report.is_clean(), "{report}; again with `cargo xtask soak --seed {}`", soak.seed);
    assert!(report.committed > soak.cuts / 20, "hardly anything was committed: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_go_on_after_a_cut_are_whole_or_not_there_on_postgres() {
    let Some((url, address)) = server("POSTGRES") else { return };
    let wanted = cuts(5_000);
    assert_whole(&transactions(wanted, &url, &address, soak::postgres).await.unwrap(), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_go_on_after_a_cut_are_whole_or_not_there_on_mariadb() {
    let Some((url, address)) = server("MARIADB") else { return };
    let wanted = cuts(500);
    assert_whole(&transactions(wanted, &url, &address, soak::mysql).await.unwrap(), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_go_on_after_a_cut_are_whole_or_not_there_on_mysql() {
    let Some((url, address)) = server("MYSQL") else { return };
    let wanted = cuts(500);
    assert_whole(&transactions(wanted, &url, &address, soak::mysql).await.unwrap(), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_cuts_on_redis_leave_no_wrong_answer_no_session_and_every_slot() {
    let Some((url, address)) = server("REDIS") else { return };
    let wanted = cuts(10_000);
    assert_clean(&soak(wanted, &url, &address, soak::redis).await.unwrap(), wanted);
    assert_clean(&soak(wanted, &url, &address, soak::redis_by_redis_rs).await.unwrap(), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_resets_nothing_fails_the_soak() {
    let Some((url, address)) = server("POSTGRES") else { return };
    let careless = |url: &str| {
        let options = millpond_postgres::PgPoolOptions::new().pool_size(6).max_overflow(2);
        options.reset(millpond_postgres::ResetLevel::None).connect_lazy(url)
    };
    // Its connections soon wait for each other's answers, so a short soak is enough.
    let wanted = Soak { cuts: 1_000, seed: 7, limit: Duration::from_secs(20) };
    let report = soak(wanted, &url, &address, careless).await.unwrap();
    assert!(report.stale > 0 && !report.is_clean(), "{report}");
}
