//! Tracks one operation on a connection and records how it ended.
//!
//! # Invariants
//!
//! 1. From before the first poll until the operation has ended, the connection is `Interrupted`, or
//!    `Undrained` between two rows, so a dropped or forgotten future leaves the correct state
//!    without running code.
//! 2. An operation never improves the sync state: it ends with the worse of the previous one and
//!    its own.
//! 3. A stream that ends without the result of its last statement is an error, and the connection
//!    is broken.

use crate::backend::{Backend, ErrorImpact, Unfinished};
use crate::pending_cancel::{CancelHandle, CancelReason};
use crate::statement_cache::StatementCache;
use crate::sync_state::SyncState;
use crate::time_limits::OperationTimer;
use crate::transaction_state::{Tracker, TransactionLost};
use either::Either;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use sqlx::{Database, Error};
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

/// Number of polls after which the driver's buffers are assumed to have grown, since large values
/// arrive in many pieces and the driver does not expose the size of its buffers. A needless shrink
/// costs some microseconds.
const MANY_POLLS: u16 = 12;

/// The state of a connection that an operation updates.
pub(crate) struct TrackedState<'e> {
    pub(crate) sync_state: &'e mut SyncState,
    pub(crate) suspect: &'e mut bool,
    pub(crate) cache: &'e mut StatementCache,
    pub(crate) large_buffers: &'e mut bool,
    /// Whether the connection has to be closed on return.
    pub(crate) needs_new_session: &'e mut bool,
    pub(crate) unfinished: &'e mut Unfinished,
    /// Whether the statement must not be interrupted when its rows are dropped.
    pub(crate) ends_by_itself: bool,
    pub(crate) tracker: &'e mut Tracker,
    pub(crate) cancel: CancelHandle<'e>,
}

/// Tracks one operation; dropping it early records that it was interrupted.
pub(crate) struct OperationGuard<'e, DB: Database> {
    backend: &'static dyn Backend<DB>,
    tracked: TrackedState<'e>,
    interrupt_flag: &'e AtomicBool,
    timer: Option<Box<OperationTimer>>,
    /// The sync state if the operation succeeds.
    outcome: SyncState,
    /// Whether the operation was polled and has not ended.
    is_running: bool,
    /// How often the operation was polled.
    polls: u16,
}

impl<'e, DB: Database> OperationGuard<'e, DB> {
    /// Creates the guard of an operation that causes at least `effect` if it succeeds.
    pub(crate) fn new(
        backend: &'static dyn Backend<DB>,
        tracked: TrackedState<'e>,
        interrupt_flag: &'e AtomicBool,
        timer: Option<Box<OperationTimer>>,
        effect: SyncState,
    ) -> Self {
        let outcome = effect.max(*tracked.sync_state);
        Self { backend, tracked, interrupt_flag, timer, outcome, is_running: false, polls: 0 }
    }

    /// Tracks a future of the driver.
    pub(crate) fn track<T>(
        self,
        operation: BoxFuture<'e, Result<T, Error>>,
    ) -> TrackedFuture<'e, DB, T> {
        TrackedFuture { operation, guard: self }
    }

    /// Removes the operation's time limit.
    pub(crate) fn remove_limit(&mut self) {
        self.timer = None;
    }

    fn on_poll(&mut self) {
        self.is_running = true;
        self.polls = self.polls.saturating_add(1);
        *self.tracked.sync_state = self.outcome.max(SyncState::Interrupted);
        *self.tracked.unfinished = Unfinished::Operation;
    }

    /// Returns an error if the pending operation has exceeded its limit. It then counts as dropped.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Option<Error> {
        match self.timer.as_mut()?.poll(cx) {
            Poll::Ready(error) => {
                self.tracked.cancel.start(CancelReason::Expired);
                Some(error)
            }
            Poll::Pending => None,
        }
    }

    /// Between two rows.
    fn on_row(&mut self) {
        if let Some(timer) = &mut self.timer {
            timer.pause();
        }
        *self.tracked.sync_state = self.outcome.max(SyncState::Undrained);
        *self.tracked.unfinished = Unfinished::Rows;
    }

    fn on_end(&mut self, error: Option<&Error>) {
        if let Some(error) = error {
            *self.tracked.suspect |= self.backend.is_suspicious(error);
            self.tracked.cache.note(self.backend.cache_validity(error));
        }
        let impact = error.map(|error| self.backend.error_impact(error));
        if let Some(error) = error.filter(|_| self.tracked.tracker.is_open()) {
            match impact {
                _ if self.backend.is_savepoint_gone(error) => {
                    self.tracked.tracker.lose(TransactionLost::by_savepoint());
                }
                Some(ErrorImpact::InSync) if self.backend.refuses_after_failure() => {
                    self.tracked.tracker.fail_with_rollback(error.to_string());
                }
                _ => self.tracked.tracker.fail(Some(error.to_string())),
            }
        }
        let damage = match impact {
            None | Some(ErrorImpact::InSync) => SyncState::Clean,
            Some(ErrorImpact::Doubt) => SyncState::InDoubt,
            Some(ErrorImpact::Broken) => SyncState::Broken,
        };
        self.is_running = false;
        *self.tracked.unfinished = Unfinished::Nothing;
        *self.tracked.sync_state = self.outcome.max(damage);
    }
}

impl<DB: Database> Drop for OperationGuard<'_, DB> {
    fn drop(&mut self) {
        *self.tracked.large_buffers |= self.polls >= MANY_POLLS;
        if self.is_running {
            if !self.tracked.ends_by_itself || *self.tracked.unfinished != Unfinished::Rows {
                self.interrupt_flag.store(true, Ordering::Release);
            }
            if *self.tracked.unfinished == Unfinished::Operation {
                self.tracked.cancel.start(CancelReason::Dropped);
            }
        }
    }
}

/// A tracked future of the driver.
pub(crate) struct TrackedFuture<'e, DB: Database, T> {
    /// Declared first, so that the driver's future is dropped before the interrupt flag is set.
    operation: BoxFuture<'e, Result<T, Error>>,
    guard: OperationGuard<'e, DB>,
}

impl<DB: Database, T> Future for TrackedFuture<'_, DB, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.guard.on_poll();
        let polled = self.operation.as_mut().poll(cx);
        match &polled {
            Poll::Ready(result) => self.guard.on_end(result.as_ref().err()),
            Poll::Pending => {
                if let Some(error) = self.guard.poll_timeout(cx) {
                    return Poll::Ready(Err(error));
                }
            }
        }
        polled
    }
}

/// One item of a statement: a row, or its result.
pub(crate) type Step<DB> = Either<<DB as Database>::QueryResult, <DB as Database>::Row>;

/// The tracked rows and results of a command. It ends with the first error, as every sqlx driver
/// does.
///
/// Polled once more after a result, so a caller that stops there leaves nothing pending.
pub(crate) struct TrackedStream<'e, DB: Database> {
    /// Declared first, so that the driver's stream is dropped before the interrupt flag is set.
    steps: BoxStream<'e, Result<Step<DB>, Error>>,
    guard: OperationGuard<'e, DB>,
    state: StreamState,
    /// Whether the next row was not available at the first poll. A large row never is.
    waited: bool,
    /// Whether rows are checked before they are returned; known from the first row on.
    is_checked: Option<bool>,
    /// The item after a result, if it was available.
    ahead: Option<Option<Result<Step<DB>, Error>>>,
}

/// Whether a command may end now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamState {
    /// The result of a statement must arrive before the stream may end.
    ResultPending,
    /// The stream may end: the result has arrived, or the command holds no statement.
    MayEnd,
    /// The stream has ended, and the driver's is not polled again.
    Ended,
}

impl<'e, DB: Database> TrackedStream<'e, DB> {
    pub(crate) fn new(
        steps: BoxStream<'e, Result<Step<DB>, Error>>,
        guard: OperationGuard<'e, DB>,
        state: StreamState,
    ) -> Self {
        Self { steps, guard, state, waited: false, is_checked: None, ahead: None }
    }

    fn poll_steps(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Step<DB>, Error>>> {
        let Self { steps, guard, state, waited, is_checked, .. } = self;
        if *state == StreamState::Ended {
            return Poll::Ready(None);
        }
        guard.on_poll();
        let polled = steps.as_mut().poll_next(cx);
        if polled.is_pending() {
            *waited = true;
            if let Some(error) = guard.poll_timeout(cx) {
                *state = StreamState::Ended;
                return Poll::Ready(Some(Err(error)));
            }
        }
        let item = match ready!(polled) {
            None if *state == StreamState::ResultPending => {
                // The next operation has to check first whether the driver's worker is still alive.
                guard.interrupt_flag.store(true, Ordering::Release);
                Some(Err(truncated_error()))
            }
            item => item,
        };
        *state = match &item {
            Some(Ok(Either::Left(_))) => StreamState::MayEnd,
            Some(Ok(Either::Right(_))) => StreamState::ResultPending,
            Some(Err(_)) | None => StreamState::Ended,
        };
        match &item {
            Some(Ok(Either::Right(row))) => {
                if mem::take(waited) {
                    *guard.tracked.large_buffers |= guard.backend.is_large(row);
                }
                guard.on_row();
                let backend = guard.backend;
                if *is_checked.get_or_insert_with(|| backend.has_volatile_types(row))
                    && !backend.is_decodable(row)
                {
                    if !mem::replace(guard.tracked.needs_new_session, true) {
                        guard.tracked.cache.note_altered_type();
                    }
                    *state = StreamState::Ended;
                    return Poll::Ready(Some(Err(altered())));
                }
            }
            Some(Ok(Either::Left(_))) => *waited = false,
            Some(Err(error)) => guard.on_end(Some(error)),
            None => guard.on_end(None),
        }
        Poll::Ready(item)
    }
}

// Only boxed fields are pinned.
impl<DB: Database> Unpin for TrackedStream<'_, DB> {}

impl<DB: Database> Stream for TrackedStream<'_, DB> {
    type Item = Result<Step<DB>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = match self.ahead.take() {
            Some(item) => item,
            None => ready!(self.poll_steps(cx)),
        };
        if let Some(Ok(Either::Left(_))) = &item
            && let Poll::Ready(next) = self.poll_steps(cx)
        {
            self.ahead = Some(next);
        }
        Poll::Ready(item)
    }
}

/// Returns the error for a row that the driver would decode by an outdated type definition.
pub(crate) fn altered() -> Error {
    Error::Decode(
        "a composite type in this row was altered after the driver had cached its definition: \
         drop the connection, which is closed then, and acquire another one"
            .into(),
    )
}

/// Returns the error for an answer that stops before the end of its command. The connection is
/// broken.
pub fn truncated_error() -> Error {
    Error::Protocol(
        "the driver's answer stopped before the end of the command, as when its worker thread \
         panics: rows may be missing, and whether all was executed is not known"
            .to_owned(),
    )
}
