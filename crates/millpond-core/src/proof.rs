//! Proofs of the core that need its private parts: a simulator of the ledger, and exhaustive models
//! of its hand-off.
//!
//! They are in the crate, for tests alone, so that the ledger needs no public interface.
//! docs/design.md says why.

#[cfg(millpond_models)]
mod models;
#[cfg(not(millpond_models))]
mod sim;

/// A runtime on which nothing ever runs and whose clock is paused, for what tests drive by hand.
pub(crate) fn paused_runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        builder
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O asks for nothing")
    })
}
