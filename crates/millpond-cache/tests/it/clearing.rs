//! Namespaces and versions are separate, and clearing a namespace reaches every node.

use crate::support::builders;
use millpond_redis::Command;

#[tokio::test]
async fn clear_removes_all_keys_of_its_namespace_and_no_others() {
    for builder in builders() {
        let cache = builder.connect_lazy().unwrap();
        let other = cache.namespace(&format!("other-{:x}", fastrand::u64(..))).unwrap();
        for n in 0..2500 {
            cache.set(&format!("k{n}"), &n).await.unwrap();
        }
        other.set("k1", &1).await.unwrap();
        assert_eq!(cache.clear().await.unwrap(), 2500);
        assert_eq!(cache.clear().await.unwrap(), 0);
        assert_eq!(cache.get::<i32>("k1").await.unwrap(), None);
        assert_eq!(other.get::<i32>("k1").await.unwrap(), Some(1));
        assert_eq!(other.clear().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn another_version_does_not_see_existing_values() {
    let namespace = format!("test-{:x}", fastrand::u64(..));
    let of = |version| builders().into_iter().map(move |builder| builder.version(version));
    for (one, two) in of(1).zip(of(2)) {
        let one = one.namespace(namespace.clone()).connect_lazy().unwrap();
        let two = two.namespace(namespace.clone()).connect_lazy().unwrap();
        one.set("k", &1).await.unwrap();
        assert_eq!(two.get::<i32>("k").await.unwrap(), None);
        assert_eq!(two.clear().await.unwrap(), 0);
        assert_eq!(one.clear().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn clear_works_beside_keys_that_are_not_text() {
    for builder in builders() {
        let namespace = format!("test-{:x}", fastrand::u64(..));
        let cache = builder.namespace(namespace.clone()).connect_lazy().unwrap();
        cache.set("k", &1).await.unwrap();
        for tail in [&b"\xff\xfe"[..], b"\xc3(", b"a\x80b"] {
            let key = [format!("cache:{namespace}:v1:").as_bytes(), tail].concat();
            cache.pool().run::<()>(Command::new("SET").key(key).arg(1)).await.unwrap();
        }
        assert_eq!(cache.clear().await.unwrap(), 4);
        assert_eq!(cache.clear().await.unwrap(), 0);
    }
}
