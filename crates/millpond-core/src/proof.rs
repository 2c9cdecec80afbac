//! Proofs of the core that need its private parts: a simulator of the ledger, and exhaustive models
//! of its hand-off.
//!
//! They are in the crate, for tests alone, so that the ledger needs no public interface.
//! docs/design.md says why.

#[cfg(millpond_models)]
mod models;
#[cfg(not(millpond_models))]
mod sim;
