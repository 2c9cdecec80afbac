//! What a pool is made of, as its builder has put it together.

use crate::config::PoolConfig;
use crate::event::Observer;
use crate::hooks::HookLists;
use crate::manager::Manager;
use crate::rt::Handle;
use std::fmt;
use std::sync::Arc;

/// What a pool is made of.
#[doc(hidden)]
pub struct Parts<M: Manager> {
    pub(crate) manager: M,
    pub(crate) config: PoolConfig,
    pub(crate) name: Arc<str>,
    pub(crate) hooks: HookLists<M::Connection>,
    pub(crate) observers: Vec<Box<dyn Observer>>,
    pub(crate) runtime: Option<Handle>,
    /// Of a `SharedPool`: how many loans a connection's turn has.
    pub(crate) acquires_per_turn: u32,
}

impl<M: Manager> fmt::Debug for Parts<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("name", &self.name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
