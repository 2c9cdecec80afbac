//! A driver's connection that tracks whether it is in sync with its server.

use crate::backend::{Backend, KnownSchema, Unfinished, Verified};
use crate::operation::{OperationGuard, TrackedState};
use crate::pending_cancel::{AutoCancel, CancelHandle, PendingCancel, Session};
use crate::sql_text::StatementEffect;
use crate::statement_cache::StatementCache;
use crate::sync_state::SyncState;
use crate::time_limits::CurrentLease;
use crate::transaction_state::{Tracker, TransactionOutcome};
use sqlx::{Connection, Database, Error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A driver's connection that tracks what is done with it.
///
/// `&mut Tracked` is an `Executor` that tracks its operations. It dereferences to the driver's
/// connection, so a lease can be passed to a function that takes `&mut SqliteConnection`; what
/// happens there is not tracked, so the connection is [`SyncState::InDoubt`] from then on, and
/// statements dropped before are no longer cancelled at the server. On SQLite the driver prepares
/// its statements again there: a table that was altered before has its current columns, one that is
/// altered while the function runs may not. A cancel that is already in flight can still hit a
/// statement on the driver's connection: after a dropped statement, execute one on the lease first,
/// which waits for the cancel.
pub struct Tracked<DB: Database> {
    /// `None` only while it is taken out, which consumes `self`.
    conn: Option<DB::Connection>,
    backend: &'static dyn Backend<DB>,
    pub(crate) sync_state: SyncState,
    /// Whether a statement with a lasting effect was executed, so that the connection is verified
    /// on every return.
    lasting: bool,
    /// How far the last operation got.
    pub(crate) unfinished: Unfinished,
    pub(crate) tracker: Tracker,
    /// Whether an error may have indicated a failover.
    pub(crate) suspect: bool,
    /// Set when an operation is dropped before it ends, cleared before the next one.
    pub(crate) interrupt_flag: Arc<AtomicBool>,
    drop_handler: Option<DropHandler<DB::Connection>>,
    /// Whether the driver's connection was used directly since the last sync check.
    pub(crate) needs_sync_check: bool,
    /// Whether a reset has undone what `on_connect` hooks had set.
    pub(crate) hooks_undone: bool,
    /// Whether the hooks for new connections have acted on it before.
    pub(crate) hooks_done: bool,
    session: Option<Session>,
    /// The number of statements prepared since the last deallocation, behind a transaction pooler.
    prepared: u32,
    pub(crate) cache: StatementCache,
    /// The schema as of the last check, where the backend needs one.
    pub(crate) schema: KnownSchema,
    /// Whether something may have been written since the open transaction began.
    pub(crate) may_have_written: bool,
    /// Whether the last statement must not be interrupted if its rows are dropped.
    ends_by_itself: bool,
    /// The session's settings after its hooks ran, where a reset restores them.
    pub(crate) baseline: Vec<Option<String>>,
    pub(crate) identity_check: Option<IdentityCheck>,
    pub(crate) lease: CurrentLease,
    /// Whether a session lock may have been taken by a statement or through the driver's
    /// connection.
    pub(crate) may_hold_locks: bool,
    /// Whether the driver's connection was used directly since the last verification.
    pub(crate) driver_exposed: bool,
    /// Whether something was left in the session, or in the driver's cache of types, that only
    /// closing it undoes.
    pub(crate) needs_new_session: bool,
    /// Whether an operation may have enlarged the driver's buffers.
    pub(crate) large_buffers: bool,
    /// Cancels dropped and expired statements.
    pub(crate) auto_cancel: Option<Box<dyn AutoCancel>>,
    /// The cancel of a dropped or expired statement.
    pub(crate) pending_cancel: Option<PendingCancel>,
    /// Why the connection was given up: nothing more is executed on it until it is closed.
    pub(crate) given_up: Option<&'static str>,
}

/// Checks that a connection still leads to what it was opened for.
pub type IdentityCheck = Box<dyn Fn() -> Result<(), Error> + Send + Sync>;

/// Receives the driver's connection instead of its being dropped.
type DropHandler<C> = Box<dyn FnOnce(C) + Send>;

impl<DB: Database> Tracked<DB> {
    /// Tracks a connection that was just opened, or that is verified and clean.
    pub fn new(conn: DB::Connection, backend: &'static dyn Backend<DB>) -> Self {
        Self::with_interrupt_flag(conn, backend, Arc::default())
    }

    /// Like [`new`](Self::new), with an interrupt flag supplied by the caller. The flag is set when
    /// an operation is dropped before it ends, and cleared before the next one. Code that works for
    /// the connection, such as SQLite's progress handler, can read it and stop.
    pub fn with_interrupt_flag(
        conn: DB::Connection,
        backend: &'static dyn Backend<DB>,
        interrupt_flag: Arc<AtomicBool>,
    ) -> Self {
        Self {
            conn: Some(conn),
            backend,
            sync_state: SyncState::Clean,
            lasting: false,
            unfinished: Unfinished::Nothing,
            tracker: Tracker::default(),
            suspect: false,
            interrupt_flag,
            drop_handler: None,
            needs_sync_check: false,
            hooks_undone: false,
            hooks_done: false,
            session: None,
            prepared: 0,
            cache: StatementCache::new(),
            schema: KnownSchema::default(),
            may_have_written: false,
            ends_by_itself: false,
            baseline: Vec::new(),
            identity_check: None,
            lease: CurrentLease::default(),
            may_hold_locks: false,
            needs_new_session: false,
            driver_exposed: false,
            large_buffers: false,
            auto_cancel: None,
            pending_cancel: None,
            given_up: None,
        }
    }

    /// Passes the driver's connection to `handler` instead of dropping it.
    #[must_use]
    pub fn on_drop(mut self, handler: impl FnOnce(DB::Connection) + Send + 'static) -> Self {
        self.drop_handler = Some(Box::new(handler));
        self
    }

    /// Sets the limit of every statement until the connection is returned; `None` for no limit. The
    /// pool's own is `statement_timeout`.
    ///
    /// A statement that takes longer ends with an error, whose details
    /// [`Expired::of`](crate::Expired::of) extracts. It counts as dropped: the next statement waits
    /// until the server has ended it, and fails after `ping_timeout`. The statement is cancelled at
    /// the server at once, over an idle connection or a new one: in a full pool over one beyond the
    /// limit, for at most `ping_timeout`. If the server refuses that connection, the cancel is
    /// retried. The time that a consumer takes between two rows does not count.
    pub fn set_statement_timeout(&mut self, limit: impl Into<Option<Duration>>) {
        self.lease.limits.statement = limit.into();
    }

    /// Records a new lease.
    pub(crate) fn begin_lease(&mut self, lease: CurrentLease) {
        self.lease = lease;
    }

    /// Returns the number by which the server identifies this session, if it is known and the
    /// session can be cancelled.
    pub fn session(&self) -> Option<u64> {
        self.session.map(|session| session.number)
    }

    /// Sets the number by which the server identifies this session, for managers.
    pub fn set_session(&mut self, session: u64) {
        self.session = Some(Session { number: session, known_at: Instant::now() });
    }

    /// Returns the session at the server, with the time when it was learned.
    pub(crate) fn known_session(&self) -> Option<Session> {
        self.session
    }

    /// Returns the session at the server; the canceller takes it, so that it is cancelled once.
    pub(crate) fn session_mut(&mut self) -> &mut Option<Session> {
        &mut self.session
    }

    /// Returns the connection's state. An open transaction that sqlx knows of makes it at least
    /// `InDoubt`.
    pub fn sync_state(&self) -> SyncState {
        let doubt = self.lasting || self.driver().is_in_transaction();
        if doubt { self.sync_state.max(SyncState::InDoubt) } else { self.sync_state }
    }

    /// Returns true if the driver's connection was used directly since the last verification, for
    /// managers.
    pub fn was_driver_exposed(&self) -> bool {
        self.driver_exposed
    }

    /// Returns true if something was left in the session that only closing it undoes. Managers
    /// close such a connection on return.
    pub fn needs_new_session(&self) -> bool {
        self.needs_new_session
    }

    /// Returns true if an error may have indicated a failover.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Marks the connection as clean, for managers that have verified it.
    pub fn mark_in_sync(&mut self) {
        self.forget_uncommitted_schema();
        self.driver_exposed = false;
        self.may_have_written = false;
        self.sync_state = SyncState::Clean;
        self.needs_sync_check = false;
        self.unfinished = Unfinished::Nothing;
        self.tracker = Tracker::default();
        self.suspect = false;
        self.pending_cancel = None;
        self.interrupt_flag.store(false, Ordering::Release);
    }

    /// Discards what was learned of the schema in a transaction that was rolled back. After a
    /// rollback to a savepoint the outer transaction may still have changed the schema.
    pub(crate) fn forget_uncommitted_schema(&mut self) {
        if self.schema.uncommitted {
            let is_inside = self.driver().is_in_transaction();
            self.schema = if is_inside { KnownSchema::unknown() } else { KnownSchema::default() };
        }
    }

    /// Ends the lease and its limits; managers call it in `triage`. What the pool does afterwards
    /// has its own limits.
    pub fn end_lease(&mut self) {
        self.lease = CurrentLease::default();
        self.cache.end_lease();
    }

    /// Interrupts a statement that is still running, if it [may be
    /// interrupted](Backend::ends_by_itself). Managers call it on return.
    pub fn interrupt(&self) {
        if !self.ends_by_itself || self.unfinished != Unfinished::Rows {
            self.interrupt_flag.store(true, Ordering::Release);
        }
    }

    /// Returns the flag that interrupts work for this connection: see
    /// [`with_interrupt_flag`](Self::with_interrupt_flag).
    pub fn interrupt_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupt_flag)
    }

    /// The driver's connection.
    pub fn driver(&self) -> &DB::Connection {
        match &self.conn {
            Some(conn) => conn,
            None => absent(),
        }
    }

    /// Returns the driver's connection without changing the sync state, for managers and backends,
    /// which verify it afterwards. Other code dereferences.
    pub fn driver_mut(&mut self) -> &mut DB::Connection {
        match &mut self.conn {
            Some(conn) => conn,
            None => absent(),
        }
    }

    /// Returns the driver's connection for direct use, and the tracker of its transaction.
    pub(crate) fn driver_and_tracker(&mut self) -> (&mut DB::Connection, &mut Tracker) {
        let _noted: &mut DB::Connection = self;
        match &mut self.conn {
            Some(conn) => (conn, &mut self.tracker),
            None => absent(),
        }
    }

    /// Takes the driver's connection out.
    pub fn into_driver(mut self) -> DB::Connection {
        self.drop_handler = None;
        match self.conn.take() {
            Some(conn) => conn,
            None => absent(),
        }
    }

    /// Verifies the connection: see [`Backend::verify`].
    ///
    /// # Errors
    ///
    /// An error if it could not be verified; close the connection then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, close the connection.
    pub async fn verify(&mut self) -> Result<(), Error> {
        self.resolve_cancel().await;
        self.refuse_if_given_up()?;
        let backend = self.backend;
        // If this is dropped and called again, the errors that it has read go unnoticed.
        let was_outdated = self.cache.set_outdated(true);
        let verified = backend.verify(self.driver_mut()).await?;
        self.cache.set_outdated(was_outdated);
        match verified {
            Verified::InSync { late_errors } => {
                late_errors.iter().for_each(|error| self.note_late_error(error));
                self.mark_in_sync();
            }
            Verified::Not => self.degrade(SyncState::InDoubt),
        }
        Ok(())
    }

    /// Returns the driver's connection for an `on_checkout` hook, whose effects are verified on
    /// return.
    pub(crate) fn driver_for_hook(&mut self) -> &mut DB::Connection {
        let open = self.note_direct_write();
        self.degrade(SyncState::InDoubt);
        self.may_hold_locks = true;
        // The borrower may prepare a statement before it changes the database, for example, so the
        // state in which it leaves the connection is not enough to know.
        self.note_direct_use();
        let backend = self.backend;
        let conn = self.driver_mut();
        backend.clear_caches_first(conn, open);
        conn
    }

    /// Lowers the sync state, for managers that know of untracked operations. It is never raised.
    pub fn degrade(&mut self, sync_state: SyncState) {
        self.sync_state = self.sync_state.max(sync_state);
    }

    /// Returns the driver's connection and the guard of an operation that is about to begin.
    pub(crate) fn begin_operation(
        &mut self,
        effect: SyncState,
    ) -> (&mut DB::Connection, OperationGuard<'_, DB>) {
        self.begin_statement("", effect)
    }

    /// Starts an operation for a statement; the error of an exceeded time limit names the
    /// statement.
    pub(crate) fn begin_statement(
        &mut self,
        sql: &str,
        effect: SyncState,
    ) -> (&mut DB::Connection, OperationGuard<'_, DB>) {
        let timer = self.lease.timer(sql);
        self.note_write(sql, effect);
        self.ends_by_itself = self.backend.ends_by_itself(sql);
        match &mut self.conn {
            Some(conn) => {
                let tracked = TrackedState {
                    sync_state: &mut self.sync_state,
                    suspect: &mut self.suspect,
                    cache: &mut self.cache,
                    large_buffers: &mut self.large_buffers,
                    needs_new_session: &mut self.needs_new_session,
                    unfinished: &mut self.unfinished,
                    ends_by_itself: self.ends_by_itself,
                    tracker: &mut self.tracker,
                    cancel: CancelHandle {
                        auto_cancel: self.auto_cancel.as_deref(),
                        session: self.session,
                        pending: &mut self.pending_cancel,
                    },
                };
                (
                    conn,
                    OperationGuard::new(self.backend, tracked, &self.interrupt_flag, timer, effect),
                )
            }
            None => absent(),
        }
    }

    pub(crate) fn backend(&self) -> &'static dyn Backend<DB> {
        self.backend
    }

    pub(crate) fn prepared_mut(&mut self) -> &mut u32 {
        &mut self.prepared
    }

    pub(crate) fn schema_mut(&mut self) -> &mut KnownSchema {
        &mut self.schema
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt_flag.load(Ordering::Acquire)
    }

    pub(crate) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    pub(crate) fn tracker_mut(&mut self) -> &mut Tracker {
        &mut self.tracker
    }

    /// Returns true if a transaction was lost and its owner has not ended it. Such a connection
    /// must be verified or closed before it is lent again, at every reset level.
    pub fn has_lost_transaction(&self) -> bool {
        self.tracker.lost().is_some()
    }

    /// Records the effect of a statement, and returns the sync state if it succeeds.
    pub(crate) fn note_effect(&mut self, effect: StatementEffect, sql: &str) -> SyncState {
        if self.backend.takes_session_lock(sql) {
            self.may_hold_locks = true;
        }
        if effect != StatementEffect::None {
            self.schema = KnownSchema::unknown();
            self.needs_new_session |= self.backend.outlasts_reset(sql);
            self.may_hold_locks |= self.backend.subscribes(sql);
            if self.backend.deallocates(sql) {
                self.cache.mark_outdated();
            }
            self.cache.note_possible_revert();
        }
        if self.backend.changes_parse_settings(sql, effect) {
            self.cache.note_parse_change();
        }
        match effect {
            StatementEffect::None => SyncState::Clean,
            StatementEffect::Doubt => SyncState::InDoubt,
            StatementEffect::Lasting => {
                self.lasting = true;
                SyncState::InDoubt
            }
        }
    }
}

/// Unreachable: taking the driver's connection out consumes the tracked one.
#[expect(
    clippy::unreachable,
    reason = "Drop has to move the connection out, and safe code has only Option for that"
)]
fn absent() -> ! {
    unreachable!("a tracked connection holds its connection until it is consumed")
}

impl<DB: Database> Drop for Tracked<DB> {
    fn drop(&mut self) {
        if let (Some(conn), Some(handler)) = (self.conn.take(), self.drop_handler.take()) {
            handler(conn);
        }
    }
}

impl<DB: Database> Deref for Tracked<DB> {
    type Target = DB::Connection;
    fn deref(&self) -> &DB::Connection {
        self.driver()
    }
}

impl<DB: Database> DerefMut for Tracked<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        let open = self.note_direct_write();
        let has_dropped = self.has_dropped();
        self.degrade(SyncState::InDoubt);
        self.may_hold_locks = true;
        self.driver_exposed = true;
        self.needs_sync_check = true;
        self.note_direct_use();
        // It would undo what is executed from here on.
        self.tracker.clear_abandoned();
        self.tracker.note_doubt(
            "a statement on the driver's own connection",
            TransactionOutcome::Unknown,
            true,
        );
        if has_dropped && !self.backend.refuses_after_failure() {
            // It may have ended the transaction, and its error goes unnoticed.
            self.tracker.fail(None);
        }
        // What is executed from here on is not tracked, so an earlier interrupt must not hit it.
        self.interrupt_flag.store(false, Ordering::Release);
        self.revoke_cancel();
        let backend = self.backend;
        let conn = self.driver_mut();
        backend.clear_caches_first(conn, open);
        conn
    }
}

impl<DB: Database> fmt::Debug for Tracked<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked")
            .field("backend", &DB::NAME)
            .field("sync_state", &self.sync_state)
            .finish_non_exhaustive()
    }
}
