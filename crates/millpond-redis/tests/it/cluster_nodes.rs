//! Nodes of a cluster that are silent or gone, or have got new addresses.

use crate::scripted::{HANG_UP, Scripted, plain};
use crate::support::{PATIENCE, by_each_driver, few, get, shared};
use millpond_redis::{RedisConnectOptions, Value};
use millpond_testkit::{ChaosProxy, Flow, until};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};

/// Nobody listens there.
const GONE: &str = "127.0.0.1:1";

/// `CLUSTER SLOTS` of ranges, each with its nodes, the owner first.
fn slots(ranges: &[(u16, u16, Vec<SocketAddr>)]) -> Vec<u8> {
    let node = |node: &SocketAddr| format!("*2\r\n$9\r\n{}\r\n:{}\r\n", node.ip(), node.port());
    let range = |(first, last, nodes): &(u16, u16, Vec<SocketAddr>)| {
        let nodes_text: String = nodes.iter().map(node).collect();
        format!("*{}\r\n:{first}\r\n:{last}\r\n{nodes_text}", nodes.len() + 2)
    };
    let all: String = ranges.iter().map(range).collect();
    format!("*{}\r\n{all}", ranges.len()).into_bytes()
}

/// A node that announces these slots and owns none.
async fn announcing(announced: Arc<Mutex<Vec<u8>>>) -> Scripted {
    Scripted::start(move |_, words| match &words[0][..] {
        b"CLUSTER" => announced.lock().unwrap().clone(),
        b"GET" => b"-MOVED 7 127.0.0.1:1\r\n".to_vec(),
        _ => plain(words),
    })
    .await
}

/// A node that answers, and knows of no others.
async fn answering() -> Scripted {
    Scripted::start(|_, words| match &words[0][..] {
        b"CLUSTER" => b"-ERR not now\r\n".to_vec(),
        _ => plain(words),
    })
    .await
}

fn everything(nodes: &[SocketAddr]) -> Vec<u8> {
    slots(&[(0, 16_383, nodes.to_vec())])
}

#[tokio::test]
async fn a_cluster_whose_nodes_have_all_got_new_addresses_is_found_by_its_startup_nodes() {
    for query in by_each_driver("") {
        let gone = GONE.parse().unwrap();
        let old = answering().await;
        let announced = Arc::new(Mutex::new(everything(&[old.address, gone])));
        let startup = announcing(Arc::clone(&announced)).await;
        let url = format!("redis-cluster://{}{query}", startup.address);
        let shared = shared().max_connections(1).connect(&url).await.unwrap();
        let own = few(1).connect(&url).await.unwrap();
        assert_eq!(shared.run::<String>(get("a")).await.unwrap(), "a");
        assert_eq!(own.run::<String>(get("a")).await.unwrap(), "a");
        let new = answering().await;
        *announced.lock().unwrap() = everything(&[new.address]);
        drop(old);
        until("the new address is found", async || {
            shared.run::<String>(get("b")).await.is_ok()
                && own.run::<String>(get("b")).await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn a_first_connection_does_not_wait_for_a_master_that_is_silent() {
    for query in by_each_driver("") {
        // Nodes are tried in the order of their addresses.
        let (silent, healthy) = loop {
            let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let healthy = answering().await;
            if silent.local_addr().unwrap() < healthy.address {
                break (silent, healthy);
            }
        };
        let announced = slots(&[
            (0, 8_000, vec![silent.local_addr().unwrap()]),
            (8_001, 16_383, vec![healthy.address]),
        ]);
        let startup = announcing(Arc::new(Mutex::new(announced))).await;
        let url = format!("redis-cluster://{}{query}", startup.address);
        // A silent one is waited for longer than that: for its `command_timeout`.
        let limit = PATIENCE - Duration::from_secs(1);
        let pool = few(1).pool_timeout(limit).connect(&url).await.unwrap();
        assert_eq!(pool.run::<String>(get("foo")).await.unwrap(), "foo", "its slot is 12182");
    }
}

#[tokio::test]
async fn a_moved_to_a_node_that_is_gone_costs_nobody_else_an_answer() {
    let gone = GONE;
    for query in by_each_driver("") {
        let announced = Arc::new(Mutex::new(Vec::new()));
        let announced_slots = Arc::clone(&announced);
        let node = Scripted::start(move |_, words| match (&words[0][..], words.last()) {
            (b"CLUSTER", _) => announced_slots.lock().unwrap().clone(),
            (b"GET", Some(key)) if key == b"foo" => format!("-MOVED 12182 {gone}\r\n").into_bytes(),
            _ => plain(words),
        })
        .await;
        *announced.lock().unwrap() = everything(&[node.address]);
        let url = format!("redis-cluster://{}{query}", node.address);
        let pool = shared().max_connections(1).connect(&url).await.unwrap();
        for _ in 0..5 {
            let (lost, other) =
                tokio::join!(pool.run::<Value>(get("foo")), pool.run::<String>(get("bar")));
            let error = lost.unwrap_err();
            assert!(!error.is_ambiguous(), "{error}");
            assert_eq!(other.unwrap(), "bar");
        }
    }
}

#[tokio::test]
async fn a_node_that_redirects_to_itself_for_ever_is_an_error_and_nothing_is_executed() {
    for query in by_each_driver("") {
        let announced = Arc::new(Mutex::new(Vec::new()));
        let announced_slots = Arc::clone(&announced);
        let node = Scripted::start(move |_, words| match &words[0][..] {
            b"CLUSTER" => announced_slots.lock().unwrap().clone(),
            b"GET" | b"EXISTS" => {
                let port = announced_slots.lock().unwrap();
                let text = String::from_utf8_lossy(&port).into_owned();
                let port = text.rsplit_once(':').unwrap().1.trim().to_owned();
                format!("-MOVED 12182 :{port}\r\n").into_bytes()
            }
            _ => plain(words),
        })
        .await;
        *announced.lock().unwrap() = everything(&[node.address]);
        let url = format!("redis-cluster://{}{query}", node.address);
        let pool = few(1).connect(&url).await.unwrap();
        let error = pool.run::<Value>(get("foo")).await.unwrap_err();
        assert_eq!(error.code(), Some("MOVED"), "{error}");
        assert!(!error.is_ambiguous());
    }
}

#[tokio::test]
async fn settings_that_no_cluster_accepts_are_an_error_at_once() {
    let announced = Arc::new(Mutex::new(Vec::new()));
    let announced_slots = Arc::clone(&announced);
    let node = Scripted::start(move |_, words| match &words[0][..] {
        b"CLUSTER" => announced_slots.lock().unwrap().clone(),
        b"SELECT" => b"-ERR SELECT is not allowed in cluster mode\r\n".to_vec(),
        _ => plain(words),
    })
    .await;
    *announced.lock().unwrap() = everything(&[node.address]);
    let options = RedisConnectOptions::cluster([("127.0.0.1", node.address.port())]).database(3);
    let pool = few(1).pool_timeout(Duration::from_secs(60)).connect_with(options);
    let error = tokio::time::timeout(Duration::from_secs(20), pool).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("not allowed in cluster mode"), "{error}");
}

/// Two nodes that share the slots, which a third announces.
async fn shared_by(lower: SocketAddr, upper: SocketAddr) -> Scripted {
    let announced = slots(&[(0, 8_000, vec![lower]), (8_001, 16_383, vec![upper])]);
    announcing(Arc::new(Mutex::new(announced))).await
}

#[tokio::test]
async fn callers_who_do_not_wait_long_share_one_attempt_to_connect() {
    for query in by_each_driver("") {
        let (healthy, slow) = (answering().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
        let startup = shared_by(healthy.address, slow.local_addr().unwrap()).await;
        let url = format!("redis-cluster://{}{query}", startup.address);
        let minute = Duration::from_secs(60);
        let options = shared().max_connections(1).command_timeout(minute);
        let pool = options.connect(&url).await.unwrap();
        for _ in 0..10 {
            // Its slot is 12182.
            let asking = pool.run::<String>(get("foo"));
            assert!(tokio::time::timeout(Duration::from_millis(20), asking).await.is_err());
        }
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let _slow = Scripted::on(slow, move |number, words| {
            counted.fetch_max(number + 1, Ordering::SeqCst);
            plain(words)
        });
        assert_eq!(pool.run::<String>(get("foo")).await.unwrap(), "foo");
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_handshake_may_take_longer_than_a_command() {
    for query in by_each_driver("") {
        let announced = Arc::new(Mutex::new(Vec::new()));
        let announced_slots = Arc::clone(&announced);
        let node = Scripted::start(move |_, words| match &words[0][..] {
            b"CLUSTER" => announced_slots.lock().unwrap().clone(),
            _ => plain(words),
        })
        .await;
        let far = ChaosProxy::start(&node.address.to_string()).await.unwrap();
        *announced.lock().unwrap() = everything(&[far.address()]);
        let delay = Duration::from_millis(150);
        far.plan(move |_, _| Flow::free().delayed(delay));
        let url = format!("redis-cluster://{}{query}", far.address());
        // Of three answers the first two are about the slots.
        let pool = few(1).command_timeout(delay * 4).connect(&url).await.unwrap();
        assert_eq!(pool.run::<String>(get("a")).await.unwrap(), "a");
        let options = shared().max_connections(1).command_timeout(delay * 4);
        let client = options.connect(&url).await.unwrap().acquire().await.unwrap();
        assert_eq!(client.nodes_now().await.unwrap().len(), 1);
    }
}

/// Such a runtime gives the pool's tasks no time between two calls, and none at all if the callers
/// go on with another one.
#[test]
fn a_node_that_is_back_is_found_by_callers_whose_runtime_runs_only_while_they_ask() {
    let servers = Runtime::new().unwrap();
    for (query, goes_on_elsewhere) in
        by_each_driver("").into_iter().flat_map(|query| [(query.clone(), false), (query, true)])
    {
        // Bound, so that no other test gets the port, and refused until it listens.
        let gone = TcpSocket::new_v4().unwrap();
        gone.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (healthy, startup) = servers.block_on(async {
            let healthy = answering().await;
            let startup = shared_by(healthy.address, gone.local_addr().unwrap()).await;
            (healthy, startup)
        });
        let runtimes =
            [(); 2].map(|()| Builder::new_current_thread().enable_all().build().unwrap());
        let url = format!("redis-cluster://{}{query}", startup.address);
        let options = shared().max_connections(1);
        let pool = runtimes[0].block_on(options.connect(&url)).unwrap();
        let ask = |n: usize| runtimes[n].block_on(pool.run::<String>(get("foo")));
        assert!(ask(0).is_err() && ask(0).is_err());
        let _back = servers
            .block_on(async { Scripted::on(gone.listen(16).unwrap(), |_, words| plain(words)) });
        let since = Instant::now();
        while let Err(error) = ask(usize::from(goes_on_elsewhere)) {
            assert!(since.elapsed() < Duration::from_secs(10), "{error}");
        }
        drop(healthy);
    }
}

/// The runtime that saw the old owner fail runs no more.
#[test]
fn a_new_owner_is_found_by_callers_on_another_runtime() {
    let servers = Runtime::new().unwrap();
    for (query, serves_nothing) in
        by_each_driver("").into_iter().flat_map(|query| [(query.clone(), false), (query, true)])
    {
        // Bound, so that no other test gets the port, and refused since it never listens.
        let gone = TcpSocket::new_v4().unwrap();
        gone.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (_old, healthy, announced, startup) = servers.block_on(async {
            let old = Scripted::start(|_, words| match &words[0][..] {
                b"GET" => b"-CLUSTERDOWN Hash slot not served\r\n".to_vec(),
                b"CLUSTER" => b"-ERR not now\r\n".to_vec(),
                _ => plain(words),
            })
            .await;
            let healthy = answering().await;
            let owner = if serves_nothing { old.address } else { gone.local_addr().unwrap() };
            let announced =
                slots(&[(0, 8_000, vec![healthy.address]), (8_001, 16_383, vec![owner])]);
            let announced = Arc::new(Mutex::new(announced));
            let startup = announcing(Arc::clone(&announced)).await;
            (old, healthy, announced, startup)
        });
        let [first, second] =
            [(); 2].map(|()| Builder::new_current_thread().enable_all().build().unwrap());
        let url = format!("redis-cluster://{}{query}", startup.address);
        let options = shared().max_connections(1);
        let options = options.configure(|config| config.connect_timeout = Duration::from_secs(1));
        let pool = first.block_on(options.connect(&url)).unwrap();
        let ask = || pool.run::<String>(get("foo"));
        assert!(first.block_on(ask()).is_err(), "nobody serves slot 12182");
        *announced.lock().unwrap() = everything(&[healthy.address]);
        let since = Instant::now();
        while let Err(error) = second.block_on(ask()) {
            assert!(since.elapsed() < Duration::from_secs(30), "{error}");
        }
    }
}

#[tokio::test]
async fn a_cluster_behind_one_address_is_used_whichever_node_answers() {
    for query in by_each_driver("") {
        let address = Arc::new(Mutex::new(None::<SocketAddr>));
        let its_own = Arc::clone(&address);
        let proxy = Scripted::start(move |number, words| {
            let id = |number| format!("$40\r\n{number:040x}\r\n");
            let port = || its_own.lock().unwrap().unwrap().port();
            match (&words[0][..], words.get(1).map(|word| &word[..])) {
                (b"CLUSTER", Some(b"MYID")) => id(number + 1).into_bytes(),
                (b"CLUSTER", _) => {
                    let node = format!("*3\r\n$9\r\n127.0.0.1\r\n:{}\r\n{}", port(), id(0));
                    format!("*1\r\n*3\r\n:0\r\n:16383\r\n{node}").into_bytes()
                }
                _ => plain(words),
            }
        })
        .await;
        *address.lock().unwrap() = Some(proxy.address);
        let url = format!("redis-cluster://{}{query}", proxy.address);
        let own = few(1).connect(&url).await.unwrap();
        let many = shared().max_connections(1).connect(&url).await.unwrap();
        assert_eq!(own.run::<String>(get("a")).await.unwrap(), "a");
        assert_eq!(many.run::<String>(get("b")).await.unwrap(), "b");
    }
}

#[tokio::test]
async fn a_node_at_the_former_address_of_another_one_is_not_taken_for_it() {
    for query in by_each_driver("") {
        let id = |number| format!("$40\r\n{number:040x}\r\n");
        let announced = Arc::new(Mutex::new(String::new()));
        let node = async |number: Option<i32>| {
            let announced = Arc::clone(&announced);
            Scripted::start(move |_, words| match (&words[0][..], words.get(1), number) {
                (b"CLUSTER", Some(word), Some(number)) if word == b"MYID" => {
                    id(number).into_bytes()
                }
                (b"CLUSTER", ..) => announced.lock().unwrap().clone().into_bytes(),
                _ => plain(words),
            })
            .await
        };
        // All still name the first one at its former address, where the second one is now.
        let (restarted, former) = (node(Some(2)).await, node(None).await);
        let range = |first, last, at: SocketAddr, number| {
            let node = format!("*3\r\n$9\r\n{}\r\n:{}\r\n{}", at.ip(), at.port(), id(number));
            format!("*3\r\n:{first}\r\n:{last}\r\n{node}")
        };
        let lower = range(0, 8_000, restarted.address, 1);
        let upper = range(8_001, 16_383, former.address, 2);
        *announced.lock().unwrap() = format!("*2\r\n{lower}{upper}");
        let url = format!("redis-cluster://{}{query}", restarted.address);
        let own = few(1).connect(&url).await.unwrap();
        let many = shared().max_connections(1).connect(&url).await.unwrap();
        for _ in 0..3 {
            // Its slot is 5061.
            let outcomes = [own.run::<Value>(get("bar")).await, many.run(get("bar")).await];
            for outcome in outcomes {
                assert!(!outcome.expect_err("the second one answers for it").is_ambiguous());
            }
        }
    }
}

#[tokio::test]
async fn a_node_whose_connection_is_lost_before_it_says_who_it_is_is_dialled_again() {
    for query in by_each_driver("") {
        let address = Arc::new(Mutex::new(None::<SocketAddr>));
        let (its_own, lost) = (Arc::clone(&address), Arc::new(AtomicUsize::new(0)));
        let losses = Arc::clone(&lost);
        let node = Scripted::start(move |_, words| {
            let id = format!("$40\r\n{:040x}\r\n", 7);
            let port = || its_own.lock().unwrap().unwrap().port();
            match (&words[0][..], words.get(1).map(|word| &word[..])) {
                (b"CLUSTER", Some(b"MYID")) if losses.fetch_add(1, Ordering::SeqCst) < 3 => {
                    HANG_UP.to_vec()
                }
                (b"CLUSTER", Some(b"MYID")) => id.into_bytes(),
                (b"CLUSTER", _) => {
                    let node = format!("*3\r\n$9\r\n127.0.0.1\r\n:{}\r\n{id}", port());
                    format!("*1\r\n*3\r\n:0\r\n:16383\r\n{node}").into_bytes()
                }
                _ => plain(words),
            }
        })
        .await;
        *address.lock().unwrap() = Some(node.address);
        let url = format!("redis-cluster://{}{query}", node.address);
        let pool = shared().max_connections(1).connect_lazy(&url).unwrap();
        until("it is dialled again", async || pool.run::<String>(get("a")).await.is_ok()).await;
        assert!(lost.load(Ordering::SeqCst) > 3);
    }
}

#[test]
fn an_attempt_to_connect_that_its_runtime_does_not_finish_is_replaced() {
    let servers = Runtime::new().unwrap();
    let limit = Duration::from_millis(500);
    for query in by_each_driver("") {
        let (healthy, startup, slow) = servers.block_on(async {
            let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let healthy = answering().await;
            let startup = shared_by(healthy.address, slow.local_addr().unwrap()).await;
            (healthy, startup, slow)
        });
        let [first, second] =
            [(); 2].map(|()| Builder::new_current_thread().enable_all().build().unwrap());
        let url = format!("redis-cluster://{}{query}", startup.address);
        let options = shared().max_connections(1).command_timeout(limit);
        let options = options.configure(|config| config.connect_timeout = limit);
        let pool = first.block_on(options.connect(&url)).unwrap();
        let ask = || pool.run::<String>(get("foo"));
        first.block_on(async {
            assert!(tokio::time::timeout(Duration::from_millis(20), ask()).await.is_err());
        });
        let _slow = servers.block_on(async { Scripted::on(slow, |_, words| plain(words)) });
        let since = Instant::now();
        while let Err(error) = second.block_on(ask()) {
            assert!(since.elapsed() < Duration::from_secs(30), "{error}");
        }
        drop(healthy);
    }
}
