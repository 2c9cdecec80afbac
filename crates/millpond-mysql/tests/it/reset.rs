//! What no level of reset keeps.

use crate::support::{id, one, server};
use millpond_mysql::ResetLevel;
use millpond_testkit::poll_n;
use sqlx::raw_sql;

#[tokio::test]
async fn what_was_cut_off_is_closed_at_every_level() {
    let Some(server) = server() else { return };
    for level in [ResetLevel::None, ResetLevel::Transaction, ResetLevel::Session, ResetLevel::Replace] {
        let pool = one().reset(level).connect(&server.url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let before = id(&mut lease).await;
        assert!(poll_n(raw_sql("SELECT SLEEP(0.05)").fetch_all(&mut *lease), 1).await.is_none());
        drop(lease);
        assert_ne!(server.next_is_clean(&pool).await, before, "{level:?}");
    }
}
