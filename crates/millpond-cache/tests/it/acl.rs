//! The permissions that a cache needs, as listed in `docs/redis.md`.

use millpond_cache::{OnOutage, RedisCache};
use millpond_testkit::OwnServer;
use std::io::Error;
use std::time::Duration;

const DOCS: &str = include_str!("../../../../docs/redis.md");

#[tokio::test]
async fn the_permissions_in_the_docs_are_sufficient() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let url = server.redis_user(DOCS, "An ACL that suffices for a cache").unwrap();
    let hour = Duration::from_secs(3600);
    for stale in [None, Some(hour)] {
        let builder = RedisCache::builder()
            .url(&url)
            .on_outage(OnOutage::Closed)
            .timeout(Duration::from_secs(20));
        let builder = builder
            .stale_while_revalidate(stale)
            .lock_across_processes(hour / 60)
            .negative_ttl(hour);
        let cache = builder.namespace(format!("n-{}", stale.is_some())).connect().await.unwrap();
        cache.set("k", &1).await.unwrap();
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
        assert_eq!(cache.mget::<i32>(&["k", "none"]).await.unwrap(), [Some(1), None]);
        assert!(cache.exists("k").await.unwrap() && cache.ttl("k").await.unwrap().is_some());
        assert_eq!(cache.incr("n", 1).await.unwrap(), 1);
        let load = || async { Ok::<_, Error>(Some(2)) };
        assert_eq!(cache.get_or_load("new", load).await.unwrap(), Some(2));
        assert_eq!(cache.delete(&["new"]).await.unwrap(), 1);
        assert_eq!(cache.clear().await.unwrap(), 2);
    }
}
