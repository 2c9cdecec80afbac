//! Our own pools keep what the suite asks of every pool.
//!
//! A binary of its own, because it takes twice as long to build as all the other tests.

mod queue_pool {
    millpond_testkit::conformance! {
        fixture = || async { millpond_testkit::Nowhere }, can = [PausedClock]
    }
}

mod null_pool {
    use millpond_core::NullPool;
    millpond_testkit::conformance! {
        fixture = || async { millpond_testkit::Nowhere }, can = [PausedClock], pool = NullPool
    }
}
