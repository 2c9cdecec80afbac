//! Everything that awaits: acquires, validations, returns, connects and closes.

mod acquire;
mod call;
mod checkin;
mod checkout;
mod close;
mod connect;
mod drain;
mod maintenance;
mod shared;
mod validate;

pub use acquire::Acquire;
pub(crate) use checkout::try_acquire;
#[cfg(all(test, millpond_models))]
pub(crate) use close::{Closing, close as close_connection};
pub(crate) use connect::SlotGuard;
#[cfg(all(test, millpond_models))]
pub(crate) use connect::connect;
pub(crate) use drain::{close, prewarm};
pub use shared::PoolParts;
pub(crate) use shared::Shared;

/// A connection of a manager.
type Held<M> = crate::PooledConnection<<M as crate::Manager>::Connection>;
