//! The names of keys, and the permissions that they need.

use crate::support::{PATIENCE, storages, subject};
use millpond_ratelimit::{
    Admission, CentralizedStateStorage, ConcurrencyLimiter, DecisionSource, Limit, RateLimiter,
    StorageOptions,
};
use millpond_redis::{Command, RedisPoolOptions};
use millpond_testkit::{OwnServer, variable};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const DOCS: &str = include_str!("../../../../docs/redis.md");

fn one_an_hour() -> Limit {
    Limit::per_hour(1).unwrap()
}

async fn is_admitted(storage: &CentralizedStateStorage, name: &str, who: &str) -> bool {
    let decision =
        RateLimiter::new(storage, name, one_an_hour()).unwrap().check(who).await.unwrap();
    assert_eq!(decision.source, DecisionSource::Redis);
    decision.allowed
}

#[tokio::test]
async fn a_rate_limit_and_a_concurrency_limit_of_one_name_are_separate() {
    for storage in storages() {
        let who = subject("both");
        assert!(is_admitted(&storage, "export", &who).await);
        let limiter = ConcurrencyLimiter::new(&storage, "export", 1, MINUTE).unwrap();
        let Admission::Granted(lease) = limiter.enter(&who).await.unwrap() else {
            panic!("nothing runs")
        };
        assert!(!is_admitted(&storage, "export", &who).await);
        assert!(matches!(limiter.enter(&who).await.unwrap(), Admission::Full { used: 1, .. }));
        lease.release().await.unwrap();
    }
}

#[tokio::test]
async fn prefixes_and_subjects_cannot_be_confused() {
    for name in ["MILLPOND_TEST_REDIS_URL", "MILLPOND_TEST_CLUSTER_URL"] {
        let Some(url) = variable(name) else { continue };
        let run = format!("{:x}", fastrand::u64(..));
        let of = |prefix: &str| {
            let options = StorageOptions::new().prefix(format!("{run}:{prefix}"));
            options.timeout(PATIENCE).connect_lazy(&url).unwrap()
        };
        for (prefix, who, limit) in [
            ("a", "b:c", "n"),
            ("a:b", "c", "n"),
            ("a", "b", "c:n"),
            ("a:rate", "b", "n"),
            ("a", "b}:c", "n"),
            ("a", "b", "n"),
            ("a", "{b", "n"),
            ("a", ":b", "n"),
            ("a", "", "n"),
            ("a", "}", "n"),
            ("a", "}}:n", "n"),
        ] {
            assert!(is_admitted(&of(prefix), limit, who).await, "{prefix} {who} {limit}");
            assert!(!is_admitted(&of(prefix), limit, who).await, "{prefix} {who} {limit}");
        }
    }
}

#[tokio::test]
async fn all_limits_of_a_subject_are_in_one_slot() {
    for storage in storages() {
        let limit = Limit::per_second(10).unwrap();
        let limiter =
            RateLimiter::new(&storage, "one", limit).unwrap().and("other", limit).unwrap();
        for who in ["", "}", "{", "{}", "a{b}c", "}{x}", "\u{0}", "a b", ":"] {
            let decision = limiter.check(who).await.unwrap();
            assert_eq!(decision.source, DecisionSource::Redis, "{who:?}");
        }
    }
}

#[tokio::test]
async fn the_permissions_in_the_docs_are_sufficient() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let admin = RedisPoolOptions::new().connect(server.url()).await.unwrap();
    let url = server.redis_user(DOCS, "An ACL that suffices for a rate limiter").unwrap();
    let storage = StorageOptions::new().timeout(PATIENCE).connect_lazy(&url).unwrap();
    assert!(is_admitted(&storage, "n", "a").await && !is_admitted(&storage, "n", "a").await);
    let limiter = ConcurrencyLimiter::new(&storage, "jobs", 1, MINUTE).unwrap();
    let Admission::Granted(lease) = limiter.enter("a").await.unwrap() else {
        panic!("nothing runs")
    };
    assert!(lease.renew().await.unwrap());
    assert!(matches!(limiter.enter("a").await.unwrap(), Admission::Full { used: 1, .. }));
    lease.release().await.unwrap();
    let keys: Vec<String> = admin.run(Command::new("KEYS").arg("*")).await.unwrap();
    assert!(!keys.is_empty() && keys.iter().all(|key| key.starts_with("ratelimit:")), "{keys:?}");
}
