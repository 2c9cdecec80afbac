//! Servers that cannot be connected to, or can in spite of what they say.

use crate::scripted::{Scripted, plain};
use crate::support::{PATIENCE, by_each_driver, few, key, single};
use millpond_redis::{Command, RedisError, SharedRedisPoolOptions, Value};
use millpond_testkit::variable;
use std::time::Duration;
use tokio::net::TcpListener;

/// What connecting ends with; it must not take as long as a pool waits for a server that is down.
async fn refused(url: &str) -> RedisError {
    let connecting = few(1).pool_timeout(Duration::from_secs(60)).connect(url);
    tokio::time::timeout(Duration::from_secs(50), connecting)
        .await
        .expect("it is tried for long")
        .unwrap_err()
}

#[tokio::test]
async fn a_client_without_tls_learns_at_once_that_the_server_wants_it() {
    let Some(url) = variable("MILLPOND_TEST_REDIS_TLS_URL") else { return };
    for url in by_each_driver(&url.replace("rediss://", "redis://")) {
        let error = refused(&url).await.to_string();
        assert!(error.contains("TLS") && error.contains("rediss://"), "{error}");
    }
}

#[tokio::test]
async fn a_client_with_tls_learns_at_once_that_the_server_has_none_and_not_to_go_without() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url.replace("redis://", "rediss://")) {
        let error = refused(&url).await.to_string();
        assert!(error.contains("TLS") && !error.contains("redis://"), "{error}");
    }
}

#[tokio::test]
async fn a_permanent_refusal_of_the_server_is_not_retried() {
    for (text, shown) in [
        ("-WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS"),
        ("-ERR Client sent AUTH, but no password is set", "no password is set"),
        (
            "-ERR AUTH <password> called without any password configured for the default user.",
            "without any password",
        ),
        ("-DENIED Redis is running in protected mode", "DENIED"),
        ("-ERR DB index is out of range", "DB index"),
    ] {
        let answer = format!("{text}\r\n");
        let server = Scripted::start(move |_, words| match &words[0][..] {
            b"AUTH" => answer.clone().into_bytes(),
            _ => plain(words),
        })
        .await;
        for url in by_each_driver(&format!("redis://:hunter2@{}/3", server.address)) {
            let error = refused(&url).await.to_string();
            assert!(error.contains(shown), "{error}");
        }
    }
}

#[tokio::test]
async fn the_last_words_of_a_server_that_hangs_up_are_the_error() {
    for (words, shown) in [
        ("-DENIED Redis is running in protected mode\r\n", "DENIED"),
        ("-WRONGPASS from a proxy\r\n", "WRONGPASS"),
    ] {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            for n in 0.. {
                let (mut stream, _) = server.accept().await.unwrap();
                // Before the client has said a word, or afterwards.
                if n % 2 == 1 {
                    let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await;
                }
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, words.as_bytes()).await;
            }
        });
        for _ in 0..2 {
            for url in by_each_driver(&format!("redis://{address}/2")) {
                let error = refused(&url).await.to_string();
                assert!(error.contains(shown), "{url}: {error}");
            }
        }
        serving.abort();
    }
}

#[tokio::test]
async fn a_server_that_is_no_sentinel_is_found_out_at_once() {
    let Some(url) = single() else { return };
    let url = url.replace("redis://", "redis-sentinel://");
    for url in by_each_driver(&format!("{url}?service=mymaster")) {
        let error = refused(&url).await.to_string();
        assert!(error.contains("SENTINEL"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_after_every_handshake_is_an_error_in_time() {
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&connections);
    let server = Scripted::start(move |connection, words| {
        count.fetch_max(connection, std::sync::atomic::Ordering::SeqCst);
        // No frame begins with the last byte.
        let end: &[u8] = if words[0] == b"PING" { b"?" } else { b"" };
        [&plain(words)[..], end].concat()
    })
    .await;
    let limit = Duration::from_millis(300);
    for url in by_each_driver(&format!("redis://{}", server.address)) {
        let own = few(1).pool_timeout(limit).connect_lazy(&url).unwrap();
        let shared = SharedRedisPoolOptions::new().limits(millpond_redis::Limits::Off);
        let shared = shared.pool_timeout(limit).connect_lazy(&url).unwrap();
        let lending = async {
            for _ in 0..3 {
                // A lease that is lost a moment later is a lease.
                drop(own.acquire().await);
                drop(shared.acquire().await);
                let error = own.run::<Value>(Command::new("GET").key("k")).await.unwrap_err();
                assert!(error.is_outage(), "{error}");
                let error = shared.run::<Value>(Command::new("GET").key("k")).await.unwrap_err();
                assert!(error.is_outage(), "{error}");
            }
        };
        tokio::time::timeout(Duration::from_secs(60), lending).await.expect("it is tried for ever");
    }
    let connections = connections.load(std::sync::atomic::Ordering::SeqCst);
    assert!(connections < 1000, "{connections} connections were opened");
}

#[tokio::test]
async fn a_server_of_another_kind_is_found_out_at_once() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(
                &mut stream,
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
            )
            .await;
        }
    });
    for url in by_each_driver(&format!("redis://{address}")) {
        let error = refused(&url).await.to_string();
        assert!(
            error.contains("not in the Redis protocol") && error.contains(&address.to_string()),
            "{error}"
        );
    }
    serving.abort();
}

#[tokio::test]
async fn a_connect_to_a_silent_server_does_not_report_that_something_may_have_been_executed() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = "127.0.0.1:1".parse().unwrap();
    for address in [silent.local_addr().unwrap(), gone] {
        for url in by_each_driver(&format!("redis://{address}")) {
            let options = SharedRedisPoolOptions::new().pool_timeout(Duration::from_secs(1));
            let options =
                options.configure(|config| config.connect_timeout = Duration::from_millis(300));
            let pool = options.connect_lazy(&url).unwrap();
            let error = pool.run::<Value>(Command::new("INCR").key("n")).await.unwrap_err();
            assert!(!error.is_ambiguous() && error.is_outage(), "{error}");
            let text = error.to_string();
            assert!(!text.contains("not known") && text.contains(&address.to_string()), "{text}");
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_save_to_its_disk_is_connected_to_and_read_from() {
    let misconf = "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable \
        to persist to disk.\r\n";
    for answer in [misconf, "-NOPERM this user has no permissions to run the 'ping' command\r\n"] {
        let server = Scripted::start(move |_, words| match &words[0][..] {
            b"PING" | b"SET" => answer.as_bytes().to_vec(),
            _ => plain(words),
        })
        .await;
        for url in by_each_driver(&format!("redis://{}", server.address)) {
            let mut config = millpond_redis::PoolConfig::default();
            config.pool_pre_ping = true;
            config.limits = millpond_redis::Limits::Off;
            let pool = few(1).config(config).connect(&url).await.unwrap();
            for _ in 0..5 {
                assert_eq!(pool.run::<String>(Command::new("GET").key("k")).await.unwrap(), "k");
                let error = pool.run::<()>(Command::new("SET").key("k").arg(1)).await.unwrap_err();
                assert!(!error.is_outage(), "{error}");
            }
            assert_eq!(pool.status().totals.created, 1);
        }
    }
}

#[tokio::test]
async fn no_part_of_a_password_is_in_the_error_of_a_refused_login() {
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..60 {
        let password: String = (0..random.usize(8..30)).map(|_| random.alphanumeric()).collect();
        let begin = random.usize(..password.len() - 4);
        let part = password[begin..random.usize(begin + 4..=password.len())].to_owned();
        let answer = match round % 4 {
            0 => format!("-ERR unknown command 'AUTH', with args beginning with: '{part}' \r\n"),
            1 => format!("-ERR '{part}' is no password\r\n"),
            2 => format!(
                "-{} is wrong\r\n",
                part.to_uppercase().replace(|c: char| c.is_ascii_digit(), "X")
            ),
            _ => format!("-WRONGPASS {part}\r\n"),
        };
        let server = Scripted::start(move |_, words| match &words[0][..] {
            b"AUTH" => answer.clone().into_bytes(),
            _ => plain(words),
        })
        .await;
        for url in by_each_driver(&format!("redis://miller:{password}@{}", server.address)) {
            let pool = few(1).pool_timeout(Duration::from_millis(200)).connect_lazy(&url).unwrap();
            let error = pool.run::<()>(Command::new("GET").key("k")).await.unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                !text.contains(&part) && !text.contains(&password),
                "{part} of {password}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn a_sentinel_that_is_silent_or_knows_no_such_master_is_passed_over() {
    let Some(url) = variable("MILLPOND_TEST_SENTINEL_URL") else { return };
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ignorant = Scripted::start(|_, words| match &words[0][..] {
        b"SENTINEL" => b"*-1\r\n".to_vec(),
        _ => plain(words),
    })
    .await;
    let first = format!("redis-sentinel://{},{},", silent.local_addr().unwrap(), ignorant.address);
    for url in by_each_driver(&url.replace("redis-sentinel://", &first)) {
        for _ in 0..3 {
            let pool = few(1).connect(&url).await.unwrap();
            let key = key("sentinel");
            pool.run::<()>(Command::new("SET").key(&key).arg(1)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_master_that_no_sentinel_knows_is_an_error_at_once() {
    let Some(url) = variable("MILLPOND_TEST_SENTINEL_URL") else { return };
    for url in
        by_each_driver(&url.replace("sentinelServiceName=millpond", "sentinelServiceName=other"))
    {
        let error = refused(&url).await.to_string();
        assert!(error.contains("No such master"), "{error}");
    }
}

#[tokio::test]
async fn a_named_master_that_is_silent_holds_up_nobody_who_hears_of_another() {
    let Some(real) = variable("MILLPOND_TEST_REDIS_ADDRESS") else { return };
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let naming = |address: String| {
        let (host, port) = address
            .rsplit_once(':')
            .map(|(host, port)| (host.to_owned(), port.to_owned()))
            .unwrap();
        let answer = format!("*2\r\n${}\r\n{host}\r\n${}\r\n{port}\r\n", host.len(), port.len());
        Scripted::start(move |_, words| match &words[0][..] {
            b"SENTINEL" => answer.clone().into_bytes(),
            _ => plain(words),
        })
    };
    let (wrong, right) =
        (naming(silent.local_addr().unwrap().to_string()).await, naming(real).await);
    for url in
        by_each_driver(&format!("redis-sentinel://{},{}?service=m", wrong.address, right.address))
    {
        // A silent one is waited for longer than that: for its `command_timeout`.
        let limit = PATIENCE - Duration::from_secs(1);
        let pool = few(1).pool_timeout(limit).connect(&url).await.unwrap();
        assert_eq!(pool.run::<String>(Command::new("ECHO").arg("x")).await.unwrap(), "x");
    }
}
