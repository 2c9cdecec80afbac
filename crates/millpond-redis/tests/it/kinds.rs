//! One server, a password, TLS, a socket, sentinels, a cluster: the same pool.

use crate::support::{any, by_each_driver, few, get, key, own, set, shared, single};
use millpond_redis::{Count, RedisConnectOptions, RedisPool, RedisPoolOptions, Value};
use millpond_testkit::{OwnServer, until, variable};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};

async fn works(pool: &RedisPool) {
    let key = key("works");
    let mut lease = pool.acquire().await.unwrap();
    assert!(lease.run::<bool>(set(&key, "mill")).await.unwrap());
    assert_eq!(lease.run::<Option<String>>(get(&key)).await.unwrap().as_deref(), Some("mill"));
    drop(lease);
    assert_eq!(pool.run::<Option<String>>(get(&key)).await.unwrap().as_deref(), Some("mill"));
    assert!(pool.close().await.is_clean());
}

#[tokio::test]
async fn a_pool_works_on_every_kind_of_server() {
    for name in ["REDIS", "REDIS_PASSWORD", "SENTINEL", "CLUSTER"] {
        let Some(url) = variable(&format!("MILLPOND_TEST_{name}_URL")) else { continue };
        for url in by_each_driver(&url) {
            works(&own().connect(&url).await.unwrap()).await;
            let pool = shared().connect(&url).await.unwrap();
            let key = key("shared");
            assert!(pool.run::<bool>(set(&key, 7)).await.unwrap(), "{name}");
            assert_eq!(pool.run::<i64>(get(&key)).await.unwrap(), 7, "{name}");
            assert!(pool.close().await.is_clean(), "{name}");
        }
    }
}

#[tokio::test]
async fn a_certificate_of_the_right_authority_is_accepted_and_no_other() {
    let Some(url) = variable("MILLPOND_TEST_REDIS_TLS_URL") else { return };
    let Some(ca) = variable("MILLPOND_TEST_REDIS_TLS_CA") else { return };
    let Some(wrong) = variable("MILLPOND_TEST_TLS_WRONG_CA") else { return };
    for url in by_each_driver(&format!("{url}?tls_ca={ca}")) {
        works(&own().connect(&url).await.unwrap()).await;
    }
    for url in [format!("{url}?tls_ca={wrong}"), url.clone()]
        .into_iter()
        .flat_map(|url| by_each_driver(&url))
    {
        let error = RedisPoolOptions::new().connect(&url).await.unwrap_err().to_string();
        assert!(error.contains("certificate") && error.contains("1 failed"), "{url}: {error}");
    }
    let error = RedisPoolOptions::new()
        .connect(&format!("{url}?tls_ca=/nowhere.pem"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nowhere.pem"), "{error}");
}

/// A sentinel that knows one master. Ends when it is dropped.
struct Sentinel {
    process: Child,
    directory: PathBuf,
    port: u16,
}

impl Sentinel {
    async fn start(program: &str, master: &str, tls: Option<&OwnServer>) -> Self {
        for _ in 0..10 {
            let mut sentinel = Self::spawn(program, master, tls);
            let file = sentinel.directory.join("sentinel.conf");
            let mut has_ended = false;
            until("it listens or has ended", async || {
                has_ended = sentinel.process.try_wait().unwrap().is_some();
                // It writes its ID there once it listens.
                let is_ready =
                    std::fs::read_to_string(&file).is_ok_and(|text| text.contains("myid"));
                has_ended || is_ready
            })
            .await;
            if !has_ended {
                return sentinel;
            }
            // Another program may have got its port first.
        }
        panic!("no sentinel starts");
    }

    fn spawn(program: &str, master: &str, tls: Option<&OwnServer>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = std::env::temp_dir().join(key("sentinel").replace(':', "-"));
        std::fs::create_dir(&directory).unwrap();
        let file = directory.join("sentinel.conf");
        let (host, master_port) = master.rsplit_once(':').unwrap();
        let listens = match tls {
            None => format!("port {port}"),
            Some(server) => {
                let [certificate, key] = ["--tls-cert-file ", "--tls-key-file "]
                    .map(|option| server.option(option).trim_matches('\''));
                format!(
                    "port 0\ntls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\n\
                     tls-ca-cert-file {}\ntls-auth-clients no",
                    server.variable("REDIS_TLS_CA")
                )
            }
        };
        let text = format!("{listens}\nsentinel monitor mill {host} {master_port} 1\n");
        std::fs::write(&file, text).unwrap();
        let mut command = std::process::Command::new(program);
        let command = command.arg(&file).arg("--sentinel").current_dir(&directory);
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        Self { process, directory, port }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn sentinels_may_be_encrypted_where_their_master_is_not_and_the_reverse() {
    let Some(program) = variable("MILLPOND_TEST_REDIS_SERVER_BIN") else { return };
    let Some(plain) = variable("MILLPOND_TEST_REDIS_ADDRESS") else { return };
    let Some(tls) = OwnServer::or_skip("redis-tls") else { return };
    let ca = tls.variable("REDIS_TLS_CA");
    for (sentinel, scheme, switch) in [
        (Sentinel::start(&program, tls.own_variable("ADDRESS"), None).await, "rediss", "off"),
        (Sentinel::start(&program, &plain, Some(&tls)).await, "redis", "on"),
    ] {
        let place = format!("{scheme}-sentinel://127.0.0.1:{}?service=mill", sentinel.port);
        let url = format!("{place}&tls_ca={ca}&sentinel_tls={switch}");
        until("the sentinel is ready", async || few(1).connect(&url).await.is_ok()).await;
        for url in by_each_driver(&url) {
            works(&own().connect(&url).await.unwrap()).await;
            let pool = shared().connect(&url).await.unwrap();
            assert!(pool.run::<bool>(set(&key("shared"), 7)).await.unwrap(), "{url}");
        }
        let place = format!("sentinel://127.0.0.1:{}?service=mill", sentinel.port);
        for alike in [format!("redis-{place}"), format!("rediss-{place}&tls_ca={ca}")] {
            let error = few(1).connect(&alike).await.unwrap_err().to_string();
            assert!(error.contains("TLS") && error.contains("sentinel_tls"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_socket_of_this_machine_will_do() {
    let Some(program) = variable("MILLPOND_TEST_REDIS_SERVER_BIN") else { return };
    let directory = std::env::temp_dir().join(key("socket").replace(':', "-"));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("redis.sock");
    let mut server = std::process::Command::new(program)
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut outcome = Ok(());
    for url in by_each_driver(&format!("unix://{}?db=1", path.display())) {
        match own().connect(&url).await {
            Ok(pool) => works(&pool).await,
            Err(error) => outcome = Err(error),
        }
    }
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    outcome.unwrap();
}

#[tokio::test]
async fn startup_nodes_will_do_instead_of_a_url() {
    let Some(nodes) = variable("MILLPOND_TEST_CLUSTER_NODES") else { return };
    let nodes = nodes.split(',').map(|node| node.rsplit_once(':').unwrap());
    let nodes: Vec<(&str, u16)> = nodes.map(|(host, port)| (host, port.parse().unwrap())).collect();
    works(&own().connect_with(RedisConnectOptions::cluster(nodes)).await.unwrap()).await;
}

#[tokio::test]
async fn in_a_cluster_connections_or_sockets_are_counted() {
    let Some(url) = variable("MILLPOND_TEST_CLUSTER_URL") else { return };
    let pool = own().max_connections(50).connect(&url).await.unwrap();
    assert_eq!(pool.status().pool_size, 50);
    let pool = own().max_connections(50).count(Count::Sockets).connect(&url).await.unwrap();
    assert_eq!(pool.status().pool_size, 12, "three masters and one more");
    let error =
        RedisPoolOptions::new().count(Count::Sockets).connect_lazy(&url).unwrap_err().to_string();
    assert!(error.contains("use connect"), "{error}");
}

#[tokio::test]
async fn keys_of_two_slots_in_one_command_are_refused_in_a_cluster_with_help() {
    let Some(url) = variable("MILLPOND_TEST_CLUSTER_URL") else { return };
    let pool = few(1).connect(&url).await.unwrap();
    let two = millpond_redis::Command::new("MGET").keys(["foo", "bar"]);
    let error = pool.run::<Value>(two.clone()).await.unwrap_err().to_string();
    assert!(error.contains("{user:1}"), "{error}");
    let Some(url) = single() else { return };
    let pool = few(1).connect(&url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    assert_eq!(any(&mut lease, two).await, Value::List(vec![Value::Nil, Value::Nil]));
}

#[tokio::test]
async fn a_database_is_that_of_the_url() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let url = server.url().trim_end_matches("/0");
    let (two, zero) =
        (few(1).connect(&format!("{url}/2")).await.unwrap(), few(1).connect(url).await.unwrap());
    two.run::<()>(set("k", "v")).await.unwrap();
    assert_eq!(zero.run::<Option<String>>(get("k")).await.unwrap(), None);
    assert_eq!(two.run::<Option<String>>(get("k")).await.unwrap().as_deref(), Some("v"));
}
