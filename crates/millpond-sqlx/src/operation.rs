//! Follows one operation on a connection, and sees to it that the connection knows how it ended.
//!
//! # Invariants
//!
//! 1. From before the first poll until the operation has ended the connection stands as `Cut`, or
//!    as `Undrained` between two rows. So a future that is dropped, forgotten or panics leaves the
//!    truth behind without any code being run.
//! 2. An operation never improves a sync state: it ends with the worse of what was there before and
//!    what it caused.
//! 3. A stream that ends without the result of its last statement did not end well: that is an
//!    error, and the connection is broken.

use crate::backend::{Backend, ErrorImpact, Unfinished};
use crate::cached::Cached;
use crate::stopping::{Reason, StopMark};
use crate::sync_state::SyncState;
use crate::time_limits::Alarm;
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
pub(crate) struct Marks<'e> {
    pub(crate) sync_state: &'e mut SyncState,
    pub(crate) suspect: &'e mut bool,
    pub(crate) cached: &'e mut Cached,
    pub(crate) bulky: &'e mut bool,
    pub(crate) left: &'e mut Unfinished,
    /// Whether it is not interrupted when its rows are dropped.
    pub(crate) ends_by_itself: bool,
    pub(crate) tracker: &'e mut Tracker,
    pub(crate) stop: StopMark<'e>,
}

/// The entry of one operation in the books of its connection.
pub(crate) struct Watch<'e, DB: Database> {
    backend: &'static dyn Backend<DB>,
    marks: Marks<'e>,
    brake: &'e AtomicBool,
    alarm: Option<Box<Alarm>>,
    /// How the connection will stand if the operation ends well.
    outcome: SyncState,
    /// Whether it was polled and has not ended.
    under_way: bool,
    /// How often it was polled.
    polls: u16,
}

impl<'e, DB: Database> Watch<'e, DB> {
    /// An operation that causes at least `effect` if it ends well.
    pub(crate) fn new(
        backend: &'static dyn Backend<DB>,
        marks: Marks<'e>,
        brake: &'e AtomicBool,
        alarm: Option<Box<Alarm>>,
        effect: SyncState,
    ) -> Self {
        let outcome = effect.max(*marks.sync_state);
        Self { backend, marks, brake, alarm, outcome, under_way: false, polls: 0 }
    }

    /// Follows a future of the driver to its end.
    pub(crate) fn follow<T>(
        self,
        operation: BoxFuture<'e, Result<T, Error>>,
    ) -> Followed<'e, DB, T> {
        Followed { operation, watch: self }
    }

    /// Sets no limit to the operation.
    pub(crate) fn silence(&mut self) {
        self.alarm = None;
    }

    fn waits(&mut self) {
        self.under_way = true;
        self.polls = self.polls.saturating_add(1);
        *self.marks.sync_state = self.outcome.max(SyncState::Cut);
        *self.marks.left = Unfinished::Operation;
    }

    /// Whether the operation, which waits for its server, has taken too long. It then counts as
    /// dropped half-way.
    fn rings(&mut self, cx: &mut Context<'_>) -> Option<Error> {
        match self.alarm.as_mut()?.poll(cx) {
            Poll::Ready(error) => {
                self.marks.stop.stop(Reason::Expired);
                Some(error)
            }
            Poll::Pending => None,
        }
    }

    /// Between two rows.
    fn pauses(&mut self) {
        if let Some(alarm) = &mut self.alarm {
            alarm.pause();
        }
        *self.marks.sync_state = self.outcome.max(SyncState::Undrained);
        *self.marks.left = Unfinished::Rows;
    }

    fn ends(&mut self, error: Option<&Error>) {
        if let Some(error) = error {
            *self.marks.suspect |= self.backend.is_suspicious(error);
            self.marks.cached.note(self.backend.memory(error));
            if self.marks.tracker.is_open() {
                self.marks.tracker.fail(Some(error.to_string()));
            }
        }
        let damage = match error.map(|error| self.backend.error_impact(error)) {
            None | Some(ErrorImpact::InStep) => SyncState::Clean,
            Some(ErrorImpact::Doubt) => SyncState::Raw,
            Some(ErrorImpact::Broken) => SyncState::Broken,
        };
        self.under_way = false;
        *self.marks.left = Unfinished::Nothing;
        *self.marks.sync_state = self.outcome.max(damage);
    }
}

impl<DB: Database> Drop for Watch<'_, DB> {
    fn drop(&mut self) {
        *self.marks.bulky |= self.polls >= MANY_POLLS;
        if self.under_way {
            if !self.marks.ends_by_itself || *self.marks.left != Unfinished::Rows {
                self.brake.store(true, Ordering::Release);
            }
            if *self.marks.left == Unfinished::Operation {
                self.marks.stop.stop(Reason::Dropped);
            }
        }
    }
}

/// A future of the driver under watch.
pub(crate) struct Followed<'e, DB: Database, T> {
    /// Declared first, so that the driver's future is gone before the brake is pulled.
    operation: BoxFuture<'e, Result<T, Error>>,
    watch: Watch<'e, DB>,
}

impl<DB: Database, T> Future for Followed<'_, DB, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.watch.waits();
        let polled = self.operation.as_mut().poll(cx);
        match &polled {
            Poll::Ready(result) => self.watch.ends(result.as_ref().err()),
            Poll::Pending => {
                if let Some(error) = self.watch.rings(cx) {
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
pub(crate) struct Watched<'e, DB: Database> {
    /// Declared first, so that the driver's stream is gone before the brake is pulled.
    steps: BoxStream<'e, Result<Step<DB>, Error>>,
    watch: Watch<'e, DB>,
    end: End,
    /// Whether the next row has been waited for. What is large does not lie there as a whole.
    waited: bool,
    /// What came right after a result.
    ahead: Option<Option<Result<Step<DB>, Error>>>,
}

/// How far a command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The result of a statement has to come before the stream may end.
    Awaited,
    /// It may end: the result has come, or there is no statement in the command.
    Possible,
    /// It has ended, and the driver is not asked again.
    Reached,
}

impl<'e, DB: Database> Watched<'e, DB> {
    pub(crate) fn new(
        steps: BoxStream<'e, Result<Step<DB>, Error>>,
        watch: Watch<'e, DB>,
        end: End,
    ) -> Self {
        Self { steps, watch, end, waited: false, ahead: None }
    }

    fn poll_steps(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Step<DB>, Error>>> {
        let Self { steps, watch, end, waited, .. } = self;
        if *end == End::Reached {
            return Poll::Ready(None);
        }
        watch.waits();
        let polled = steps.as_mut().poll_next(cx);
        if polled.is_pending() {
            *waited = true;
            if let Some(error) = watch.rings(cx) {
                *end = End::Reached;
                return Poll::Ready(Some(Err(error)));
            }
        }
        let item = match ready!(polled) {
            None if *end == End::Awaited => {
                // The next operation has to see first whether anybody is there to answer it.
                watch.brake.store(true, Ordering::Release);
                Some(Err(stopped()))
            }
            item => item,
        };
        *end = match &item {
            Some(Ok(Either::Left(_))) => End::Possible,
            Some(Ok(Either::Right(_))) => End::Awaited,
            Some(Err(_)) | None => End::Reached,
        };
        match &item {
            Some(Ok(Either::Right(row))) => {
                if mem::take(waited) {
                    *watch.marks.bulky |= watch.backend.is_large(row);
                }
                watch.pauses();
            }
            Some(Ok(Either::Left(_))) => *waited = false,
            Some(Err(error)) => watch.ends(Some(error)),
            None => watch.ends(None),
        }
        Poll::Ready(item)
    }
}

// Nothing in it is pinned but what is in boxes.
impl<DB: Database> Unpin for Watched<'_, DB> {}

impl<DB: Database> Stream for Watched<'_, DB> {
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
pub fn stopped() -> Error {
    Error::Protocol(
        "the driver's answer stopped before the end of the command, as when its worker thread \
         panics: rows may be missing, and whether all was executed is not known"
            .to_owned(),
    )
}
