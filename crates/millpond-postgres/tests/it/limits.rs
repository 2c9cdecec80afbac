//! A pool whose settings exceed its server's limits gets a warning at the first connection.

use crate::support::{Server, one, server};
use millpond_core::Event;
use millpond_postgres::PgPoolOptions;
use millpond_testkit::Trace;
use sqlx::raw_sql;

fn warnings(trace: &Trace) -> Vec<String> {
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

async fn warned(server: &Server, options: PgPoolOptions, query: &str) -> Vec<String> {
    let trace = Trace::new();
    let pool =
        options.observer(trace.clone()).connect(&format!("{}{query}", server.url)).await.unwrap();
    let _leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    warnings(&trace)
}

#[tokio::test]
async fn a_pool_within_the_servers_limits_gets_no_warning() {
    let Some(server) = server() else { return };
    assert_eq!(warned(&server, PgPoolOptions::new(), "").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_ceiling_above_that_of_server_role_or_database_is_reported_once() {
    let Some(server) = server() else { return };
    let sql = "DROP ROLE IF EXISTS millpond_few; CREATE ROLE millpond_few LOGIN PASSWORD 'x' \
        CONNECTION LIMIT 7";
    raw_sql(sql).execute(&mut server.connection().await).await.unwrap();
    let warnings = warned(&server, PgPoolOptions::new(), "?options[role]=millpond_few").await;
    assert_eq!(warnings, Vec::<String>::new(), "the limit is that of who has logged in");
    let (_, target) = server.url.rsplit_once('@').unwrap();
    let few = Server { url: format!("postgres://millpond_few:x@{target}") };
    let warnings = warned(&few, PgPoolOptions::new(), "").await;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("pool_size: ")
            && warnings[0].contains("the role's CONNECTION LIMIT = 7"),
        "{warnings:?}"
    );

    let allowed: i64 = sqlx::query_scalar(
        "SELECT current_setting('max_connections')::int8 - \
         current_setting('superuser_reserved_connections')::int8",
    )
    .fetch_one(&mut server.connection().await)
    .await
    .unwrap();
    let options = one().limits(millpond_postgres::Limits::Off);
    let at_most = u32::try_from(allowed).unwrap() - 1;
    assert_eq!(
        warned(&server, options.clone().max_overflow(at_most), "").await,
        Vec::<String>::new()
    );
    let warnings = warned(&server, options.max_overflow(at_most + 1), "").await;
    assert!(warnings.len() == 1 && warnings[0].contains("max_connections"), "{warnings:?}");
}

#[tokio::test]
async fn a_session_idle_limit_below_the_age_of_connections_is_reported() {
    let Some(server) = server() else { return };
    let warnings =
        warned(&server, PgPoolOptions::new(), "?options[idle_session_timeout]=10min").await;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("pool_recycle: ")
            && warnings[0].contains("600s (idle_session_timeout)"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn the_server_never_has_more_sessions_than_a_pool_and_its_pool_of_sqlx_may_have() {
    let Some(server) = server() else { return };
    let name = format!("limit-{:x}", fastrand::u64(..));
    let options = PgPoolOptions::new().pool_size(3).max_overflow(1).sqlx_connections(2);
    let pool = options.connect_with(server.options().application_name(&name)).await.unwrap();
    let theirs = pool.sqlx().unwrap();
    let tasks: Vec<_> = (0..12)
        .map(|number| {
            let (pool, theirs) = (pool.clone(), theirs.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    let rows = sqlx::query("SELECT pg_catalog.pg_sleep(0.001)");
                    if number % 2 == 0 {
                        rows.execute(&theirs).await.unwrap();
                    } else {
                        rows.execute(&pool).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let mut observer = server.connection().await;
    let sql = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE application_name = $1";
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        let sessions: i64 =
            sqlx::query_scalar(sql).bind(&name).fetch_one(&mut observer).await.unwrap();
        assert!(sessions <= 4, "{sessions}");
    }
    for task in tasks {
        task.await.unwrap();
    }
    pool.close().await;
}
