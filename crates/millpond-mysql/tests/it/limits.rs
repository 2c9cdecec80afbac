//! A pool whose settings exceed its server's limits gets a warning at the first connection.

use crate::support::{one, server};
use millpond_core::Event;
use millpond_mysql::MySqlPoolOptions;
use millpond_testkit::Trace;
use std::time::Duration;

async fn warned(url: &str, options: MySqlPoolOptions) -> Vec<String> {
    let trace = Trace::new();
    let pool = options.observer(trace.clone()).connect(url).await.unwrap();
    let _leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    trace.pick(|event| {
        match event {
            // The kernel may refuse the timers of a connection that has just been closed.
            Event::Warned { setting, message } if *setting != "tcp_keepalive" => {
                Some(format!("{setting}: {message}"))
            }
            _ => None,
        }
    })
}

#[tokio::test]
async fn a_pool_within_the_servers_limits_gets_no_warning() {
    let Some(server) = server() else { return };
    assert_eq!(warned(&server.url, MySqlPoolOptions::new()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_ceiling_above_that_of_server_or_user_is_reported_once() {
    let Some(server) = server() else { return };
    server.user("millpond_seven", "WITH MAX_USER_CONNECTIONS 7").await;
    let warnings =
        warned(&format!("mysql://millpond_seven@{}", server.address()), MySqlPoolOptions::new())
            .await;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("pool_size: ") && warnings[0].contains("max_user_connections = 7"),
        "{warnings:?}"
    );

    let allowed: u32 = sqlx::query_scalar("SELECT CAST(@@max_connections AS UNSIGNED)")
        .fetch_one(&mut server.connection().await)
        .await
        .unwrap();
    let options = one().limits(millpond_mysql::Limits::Off);
    assert_eq!(
        warned(&server.url, options.clone().max_overflow(allowed - 1)).await,
        Vec::<String>::new()
    );
    let warnings = warned(&server.url, options.max_overflow(allowed)).await;
    assert!(warnings.len() == 1 && warnings[0].contains("max_connections"), "{warnings:?}");
}

#[tokio::test]
async fn a_session_idle_limit_below_the_age_of_connections_is_reported() {
    let Some(server) = server() else { return };
    // The default of the server: eight hours.
    let options = || one().max_overflow(1).limits(millpond_mysql::Limits::Off);
    assert_eq!(
        warned(&server.url, options().pool_recycle(Duration::from_secs(28_799))).await,
        Vec::<String>::new()
    );
    for recycle in [None, Some(Duration::from_secs(28_800))] {
        let warnings = warned(&server.url, options().pool_recycle(recycle)).await;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].starts_with("pool_recycle: ")
                && warnings[0].contains("28800s (wait_timeout)"),
            "{warnings:?}"
        );
    }
}
