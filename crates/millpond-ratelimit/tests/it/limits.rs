//! What a limiter admits: the cases of Redis' own `gcra.tcl`, and more.

use crate::support::{storages, subject};
use millpond_ratelimit::{DecisionSource, Limit, RateLimitError, RateLimiter};
use millpond_redis::{Command, SharedRedisPool};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_full_burst_is_admitted_at_once_and_no_more() {
    for storage in storages() {
        let limiter = RateLimiter::new(&storage, "minute", Limit::new(5, MINUTE).unwrap()).unwrap();
        let (who, began) = (subject("burst"), Instant::now());
        for left in (0..5).rev() {
            let decision = limiter.check(&who).await.unwrap();
            assert!(decision.allowed && decision.source == DecisionSource::Redis);
            assert_eq!((decision.remaining(), decision.retry_after()), (left, None));
        }
        let decision = limiter.check(&who).await.unwrap();
        assert!(!decision.allowed);
        assert_eq!(decision.remaining(), 0);
        let wait = decision.retry_after().unwrap();
        let took = began.elapsed();
        let second = Duration::from_secs(1);
        assert!(wait + took > second * 11 && wait <= second * 12, "{wait:?} after {took:?}");
        let reset = decision.outcomes[0].reset_after;
        assert!(reset + took > second * 59 && reset <= MINUTE, "{reset:?} after {took:?}");
        assert!(
            limiter.check(&subject("other")).await.unwrap().allowed,
            "others are not concerned"
        );
    }
}

#[tokio::test]
async fn a_request_of_a_higher_cost_is_charged_wholly_or_not_at_all() {
    for storage in storages() {
        let limiter = RateLimiter::new(&storage, "hour", Limit::per_hour(10).unwrap()).unwrap();
        let who = subject("cost");
        assert_eq!(limiter.check_n(&who, 7).await.unwrap().remaining(), 3);
        let refused = limiter.check_n(&who, 4).await.unwrap();
        assert!(!refused.allowed);
        assert_eq!(refused.remaining(), 3, "nothing was charged");
        assert_eq!(limiter.check_n(&who, 3).await.unwrap().remaining(), 0);
        assert!(!limiter.check(&who).await.unwrap().allowed);
        assert_eq!(limiter.peek(&who).await.unwrap().remaining(), 0);
        let error = limiter.check_n(&who, 11).await.unwrap_err();
        assert!(
            matches!(error, RateLimitError::CostAboveBurst { cost: 11, burst: 10, .. }),
            "{error}"
        );
    }
}

/// Returns a subject that has used up everything, and a time before which none of it returns.
async fn used_up(limiter: &RateLimiter) -> (String, Instant) {
    // On a stalling machine some of it may have returned; then another subject is used.
    loop {
        let who = subject("back");
        assert!(limiter.check(&who).await.unwrap().allowed);
        let asked = Instant::now();
        if let Some(wait) = limiter.check(&who).await.unwrap().retry_after() {
            return (who, asked + wait);
        }
    }
}

#[tokio::test]
async fn used_capacity_returns_with_time() {
    for storage in storages() {
        let limiter =
            RateLimiter::new(&storage, "fast", Limit::per_second(20).unwrap().burst(1).unwrap())
                .unwrap();
        let (who, until) = used_up(&limiter).await;
        let mut early = 0;
        while !limiter.check(&who).await.unwrap().allowed {
            early += 1;
            assert!(Instant::now() < until + MINUTE);
        }
        assert!(
            Instant::now() >= until - Duration::from_millis(5),
            "admitted before its time, after {early} tries"
        );
    }
}

#[tokio::test]
async fn several_limits_are_one_decision_and_charged_together() {
    for storage in storages() {
        let limiter = RateLimiter::new(&storage, "hour", Limit::per_hour(3).unwrap()).unwrap();
        let limiter = limiter.and("day", Limit::new(100, DAY).unwrap()).unwrap();
        let who = subject("several");
        for _ in 0..3 {
            assert!(limiter.check(&who).await.unwrap().allowed);
        }
        for _ in 0..20 {
            let decision = limiter.check(&who).await.unwrap();
            assert!(!decision.allowed);
            assert!(!decision.outcomes[0].allowed && decision.outcomes[1].allowed);
            assert_eq!(
                decision.outcomes[1].remaining, 97,
                "the wider limit was charged for what was refused"
            );
        }
        let header = limiter.peek(&who).await.unwrap().header();
        assert!(
            header.starts_with("\"hour\";r=0;t=") && header.contains("\"day\";r=97;t="),
            "{header}"
        );
    }
}

#[tokio::test]
async fn limits_can_change_at_run_time() {
    for storage in storages() {
        let wide = RateLimiter::new(&storage, "limit", Limit::new(100, MINUTE).unwrap()).unwrap();
        let who = subject("change");
        assert_eq!(wide.check_n(&who, 100).await.unwrap().remaining(), 0);
        // Lower: the used capacity counts as a full burst at most.
        let narrow = wide.clone().replace_limit("limit", Limit::per_second(10).unwrap()).unwrap();
        let wait = narrow.check(&who).await.unwrap().retry_after().unwrap();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        // Higher: the additional capacity is available at once.
        let wider = wide.replace_limit("limit", Limit::new(1000, MINUTE).unwrap()).unwrap();
        assert!(wider.check_n(&who, 900).await.unwrap().allowed);
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error() {
    for storage in storages() {
        let limiter = RateLimiter::new(&storage, "limit", Limit::per_second(1).unwrap()).unwrap();
        let pool: &SharedRedisPool = storage.pool();
        for (who, command) in [(subject("list"), "RPUSH"), (subject("text"), "SET")] {
            let key = format!("ratelimit:rate:{{:{who}}}:limit");
            pool.run::<()>(Command::new(command).key(key).arg("x")).await.unwrap();
            let error = limiter.check(&who).await.unwrap_err();
            assert!(
                matches!(&error, RateLimitError::Redis(error) if error.code() == Some("WRONGTYPE")),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn scripts_that_the_server_has_lost_are_sent_again() {
    for storage in storages() {
        let limiter = RateLimiter::new(&storage, "limit", Limit::per_hour(10).unwrap()).unwrap();
        let who = subject("noscript");
        limiter.check(&who).await.unwrap();
        for _ in 0..4 {
            storage.pool().run::<()>(Command::new("SCRIPT").arg("FLUSH")).await.unwrap();
        }
        let decision = limiter.check(&who).await.unwrap();
        assert_eq!((decision.source, decision.remaining()), (DecisionSource::Redis, 8));
    }
}

#[tokio::test]
async fn subjects_may_contain_braces() {
    for storage in storages() {
        let limiter = RateLimiter::new(&storage, "minute", Limit::new(3, MINUTE).unwrap()).unwrap();
        let limiter = limiter.and("hour", Limit::per_hour(100).unwrap()).unwrap();
        for odd in ["", "{", "}", "{}", "a}b{c", "}:hour", "ü"] {
            let who = format!("{odd}{}", subject("odd"));
            assert!(limiter.check(&who).await.unwrap().allowed, "{who}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_concurrent_clients_get_no_more_than_the_limit() {
    for storage in storages() {
        let limit = Limit::per_second(2_000).unwrap().burst(50).unwrap();
        let limiter = RateLimiter::new(&storage, "limit", limit).unwrap();
        let who = subject("eight");
        let began = Instant::now();
        let clients = (0..8).map(|_| {
            let (limiter, who) = (limiter.clone(), who.clone());
            tokio::spawn(async move {
                let (mut admitted, mut tried) = (0_u32, 0);
                while began.elapsed() < Duration::from_millis(500) || tried < 50 {
                    admitted += u32::from(limiter.check(&who).await.unwrap().allowed);
                    tried += 1;
                }
                admitted
            })
        });
        let mut admitted = 0;
        for client in clients.collect::<Vec<_>>() {
            admitted += client.await.unwrap();
        }
        let most = 50.0 + 2_000.0 * began.elapsed().as_secs_f64();
        assert!(f64::from(admitted) <= most, "{admitted} of {most}");
        assert!(admitted >= 50);
    }
}
