//! The rights that every connection needs, as `docs/redis.md` lists them.

use crate::support::{by_each_driver, few, key, set, shared};
use millpond_redis::{Command, slot_of};
use millpond_testkit::OwnServer;

const DOCS: &str = include_str!("../../../../docs/redis.md");

/// The rights in the docs, without one of them.
fn rights(without: &str) -> Vec<String> {
    let words: Vec<&str> = DOCS.split_whitespace().collect();
    let text = words.join(" ");
    let (_, rest) = text.split_once("what every connection needs: `").unwrap();
    let (list, _) = rest.split_once('`').unwrap();
    list.split(' ').filter(|right| *right != without).map(str::to_owned).collect()
}

/// Adds a user who may write, and has these rights.
async fn add_user(address: &str, rights: Vec<String>) {
    let user = ["SETUSER", "limited", "reset", "on", ">word", "~*", "+set"];
    let command = Command::new("ACL").args(user).args(rights);
    let pool = few(1).connect(&format!("redis://{address}")).await.unwrap();
    pool.run::<()>(command).await.unwrap();
}

async fn writes(url: &str, key: &str) {
    for url in by_each_driver(url) {
        let own = few(1).connect(&url).await.unwrap();
        own.run::<()>(set(key, 1)).await.unwrap();
        let shared = shared().max_connections(1).connect(&url).await.unwrap();
        shared.run::<()>(set(key, 1)).await.unwrap();
    }
}

#[tokio::test]
async fn behind_sentinels_the_rights_that_the_docs_list_suffice() {
    let Some(servers) = OwnServer::or_skip("sentinel") else { return };
    let url = servers.url().replace("://", "://limited:word@");
    for without in ["none", "+role"] {
        add_user(servers.variable("SENTINEL_MASTER_ADDRESS"), rights(without)).await;
        writes(&url, &key("limited")).await;
    }
}

#[tokio::test]
async fn while_a_slot_moves_the_rights_that_the_docs_list_suffice() {
    let Some(cluster) = OwnServer::or_skip("cluster") else { return };
    for n in 1..=6 {
        add_user(cluster.variable(&format!("CLUSTER_{n}_ADDRESS")), rights("none")).await;
    }
    let at = async |n: usize| {
        let address = cluster.variable(&format!("CLUSTER_{n}_ADDRESS"));
        let node = few(1).connect(&format!("redis://{address}")).await.unwrap();
        let id: String = node.run(Command::new("CLUSTER").arg("MYID")).await.unwrap();
        (node, id)
    };
    let ((from, from_id), (to, to_id)) = (at(1).await, at(2).await);
    let key = (0..).map(|n| format!("limited:{n}")).find(|key| slot_of(key.as_bytes()) <= 5460);
    let key = key.unwrap();
    let move_slot = |how: &str, id: &str| {
        let slot = slot_of(key.as_bytes());
        Command::new("CLUSTER").arg("SETSLOT").arg(slot).arg(how).arg(id)
    };
    to.run::<()>(move_slot("IMPORTING", &from_id)).await.unwrap();
    from.run::<()>(move_slot("MIGRATING", &to_id)).await.unwrap();
    writes(&cluster.url().replace("://", "://limited:word@"), &key).await;
}
