//! Hooks act on a connection at five hook points and may refuse it.

use crate::{ConnectionInfo, HookPoint, HookPoints};
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

/// An error of any kind, as hooks return it and as causes are kept.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a hook given as a closure returns: `Box::pin(async move { .. })`.
pub type HookFuture<'a> = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

/// Why a hook refuses a request, and not the connection: a tenant that is suspended, a quota that
/// is used up.
///
/// An `on_checkout` hook returns it as its error. Then the caller gets the error as it is
/// ([`PoolError::RequestRefused`](crate::PoolError::RequestRefused)), no other connection is tried,
/// and the connection goes back to the pool as if it had been lent. At any other hook point it is
/// an error like any other, since no caller is asking for the connection then.
///
/// ```
/// use millpond_core::{BoxError, RequestRefusal};
///
/// fn admit(tenant: u64) -> Result<(), BoxError> {
///     if tenant == 7 { Err(RequestRefusal::new("tenant 7 is suspended").into()) } else { Ok(()) }
/// }
/// let error = admit(7).unwrap_err();
/// assert_eq!(error.to_string(), "tenant 7 is suspended");
/// assert!(error.is::<RequestRefusal>());
/// ```
#[derive(Debug)]
pub struct RequestRefusal(BoxError);

impl RequestRefusal {
    /// Refuses the request with this error.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }

    /// The hook's own error.
    pub fn get_ref(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.0
    }

    /// The hook's own error.
    pub fn into_inner(self) -> BoxError {
        self.0
    }
}

impl fmt::Display for RequestRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for RequestRefusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Declares hooks as the attribute `async_trait` declares `async fn`s; by default they do nothing.
macro_rules! hooks {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        fn $name<'life0, 'life1, 'life2, 'async_trait>(
            &'life0 self,
            conn: &'life1 mut C,
            info: &'life2 ConnectionInfo,
        ) -> HookFuture<'async_trait>
        where
            'life0: 'async_trait,
            'life1: 'async_trait,
            'life2: 'async_trait,
            Self: 'async_trait,
        {
            let _ = (conn, info);
            Box::pin(ready(Ok(())))
        }
    )*};
}

/// Acts on connections at the hook points it asks for. `Err` means "not this connection", unless it
/// is a [`RequestRefusal`].
///
/// Several hooks run in the order in which they were registered; the first refusal ends the row.
/// Each call runs under `hook_timeout` and behind a panic guard; a call that is cut off or panics
/// counts as a refusal. No hook runs while the pool holds its lock, and never two at once for the
/// same connection.
///
/// A hook that holds a handle of its own pool keeps that pool open for ever.
///
/// For a single hook point a closure is enough:
/// `builder.on_connect(|conn, info| Box::pin(async move { .. }))`.
///
/// ```
/// use millpond_core::{async_trait, BoxError, ConnectionInfo, Hooks, HookPoint, HookPoints};
///
/// struct Greeter;
/// #[async_trait]
/// impl Hooks<String> for Greeter {
///     fn points(&self) -> HookPoints {
///         HookPoint::Connect.into()
///     }
///     async fn on_connect(
///         &self,
///         conn: &mut String,
///         _info: &ConnectionInfo,
///     ) -> Result<(), BoxError> {
///         conn.push_str(" says hello");
///         Ok(())
///     }
/// }
/// ```
///
/// The methods are declared as the attribute `async_trait` declares them, which the feature
/// `async-trait` re-exports: write `async fn` under it.
pub trait Hooks<C: Send + 'static>: Send + Sync + 'static {
    /// The hook points at which this object is called. The default is all of them, which is always
    /// right and costs an allocation for each hook point that is not overridden. Asked once, in
    /// `build()`.
    fn points(&self) -> HookPoints {
        HookPoints::ALL
    }

    hooks! {
        /// After the first connection of the pool was opened, before `on_connect`. Called once
        /// until it has succeeded; no other connection is opened meanwhile. A refusal counts as a
        /// connection that could not be opened.
        on_first_connect;

        /// After every connection was opened, before it is lent. A refusal counts as a connection
        /// that could not be opened: if the error is the manager's own, its `classify` decides
        /// whether it is tried again.
        ///
        /// What it leaves on a connection is the state that a reset leads back to: it is called
        /// again after a reset that has undone it, and a refusal closes the connection then.
        on_connect;

        /// Before a connection is lent, after the ping if one was due. On a refusal it is closed
        /// and the caller gets another one, three times at the most. With a [`RequestRefusal`] the
        /// request is refused instead: the caller gets that error, and the connection goes back.
        /// Not called by `try_acquire`, which lends nothing while this hook exists.
        on_checkout;

        /// After a connection came back and was reset, before it can be lent again. A refusal
        /// closes it. Not called for a connection that is discarded, detached, or too old to be
        /// kept, nor by a `NullPool`, which keeps none.
        on_checkin;

        /// Before the pool closes a connection, for whatever reason. A refusal is reported as an
        /// event and changes nothing. Not called for a connection that is detached, dropped where
        /// no runtime is left or by a hard invalidation, or that a hook refused before it became
        /// the pool's.
        on_close;
    }
}

type HookFn<C> = dyn for<'a> Fn(&'a mut C, &'a ConnectionInfo) -> HookFuture<'a> + Send + Sync;

/// One registered hook: an object, or a closure for one hook point.
pub(crate) enum Hook<C> {
    Object(Arc<dyn Hooks<C>>),
    Closure(Box<HookFn<C>>),
}

impl<C: Send + 'static> Hook<C> {
    pub(crate) fn call<'a>(
        &'a self,
        point: HookPoint,
        conn: &'a mut C,
        info: &'a ConnectionInfo,
    ) -> HookFuture<'a> {
        match (self, point) {
            (Self::Closure(hook), _) => hook(conn, info),
            (Self::Object(hooks), HookPoint::FirstConnect) => hooks.on_first_connect(conn, info),
            (Self::Object(hooks), HookPoint::Connect) => hooks.on_connect(conn, info),
            (Self::Object(hooks), HookPoint::Checkout) => hooks.on_checkout(conn, info),
            (Self::Object(hooks), HookPoint::Checkin) => hooks.on_checkin(conn, info),
            (Self::Object(hooks), HookPoint::Close) => hooks.on_close(conn, info),
        }
    }
}

/// The hooks of a pool in the order of registration, a list for each hook point.
pub(crate) struct HookLists<C>([Vec<Hook<C>>; POINTS.len()]);

const POINTS: [HookPoint; 5] = [
    HookPoint::FirstConnect,
    HookPoint::Connect,
    HookPoint::Checkout,
    HookPoint::Checkin,
    HookPoint::Close,
];

impl<C: Send + 'static> HookLists<C> {
    pub(crate) fn new() -> Self {
        Self(POINTS.map(|_| Vec::new()))
    }

    pub(crate) fn at(&self, point: HookPoint) -> &[Hook<C>] {
        self.0.get(point as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has(&self, point: HookPoint) -> bool {
        !self.at(point).is_empty()
    }

    pub(crate) fn add_closure(&mut self, point: HookPoint, hook: Box<HookFn<C>>) {
        self.add(point, Hook::Closure(hook));
    }

    /// Enters an object into the lists of the hook points that it wants.
    pub(crate) fn add_object(&mut self, hooks: &Arc<dyn Hooks<C>>) {
        let wanted = hooks.points();
        for point in POINTS.into_iter().filter(|point| wanted.contains(*point)) {
            self.add(point, Hook::Object(Arc::clone(hooks)));
        }
    }

    fn add(&mut self, point: HookPoint, hook: Hook<C>) {
        if let Some(list) = self.0.get_mut(point as usize) {
            list.push(hook);
        }
    }
}
