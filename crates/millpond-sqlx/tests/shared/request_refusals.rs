//! A checkout hook that refuses the request: the caller gets its error, and the connection stays.

use crate::support::{one, url_of_a_database};
use millpond_core::RequestRefusal;
use millpond_sqlx::{PoolError, pool_error};
use millpond_testkit::Trace;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug)]
struct Suspended;

impl fmt::Display for Suspended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tenant is suspended")
    }
}

impl std::error::Error for Suspended {}

#[tokio::test]
async fn a_request_that_a_hook_refuses_costs_no_connection_and_its_error_can_be_read_back() {
    let Some(database) = url_of_a_database() else { return };
    let (refuses, trace) = (Arc::new(AtomicBool::new(false)), Trace::new());
    let inside = Arc::clone(&refuses);
    let options = one().observer(trace.clone()).on_checkout(move |conn, _| {
        let refuses = inside.load(Ordering::SeqCst);
        Box::pin(async move {
            sqlx::query("SELECT 1").execute(conn).await?;
            if refuses { Err(RequestRefusal::new(Suspended).into()) } else { Ok(()) }
        })
    });
    let pool = options.connect(&database).await.unwrap();
    refuses.store(true, Ordering::SeqCst);
    for _ in 0..4 {
        for error in [
            pool.acquire().await.map(drop).unwrap_err(),
            pool.begin().await.map(drop).unwrap_err(),
            sqlx::query("SELECT 1").execute(&pool).await.map(drop).unwrap_err(),
        ] {
            let Some(PoolError::RequestRefused(refusal)) = pool_error(&error) else {
                panic!("{error:?}")
            };
            assert!(refusal.get_ref().is::<Suspended>());
            assert!(error.to_string().ends_with("the tenant is suspended"), "{error}");
        }
    }
    refuses.store(false, Ordering::SeqCst);
    sqlx::query("SELECT 1").execute(&pool).await.unwrap();
    assert_eq!((trace.count("connected"), trace.count("closed")), (1, 0), "{:?}", trace.lines());
}

#[tokio::test]
async fn a_hook_that_refuses_with_an_sqlx_error_gives_it_to_the_caller() {
    let Some(database) = url_of_a_database() else { return };
    let options = one().on_checkout(|conn, _| {
        Box::pin(async move {
            let row = sqlx::query("SELECT 1 WHERE 1 = 0").fetch_one(conn).await;
            row.map(drop).map_err(|error| RequestRefusal::new(error).into())
        })
    });
    let pool = options.connect_lazy(&database).unwrap();
    assert!(matches!(pool.acquire().await, Err(sqlx::Error::RowNotFound)));
}
