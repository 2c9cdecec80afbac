//! No open transaction and no answer that somebody else asked for reaches the next borrower of a SQL connection.

use crate::conformance::fixture::Fixture;
use crate::conformance::stage::{Loan, Stage, Trial, World};
use crate::poll::poll_n;

/// sqlx's own `begin` loses sight of what the server has begun, when it is dropped half way.
pub async fn b01_a_begin_cancelled_at_any_poll_never_reaches_the_next_borrower<T: Trial>(stage: Stage<T>) {
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

/// A script is cut short by its own error, and its COMMIT is never reached.
pub async fn b02_a_script_that_fails_in_its_own_transaction_leaves_none_open<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    for sql in ["BEGIN; SELECT * FROM nowhere; COMMIT", "SELECT 1; BEGIN; SELECT nonsense"] {
        let mut lease = world.lease().await;
        assert!(stage.fixture.execute(lease.real(), sql).await.is_err(), "{sql}");
        drop(lease);
        drop(clean(&stage, &world, 2).await);
    }
}

/// Nobody ends what was begun.
pub async fn b03_a_transaction_left_open_never_reaches_the_next_borrower<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let mut lease = world.lease().await;
    assert!(matches!(stage.fixture.begin(lease.real()).await, Ok(())));
    assert!(matches!(stage.fixture.is_in_transaction(lease.real()).await, Ok(true)), "the fixture sees none");
    drop(lease);
    drop(clean(&stage, &world, 3).await);
    for sql in ["BEGIN", "/* read */ begin", "BEGIN; SAVEPOINT a"] {
        let mut lease = world.lease().await;
        if let Err(error) = stage.fixture.execute(lease.real(), sql).await {
            panic!("{sql}: {error}");
        }
        drop(lease);
        drop(clean(&stage, &world, 3).await);
    }
}

/// A stream is dropped between two rows.
pub async fn b04_rows_that_nobody_read_never_reach_the_next_borrower<T: Trial>(stage: Stage<T>) {
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

/// The next borrower's connection: outside a transaction, and in step.
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
