//! From a manager, settings, hooks and observers to a pool.

use crate::hooks::HookLists;
use crate::rt::Handle;
use crate::{
    ConfigError, ConnectionInfo, HookFuture, HookPoint, Hooks, Limits, Manager, Observer,
    PoolConfig, PoolParts,
};
use std::sync::Arc;

/// A pool that a [`Builder`] can build: [`QueuePool`](crate::QueuePool),
/// [`NullPool`](crate::NullPool), `SharedPool` of the crate `millpond-shared`, or one of your own,
/// whose users then have the same setters, hooks and observers.
///
/// ```
/// use millpond_core::{Buildable, Builder, Manager, PoolParts, QueuePool};
///
/// /// A pool that wraps another one. It implements `Pool` as well.
/// struct Counting<M: Manager> {
///     inner: QueuePool<M>,
/// }
///
/// impl<M: Manager> Buildable for Counting<M> {
///     type Manager = M;
///     fn assemble(parts: PoolParts<M>) -> Self {
///         Self { inner: QueuePool::assemble(parts) }
///     }
/// }
///
/// # use millpond_testkit::ScriptedManager as MyManager;
/// let pool: Counting<MyManager> = Builder::new(MyManager::new()).name("counted").build()?;
/// assert_eq!(pool.inner.name(), "counted");
/// # Ok::<(), millpond_core::ConfigError>(())
/// ```
pub trait Buildable: Sized {
    /// Opens its connections.
    type Manager: Manager;

    /// Makes the pool. Called by [`Builder::build`] once the settings are found to be in range.
    fn assemble(parts: PoolParts<Self::Manager>) -> Self;
}

/// Builds a pool. Nothing is opened and no runtime is needed until the first acquire.
///
/// ```
/// use millpond_core::QueuePool;
/// use std::time::Duration;
///
/// # use millpond_testkit::ScriptedManager as MyManager;
/// let pool = QueuePool::builder(MyManager::new())
///     .name("orders")
///     .pool_size(20)
///     .max_overflow(40)
///     .pool_timeout(Duration::from_secs(60))
///     .on_connect(|_conn, info| Box::pin(async move {
///         println!("connection {} is open", info.id);
///         Ok(())
///     }))
///     .build()?;
/// # Ok::<(), millpond_core::ConfigError>(())
/// ```
#[must_use = "call build()"]
pub struct Builder<P: Buildable> {
    parts: PoolParts<P::Manager>,
}

/// Declares the setters of hooks that are closures.
macro_rules! hook_setters {
    ($($(#[$doc:meta])* $name:ident, $point:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name<F>(mut self, hook: F) -> Self
        where
            F: for<'a> Fn(&'a mut Connection<P>, &'a ConnectionInfo) -> HookFuture<'a>
                + Send
                + Sync
                + 'static,
        {
            self.parts.hooks.add_closure(HookPoint::$point, Box::new(hook));
            self
        }
    )*};
}

type Connection<P> = <<P as Buildable>::Manager as Manager>::Connection;

impl<P: Buildable> Builder<P> {
    /// Starts from a manager and the default settings.
    pub fn new(manager: P::Manager) -> Self {
        Self {
            parts: PoolParts {
                manager,
                config: PoolConfig::default(),
                name: Arc::from("pool"),
                hooks: HookLists::new(),
                observers: Vec::new(),
                runtime: None,
            },
        }
    }

    /// Checks the settings and makes the pool. Settings that do not go together are reported to the
    /// observers, as [`Event::Warned`](crate::Event::Warned), and to the log: see
    /// [`PoolConfig::conflicts`].
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names every setting out of range.
    pub fn build(self) -> Result<P, ConfigError> {
        self.parts.config.check()?;
        Ok(P::assemble(self.parts))
    }

    /// The name of the pool in events, logs and metrics. Default `pool`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.parts.name = name.into();
        self
    }

    /// All settings at once; those set before are replaced.
    pub fn config(mut self, config: PoolConfig) -> Self {
        self.parts.config = config;
        self
    }

    /// The runtime on which the pool connects and its maintenance task runs. Default: that of the
    /// first acquire, and when it has ended that of the next one.
    pub fn runtime(mut self, handle: Handle) -> Self {
        self.parts.runtime = Some(handle);
        self
    }

    /// Adds an observer. Several are called in the order in which they were added. One that holds a
    /// handle of its own pool keeps that pool open for ever.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.parts.observers.push(Box::new(observer));
        self
    }

    /// Adds an object that acts at the hook points it asks for.
    pub fn hooks(mut self, hooks: impl Hooks<Connection<P>>) -> Self {
        let hooks: Arc<dyn Hooks<Connection<P>>> = Arc::new(hooks);
        self.parts.hooks.add_object(&hooks);
        self
    }

    hook_setters! {
        /// Adds a hook for the pool's very first connection: see [`Hooks::on_first_connect`].
        on_first_connect, FirstConnect;
        /// Adds a hook for every new connection: see [`Hooks::on_connect`].
        on_connect, Connect;
        /// Adds a hook before every loan: see [`Hooks::on_checkout`].
        on_checkout, Checkout;
        /// Adds a hook after every return: see [`Hooks::on_checkin`].
        on_checkin, Checkin;
        /// Adds a hook before every close: see [`Hooks::on_close`].
        on_close, Close;
    }
}

/// The settings one by one; see [`PoolConfig`] for defaults and ranges.
impl<P: Buildable> Builder<P> {
    crate::with_pool_settings! { [crate::pool_setters] [parts.config] }

    /// Changes any of the settings.
    pub fn configure(mut self, change: impl FnOnce(&mut PoolConfig)) -> Self {
        change(&mut self.parts.config);
        self
    }

    /// Sets [`PoolConfig::limits`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.parts.config.limits = limits;
        self
    }
}

opaque_debug!([P: Buildable] Builder<P>, "Builder", |it| { parts: it.parts });
