//! sqlx's own names for the settings and hooks of a pool, so that code compiles after a change of
//! imports, and the compiler says what to write instead.

use futures_core::future::BoxFuture;
use millpond_core::{ConnectionInfo, HookFuture};
use sqlx::Error;
use std::time::Duration;

/// What sqlx's callbacks get to know of a connection. The fields are those of sqlx's type, which
/// only sqlx can create.
#[derive(Debug)]
#[non_exhaustive]
pub struct PoolConnectionMetadata {
    /// How long ago it was opened.
    pub age: Duration,
    /// How long it was idle.
    pub idle_for: Duration,
}

impl PoolConnectionMetadata {
    /// Describes a connection, for the options of backends.
    pub fn of(info: &ConnectionInfo) -> Self {
        Self { age: info.age, idle_for: info.idle }
    }
}

const REFUSED: &str = "the callback returned false";

/// The future of a callback, as sqlx's options have it.
pub type CallbackFuture<'c, T> = BoxFuture<'c, Result<T, Error>>;

/// Converts the future of a callback that returns `Ok(false)` for a connection that is to be
/// closed, for the options of backends.
pub fn verdict(callback: CallbackFuture<'_, bool>) -> HookFuture<'_> {
    Box::pin(async move { if callback.await? { Ok(()) } else { Err(REFUSED.into()) } })
}

/// Writes sqlx's own names into a backend's options, as deprecated methods. The options have the
/// methods of [`pool_settings!`](crate::pool_settings).
#[macro_export]
macro_rules! sqlx_names {
    ($Options:ty, $Connection:ty) => {
        /// sqlx's own names, with sqlx's meaning. Those of settings lift the ranges of all settings
        /// as `limits(Limits::Off)` does, since sqlx has none, and set
        /// [`sqlx_timeouts`](Self::sqlx_timeouts).
        impl $Options {
            /// Sets the size of the pool, without overflow.
            #[must_use]
            #[deprecated(note = "write `.pool_size(n).max_overflow(0)`")]
            pub fn max_connections(self, max: u32) -> Self {
                self.with_sqlx_meaning().pool_size(max).max_overflow(0)
            }

            /// Sets how many connections are kept ready. sqlx counts all that are open here, and
            /// the pool only idle ones: while some are lent, it opens more, within its limit.
            #[must_use]
            #[deprecated(note = "write `.min_idle(n)`, which counts idle connections")]
            pub fn min_connections(self, min: u32) -> Self {
                self.with_sqlx_meaning().min_idle(min)
            }

            /// Sets the limit of an acquire.
            #[must_use]
            #[deprecated(note = "write `.pool_timeout(limit)`, and `.sqlx_timeouts(true)` for \
                                 `Error::PoolTimedOut`")]
            pub fn acquire_timeout(self, limit: ::std::time::Duration) -> Self {
                self.with_sqlx_meaning().pool_timeout(limit)
            }

            /// Sets the age at which a connection is closed; `None` for never.
            #[must_use]
            #[deprecated(note = "write `.pool_recycle(age)`")]
            pub fn max_lifetime(
                self,
                age: impl Into<::std::option::Option<::std::time::Duration>>,
            ) -> Self {
                self.with_sqlx_meaning().pool_recycle(age)
            }

            /// Sets whether a connection is pinged before every checkout.
            #[must_use]
            #[deprecated(note = "write `.pool_pre_ping(test)`, which pings after 500 ms without \
                                 use: `pre_ping_idle`")]
            pub fn test_before_acquire(self, test: bool) -> Self {
                let options = self.with_sqlx_meaning().pool_pre_ping(test);
                if test { options.pre_ping_idle(::std::time::Duration::ZERO) } else { options }
            }

            /// Adds a callback for every new connection. Another one does not replace it.
            #[must_use]
            #[deprecated(note = "write `.on_connect(..)`")]
            pub fn after_connect<F>(self, callback: F) -> Self
            where
                F: for<'c> Fn(
                        &'c mut $Connection,
                        $crate::PoolConnectionMetadata,
                    ) -> $crate::backend_api::CallbackFuture<'c, ()>
                    + Send
                    + Sync
                    + 'static,
            {
                self.on_connect(move |conn, info| {
                    let done = callback(conn, $crate::PoolConnectionMetadata::of(info));
                    ::std::boxed::Box::pin(async move { Ok(done.await?) })
                })
            }

            /// Adds a callback that is called before every checkout but a connection's first.
            /// Another one does not replace it.
            #[must_use]
            #[deprecated(note = "write `.on_checkout(..)`; an `Err` refuses the connection")]
            pub fn before_acquire<F>(self, callback: F) -> Self
            where
                F: for<'c> Fn(
                        &'c mut $Connection,
                        $crate::PoolConnectionMetadata,
                    ) -> $crate::backend_api::CallbackFuture<'c, bool>
                    + Send
                    + Sync
                    + 'static,
            {
                self.on_checkout(move |conn, info| {
                    if info.uses <= 1 {
                        return ::std::boxed::Box::pin(async { Ok(()) });
                    }
                    let metadata = $crate::PoolConnectionMetadata::of(info);
                    $crate::backend_api::verdict(callback(conn, metadata))
                })
            }

            /// Adds a callback that is called after every return. Another one does not replace it.
            #[must_use]
            #[deprecated(note = "write `.on_checkin(..)`; an `Err` closes the connection")]
            pub fn after_release<F>(self, callback: F) -> Self
            where
                F: for<'c> Fn(
                        &'c mut $Connection,
                        $crate::PoolConnectionMetadata,
                    ) -> $crate::backend_api::CallbackFuture<'c, bool>
                    + Send
                    + Sync
                    + 'static,
            {
                self.on_checkin(move |conn, info| {
                    let metadata = $crate::PoolConnectionMetadata::of(info);
                    $crate::backend_api::verdict(callback(conn, metadata))
                })
            }

            fn with_sqlx_meaning(self) -> Self {
                self.limits(::millpond_core::Limits::Off).sqlx_timeouts(true)
            }
        }
    };
}
