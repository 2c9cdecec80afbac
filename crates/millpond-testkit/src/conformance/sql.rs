//! No open transaction and no answer to another caller's query reaches the next borrower of an SQL
//! connection.

use crate::conformance::fixture::Fixture;
use crate::conformance::stage::{Loan, Stage, Trial, World};
use crate::poll::poll_n;
use millpond_core::PoolExt;

/// sqlx's own `begin` loses track of the server's transaction when it is dropped half-way.
pub async fn b01_a_begin_cancelled_at_any_poll_never_reaches_the_next_borrower<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    for round in 0..60 {
        let mut lease = world.lease().await;
        let begun = poll_n(stage.fixture.begin(lease.real()), 1 + round % 5).await;
        assert!(!matches!(begun, Some(Err(_))), "{begun:?}");
        drop(lease);
        drop(clean(&stage, &world, i64::try_from(round).unwrap_or(0)).await);
    }
    world.assert_sound().await;
}

/// The script's own error stops it before its COMMIT.
pub async fn b02_a_script_that_fails_in_its_own_transaction_leaves_none_open<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    prepare(&stage, &world, "DROP TABLE IF EXISTS b02; CREATE TABLE b02 (i INT)").await;
    for sql in [
        "BEGIN; INSERT INTO b02 VALUES (1); SELECT * FROM nowhere; COMMIT",
        "SELECT 1; BEGIN; INSERT INTO b02 VALUES (1); SELECT nonsense",
    ] {
        let mut lease = world.lease().await;
        assert!(stage.fixture.execute(lease.real(), sql).await.is_err(), "{sql}");
        drop(lease);
        let mut lease = clean(&stage, &world, 2).await;
        assert!(!finds(&stage, &mut lease, "SELECT i FROM b02").await, "committed: {sql}");
    }
    assert_worth_keeping::<T>(&world);
}

/// The borrower returns the connection without ending the transaction.
pub async fn b03_a_transaction_left_open_never_reaches_the_next_borrower<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    prepare(&stage, &world, "DROP TABLE IF EXISTS b03; CREATE TABLE b03 (i INT)").await;
    for sql in stage.fixture.beginnings() {
        let mut lease = world.lease().await;
        for sql in [sql, "INSERT INTO b03 VALUES (1)"] {
            if let Err(error) = stage.fixture.execute(lease.real(), sql).await {
                panic!("{sql}: {error}");
            }
        }
        drop(lease);
        let mut lease = clean(&stage, &world, 3).await;
        assert!(!finds(&stage, &mut lease, "SELECT i FROM b03").await, "committed: {sql}");
    }
    assert_worth_keeping::<T>(&world);
}

/// A function that gets the driver's own connection begins a transaction without the wrapper
/// noticing.
pub async fn b03_a_transaction_begun_unseen_never_reaches_the_next_borrower<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    for begun in 1..=3 {
        let mut lease = world.lease().await;
        if let Err(error) = stage.fixture.execute_unseen(lease.real(), "BEGIN").await {
            panic!("{error}");
        }
        drop(lease);
        drop(clean(&stage, &world, begun).await);
    }
    assert_worth_keeping::<T>(&world);
}

/// The driver counts transactions that were never ended, or that were ended by plain SQL.
pub async fn b03_transactions_that_were_forgotten_are_rolled_back<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    for ended_by_hand in [false, true] {
        let mut lease = world.lease().await;
        for _ in 0..3 {
            assert!(matches!(stage.fixture.begin(lease.real()).await, Ok(())));
        }
        assert!(
            matches!(stage.fixture.is_in_transaction(lease.real()).await, Ok(true)),
            "the fixture sees none"
        );
        if ended_by_hand && let Err(error) = stage.fixture.execute(lease.real(), "ROLLBACK").await {
            panic!("{error}");
        }
        drop(lease);
        drop(clean(&stage, &world, 3).await);
    }
    assert_worth_keeping::<T>(&world);
}

/// The borrower panics inside the transaction.
pub async fn b03_a_borrower_that_panics_in_a_transaction_leaves_none_open<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    let (mut lease, fixture) = (world.lease().await, std::sync::Arc::clone(&stage.fixture));
    let user = tokio::spawn(async move {
        let begun = fixture.execute(lease.real(), "BEGIN").await;
        panic!("in the middle of it: {begun:?}");
    });
    assert!(user.await.is_err_and(|error| error.is_panic()));
    drop(clean(&stage, &world, 3).await);
}

/// The connection is idle again at once: it does not wait for the maintenance task.
pub async fn b03_completed_statements_cost_no_round_trip_at_the_return<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    prepare(
        &stage,
        &world,
        "DROP TABLE IF EXISTS b03_clean; CREATE TABLE b03_clean (i INT UNIQUE)",
    )
    .await;
    for (sql, works) in [
        ("INSERT INTO b03_clean VALUES (1)", Some(true)),
        ("INSERT INTO b03_clean VALUES (1)", Some(false)),
        ("UPDATE b03_clean SET i = 2", Some(true)),
        ("DELETE FROM b03_clean", Some(true)),
        // MySQL wants VALUES ROW(1).
        ("VALUES (1)", None),
        ("select 1;", Some(true)),
        ("-- x\nSELECT 1", Some(true)),
        ("SELECT nonsense", Some(false)),
    ] {
        let mut lease = world.lease().await;
        let works_here = stage.fixture.execute(lease.real(), sql).await.is_ok();
        assert!(works.is_none_or(|works| works == works_here), "{sql}");
        answers(&stage, &mut lease, 3).await;
        drop(lease);
        assert!(world.pool.try_acquire().is_some(), "{sql} has left doubt");
    }
}

/// The row stream is dropped between two rows.
pub async fn b04_unread_rows_never_reach_the_next_borrower<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    for rows in [0, 1, 2, 60, 4_999] {
        let mut lease = world.lease().await;
        if let Err(error) = stage.fixture.fetch(lease.real(), rows).await {
            panic!("{rows} rows: {error}");
        }
        drop(lease);
        let mut lease = world.lease().await;
        answers(&stage, &mut lease, 40_000).await;
    }
}

/// Every wording is new to the connection half of the time, so that preparing is interrupted too.
pub async fn b04_every_query_gets_its_own_answer_even_if_others_were_dropped<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    for number in 0..200_u32 {
        let wording = u64::from(number / 2);
        let mut lease = world.lease().await;
        let _ =
            poll_n(stage.fixture.ask_worded(lease.real(), wording, -1), 1 + number as usize % 6)
                .await;
        drop(lease);
        let answer =
            stage.fixture.ask_worded(world.lease().await.real(), wording, number.into()).await;
        assert_eq!(answer.ok(), Some(number.into()));
    }
    world.assert_sound().await;
}

/// Acquires the next borrower's connection and asserts that it is outside a transaction and in
/// sync.
async fn clean<T: Trial>(stage: &Stage<T>, world: &World<T>, number: i64) -> Loan<T> {
    let mut lease = world.lease().await;
    match stage.fixture.is_in_transaction(lease.real()).await {
        Ok(open) => assert!(!open, "an open transaction was lent"),
        Err(error) => panic!("a connection in trouble was lent: {error}"),
    }
    answers(stage, &mut lease, number).await;
    lease
}

async fn answers<T: Trial>(stage: &Stage<T>, lease: &mut Loan<T>, number: i64) {
    match stage.fixture.ask(lease.real(), number).await {
        Ok(answer) => assert_eq!(answer, number, "the answer to another question"),
        Err(error) => panic!("a connection in trouble was lent: {error}"),
    }
}

/// Executes a script that must succeed.
async fn prepare<T: Trial>(stage: &Stage<T>, world: &World<T>, sql: &'static str) {
    if let Err(error) = stage.fixture.execute(world.lease().await.real(), sql).await {
        panic!("{sql}: {error}");
    }
}

async fn finds<T: Trial>(stage: &Stage<T>, lease: &mut Loan<T>, sql: &'static str) -> bool {
    match stage.fixture.finds(lease.real(), sql).await {
        Ok(found) => found,
        Err(error) => panic!("{sql}: {error}"),
    }
}

/// Asserts that no connection was closed, since nothing was interrupted.
fn assert_worth_keeping<T: Trial>(world: &World<T>) {
    assert!(!T::reuses() || world.trace.count("closed") == 0, "{:?}", world.trace.lines());
}
