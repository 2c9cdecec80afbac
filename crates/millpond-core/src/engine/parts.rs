//! What a pool is made of, as its builder has put it together.

use crate::hooks::HookLists;
use crate::rt::Handle;
use crate::{Manager, Observer, PoolConfig};
use std::sync::Arc;

/// What a pool is made of: the manager, settings, name, hooks and observers that a
/// [`Builder`](crate::Builder) was given.
///
/// A pool of your own passes them on: to [`Buildable::assemble`](crate::Buildable::assemble) of a
/// pool that it wraps, or to [`Multiplexer::new`](crate::Multiplexer::new).
pub struct PoolParts<M: Manager> {
    pub(crate) manager: M,
    pub(crate) config: PoolConfig,
    pub(crate) name: Arc<str>,
    pub(crate) hooks: HookLists<M::Connection>,
    pub(crate) observers: Vec<Box<dyn Observer>>,
    pub(crate) runtime: Option<Handle>,
}

impl<M: Manager> PoolParts<M> {
    /// Returns the settings, which were found to be in range.
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }
}

opaque_debug!([M: Manager] PoolParts<M>, "PoolParts", |it| { name: it.name, config: it.config });
