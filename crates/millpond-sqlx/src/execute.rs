//! Runs statements: directly if possible, else with transaction tracking.

use crate::backend::MayEnd;
use crate::command::{Command, ForDriver};
use crate::generated_stream::Outlet;
use crate::operation::{Step, StreamState, TrackedStream};
use crate::sql_text::StatementEffect;
use crate::sql_text::{Meaning, may_begin_with_a_commit, meaning, sets_completion};
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use crate::transaction_state::{Owner, SEVERAL, TransactionLost, TransactionOutcome};
use either::Either;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use sqlx::{Database, Error, Execute, Executor, raw_sql};

/// The rows and results of a statement, in the order in which they arrive.
pub(crate) type Steps<'e, DB> = BoxStream<'e, Result<Step<DB>, Error>>;

/// The error of statements whose effect on the transaction cannot be tracked.
const UNTRACKABLE: &str = "several statements in one text that end this transaction, may begin \
    another one and set savepoints: execute them one by one, or end the transaction with commit() \
    or rollback()";

/// How a statement that succeeds changes the transaction.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// Nothing, or only the server knows.
    None,
    Begun,
    Ended {
        commits: bool,
        chained: bool,
    },
    RolledBackTo,
    Implicit,
}

impl<DB: Database> Tracked<DB>
where
    for<'x> &'x mut DB::Connection: Executor<'x, Database = DB>,
{
    /// Splits a query into its parts, and checks that the backend admits it.
    pub(crate) fn command<'q>(&self, query: impl Execute<'q, DB>) -> Result<Command<DB>, Error> {
        let command = Command::new(query)?;
        self.backend().admit(command.text())?;
        Ok(command)
    }

    /// Returns the first row of a statement, after which the connection is in sync.
    ///
    /// # Errors
    ///
    /// The driver's; an error for a statement that the backend does not admit.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    pub(crate) async fn first(
        &mut self,
        command: &mut Command<DB>,
    ) -> Result<Option<DB::Row>, Error> {
        if !self.backend().stops_after_one_row() {
            return first_row::<DB>(self.fetch_many(ForDriver(command))).await;
        }
        self.backend().admit(command.text())?;
        let effect = self.backend().effect(command.text());
        if self.is_plain(effect) {
            return self.fetch_first(effect, command).await;
        }
        let Some(change) = self.before_statement(effect, command.text()).await? else {
            return Ok(None);
        };
        let row = self.fetch_first(effect, command).await?;
        self.after_statement(change);
        Ok(row)
    }

    async fn fetch_first(
        &mut self,
        effect: StatementEffect,
        command: &mut Command<DB>,
    ) -> Result<Option<DB::Row>, Error> {
        let recheck = self.check_schema(command.text()).await?;
        let outcome = self.note_effect(effect, command.text());
        let may_be_empty = self.backend().may_be_empty(command.text());
        self.large_buffers |= command.is_large(self.backend());
        let (conn, guard) = self.begin_statement(command.text(), outcome);
        let row = guard.track(conn.fetch_optional(ForDriver(command))).await?;
        self.large_buffers |= row.as_ref().is_some_and(|row| self.backend().is_large(row));
        if row.is_none() && !may_be_empty {
            self.confirm().await?;
        }
        self.recheck_schema(recheck).await?;
        row.as_ref().map_or(Ok(()), |row| self.refuse_if_altered(row))?;
        Ok(row)
    }

    /// Streams the rows of a statement that needs no preparation.
    pub(crate) fn fetch_stream(
        &mut self,
        effect: StatementEffect,
        mut command: Command<DB>,
    ) -> Steps<'_, DB> {
        let outcome = self.note_effect(effect, command.text());
        let state = if self.backend().may_be_empty(command.text()) {
            StreamState::MayEnd
        } else {
            StreamState::ResultPending
        };
        self.large_buffers |= command.is_large(self.backend());
        let (conn, guard) = self.begin_statement(command.text(), outcome);
        TrackedStream::new(conn.fetch_many(ForDriver(command)), guard, state).boxed()
    }

    /// Returns true if a statement can be executed directly.
    pub(crate) fn is_plain(&self, effect: StatementEffect) -> bool {
        effect == StatementEffect::None && !self.has_to_resume()
    }

    /// Executes a statement after draining earlier ones and resolving transaction doubt.
    pub(crate) async fn execute_tracked(
        &mut self,
        effect: StatementEffect,
        command: Command<DB>,
        out: &Outlet<Step<DB>>,
    ) -> Result<(), Error> {
        if let Some(change) = self.before_statement(effect, command.text()).await? {
            let recheck = self.check_schema(command.text()).await?;
            self.forward_rows(command, out).await?;
            self.after_statement(change);
            self.recheck_schema(recheck).await?;
        }
        Ok(())
    }

    /// Drains unfinished operations, queries the transaction state if it is in doubt, and notes
    /// what the statement may do to the transaction. Returns `None` if nothing is left to execute.
    async fn before_statement(
        &mut self,
        effect: StatementEffect,
        sql: &str,
    ) -> Result<Option<Change>, Error> {
        if effect == StatementEffect::None {
            return self.resume().await.map(|()| Some(Change::None));
        }
        let is_guarded = self.tracker().owner() == Owner::Guard;
        if sets_completion(sql) {
            self.tracker_mut().set_chooses_completion();
        }
        match meaning(sql) {
            Meaning::End { commits, chained } => {
                let ended = !is_guarded && self.end_borrower_transaction(commits).await?;
                if ended {
                    return Ok(None);
                }
                self.resume().await?;
                if commits {
                    // A failed transaction is rolled back by its guard, not committed.
                    self.refuse_commit_after_error().await?;
                }
                if !is_guarded {
                    self.unchain().await?;
                }
                self.tracker_mut().note_explicit_end(if commits { "COMMIT" } else { "ROLLBACK" });
                Ok(Some(Change::Ended {
                    commits,
                    chained: chained || self.tracker().chooses_completion(),
                }))
            }
            Meaning::Begin => {
                if is_guarded {
                    self.resume().await?;
                    self.note_possible_end("BEGIN").await?;
                } else {
                    self.begin_borrower_transaction().await?;
                }
                Ok(Some(Change::Begun))
            }
            Meaning::RollbackTo => self.resume().await.map(|()| Some(Change::RolledBackTo)),
            Meaning::Savepoint | Meaning::Release => {
                self.resume().await?;
                // In SQLite the first savepoint begins a transaction, and releasing it commits.
                if !is_guarded && (meaning(sql) == Meaning::Release || !self.tracker().is_open()) {
                    self.tracker_mut().note_doubt("a savepoint", TransactionOutcome::Unknown, true);
                }
                Ok(Some(Change::None))
            }
            Meaning::Several { ends, reopens, nests } => {
                self.resume().await?;
                if is_guarded && nests && (ends || reopens || self.tracker().is_implicit()) {
                    self.refuse_untrackable_script()?;
                }
                if ends && may_begin_with_a_commit(sql) {
                    self.refuse_commit_after_error().await?;
                }
                if ends && !is_guarded {
                    self.unchain().await?;
                }
                self.note_possible_ends(ends, reopens, nests).await?;
                Ok(Some(Change::None))
            }
            Meaning::Autocommit => {
                self.resume().await?;
                self.note_possible_end("SET").await?;
                Ok(Some(Change::Implicit))
            }
            Meaning::Other(keyword) => {
                self.resume().await?;
                self.note_possible_end(keyword).await?;
                Ok(Some(Change::None))
            }
        }
    }

    /// Refuses several statements in one text that may end the transaction, begin another one and
    /// set savepoints, after which the two could not be distinguished.
    fn refuse_untrackable_script(&self) -> Result<(), Error> {
        if self.backend().mark_is_savepoint() {
            return Err(Error::InvalidArgument(UNTRACKABLE.to_owned()));
        }
        Ok(())
    }

    /// Refuses to commit a transaction that has failed at the server.
    async fn refuse_commit_after_error(&mut self) -> Result<(), Error> {
        if self.tracker().has_doubt() {
            self.ask().await?;
            self.tracker_mut().refuse_if_failed()?;
        }
        Ok(())
    }

    /// Records what a statement has done to the transaction.
    fn after_statement(&mut self, change: Change) {
        if matches!(change, Change::Begun) {
            self.may_have_written = false;
        }
        let tracker = self.tracker_mut();
        match change {
            Change::None => {}
            Change::RolledBackTo => tracker.on_rollback_to_savepoint(),
            Change::Implicit => tracker.set_implicit(),
            Change::Begun if tracker.owner() != Owner::Guard => tracker.begin(Owner::Borrower),
            Change::Begun => {}
            Change::Ended { commits, .. } if tracker.owner() == Owner::Guard => {
                let (outcome, what) = if commits {
                    (TransactionOutcome::Committed, "a COMMIT in SQL has committed its changes")
                } else {
                    (TransactionOutcome::RolledBack, "a ROLLBACK in SQL has undone its changes")
                };
                let message =
                    format!("the transaction is lost: {what}; no further statement runs in it");
                tracker.lose(TransactionLost::new(outcome, message));
            }
            Change::Ended { chained, .. } => {
                tracker.end();
                if chained {
                    tracker.note_doubt("AND CHAIN", TransactionOutcome::Unknown, true);
                }
            }
        }
    }

    /// Ends a transaction that the borrower began in SQL, if the server has already ended it or
    /// needs another command. Returns false if the statement itself ends it.
    async fn end_borrower_transaction(&mut self, commits: bool) -> Result<bool, Error> {
        self.drain_unfinished().await?;
        if self.tracker().has_doubt() {
            self.ask().await?;
        }
        if self.tracker().lost().is_some() {
            let is_committed = self.tracker().is_committed();
            let lost = self.tracker_mut().take_lost();
            self.tracker_mut().end();
            return match lost {
                Some(lost) if commits && !is_committed => Err(lost.to_error()),
                Some(lost) if !commits && lost.outcome() != TransactionOutcome::RolledBack => {
                    Err(lost.to_error())
                }
                _ => Ok(true),
            };
        }
        if self.tracker().has_doubt() && commits {
            // The transaction has failed.
            let failure = self.tracker().failure();
            let (conn, guard) = self.begin_operation(SyncState::InDoubt);
            guard.track(conn.execute(raw_sql("ROLLBACK"))).await?;
            self.tracker_mut().end();
            return Err(failure.to_error());
        }
        Ok(false)
    }

    /// Prepares for a BEGIN in SQL, which also ends a transaction that was lost.
    async fn begin_borrower_transaction(&mut self) -> Result<(), Error> {
        self.drain_unfinished().await?;
        if self.tracker().has_to_ask(self.backend().refuses_after_failure()) {
            self.ask().await?;
        }
        if self.tracker().lost().is_some() {
            self.tracker_mut().end();
        }
        self.resume().await?;
        if !self.tracker().is_open() {
            self.tracker_mut().note_doubt("BEGIN", TransactionOutcome::Unknown, true);
        }
        Ok(())
    }

    /// Records that a statement with this keyword may end the transaction or, outside of one, begin
    /// one.
    async fn note_possible_end(&mut self, keyword: &str) -> Result<(), Error> {
        let outcome = match self.backend().ends_transaction(keyword) {
            MayEnd::Never => return Ok(()),
            MayEnd::Commits => TransactionOutcome::Committed,
            MayEnd::Perhaps => TransactionOutcome::Unknown,
        };
        if self.tracker().is_open() {
            self.mark().await?;
            self.tracker_mut().note_doubt(&keyword.to_ascii_uppercase(), outcome, false);
        } else if outcome == TransactionOutcome::Unknown {
            self.tracker_mut().note_doubt(keyword, outcome, true);
        }
        Ok(())
    }

    /// Records that one of several statements in one text may end the transaction or begin one.
    async fn note_possible_ends(
        &mut self,
        ends: bool,
        reopens: bool,
        nests: bool,
    ) -> Result<(), Error> {
        let is_open = self.tracker().is_open();
        let implicitly = self.backend().ends_transaction("") != MayEnd::Never;
        // The mark may be a savepoint itself: later ones would be lost with it.
        let is_trackable = !nests || !self.backend().mark_is_savepoint();
        let by_choice = ends && self.tracker().owner() == Owner::Borrower;
        if is_open && is_trackable && !by_choice && (reopens || implicitly) {
            self.mark().await?;
        }
        let may_begin = !is_open && (reopens || nests);
        if may_begin || ends || is_open && implicitly {
            // Without such a keyword the transaction can only have been committed.
            let outcome = if ends || reopens {
                TransactionOutcome::Unknown
            } else {
                TransactionOutcome::Committed
            };
            self.tracker_mut().note_doubt(SEVERAL, outcome, ends || !is_open);
        }
        Ok(())
    }

    async fn mark(&mut self) -> Result<(), Error> {
        let backend = self.backend();
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        let mark = guard.track(backend.mark(conn)).await?;
        self.tracker_mut().set_mark(mark);
        Ok(())
    }
}

/// Returns the first row of a statement, and reads and discards the others, so that the connection
/// ends in sync.
async fn first_row<DB: Database>(mut steps: Steps<'_, DB>) -> Result<Option<DB::Row>, Error> {
    let mut first = None;
    while let Some(step) = steps.try_next().await? {
        if let (Either::Right(row), None) = (step, &first) {
            first = Some(row);
        }
    }
    Ok(first)
}
