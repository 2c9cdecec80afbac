//! What no level of reset keeps.

use crate::support::{id, one, server};
use millpond_mysql::{MySqlConnection, ResetLevel};
use millpond_testkit::poll_n;
use sqlx::raw_sql;

#[tokio::test]
async fn a_reset_leads_back_to_the_database_that_a_hook_for_new_connections_has_chosen() {
    let Some(server) = server() else { return };
    server.database("millpond_hooked").await;
    let options = one().on_connect(|conn, _| {
        Box::pin(async move {
            raw_sql("USE millpond_hooked").execute(conn).await?;
            Ok(())
        })
    });
    let pool = options.connect(&server.url).await.unwrap();
    for _ in 0..3 {
        let mut lease = pool.acquire().await.unwrap();
        let here: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&mut *lease).await.unwrap();
        assert_eq!(here, "millpond_hooked");
        raw_sql("USE mysql").execute(&mut *lease).await.unwrap();
    }
}

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

// MariaDB takes no lock where sqlx's migrator asks for one without a limit, so it is asked for here as MySQL gives it.
#[tokio::test]
async fn a_lock_that_was_taken_unseen_is_free_when_the_connection_has_gone_back() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let unseen: &mut MySqlConnection = &mut lease;
    let got: i32 = sqlx::query_scalar("SELECT GET_LOCK('millpond_unseen', 5)").fetch_one(unseen).await.unwrap();
    assert_eq!(got, 1);
    drop(lease);
    drop(pool.acquire().await.unwrap());
    let free = sqlx::query_scalar::<_, i32>("SELECT IS_FREE_LOCK('millpond_unseen')");
    assert_eq!(free.fetch_one(&mut server.connection().await).await.unwrap(), 1);
    assert_eq!(pool.status().totals.created, 1, "the connection was not worth closing");
}
