//! Rate limits as the guide configures them.

use millpond::Settings;
use millpond::ratelimit::{self, DecisionSource, Limit, RateLimiter, StorageOptions};
use millpond_testkit::variable;
use std::time::Duration;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    Settings::loader().no_file().environment(pairs.iter().copied()).load().unwrap()
}

#[tokio::test]
async fn the_guide_s_variables_make_a_storage_on_one_server_and_on_a_cluster() {
    for name in ["MILLPOND_TEST_REDIS_URL", "MILLPOND_TEST_CLUSTER_URL"] {
        let Some(url) = variable(name) else { continue };
        let settings = settings(&[("PSN_REDIS_URL", &url), ("PSN_REDIS_MAX_CONNECTIONS", "30")]);
        // Long enough that Redis is not considered down on a busy machine.
        let options = StorageOptions::new().timeout(Duration::from_secs(20));
        let storage = ratelimit::from_settings(&settings, options).unwrap();
        assert_eq!(storage.pool().status().pool_size, 3, "a tenth, since many share one");
        let limiter = RateLimiter::new(&storage, "requests", Limit::per_hour(2).unwrap()).unwrap();
        let subject = format!("test-{:x}", fastrand::u64(..));
        let mut admitted = 0;
        for _ in 0..5 {
            let decision = limiter.check(&subject).await.unwrap();
            assert_eq!(decision.source, DecisionSource::Redis);
            admitted += u32::from(decision.allowed);
        }
        assert_eq!(admitted, 2);
    }
}

#[test]
fn a_storage_without_a_url_is_an_error_that_names_the_variable_to_set() {
    let text =
        ratelimit::from_settings(&settings(&[]), StorageOptions::new()).unwrap_err().to_string();
    assert_eq!(
        text,
        "redis.url is not set: set PSN_REDIS_URL, or url in the section [redis] of the \
         settings file"
    );
}

#[tokio::test]
async fn twenty_connections_are_the_default_and_lifted_ranges_are_lifted() {
    let url = ("PSN_REDIS_URL", "redis://h/1");
    let size = |pairs: &[(&str, &str)]| {
        let storage = ratelimit::from_settings(&settings(pairs), StorageOptions::new()).unwrap();
        storage.pool().status().pool_size
    };
    assert_eq!(size(&[url]), 2);
    assert_eq!(size(&[url, ("PSN_DB_LIMITS", "off"), ("PSN_REDIS_MAX_CONNECTIONS", "5")]), 1);
}
