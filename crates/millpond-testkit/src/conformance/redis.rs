//! No session state of Redis reaches the next borrower: no watch, transaction, selected database,
//! subscription, client setting or blocking command.

use crate::conformance::fixture::{Connection, Fixture};
use crate::conformance::stage::{Loan, Stage, Trial, World, secs};
use crate::poll::poll_n;
use millpond_core::BoxError;

/// Returns a random key that no other case uses.
fn key() -> String {
    format!("key:{:x}", fastrand::u64(..))
}

/// Another client changes the key that the last borrower watched; the next borrower's transaction
/// is executed anyway.
pub async fn b13_a_watch_never_reaches_the_next_borrower<T: Trial>(stage: Stage<T>) {
    let (world, others) = (stage.world(1, 0), stage.world(1, 0));
    for _ in 0..5 {
        let key = key();
        // Makes sure that a watch has an effect at all.
        let mut lease = world.lease().await;
        run(&stage, &mut lease, &["WATCH", &key]).await;
        run(&stage, &mut others.lease().await, &["SET", &key, "1"]).await;
        assert!(
            !transacted(&stage, &mut lease, &["SET", &key, "2"]).await,
            "a watch that sees nothing"
        );
        run(&stage, &mut lease, &["WATCH", &key]).await;
        drop(lease);
        let mut lease = clean(&stage, &world).await;
        run(&stage, &mut others.lease().await, &["SET", &key, "3"]).await;
        assert!(
            transacted(&stage, &mut lease, &["SET", &key, "4"]).await,
            "the last borrower's watch still held"
        );
        assert_eq!(run(&stage, &mut lease, &["GET", &key]).await, "4");
    }
}

/// Selects another database. A cluster has only one, and refuses.
pub async fn b13_another_database_never_reaches_the_next_borrower<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let (key, mut lease) = (key(), world.lease().await);
    let selected = stage.fixture.command(lease.real(), &["SELECT", "5"]).await;
    if selected.is_ok() {
        run(&stage, &mut lease, &["SET", &key, "there"]).await;
    }
    drop(lease);
    let mut lease = clean(&stage, &world).await;
    assert_eq!(
        run(&stage, &mut lease, &["EXISTS", &key]).await,
        "0",
        "the next borrower talks to another database"
    );
}

/// The next borrower's command is not queued in the last one's transaction, whether MULTI is sent
/// or refused.
pub async fn b13_a_transaction_left_open_never_reaches_the_next_borrower<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    for line in [&["MULTI"][..], &["multi"], &["EVAL", "return redis.call('MULTI')", "0"]] {
        let mut lease = world.lease().await;
        let _ = stage.fixture.command(lease.real(), line).await;
        drop(lease);
        drop(clean(&stage, &world).await);
    }
}

/// A message published later does not appear as the reply to the next borrower's command.
pub async fn b13_a_subscription_never_reaches_the_next_borrower<T: Trial>(stage: Stage<T>) {
    let (world, others) = (stage.world(1, 0), stage.world(1, 0));
    for line in [None, Some("SUBSCRIBE"), Some("PSUBSCRIBE"), Some("SSUBSCRIBE")] {
        let (channel, mut lease) = (key(), world.lease().await);
        let _ = match line {
            Some(command) => {
                stage.fixture.command(lease.real(), &[command, &channel]).await.map(drop)
            }
            None => stage.fixture.subscribe(lease.real(), &channel).await,
        };
        drop(lease);
        let mut lease = clean(&stage, &world).await;
        for number in 0..20 {
            run(&stage, &mut others.lease().await, &["PUBLISH", &channel, "not for you"]).await;
            answers(&stage, &mut lease, number).await;
        }
    }
}

/// Client settings of the last borrower do not apply to the next one.
pub async fn b13_client_settings_never_reach_the_next_borrower<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    for line in
        ["SETNAME mill", "NO-EVICT ON", "NO-TOUCH ON", "TRACKING ON", "REPLY SKIP", "REPLY OFF"]
    {
        let mut lease = world.lease().await;
        let words: Vec<&str> = std::iter::once("CLIENT").chain(line.split(' ')).collect();
        // An older server may not know the setting.
        let _ = stage.fixture.command(lease.real(), &words).await;
        drop(lease);
        drop(clean(&stage, &world).await);
    }
}

/// Dropping a BLPOP at any poll delays no later command, and the BLPOP takes no element pushed
/// later.
pub async fn b13_an_abandoned_blpop_never_reaches_the_next_borrower<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    for polls in 0..6 {
        let (key, mut lease) = (key(), world.lease().await);
        let words = ["BLPOP", key.as_str(), "60"];
        // Once it waits at the server, nothing wakes it any more.
        let waiting = poll_n(stage.fixture.command(lease.real(), &words), polls);
        let outcome = tokio::time::timeout(secs(1) / 5, waiting).await;
        assert!(!matches!(outcome, Ok(Some(_))), "it should have waited: {outcome:?}");
        drop(lease);
        let mut lease = clean(&stage, &world).await;
        run(&stage, &mut lease, &["RPUSH", &key, "unread"]).await;
        assert_eq!(
            run(&stage, &mut lease, &["LLEN", &key]).await,
            "1",
            "who had gone away took it, polls: {polls}"
        );
    }
}

/// A transaction dropped at any poll is executed as a whole or not at all, and leaves no unread
/// reply.
pub async fn b13_a_transaction_dropped_at_any_poll_is_executed_whole_or_not_at_all<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    for polls in (0..5).cycle().take(50) {
        let (key, mut lease) = (key(), world.lease().await);
        let words = ["INCR", key.as_str()];
        let _ = poll_n(stage.fixture.transact(lease.real(), &[&words, &words]), polls).await;
        drop(lease);
        let count = run(&stage, &mut clean(&stage, &world).await, &["GET", &key]).await;
        assert!(["", "2"].contains(&count.as_str()), "half of a transaction: {count}");
    }
}

/// A driver that reconnects on its own loses the watched keys without an error.
pub async fn b14_a_lost_connection_does_not_come_back_without_its_session<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    for _ in 0..3 {
        let (key, mut lease) = (key(), world.lease().await);
        run(&stage, &mut lease, &["WATCH", &key]).await;
        if let Err(error) = stage.fixture.kill(lease.real()).await {
            panic!("the server could not be asked to end it: {error}");
        }
        run(&stage, &mut stage.world(1, 0).lease().await, &["SET", &key, "1"]).await;
        let words = ["SET", key.as_str(), "2"];
        let outcome = stage.fixture.transact(lease.real(), &[&words]).await;
        assert!(!matches!(outcome, Ok(true)), "the watch was lost, and the transaction executed");
        drop(lease);
        assert_eq!(run(&stage, &mut clean(&stage, &world).await, &["GET", &key]).await, "1");
    }
}

/// Acquires the next borrower's connection and asserts that it is clean and in sync.
async fn clean<T: Trial>(stage: &Stage<T>, world: &World<T>) -> Loan<T> {
    let mut lease = world.lease().await;
    // In a cluster each command may be answered by another node.
    for number in 0..8 {
        let info = run(stage, &mut lease, &["CLIENT", "INFO"]).await;
        for wanted in ["db=0", "sub=0", "psub=0", "multi=-1", "name=", "flags=N"] {
            assert!(
                info.split_ascii_whitespace().any(|word| word == wanted),
                "{wanted} is not in {info}"
            );
        }
        answers(stage, &mut lease, number).await;
    }
    lease
}

/// Sends a command that must succeed, and returns its reply.
async fn run<T: Trial>(stage: &Stage<T>, lease: &mut Loan<T>, words: &[&str]) -> String {
    in_time(words, stage.fixture.command(lease.real(), words)).await
}

async fn transacted<T: Trial>(stage: &Stage<T>, lease: &mut Loan<T>, words: &[&str]) -> bool {
    in_time(words, stage.fixture.transact(lease.real(), &[words])).await
}

async fn answers<T: Trial>(stage: &Stage<T>, lease: &mut Loan<T>, number: i64) {
    let conn: &mut Connection<T::Fixture> = lease.real();
    assert_eq!(
        in_time(&["a question"], stage.fixture.ask(conn, number)).await,
        number,
        "the answer to another question"
    );
}

async fn in_time<O>(words: &[&str], command: impl Future<Output = Result<O, BoxError>>) -> O {
    match tokio::time::timeout(secs(10), command).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => panic!("{words:?}: {error}"),
        Err(_) => panic!("{words:?}: no answer in 10 s; a connection in trouble was lent"),
    }
}
