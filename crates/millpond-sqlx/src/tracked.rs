//! The driver's connection with a memory: it knows whether it is in step, and what was done with
//! it.

use crate::backend::{Backend, KnownSchema, Unfinished, Verified};
use crate::operation::{OperationGuard, TrackedState};
use crate::pending_cancel::{AutoCancel, CancelHandle, PendingCancel, Session};
use crate::sql_text::StatementEffect;
use crate::statement_cache::{SchemaChanges, StatementCache};
use crate::sync_state::SyncState;
use crate::time_limits::CurrentLease;
use crate::transaction_state::{Tracker, TransactionOutcome, TransactionState};
use sqlx::{Connection, Database, Error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The driver's connection, and what is known of it.
///
/// `&mut Tracked` is an `Executor` that follows what it executes. It dereferences to the driver's
/// own connection, so a lease can be passed to a function that takes `&mut SqliteConnection`; what
/// happens there is not seen, so the connection counts as [`SyncState::InDoubt`] from then on. On
/// SQLite the driver prepares its statements anew there: a table that was altered before has its
/// present columns, one that is altered while the function is under way may not. What was
/// dropped on it before is then not cancelled at the server any more. A cancel that is on its way
/// at that moment can still hit what is executed on the driver's connection: after a dropped
/// statement, execute something on the lease first, which waits for it.
pub struct Tracked<DB: Database> {
    /// `None` only while it is being taken out, which consumes `self`.
    conn: Option<DB::Connection>,
    backend: &'static dyn Backend<DB>,
    pub(crate) sync_state: SyncState,
    /// Whether a statement was executed because of which every return is in doubt.
    lasting: bool,
    /// What the borrower left unfinished.
    unfinished: Unfinished,
    tracker: Tracker,
    /// Whether an error may have meant that the server is no longer the one to talk to.
    suspect: bool,
    /// Set when an operation is dropped half-way, cleared before the next one.
    interrupt_flag: Arc<AtomicBool>,
    drop_handler: Option<DropHandler<DB::Connection>>,
    /// Whether its borrower had the driver's own connection since it was last seen to be in step.
    pub(crate) needs_sync_check: bool,
    /// Whether a reset has undone what hooks had set when it was opened.
    pub(crate) hooks_undone: bool,
    /// Whether the hooks for new connections have acted on it before.
    pub(crate) hooks_done: bool,
    session: Option<Session>,
    /// How much was prepared under names since they were forgotten, where they are.
    prepared: u32,
    cache: StatementCache,
    /// What it has seen of the schema, where it has to look at it.
    schema: KnownSchema,
    /// Whether the last statement is not interrupted if its rows are dropped.
    ends_by_itself: bool,
    /// The settings of the session as its hooks have left them, where they are put back.
    pub(crate) baseline: Vec<Option<String>>,
    pub(crate) identity_check: Option<IdentityCheck>,
    lease: CurrentLease,
    /// Whether a session lock may have been taken: by a statement, or by somebody who had the
    /// driver's own connection.
    pub(crate) may_hold_locks: bool,
    /// Whether the driver's own connection was handed out since the last proof.
    driver_exposed: bool,
    /// Whether something was left in its session that only its end undoes.
    needs_new_session: bool,
    /// Whether an operation may have made the driver's buffers grow.
    pub(crate) large_buffers: bool,
    /// How what its borrower leaves behind is cancelled.
    pub(crate) auto_cancel: Option<Box<dyn AutoCancel>>,
    /// The cancel of what was left behind.
    pub(crate) pending_cancel: Option<PendingCancel>,
    /// Why nothing more is executed on it until it is closed.
    pub(crate) given_up: Option<&'static str>,
}

/// Whether what a connection leads to is still what it was opened for.
pub type IdentityCheck = Box<dyn Fn() -> Result<(), Error> + Send + Sync>;

/// Who gets the driver's connection when it would be dropped.
type DropHandler<C> = Box<dyn FnOnce(C) + Send>;

impl<DB: Database> Tracked<DB> {
    /// A connection that was just opened, or verified to be as good as new.
    pub fn new(conn: DB::Connection, backend: &'static dyn Backend<DB>) -> Self {
        Self::with_interrupt_flag(conn, backend, Arc::default())
    }

    /// The same with a brake of one's own: a flag that is set as soon as an operation is dropped
    /// half-way, and cleared before the next one. Code that works for the connection may look at it
    /// and stop: SQLite's progress handler does.
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

    /// Hands the driver's connection to `handler` instead of dropping it, whatever the reason of
    /// the drop.
    #[must_use]
    pub fn on_drop(mut self, handler: impl FnOnce(DB::Connection) + Send + 'static) -> Self {
        self.drop_handler = Some(Box::new(handler));
        self
    }

    /// Sets the limit of every statement from now on until the connection goes back; `None` for no
    /// limit. The pool's own is `statement_timeout`.
    ///
    /// A statement that takes longer ends with an error of which
    /// [`Expired::of`](crate::Expired::of) tells more. It counts as dropped half-way: the next
    /// statement waits until the server has ended it, for at most `ping_timeout`, and is an error
    /// after that. The server is asked to cancel it at once, over an idle connection or one that is
    /// opened for that: in a full pool one beyond the limit, for at most `ping_timeout`. Where the
    /// server does not admit it, that is tried again. The time that a consumer takes between two
    /// rows does not count.
    pub fn set_statement_timeout(&mut self, limit: impl Into<Option<Duration>>) {
        self.lease.limits.statement = limit.into();
    }

    /// Notes that it has a new borrower.
    pub(crate) fn begin_lease(&mut self, lease: CurrentLease) {
        self.lease = lease;
    }

    /// The number by which the server knows this session, if it is known and the session can be
    /// cancelled.
    pub fn session(&self) -> Option<u64> {
        self.session.map(|session| session.number)
    }

    /// Notes the number by which the server knows this session: for managers.
    pub fn set_session(&mut self, session: u64) {
        self.session = Some(Session { number: session, known_at: Instant::now() });
    }

    /// Shares what this connection notices of changes of the schema with the others of its pool:
    /// for managers, when it is new.
    pub fn share_schema_changes(&mut self, changes: &SchemaChanges) {
        self.cache.share(changes);
    }

    /// Whether what the driver remembers of statements and types is out of date.
    pub fn is_outdated(&self) -> bool {
        self.cache.is_outdated()
    }

    /// Learns from an error of a statement that was cut off, which nobody else will see, whether
    /// what the driver remembers of statements and types is out of date: for backends, when they
    /// have read it.
    pub fn note_late_error(&mut self, error: &Error) {
        self.cache.note(self.backend.cache_validity(error));
    }

    /// Makes the driver forget what it remembers of statements and types, if that is out of date:
    /// for managers, before the connection is lent again.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection counts as cut off.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        if self.cache.is_outdated() {
            let (backend, as_of) = (self.backend, self.cache.noticed());
            let (conn, guard) = self.begin_operation(SyncState::Clean);
            guard.track(backend.clear_caches(conn)).await?;
            self.cache.mark_cleared(as_of);
        }
        Ok(())
    }

    /// The session at the server; the canceller takes it, so that it is stopped once.
    pub(crate) fn session_mut(&mut self) -> &mut Option<Session> {
        &mut self.session
    }

    /// What is known of the connection. A transaction that sqlx knows to be open makes it at least
    /// `InDoubt`.
    pub fn sync_state(&self) -> SyncState {
        let doubt = self.lasting || self.driver().is_in_transaction();
        if doubt { self.sync_state.max(SyncState::InDoubt) } else { self.sync_state }
    }

    /// Whether the driver's own connection was handed out since the last proof, so that what was
    /// done with it was not seen: for managers.
    pub fn was_driver_exposed(&self) -> bool {
        self.driver_exposed
    }

    /// Whether something was left in its session that only its end undoes: for managers, who close
    /// it on return.
    pub fn needs_new_session(&self) -> bool {
        self.needs_new_session
    }

    /// Whether nothing may be executed on it any more, since a cancel may still hit it or what was
    /// cut off does not end: for managers, who close it on return.
    pub fn is_given_up(&self) -> bool {
        self.given_up.is_some()
    }

    /// Whether an error on it may have meant that the server is no longer the one to talk to.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Declares the connection clean: for managers, after they have verified it.
    pub fn mark_in_sync(&mut self) {
        self.forget_uncommitted_schema();
        self.driver_exposed = false;
        self.sync_state = SyncState::Clean;
        self.needs_sync_check = false;
        self.unfinished = Unfinished::Nothing;
        self.tracker = Tracker::default();
        self.suspect = false;
        self.pending_cancel = None;
        self.interrupt_flag.store(false, Ordering::Release);
    }

    /// Forgets what was seen of the schema in a transaction that was rolled back. Around a
    /// savepoint the schema may have been changed too, and that may still be rolled back.
    pub(crate) fn forget_uncommitted_schema(&mut self) {
        if self.schema.uncommitted {
            let is_inside = self.driver().is_in_transaction();
            self.schema = if is_inside { KnownSchema::unknown() } else { KnownSchema::default() };
        }
    }

    /// Ends the limits of a loan with it: for managers, in `triage`. What the pool itself does
    /// afterwards has limits of its own.
    pub fn end_lease(&mut self) {
        self.lease = CurrentLease::default();
    }

    /// Interrupts what still runs for the connection, if anything does and
    /// [may be interrupted](Backend::ends_by_itself): for managers, when it comes back.
    pub fn interrupt(&self) {
        if !self.ends_by_itself || self.unfinished != Unfinished::Rows {
            self.interrupt_flag.store(true, Ordering::Release);
        }
    }

    /// The flag that stops the work for this connection: see
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

    /// The driver's connection without a change of its sync state: for managers and backends, which
    /// verify afterwards. All others dereference.
    pub fn driver_mut(&mut self) -> &mut DB::Connection {
        match &mut self.conn {
            Some(conn) => conn,
            None => absent(),
        }
    }

    /// Takes the driver's connection out for good.
    pub fn into_driver(mut self) -> DB::Connection {
        self.drop_handler = None;
        match self.conn.take() {
            Some(conn) => conn,
            None => absent(),
        }
    }

    /// Verifies that nothing is open on the connection, or makes it so: see [`Backend::verify`].
    ///
    /// # Errors
    ///
    /// If that could not be verified; then the connection is to be closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection is to be closed.
    pub async fn verify(&mut self) -> Result<(), Error> {
        self.resolve_cancel().await;
        self.refuse_if_given_up()?;
        let backend = self.backend;
        match backend.verify(self.driver_mut()).await? {
            Verified::InSync { late_error } => {
                if let Some(error) = late_error {
                    self.note_late_error(&error);
                }
                self.mark_in_sync();
            }
            Verified::Not => self.degrade(SyncState::InDoubt),
        }
        Ok(())
    }

    /// The driver's connection for a hook before a loan, whose deeds are looked into when the
    /// connection comes back.
    pub(crate) fn driver_for_hook(&mut self) -> &mut DB::Connection {
        self.degrade(SyncState::InDoubt);
        self.schema = KnownSchema::unknown();
        self.may_hold_locks = true;
        let backend = self.backend;
        let conn = self.driver_mut();
        backend.deallocate_then_execute(conn);
        conn
    }

    /// Makes the sync state worse, never better: for managers, who know of what was not seen here.
    pub fn degrade(&mut self, sync_state: SyncState) {
        self.sync_state = self.sync_state.max(sync_state);
    }

    /// The driver's connection and the watch over the operation that is about to begin.
    pub(crate) fn begin_operation(
        &mut self,
        effect: SyncState,
    ) -> (&mut DB::Connection, OperationGuard<'_, DB>) {
        self.begin_statement("", effect)
    }

    /// The same for a statement, which is named if it takes too long.
    pub(crate) fn begin_statement(
        &mut self,
        sql: &str,
        effect: SyncState,
    ) -> (&mut DB::Connection, OperationGuard<'_, DB>) {
        let timer = self.lease.timer(sql);
        self.ends_by_itself = self.backend.ends_by_itself(sql);
        match &mut self.conn {
            Some(conn) => {
                let tracked = TrackedState {
                    sync_state: &mut self.sync_state,
                    suspect: &mut self.suspect,
                    cache: &mut self.cache,
                    large_buffers: &mut self.large_buffers,
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

    fn is_interrupted(&self) -> bool {
        self.interrupt_flag.load(Ordering::Acquire)
    }

    pub(crate) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    pub(crate) fn tracker_mut(&mut self) -> &mut Tracker {
        &mut self.tracker
    }

    /// Whether a transaction on it was lost and its owner has not ended it. Such a connection has
    /// to be verified or closed before it is lent again, at whatever level it is reset.
    pub fn has_lost_transaction(&self) -> bool {
        self.tracker.lost().is_some()
    }

    /// Makes the connection usable for its borrower after one of its operations was cut off, and
    /// refuses to if the borrower's transaction is lost. The doubt about its sync state remains.
    pub(crate) async fn resume(&mut self) -> Result<(), Error> {
        self.tracker.refuse_if_lost()?;
        if let Some(error) = self.lease.lease_expired() {
            return Err(error);
        }
        self.drain_unfinished().await?;
        self.refresh().await?;
        if self.tracker.has_to_ask(self.backend.refuses_after_failure()) {
            self.ask().await?;
        }
        self.tracker.refuse_if_lost()
    }

    /// Reads over what is left of an operation that was cut off.
    pub(crate) async fn drain_unfinished(&mut self) -> Result<(), Error> {
        self.ensure_in_sync().await?;
        let unfinished = if self.is_interrupted() {
            self.unfinished.max(Unfinished::Rows)
        } else {
            self.unfinished
        };
        if unfinished == Unfinished::Nothing {
            return Ok(());
        }
        self.tracker.fail(None);
        // If this is cut off, nobody knows what was read over.
        let was_outdated = self.cache.set_outdated(true);
        match self.drain(unfinished).await {
            Ok(late_error) => {
                self.interrupt_flag.store(false, Ordering::Release);
                self.cache.set_outdated(was_outdated);
                if let Some(error) = late_error {
                    self.note_late_error(&error);
                    self.tracker.fail(Some(format!(
                        "(a statement that was dropped before it ended) {error}"
                    )));
                }
                Ok(())
            }
            Err(error) => {
                self.unfinished = Unfinished::Operation;
                self.degrade(SyncState::Interrupted);
                Err(error)
            }
        }
    }

    /// Asks the server what has become of the transaction.
    pub(crate) async fn ask(&mut self) -> Result<(), Error> {
        let (backend, mark) = (self.backend, self.tracker.mark());
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        let state = guard.track(backend.transaction_state(conn, mark.as_deref())).await?;
        if state == TransactionState::None {
            self.forget_uncommitted_schema();
        }
        self.tracker.apply_server_state(state);
        Ok(())
    }

    /// Whether something has to be done before the next statement can be executed: see
    /// [`resume`](Self::resume).
    pub(crate) fn has_to_resume(&self) -> bool {
        let doubtful = self.needs_sync_check || self.sync_state == SyncState::Broken;
        doubtful
            || self.is_given_up()
            || self.is_interrupted()
            || self.unfinished != Unfinished::Nothing
            || self.tracker.needs_check()
            || self.cache.is_outdated()
            || self.lease.lease_expired().is_some()
    }

    /// What a statement makes of the connection if it ends well.
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

/// A tracked connection without its connection cannot be reached: taking it out consumes the whole.
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
        self.degrade(SyncState::InDoubt);
        self.schema = KnownSchema::unknown();
        self.may_hold_locks = true;
        self.driver_exposed = true;
        self.needs_sync_check = true;
        self.tracker.note_doubt(
            "what was done with the driver's own connection",
            TransactionOutcome::Unknown,
            true,
        );
        // What is executed from here on is not seen, so it must not be stopped for the sake of what
        // was cut before.
        self.interrupt_flag.store(false, Ordering::Release);
        self.revoke_cancel();
        let backend = self.backend;
        let conn = self.driver_mut();
        backend.deallocate_then_execute(conn);
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
