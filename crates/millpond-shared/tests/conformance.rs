//! A pool of shared connections keeps what the suite asks of every pool.
//!
//! A binary of its own, because it takes twice as long to build as all the other tests.

mod shared_pool {
    use millpond_shared::SharedPool;
    millpond_testkit::conformance! {
        fixture = || async { millpond_testkit::Nowhere }, can = [PausedClock], pool = SharedPool
    }
}
