//! Nodes that come to a cluster and leave it.

use crate::scripted::{Scripted, plain};
use crate::support::{by_each_driver, get, key, own, shared};
use millpond_redis::{Limits, Value, slot_of};
use millpond_testkit::until;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// Two nodes that share the slots between them, until the first has all of them.
struct Two {
    nodes: [Scripted; 2],
    has_all: Arc<Mutex<bool>>,
}

/// The owner of the upper half of the slots.
const HALF: u16 = 8192;

impl Two {
    async fn start() -> Self {
        let (has_all, addresses) =
            (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(Vec::<SocketAddr>::new())));
        let node = async |at: usize| {
            let (has_all, addresses) = (Arc::clone(&has_all), Arc::clone(&addresses));
            Scripted::start(move |_, words| {
                let (has_all, nodes) =
                    (*has_all.lock().unwrap(), addresses.lock().unwrap().clone());
                let place =
                    |at: usize| format!("*2\r\n$9\r\n127.0.0.1\r\n:{}\r\n", nodes[at].port());
                let range = |first, last, at| format!("*3\r\n:{first}\r\n:{last}\r\n{}", place(at));
                match &words[0][..] {
                    b"CLUSTER" if has_all => format!("*1\r\n{}", range(0, 16_383, 0)).into_bytes(),
                    b"CLUSTER" => {
                        format!("*2\r\n{}{}", range(0, HALF - 1, 0), range(HALF, 16_383, 1))
                            .into_bytes()
                    }
                    b"GET" if has_all && at == 1 => {
                        format!("-MOVED {} 127.0.0.1:{}\r\n", slot_of(&words[1]), nodes[0].port())
                            .into_bytes()
                    }
                    _ => plain(words),
                }
            })
            .await
        };
        let nodes = [node(0).await, node(1).await];
        *addresses.lock().unwrap() = nodes.iter().map(|node| node.address).collect();
        Self { nodes, has_all }
    }

    fn url(&self) -> String {
        format!("redis-cluster://{}", self.nodes[0].address)
    }
}

/// A key of the upper half of the slots.
fn upper() -> String {
    loop {
        let key = key("upper");
        if slot_of(key.as_bytes()) >= HALF {
            return key;
        }
    }
}

#[tokio::test]
async fn the_socket_to_a_node_that_has_left_the_cluster_is_closed() {
    for query in by_each_driver("") {
        let two = Two::start().await;
        let url = format!("{}{query}", two.url());
        let exclusive = own().limits(Limits::Off).max_connections(1).connect(&url).await.unwrap();
        let many = shared().max_connections(1).connect(&url).await.unwrap();
        let key = upper();
        exclusive.run::<Value>(get(&key)).await.unwrap();
        many.run::<Value>(get(&key)).await.unwrap();
        until("two sockets lead there", async || two.nodes[1].open() == 2).await;
        *two.has_all.lock().unwrap() = true;
        until("no socket leads there", async || {
            assert_eq!(exclusive.run::<String>(get(&key)).await.unwrap(), key);
            assert_eq!(many.run::<String>(get(&key)).await.unwrap(), key);
            two.nodes[1].open() == 0
        })
        .await;
    }
}
