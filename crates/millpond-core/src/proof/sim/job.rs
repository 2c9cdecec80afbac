//! A job of the maintenance task on its way.

use super::desk::Wire;
use super::plan::Fate;
use crate::ledger::Job;
use crate::rt::Time;

/// A job of the maintenance task that has begun.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) job: Job<Wire>,
    pub(super) fate: Fate,
    /// When it is cut off if it hangs.
    pub(super) limit: Time,
}
