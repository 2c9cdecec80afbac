//! Both versions of the protocol: the same answers in either form.

use crate::scripted::{Scripted, plain};
use crate::support::{any, by_each_driver, few, get, key, set, single, with};
use millpond_redis::{Bytes, Command, Value};
use std::collections::HashMap;

fn on(name: &'static str, key: &str) -> Command {
    Command::new(name).key(key)
}

#[tokio::test]
async fn a_connection_speaks_the_third_version_unless_the_url_says_otherwise() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let pool = few(1).connect(&url).await.unwrap();
        let info: String = pool.run(Command::new("CLIENT").arg("INFO")).await.unwrap();
        let version = if url.contains("protocol=2") { "resp=2" } else { "resp=3" };
        assert!(info.contains(version), "{url}: {info}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_third_version_is_spoken_to_in_the_second() {
    for refusal in [
        "-ERR unknown command 'HELLO'\r\n",
        "-NOPROTO unsupported protocol version\r\n",
        "-NOPERM this user has no permissions to run the 'hello' command\r\n",
    ] {
        let server = Scripted::start(move |_, words| match &words[0][..] {
            b"HELLO" => refusal.as_bytes().to_vec(),
            _ => plain(words),
        })
        .await;
        for url in by_each_driver(&format!("redis://:secret@{}/1", server.address)) {
            let pool = few(1).connect(&url).await.unwrap();
            assert_eq!(pool.run::<String>(get("mill")).await.unwrap(), "mill");
        }
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_at_a_hello_is_reached_in_the_second_version() {
    let server = Scripted::start(|_, words| match &words[0][..] {
        // No frame begins so: the connection ends.
        b"HELLO" => b"?\r\n".to_vec(),
        _ => plain(words),
    })
    .await;
    for url in by_each_driver(&format!("redis://{}", server.address)) {
        assert_eq!(few(1).connect(&url).await.is_ok(), url.contains("protocol=2"), "{url}");
    }
}

#[tokio::test]
async fn typed_answers_are_the_same_in_both_versions() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let pool = few(1).connect(&url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let (hash, scores, stream, members) =
            (key("hash"), key("scores"), key("stream"), key("members"));
        lease.run::<()>(on("HSET", &hash).args(["a", "1", "b", "2"])).await.unwrap();
        lease.run::<()>(on("ZADD", &scores).args(["1.5", "a", "2", "b"])).await.unwrap();
        lease.run::<()>(on("SADD", &members).args(["a"])).await.unwrap();
        lease.run::<()>(on("XADD", &stream).args(["1-1", "field", "value"])).await.unwrap();

        let all: HashMap<String, i64> = lease.run(on("HGETALL", &hash)).await.unwrap();
        assert_eq!((all["a"], all["b"]), (1, 2));
        let all: Vec<(String, u32)> = lease.run(on("HGETALL", &hash)).await.unwrap();
        assert_eq!(all, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        let all: Vec<String> = lease.run(on("HGETALL", &hash)).await.unwrap();
        assert_eq!(all, ["a", "1", "b", "2"]);

        let range = || on("ZRANGE", &scores).args(["0", "-1", "WITHSCORES"]);
        let ranked: Vec<(String, f64)> = lease.run(range()).await.unwrap();
        assert_eq!(ranked, [("a".to_owned(), 1.5), ("b".to_owned(), 2.0)]);
        assert_eq!(lease.run::<Vec<String>>(range()).await.unwrap(), ["a", "1.5", "b", "2"]);
        assert_eq!(lease.run::<HashMap<String, f64>>(range()).await.unwrap()["a"], 1.5);
        let score = || on("ZSCORE", &scores).arg("b");
        assert_eq!(lease.run::<f64>(score()).await.unwrap(), 2.0);
        assert_eq!(lease.run::<i64>(score()).await.unwrap(), 2);
        assert_eq!(lease.run::<String>(score()).await.unwrap(), "2");
        let none = on("ZSCORE", &scores).arg("c");
        assert_eq!(lease.run::<Option<f64>>(none).await.unwrap(), None);
        let sum = on("ZADD", &scores).args(["INCR", "1", "b"]);
        assert_eq!(lease.run::<f64>(sum).await.unwrap(), 3.0);
        let (member, score): (String, f64) = lease.run(on("ZPOPMIN", &scores)).await.unwrap();
        assert_eq!((member.as_str(), score), ("a", 1.5));
        let (member, score): (String, f64) =
            lease.run(on("ZPOPMIN", &scores).arg(1)).await.unwrap();
        assert_eq!((member.as_str(), score), ("b", 3.0));

        type Entries = Vec<(String, HashMap<String, String>)>;
        let read = || Command::new("XREAD").args(["COUNT", "9", "STREAMS"]).key(&stream).arg(0);
        let streams: HashMap<String, Entries> = lease.run(read()).await.unwrap();
        assert_eq!(streams[&stream][0].1["field"], "value");
        let streams: Vec<(String, Entries)> = lease.run(read()).await.unwrap();
        assert_eq!((streams.len(), streams[0].0 == stream), (1, true));
        let info = Command::new("XINFO").arg("STREAM").key(&stream);
        let info: HashMap<String, Value> = lease.run(info).await.unwrap();
        assert_eq!(info["length"], Value::Int(1));

        assert_eq!(lease.run::<Vec<String>>(on("SMEMBERS", &members)).await.unwrap(), ["a"]);
        assert!(lease.run::<bool>(on("SISMEMBER", &members).arg("a")).await.unwrap());
        let setting = || Command::new("CONFIG").args(["GET", "databases"]);
        assert_eq!(lease.run::<HashMap<String, u32>>(setting()).await.unwrap().len(), 1);
        assert_eq!(lease.run::<(String, u32)>(setting()).await.unwrap().0, "databases");
        let about: String = lease.run(Command::new("INFO")).await.unwrap();
        assert!(about.starts_with("# Server"), "{about:?}");
        assert_eq!(lease.run::<Option<String>>(on("GET", &key("none"))).await.unwrap(), None);
    }
}

#[tokio::test]
async fn every_kind_that_a_script_can_answer_is_read() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let pool = few(1).connect(&url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let is_third = !url.contains("protocol=2");
        let eval = |text: &str| Command::new("EVAL").arg(text).arg(0);
        let cases = [
            ("return {double = 1.5}", Value::Double(1.5), Value::Bytes("1.5".into())),
            ("return {double = 1/0}", Value::Double(f64::INFINITY), Value::Bytes("inf".into())),
            (
                "return {map = {a = 1}}",
                Value::Map(vec![(Value::Bytes("a".into()), Value::Int(1))]),
                Value::List(vec![Value::Bytes("a".into()), Value::Int(1)]),
            ),
            (
                "return {set = {a = true}}",
                Value::List(vec![Value::Bytes("a".into())]),
                Value::List(vec![Value::Bytes("a".into())]),
            ),
            (
                "return {big_number = '12345678901234567890123'}",
                Value::Bytes("12345678901234567890123".into()),
                Value::Bytes("12345678901234567890123".into()),
            ),
            (
                "return {verbatim_string = {format = 'txt', string = 'a:b'}}",
                Value::Bytes("a:b".into()),
                Value::Bytes("a:b".into()),
            ),
            ("redis.setresp(3) return true", Value::Bool(true), Value::Int(1)),
            ("redis.setresp(3) return false", Value::Bool(false), Value::Int(0)),
            ("return false", Value::Nil, Value::Nil),
            ("return {}", Value::List(vec![]), Value::List(vec![])),
            (
                "return {{}, {ok = 'x'}, '', 3.9}",
                Value::List(vec![
                    Value::List(vec![]),
                    Value::Bytes("x".into()),
                    Value::Bytes("".into()),
                    Value::Int(3),
                ]),
                Value::List(vec![
                    Value::List(vec![]),
                    Value::Bytes("x".into()),
                    Value::Bytes("".into()),
                    Value::Int(3),
                ]),
            ),
            (
                "return {1, {err = 'ERR inside'}}",
                Value::List(vec![Value::Int(1), Value::Error("ERR inside".into())]),
                Value::List(vec![Value::Int(1), Value::Error("ERR inside".into())]),
            ),
        ];
        for (text, third, second) in cases {
            let wanted = if is_third { third } else { second };
            assert_eq!(any(&mut lease, eval(text)).await, wanted, "{url}: {text}");
        }
        let error = lease.run::<Vec<i64>>(eval("return {1, {err = 'MINE inside'}}")).await;
        assert_eq!(error.unwrap_err().code(), Some("MINE"));
        assert_eq!(lease.run::<i64>(eval("return 1")).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn bytes_arrive_as_they_are_in_both_versions() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let pool = few(1).connect(&with(&url, "db=0")).await.unwrap();
        let (name, bytes) = (key("bytes"), Bytes::from((0..=255).collect::<Vec<u8>>()));
        pool.run::<()>(set(&name, &bytes)).await.unwrap();
        assert_eq!(pool.run::<Bytes>(get(&name)).await.unwrap(), bytes);
        let list: Vec<Bytes> = pool.run(Command::new("MGET").keys([&name, &name])).await.unwrap();
        assert_eq!(list, [bytes.clone(), bytes]);
    }
}
