//! The part of the options that all backends share: the settings of a pool, its hooks and
//! observers, and building it.

use crate::error::config_error;
use crate::hooks::{Attached, DriverHooks, OnePoint};
use crate::tcp_options::TcpOptions;
use crate::tracked::Tracked;
use millpond_core::{
    Buildable, Builder, ConnectionInfo, Handle, HookFuture, HookPoint, Hooks, Limits, Manager,
    Observer, PoolConfig, ResetLevel, TCP_KEEPALIVE, TCP_TIMES, TCP_USER_TIMEOUT,
};
use sqlx::{Database, Error};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The part of a backend's options that all backends share. A backend crate puts it into a field
/// named `settings`, and [`pool_settings!`](crate::pool_settings) writes the methods that set it.
pub struct SqlPoolSettings<DB: Database> {
    /// The settings of the pool.
    pub config: PoolConfig,
    /// The pool's name in events, logs and metrics.
    pub name: Arc<str>,
    /// What is reset between two borrowers.
    pub reset: ResetLevel,
    /// Whether abandoned statements are cancelled at the server.
    pub cancel_abandoned: bool,
    /// How long a TCP connection is idle before the kernel probes its peer; `None` or zero for
    /// never. Default 60 s, range 1 s to 3600 s.
    pub tcp_keepalive: Option<Duration>,
    /// How long sent data may stay unacknowledged or unread; `None` or zero for the kernel's
    /// default. Default 300 s, or five times [`tcp_keepalive`](Self::tcp_keepalive) if that is
    /// less; range 1 s to 3600 s.
    pub tcp_user_timeout: Option<Duration>,
    /// How many connections the pool of sqlx's own type has. Default 1.
    pub sqlx_connections: u32,
    /// Whether a timeout of an acquire is sqlx's `PoolTimedOut`. Default false.
    pub sqlx_timeouts: bool,
    /// The pool's runtime.
    pub runtime: Option<Handle>,
    hooks: Vec<Attached<DB>>,
    observers: Vec<Arc<dyn Observer>>,
}

impl<DB: Database> SqlPoolSettings<DB> {
    /// Creates the default settings of a pool called `name`.
    pub fn new(name: &str) -> Self {
        Self {
            config: PoolConfig::default(),
            name: name.into(),
            reset: ResetLevel::default(),
            cancel_abandoned: true,
            tcp_keepalive: Some(TCP_KEEPALIVE),
            tcp_user_timeout: Some(TCP_USER_TIMEOUT),
            sqlx_connections: 1,
            sqlx_timeouts: false,
            runtime: None,
            hooks: Vec::new(),
            observers: Vec::new(),
        }
    }

    /// Checks that all settings are in their ranges.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` that names all settings out of their ranges.
    pub fn check(&self) -> Result<(), Error> {
        self.config.check().map_err(config_error)?;
        for (name, time) in
            [("tcp_keepalive", self.tcp_keepalive), ("tcp_user_timeout", self.tcp_user_timeout)]
        {
            let time = time.filter(|time| !time.is_zero() && self.config.limits == Limits::On);
            if let Some(time) = time.filter(|time| !TCP_TIMES.contains(time)) {
                let (low, high) = TCP_TIMES.into_inner();
                let text = format!(
                    "{name} = {time:?} is out of range {low:?} to {high:?}, or None for off; \
                     choose a value in the range, or lift the ranges with limits = \"off\""
                );
                return Err(Error::Configuration(text.into()));
            }
        }
        Ok(())
    }

    /// Returns the options of the pool's TCP sockets, for managers.
    pub fn tcp_options(&self) -> TcpOptions {
        TcpOptions::new(self.tcp_keepalive, self.tcp_user_timeout)
    }

    /// Returns true if there are hooks.
    pub fn has_hooks(&self) -> bool {
        !self.hooks.is_empty()
    }

    /// Returns true if a hook acts on the pool's very first connection.
    pub fn has_first_connect_hooks(&self) -> bool {
        self.hooks.iter().any(|hooks| hooks.points().contains(HookPoint::FirstConnect))
    }

    /// Makes all pools built from these settings or their clones from now on call every
    /// `on_first_connect` hook once in total, on the connection that is opened first: for two pools
    /// of one database.
    pub fn share_first_connect(&mut self) {
        self.hooks.iter_mut().for_each(Attached::share_first_connect);
    }

    /// Adds an observer.
    pub fn add_observer(&mut self, observer: impl Observer) {
        self.observers.push(Arc::new(observer));
    }

    /// Adds hooks for the driver's connection.
    pub fn add_hooks(&mut self, hooks: impl Hooks<DB::Connection>) {
        self.add_tracked_hooks(DriverHooks::<DB, _>::new(hooks));
    }

    /// Adds hooks for the tracked connection, which must leave no transaction open.
    pub fn add_tracked_hooks(&mut self, hooks: impl Hooks<Tracked<DB>>) {
        self.hooks.push(Attached::new(hooks));
    }

    /// Adds a closure for the tracked connection at one hook point, which must leave no transaction
    /// open.
    pub fn add_tracked_hook<F>(&mut self, point: HookPoint, hook: F)
    where
        F: for<'a> Fn(&'a mut Tracked<DB>, &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.add_tracked_hooks(OnePoint { point, hook });
    }

    /// Adds a closure for the driver's connection at one hook point.
    pub fn add_hook<F>(&mut self, point: HookPoint, hook: F)
    where
        F: for<'a> Fn(&'a mut DB::Connection, &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.add_hooks(OnePoint { point, hook });
    }

    /// Builds a pool with these hooks, observers and this runtime; name and settings may differ
    /// from those here.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` that names every setting out of its range.
    pub fn build<P, M>(&self, manager: M, name: &str, config: PoolConfig) -> Result<P, Error>
    where
        P: Buildable<Manager = M>,
        M: Manager<Connection = Tracked<DB>>,
    {
        let mut builder = Builder::<P>::new(manager).name(name).config(config);
        if let Some(runtime) = &self.runtime {
            builder = builder.runtime(runtime.clone());
        }
        for hooks in &self.hooks {
            builder = builder.hooks(hooks.clone());
        }
        for observer in &self.observers {
            builder = builder.observer(Arc::clone(observer));
        }
        builder.build().map_err(config_error)
    }
}

impl<DB: Database> Clone for SqlPoolSettings<DB> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            name: Arc::clone(&self.name),
            reset: self.reset,
            cancel_abandoned: self.cancel_abandoned,
            tcp_keepalive: self.tcp_keepalive,
            tcp_user_timeout: self.tcp_user_timeout,
            sqlx_connections: self.sqlx_connections,
            sqlx_timeouts: self.sqlx_timeouts,
            runtime: self.runtime.clone(),
            hooks: self.hooks.clone(),
            observers: self.observers.clone(),
        }
    }
}

impl<DB: Database> fmt::Debug for SqlPoolSettings<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlPoolSettings")
            .field("name", &self.name)
            .field("config", &self.config)
            .field("reset", &self.reset)
            .field("cancel_abandoned", &self.cancel_abandoned)
            .field("tcp_keepalive", &self.tcp_keepalive)
            .field("tcp_user_timeout", &self.tcp_user_timeout)
            .field("hooks", &self.hooks.len())
            .field("observers", &self.observers.len())
            .finish_non_exhaustive()
    }
}

/// Writes the methods of a backend's options that all backends share. The options have a field
/// `settings: SqlPoolSettings<..>`, and the methods `parse_url` and `connect_lazy_with`. A macro,
/// because inherent methods cannot be added to a type of another crate.
#[macro_export]
macro_rules! pool_settings {
    ($Options:ty, $Connection:ty) => {
        impl $Options {
            /// Builds a pool from a URL. The first connection is opened by the first acquire.
            ///
            /// # Errors
            ///
            /// `Error::Configuration` for an invalid URL or setting.
            pub fn connect_lazy(
                self,
                url: &str,
            ) -> Result<
                $crate::SqlPool<<$Connection as ::sqlx::Connection>::Database>,
                ::sqlx::Error,
            > {
                self.connect_lazy_with(Self::parse_url(url)?)
            }

            /// Builds a pool from sqlx's options, and opens a first connection to check that it
            /// works.
            ///
            /// # Errors
            ///
            /// As [`connect`](Self::connect).
            ///
            /// # Cancel safety
            ///
            /// If the future is dropped, the pool is dropped.
            pub async fn connect_with(
                self,
                options: <$Connection as ::sqlx::Connection>::Options,
            ) -> Result<
                $crate::SqlPool<<$Connection as ::sqlx::Connection>::Database>,
                ::sqlx::Error,
            > {
                $crate::backend_api::check_connects(self.connect_lazy_with(options)?).await
            }
        }

        /// Name, runtime, hooks and observers.
        impl $Options {
            /// Sets the name of the pool in events, logs and metrics.
            #[must_use]
            pub fn name(mut self, name: impl Into<::std::sync::Arc<str>>) -> Self {
                self.settings.name = name.into();
                self
            }

            /// Sets all settings at once, replacing earlier ones.
            #[must_use]
            pub fn config(mut self, config: ::millpond_core::PoolConfig) -> Self {
                self.settings.config = config;
                self
            }

            /// Sets what is reset between two borrowers. Default: open transactions are rolled
            /// back.
            #[must_use]
            pub fn reset(mut self, level: ::millpond_core::ResetLevel) -> Self {
                self.settings.reset = level;
                self
            }

            /// Sets how many connections the pool of sqlx's own type has, which
            /// [`SqlPool::sqlx`]($crate::SqlPool::sqlx) returns. Default: 1; range 1 to one less
            /// than this pool's limit, `pool_size + max_overflow`. Several of them are taken from
            /// this pool as they are needed, and hold their slots until it is closed.
            #[must_use]
            pub fn sqlx_connections(mut self, connections: u32) -> Self {
                self.settings.sqlx_connections = connections;
                self
            }

            /// Sets whether the error of an acquire whose deadline passed is sqlx's `PoolTimedOut`.
            /// Default: false, it is `Io` of kind `TimedOut`, whose text says who holds the
            /// connections. sqlx's has no place for that, so it is logged as a warning instead.
            #[must_use]
            pub fn sqlx_timeouts(mut self, sqlx_timeouts: bool) -> Self {
                self.settings.sqlx_timeouts = sqlx_timeouts;
                self
            }

            /// Sets the runtime on which the pool connects and its maintenance task runs. Default:
            /// that of the first acquire.
            #[must_use]
            pub fn runtime(mut self, handle: ::millpond_core::Handle) -> Self {
                self.settings.runtime = Some(handle);
                self
            }

            /// Returns the settings that all backends share, for code that is generic over the
            /// backend.
            pub fn settings_mut(
                &mut self,
            ) -> &mut $crate::backend_api::SqlPoolSettings<
                <$Connection as ::sqlx::Connection>::Database,
            > {
                &mut self.settings
            }

            /// Adds an observer. Observers are called in the order in which they were added.
            #[must_use]
            pub fn observer(mut self, observer: impl ::millpond_core::Observer) -> Self {
                self.settings.add_observer(observer);
                self
            }

            /// Adds hooks, which are called at the hook points that they select.
            #[must_use]
            pub fn hooks(mut self, hooks: impl ::millpond_core::Hooks<$Connection>) -> Self {
                self.settings.add_hooks(hooks);
                self
            }

            /// Adds a hook for the pool's first connection. See
            /// [`Hooks::on_first_connect`](::millpond_core::Hooks::on_first_connect).
            #[must_use]
            pub fn on_first_connect<F>(mut self, hook: F) -> Self
            where
                F: for<'a> Fn(
                        &'a mut $Connection,
                        &'a ::millpond_core::ConnectionInfo,
                    ) -> ::millpond_core::HookFuture<'a>
                    + Send
                    + Sync
                    + 'static,
            {
                self.settings.add_hook(::millpond_core::HookPoint::FirstConnect, hook);
                self
            }

            /// Adds a hook for every new connection. See
            /// [`Hooks::on_connect`](::millpond_core::Hooks::on_connect).
            #[must_use]
            pub fn on_connect<F>(mut self, hook: F) -> Self
            where
                F: for<'a> Fn(
                        &'a mut $Connection,
                        &'a ::millpond_core::ConnectionInfo,
                    ) -> ::millpond_core::HookFuture<'a>
                    + Send
                    + Sync
                    + 'static,
            {
                self.settings.add_hook(::millpond_core::HookPoint::Connect, hook);
                self
            }

            /// Adds a hook that is called before every checkout. See
            /// [`Hooks::on_checkout`](::millpond_core::Hooks::on_checkout). A hook that leaves a
            /// transaction open is an error, so the server is queried afterwards: one round trip
            /// per checkout on PostgreSQL, two on MariaDB and up to five on MySQL. MariaDB and
            /// MySQL also prepare each statement again afterwards.
            #[must_use]
            pub fn on_checkout<F>(mut self, hook: F) -> Self
            where
                F: for<'a> Fn(
                        &'a mut $Connection,
                        &'a ::millpond_core::ConnectionInfo,
                    ) -> ::millpond_core::HookFuture<'a>
                    + Send
                    + Sync
                    + 'static,
            {
                self.settings.add_hook(::millpond_core::HookPoint::Checkout, hook);
                self
            }

            /// Adds a hook that is called after every return. See
            /// [`Hooks::on_checkin`](::millpond_core::Hooks::on_checkin).
            #[must_use]
            pub fn on_checkin<F>(mut self, hook: F) -> Self
            where
                F: for<'a> Fn(
                        &'a mut $Connection,
                        &'a ::millpond_core::ConnectionInfo,
                    ) -> ::millpond_core::HookFuture<'a>
                    + Send
                    + Sync
                    + 'static,
            {
                self.settings.add_hook(::millpond_core::HookPoint::Checkin, hook);
                self
            }

            /// Adds a hook that is called before every close. See
            /// [`Hooks::on_close`](::millpond_core::Hooks::on_close).
            #[must_use]
            pub fn on_close<F>(mut self, hook: F) -> Self
            where
                F: for<'a> Fn(
                        &'a mut $Connection,
                        &'a ::millpond_core::ConnectionInfo,
                    ) -> ::millpond_core::HookFuture<'a>
                    + Send
                    + Sync
                    + 'static,
            {
                self.settings.add_hook(::millpond_core::HookPoint::Close, hook);
                self
            }
        }

        /// The individual settings; see [`PoolConfig`](::millpond_core::PoolConfig) for defaults
        /// and ranges.
        impl $Options {
            ::millpond_core::with_pool_settings! {
                [::millpond_core::pool_setters] [settings.config]
            }

            /// Changes settings with a closure.
            pub fn configure(
                mut self,
                change: impl FnOnce(&mut ::millpond_core::PoolConfig),
            ) -> Self {
                change(&mut self.settings.config);
                self
            }

            /// Sets [`PoolConfig::limits`](::millpond_core::PoolConfig::limits).
            #[must_use]
            pub fn limits(mut self, limits: ::millpond_core::Limits) -> Self {
                self.settings.config.limits = limits;
                self
            }
        }
    };
}

/// Writes the methods of a backend's options that set TCP socket options. The options have a field
/// `settings: SqlPoolSettings<..>`.
#[macro_export]
macro_rules! tcp_settings {
    ($Options:ty) => {
        /// TCP socket options.
        impl $Options {
            /// Sets how long a TCP connection is idle before the kernel probes its peer. Default:
            /// 60 s, range 1 s to 3600 s; `None` or zero for never.
            ///
            /// Probes are repeated until the peer answers, a sixth of this time apart. The
            /// connection breaks after [`tcp_user_timeout`](Self::tcp_user_timeout), or after the
            /// third probe if that is off. Without keepalive an operation on a peer that has
            /// vanished ends only by [`statement_timeout`](Self::statement_timeout).
            ///
            /// Linux only: the driver does not expose its sockets, so a new one is found among the
            /// descriptors of the process. One that cannot be distinguished from others opened to
            /// the same server at the same moment is left unchanged.
            #[must_use]
            pub fn tcp_keepalive(
                mut self,
                idle: impl Into<::std::option::Option<::std::time::Duration>>,
            ) -> Self {
                self.settings.tcp_keepalive = idle.into();
                self
            }

            /// Sets how long sent data may stay unacknowledged or unread before the kernel ends the
            /// connection. Default: 300 s, or five times [`tcp_keepalive`](Self::tcp_keepalive) if
            /// that is less; range 1 s to 3600 s; `None` or zero for the kernel's default, about 15
            /// min for unacknowledged data.
            ///
            /// It also ends the connection to a server that is alive but does not read for that
            /// long, such as during a COPY into a table that another session has locked. Choose a
            /// longer time, or `None`, where that is expected. Linux only, as
            /// [`tcp_keepalive`](Self::tcp_keepalive).
            #[must_use]
            pub fn tcp_user_timeout(
                mut self,
                limit: impl Into<::std::option::Option<::std::time::Duration>>,
            ) -> Self {
                self.settings.tcp_user_timeout = limit.into();
                self
            }
        }
    };
}
