//! Publish and subscribe.

use crate::support::{cluster, few, key, next_is_clean, single};
use millpond_core::CloseReason;
use millpond_redis::{Command, RedisError};
use millpond_testkit::{OwnServer, Trace, until};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn messages_arrive_in_order_and_the_connection_is_never_lent_on() {
    let Some(url) = single() else { return };
    let trace = Trace::new();
    let pool = few(2).observer(trace.clone()).connect(&url).await.unwrap();
    let channel = key("channel");
    let mut lease = pool.acquire().await.unwrap();
    lease.subscribe([channel.as_str()]).await.unwrap();
    for n in 0..100 {
        let heard: i64 = pool.run(Command::new("PUBLISH").arg(&channel).arg(n)).await.unwrap();
        assert_eq!(heard, 1);
    }
    for n in 0..100 {
        let message = lease.message(LONG).await.unwrap().unwrap();
        assert_eq!((message.channel.as_str(), &message.payload[..]), (channel.as_str(), n.to_string().as_bytes()));
    }
    assert_eq!(lease.message(Duration::from_millis(10)).await.unwrap(), None);
    drop(lease);
    until("it is closed", async || trace.closed() == [CloseReason::Unproven]).await;
    next_is_clean(&pool).await;
}

#[tokio::test]
async fn a_pattern_hears_every_channel_that_fits() {
    let Some(url) = single() else { return };
    let pool = few(2).connect(&url).await.unwrap();
    let prefix = key("pattern");
    let mut lease = pool.acquire().await.unwrap();
    lease.psubscribe([format!("{prefix}*")]).await.unwrap();
    pool.run::<()>(Command::new("PUBLISH").arg(format!("{prefix}:1")).arg("x")).await.unwrap();
    assert_eq!(lease.message(LONG).await.unwrap().unwrap().channel, format!("{prefix}:1"));
}

#[tokio::test]
async fn who_is_told_of_a_subscription_has_it_at_the_server() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let pool = few(1).command_timeout(SHORT).connect(server.url()).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    server.signal("REDIS", "STOP").unwrap();
    let error = lease.subscribe(["channel"]).await.unwrap_err();
    assert!(error.is_ambiguous() && error.to_string().contains("SUBSCRIBE"), "{error}");
}

#[tokio::test]
async fn in_a_cluster_what_is_published_right_after_a_subscription_arrives() {
    let Some(url) = cluster() else { return };
    let pool = few(2).connect(&url).await.unwrap();
    let channel = key("channel");
    let mut lease = pool.acquire().await.unwrap();
    lease.subscribe([channel.as_str()]).await.unwrap();
    pool.run::<()>(Command::new("PUBLISH").arg(&channel).arg("x")).await.unwrap();
    assert_eq!(lease.message(LONG).await.unwrap().unwrap().channel, channel);
}

#[tokio::test]
async fn who_listens_hears_that_the_connection_is_lost() {
    let Some(url) = single() else { return };
    let pool = few(2).connect(&url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let id = crate::support::id(&mut lease).await;
    assert!(matches!(lease.message(LONG).await, Err(RedisError::Refused { .. })));
    lease.subscribe([key("channel")]).await.unwrap();
    pool.run::<()>(Command::new("CLIENT").arg("KILL").arg("ID").arg(id)).await.unwrap();
    assert!(matches!(lease.message(LONG).await, Err(RedisError::Lost { .. })));
}
