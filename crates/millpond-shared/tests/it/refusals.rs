//! A checkout hook of a shared pool may refuse the request instead of the connection.

use crate::support::{Links, Server};
use millpond_core::{PoolError, RequestRefusal};
use millpond_shared::SharedPool;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test(start_paused = true)]
async fn on_a_shared_pool_too_a_refused_request_costs_no_connection() {
    let on = Arc::new(AtomicBool::new(true));
    let inside = Arc::clone(&on);
    let server = Arc::new(Server::default());
    let pool =
        SharedPool::builder(Links(Arc::clone(&server))).pool_size(1).on_checkout(move |_, _| {
            let refusal = || RequestRefusal::new(io::Error::other("tenant 7 is suspended"));
            let answer = if inside.load(Ordering::SeqCst) { Err(refusal().into()) } else { Ok(()) };
            Box::pin(async { answer })
        });
    let pool = pool.build().unwrap();
    for _ in 0..5 {
        assert!(matches!(pool.acquire().await, Err(PoolError::RequestRefused(_))));
    }
    on.store(false, Ordering::SeqCst);
    assert_eq!(pool.acquire().await.unwrap().0, 1);
    assert_eq!(server.connects.load(Ordering::Relaxed), 1);
}
