//! Follows one operation on a connection, and sees to it that the connection knows how it ended.
//!
//! # Invariants
//!
//! 1. From before the first poll until the operation has ended the connection stands as
//!    `Interrupted`, or as `Undrained` between two rows. So a future that is dropped, forgotten or
//!    panics leaves the truth behind without any code being run.
//! 2. An operation never improves a sync state: it ends with the worse of what was there before and
//!    what it caused.
//! 3. A stream that ends without the result of its last statement did not end well: that is an
//!    error, and the connection is broken.

use crate::backend::{Backend, ErrorImpact, Unfinished};
use crate::pending_cancel::{CancelHandle, CancelReason};
use crate::statement_cache::StatementCache;
use crate::sync_state::SyncState;
use crate::time_limits::OperationTimer;
use crate::transaction_state::Tracker;
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

/// Something large is sent in many pieces. The driver does not tell how large its buffers are; to
/// look after them for nothing costs some microseconds.
const MANY_POLLS: u16 = 12;

/// What an operation may change of what is known of its connection.
pub(crate) struct TrackedState<'e> {
    pub(crate) sync_state: &'e mut SyncState,
    pub(crate) suspect: &'e mut bool,
    pub(crate) cache: &'e mut StatementCache,
    pub(crate) large_buffers: &'e mut bool,
    pub(crate) unfinished: &'e mut Unfinished,
    /// Whether it is not interrupted when its rows are dropped.
    pub(crate) ends_by_itself: bool,
    pub(crate) tracker: &'e mut Tracker,
    pub(crate) cancel: CancelHandle<'e>,
}

/// The entry of one operation in the books of its connection.
pub(crate) struct OperationGuard<'e, DB: Database> {
    backend: &'static dyn Backend<DB>,
    tracked: TrackedState<'e>,
    interrupt_flag: &'e AtomicBool,
    timer: Option<Box<OperationTimer>>,
    /// How the connection will stand if the operation ends well.
    outcome: SyncState,
    /// Whether it was polled and has not ended.
    is_running: bool,
    /// How often it was polled.
    polls: u16,
}

impl<'e, DB: Database> OperationGuard<'e, DB> {
    /// An operation that causes at least `effect` if it ends well.
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

    /// Follows a future of the driver to its end.
    pub(crate) fn track<T>(
        self,
        operation: BoxFuture<'e, Result<T, Error>>,
    ) -> TrackedFuture<'e, DB, T> {
        TrackedFuture { operation, guard: self }
    }

    /// Sets no limit to the operation.
    pub(crate) fn remove_limit(&mut self) {
        self.timer = None;
    }

    fn on_poll(&mut self) {
        self.is_running = true;
        self.polls = self.polls.saturating_add(1);
        *self.tracked.sync_state = self.outcome.max(SyncState::Interrupted);
        *self.tracked.unfinished = Unfinished::Operation;
    }

    /// Whether the operation, which waits for its server, has taken too long. It then counts as
    /// dropped half-way.
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
            if self.tracked.tracker.is_open() {
                self.tracked.tracker.fail(Some(error.to_string()));
            }
        }
        let damage = match error.map(|error| self.backend.error_impact(error)) {
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

/// A future of the driver under watch.
pub(crate) struct TrackedFuture<'e, DB: Database, T> {
    /// Declared first, so that the driver's future is gone before the brake is pulled.
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

/// What comes of a statement, one by one: its rows, then its result.
pub(crate) type Step<DB> = Either<<DB as Database>::QueryResult, <DB as Database>::Row>;

/// The rows and results of a command under watch. The first error ends it, as it does with every
/// driver of sqlx.
///
/// A driver has something left to do after it has told the result of a statement. So it is polled
/// once more then: who goes away with the result leaves nothing unfinished.
pub(crate) struct TrackedStream<'e, DB: Database> {
    /// Declared first, so that the driver's stream is gone before the brake is pulled.
    steps: BoxStream<'e, Result<Step<DB>, Error>>,
    guard: OperationGuard<'e, DB>,
    state: StreamState,
    /// Whether the next row has been waited for. What is large does not lie there as a whole.
    waited: bool,
    /// What came right after a result.
    ahead: Option<Option<Result<Step<DB>, Error>>>,
}

/// How far a command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamState {
    /// The result of a statement has to come before the stream may end.
    ResultPending,
    /// It may end: the result has come, or there is no statement in the command.
    MayEnd,
    /// It has ended, and the driver is not asked again.
    Ended,
}

impl<'e, DB: Database> TrackedStream<'e, DB> {
    pub(crate) fn new(
        steps: BoxStream<'e, Result<Step<DB>, Error>>,
        guard: OperationGuard<'e, DB>,
        state: StreamState,
    ) -> Self {
        Self { steps, guard, state, waited: false, ahead: None }
    }

    fn poll_steps(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Step<DB>, Error>>> {
        let Self { steps, guard, state, waited, .. } = self;
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
                // The next operation has to see first whether anybody is there to answer it.
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
            }
            Some(Ok(Either::Left(_))) => *waited = false,
            Some(Err(error)) => guard.on_end(Some(error)),
            None => guard.on_end(None),
        }
        Poll::Ready(item)
    }
}

// Nothing in it is pinned but what is in boxes.
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

/// The error of an answer that stops before the end of its command. It costs the connection.
pub fn truncated_error() -> Error {
    Error::Protocol(
        "the driver's answer stopped before the end of the command, as when its worker thread \
         panics: rows may be missing, and whether all was executed is not known"
            .to_owned(),
    )
}
