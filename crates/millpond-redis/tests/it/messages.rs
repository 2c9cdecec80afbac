//! Publish and subscribe.

use crate::scripted::{Scripted, plain};
use crate::support::{cluster, few, key, next_is_clean, set, shared, single};
use millpond_core::CloseReason;
use millpond_redis::{Bytes, Command, RedisError, slot_of};
use millpond_testkit::{OwnServer, Trace, until};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);
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
        assert_eq!(
            (message.channel.as_str(), &message.payload[..]),
            (channel.as_str(), n.to_string().as_bytes())
        );
    }
    assert_eq!(lease.message(Duration::from_millis(10)).await.unwrap(), None);
    drop(lease);
    until("it is closed", async || trace.closed() == [CloseReason::Unverified]).await;
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
async fn a_subscription_that_is_ok_exists_at_the_server() {
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
    for _ in 0..3 {
        assert!(matches!(lease.message(LONG).await, Err(RedisError::Lost { .. })));
    }
}

#[tokio::test]
async fn notifications_of_keys_arrive_whatever_bytes_they_have() {
    let Some(url) = single() else { return };
    let pool = few(2).connect(&url).await.unwrap();
    pool.run::<()>(Command::new("CONFIG").args(["SET", "notify-keyspace-events", "KEA"]))
        .await
        .unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let prefix = key("keyspace");
    lease.psubscribe([format!("__keyspace@0__:{prefix}*")]).await.unwrap();
    for end in [&b"x"[..], b"\xff\xfe", b"\r\n"] {
        let key = [prefix.as_bytes(), end].concat();
        pool.run::<()>(Command::new("SET").key(&key[..]).arg(1)).await.unwrap();
        let message = lease.message(LONG).await.unwrap().unwrap();
        assert_eq!(message.channel_bytes, [b"__keyspace@0__:", &key[..]].concat());
        assert_eq!(message.payload, "set");
    }
}

#[tokio::test]
async fn in_a_cluster_notifications_of_the_keys_of_every_master_arrive() {
    let Some(url) = cluster() else { return };
    let shared = shared().connect(&url).await.unwrap();
    for node in shared.acquire().await.unwrap().nodes() {
        let set = Command::new("CONFIG").args(["SET", "notify-keyspace-events", "KEA"]);
        shared.acquire().await.unwrap().run_on::<()>(&node, set).await.unwrap();
    }
    let pool = few(2).connect(&url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let prefix = key("keyspace");
    let channel = key("channel:*");
    lease.psubscribe([format!("__keyspace@0__:{prefix}*"), channel.clone()]).await.unwrap();
    let keys: Vec<String> = (0..30).map(|n| format!("{prefix}:{n}")).collect();
    assert!(
        keys.iter()
            .map(|key| slot_of(key.as_bytes()) / 5462)
            .collect::<std::collections::HashSet<_>>()
            .len()
            > 1
    );
    for key in &keys {
        shared.run::<()>(set(key, 1)).await.unwrap();
        let message = lease.message(LONG).await.unwrap().unwrap();
        assert_eq!(message.channel, format!("__keyspace@0__:{key}"));
    }
    shared.run::<()>(Command::new("PUBLISH").arg(&channel).arg("x")).await.unwrap();
    assert_eq!(lease.message(LONG).await.unwrap().unwrap().channel, channel);
    assert_eq!(
        lease.message(Duration::from_millis(50)).await.unwrap(),
        None,
        "nothing arrives twice"
    );
}

#[tokio::test]
async fn a_subscriber_to_keys_learns_that_their_master_has_changed() {
    let Some(cluster) = OwnServer::or_skip("cluster") else { return };
    let notify = Command::new("CONFIG").args(["SET", "notify-keyspace-events", "KEA"]);
    let mut nodes = Vec::new();
    for n in 1..=6 {
        let address = cluster.variable(&format!("CLUSTER_{n}_ADDRESS"));
        nodes.push(few(1).connect(&format!("redis://{address}")).await.unwrap());
        nodes[n - 1].run::<()>(notify.clone()).await.unwrap();
    }
    let pool = few(2).connect(cluster.url()).await.unwrap();
    let (mut keys, mut channel) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    keys.psubscribe(["__keyspace@0__:*"]).await.unwrap();
    channel.subscribe(["pond"]).await.unwrap();
    for replica in &nodes[3..] {
        let take_over = Command::new("CLUSTER").args(["FAILOVER", "TAKEOVER"]);
        replica.run::<()>(take_over).await.unwrap();
    }
    assert!(matches!(keys.message(LONG).await, Err(RedisError::Lost { .. })));
    drop(keys);
    assert_eq!(channel.message(Duration::from_millis(50)).await.unwrap(), None, "it stays");
    let shared = shared().connect(cluster.url()).await.unwrap();
    until("the new master is heard", async || {
        let mut keys = pool.acquire().await.unwrap();
        if keys.psubscribe(["__keyspace@0__:*"]).await.is_err() {
            return false;
        }
        let _ = shared.run::<()>(set("pond", 1)).await;
        matches!(keys.message(Duration::from_secs(1)).await, Ok(Some(_)))
    })
    .await;
}

#[tokio::test]
async fn a_channel_whose_name_is_not_utf_8_is_heard() {
    let Some(url) = single() else { return };
    let pool = few(2).connect(&url).await.unwrap();
    let channel = Bytes::from([key("channel").as_bytes(), b"\xff\x00"].concat());
    let mut lease = pool.acquire().await.unwrap();
    lease.subscribe([&channel]).await.unwrap();
    pool.run::<()>(Command::new("PUBLISH").arg(&channel).arg("x")).await.unwrap();
    let message = lease.message(LONG).await.unwrap().unwrap();
    assert_eq!((message.channel_bytes, &message.payload[..]), (channel, &b"x"[..]));
}

#[tokio::test]
async fn a_subscribed_connection_still_answers_commands_and_distinguishes_lists_from_messages() {
    let Some(url) = single() else { return };
    let pool = few(2).connect(&url).await.unwrap();
    let (channel, list) = (key("channel"), key("list"));
    let mut lease = pool.acquire().await.unwrap();
    lease.subscribe([channel.as_str()]).await.unwrap();
    for n in 0..20 {
        pool.run::<()>(Command::new("PUBLISH").arg(&channel).arg(n)).await.unwrap();
        lease
            .run::<()>(Command::new("RPUSH").key(&list).args(["message", "from", "somebody"]))
            .await
            .unwrap();
        let pop = Command::new("LPOP").key(&list).arg(3);
        assert_eq!(lease.run::<Vec<String>>(pop).await.unwrap(), ["message", "from", "somebody"]);
        assert_eq!(lease.message(LONG).await.unwrap().unwrap().payload, n.to_string());
    }
}

#[tokio::test]
async fn over_the_second_version_of_the_protocol_a_list_that_was_asked_for_before_is_no_message() {
    let Some(server) = millpond_testkit::variable("MILLPOND_TEST_REDIS_ADDRESS") else { return };
    let server = crate::scripted::without_hello(server).await;
    let pool = few(2).connect(&format!("redis://{server}")).await.unwrap();
    let (channel, list) = (key("channel"), key("list"));
    pool.run::<()>(Command::new("RPUSH").key(&list).args(["message", "from", "somebody"]))
        .await
        .unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let all = Command::new("LRANGE").key(&list).arg(0).arg(-1);
    // Cut off: its answer comes when the connection has subscribed.
    drop(millpond_testkit::poll_n(lease.run::<()>(all), 1).await);
    lease.subscribe([channel.as_str(), "other"]).await.unwrap();
    pool.run::<()>(Command::new("PUBLISH").arg(&channel).arg("x")).await.unwrap();
    let message = lease.message(LONG).await.unwrap().unwrap();
    assert_eq!((message.channel, &message.payload[..]), (channel, &b"x"[..]));
    let error = lease.run::<()>(Command::new("GET").key(&list)).await.unwrap_err();
    assert!(error.code() == Some("ERR"), "{error}");
}

#[tokio::test]
async fn a_user_who_may_not_listen_gets_the_error_of_the_server() {
    let Some(url) = single() else { return };
    let admin = few(1).connect(&url).await.unwrap();
    let user = key("deaf").replace(':', "-");
    let rights = ["on", ">secret", "~*", "resetchannels", "+@all"];
    admin.run::<()>(Command::new("ACL").arg("SETUSER").arg(&user).args(rights)).await.unwrap();
    let pool =
        few(1).connect(&url.replace("redis://", &format!("redis://{user}:secret@"))).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let error = lease.subscribe([key("channel")]).await.unwrap_err();
    assert_eq!(error.code(), Some("NOPERM"), "{error}");
    assert!(matches!(lease.subscribe(Vec::<String>::new()).await, Err(RedisError::Refused { .. })));
}

#[tokio::test]
async fn over_the_second_version_a_list_is_no_message_after_a_subscription_that_was_refused() {
    let server = Scripted::start(|_, words| match &words[0][..] {
        b"SUBSCRIBE" => b"-NOPERM no channels for you\r\n".to_vec(),
        b"LRANGE" => b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n".to_vec(),
        _ => plain(words),
    })
    .await;
    let pool = few(1).connect(&format!("redis://{}", server.address)).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    assert_eq!(lease.subscribe(["a"]).await.unwrap_err().code(), Some("NOPERM"));
    let all = Command::new("LRANGE").key("list").arg(0).arg(-1);
    assert_eq!(lease.run::<Vec<String>>(all).await.unwrap(), ["message", "a", "b"]);
}
