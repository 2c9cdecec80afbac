//! Runs the conformance suite on a pool of shared connections.
//!
//! A separate binary, because it takes twice as long to build as all other tests.

mod shared_pool {
    use millpond_shared::SharedPool;
    millpond_testkit::conformance! {
        fixture = || async { millpond_testkit::Nowhere }, can = [PausedClock], pool = SharedPool
    }
}
