//! Tracks the transaction on a connection: what began it, what may have ended it, and whether it is
//! lost.
//!
//! A server can end a transaction by itself: SQLite at an interrupted write, MySQL at a deadlock or
//! a DDL statement. Later statements would be committed one by one, and the borrower would not
//! notice. So anything that may have ended the transaction puts it in doubt, and the server is
//! queried before the next operation.
//!
//! # Invariants
//!
//! 1. While the transaction is in doubt, only the query for its state is executed, unless the
//!    server itself refuses statements in a failed transaction.
//! 2. A lost transaction stays lost until its owner ends it.

use sqlx::Error;
use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The state of a session's transaction at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionState {
    /// No transaction is open: each statement is committed by itself.
    None,
    /// A transaction is open.
    Open,
    /// A transaction is open and has failed: it accepts only a rollback.
    Failed,
}

/// What happened to the changes of a transaction that did not end as its owner asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactionOutcome {
    /// All changes were rolled back.
    RolledBack,
    /// The changes made until then were committed.
    Committed,
    /// It is unknown whether the changes made until then were committed.
    Unknown,
}

const SAVEPOINT_GONE: &str = "the transaction is lost: a savepoint in it was gone before it was \
    rolled back or released, since a statement in it released an older savepoint or rolled back to \
    one: roll the transaction back and begin again";

/// The error of every operation in a transaction that is no longer open at the server, and of the
/// commit of a failed one. [`transaction_lost`] extracts it from a `sqlx::Error`.
#[derive(Debug, Clone)]
pub struct TransactionLost {
    message: String,
    outcome: TransactionOutcome,
}

impl TransactionLost {
    /// Returns what happened to the changes.
    pub fn outcome(&self) -> TransactionOutcome {
        self.outcome
    }

    pub(crate) fn new(outcome: TransactionOutcome, message: String) -> Self {
        Self { message, outcome }
    }

    /// A savepoint is gone, and what was to be rolled back to it is still in the transaction.
    pub(crate) fn by_savepoint() -> Self {
        Self::new(TransactionOutcome::RolledBack, SAVEPOINT_GONE.to_owned())
    }

    pub(crate) fn to_error(&self) -> Error {
        io::Error::other(self.clone()).into()
    }
}

impl fmt::Display for TransactionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for TransactionLost {}

/// Returns the [`TransactionLost`] in an error, which is a `sqlx::Error::Io` of kind `Other`. A new
/// transaction can be begun at once.
///
/// ```
/// # use millpond_sqlx::transaction_lost;
/// assert!(transaction_lost(&sqlx::Error::RowNotFound).is_none());
/// ```
pub fn transaction_lost(error: &Error) -> Option<&TransactionLost> {
    match error {
        Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// How messages name several statements in one text. If they fail, it is unknown how many were
/// executed.
pub(crate) const SEVERAL: &str = "one of several statements that were sent together";

/// What began the open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Owner {
    /// No transaction is known to be open.
    #[default]
    Nobody,
    /// The borrower, in SQL.
    Borrower,
    /// A [`Transaction`](crate::Transaction).
    Guard,
}

/// Why it is unknown whether the transaction is still open.
#[derive(Debug)]
struct Doubt {
    /// What may have ended the transaction, and the outcome in that case.
    text: Option<(String, TransactionOutcome)>,
    /// Whether the borrower may have ended it, if the borrower began it in SQL.
    by_choice: bool,
    /// Whether the borrower explicitly ended it.
    ending: bool,
    /// Whether an operation failed or was dropped.
    failed: bool,
    /// The first error.
    cause: Option<String>,
}

/// Tracks the transaction on a connection.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    owner: Owner,
    /// Whether autocommit may be disabled, so that every statement may begin a transaction.
    implicit: bool,
    /// Whether the borrower has set what follows a COMMIT, with a session variable.
    chooses_completion: bool,
    // Boxed, since connections are moved at every checkout, and these are rare.
    doubt: Option<Box<Doubt>>,
    mark: Option<Box<str>>,
    lost: Option<Box<TransactionLost>>,
    /// Whether an operation was refused because the transaction is lost.
    refused: bool,
    /// Whether a transaction that nobody owns any more may be open.
    abandoned: bool,
}

impl Tracker {
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    pub(crate) fn is_open(&self) -> bool {
        self.owner != Owner::Nobody || self.implicit
    }

    /// Returns true if the transaction's state must be checked before anything is executed.
    pub(crate) fn needs_check(&self) -> bool {
        self.doubt.is_some() || self.lost.is_some() || self.abandoned
    }

    /// Records that the owner of a transaction is gone, but the connection is still in use: what
    /// may be open is rolled back before the next statement.
    pub(crate) fn abandon(&mut self) {
        self.end();
        // Without autocommit the session is its borrower's own matter.
        self.abandoned = !self.implicit;
    }

    /// Leaves to the driver what it has yet to roll back.
    pub(crate) fn clear_abandoned(&mut self) {
        self.abandoned = false;
    }

    /// A transaction may have begun that has no owner, unless
    /// [`clear_abandoned`](Self::clear_abandoned) follows.
    pub(crate) fn assume_abandoned(&mut self) {
        self.abandoned = true;
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    pub(crate) fn lost(&self) -> Option<&TransactionLost> {
        self.lost.as_deref()
    }

    /// Returns true if the server must be queried before anything is executed. A server that
    /// refuses statements in a failed transaction need not be queried because of an error.
    pub(crate) fn has_to_ask(&self, refuses_itself: bool) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| doubt.text.is_some() || !refuses_itself)
    }

    pub(crate) fn has_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Records the beginning of a transaction.
    pub(crate) fn begin(&mut self, owner: Owner) {
        self.owner = owner;
        self.doubt = None;
    }

    /// Records that the transaction has ended as its owner asked.
    pub(crate) fn end(&mut self) {
        let Self { implicit, chooses_completion, .. } = *self;
        *self = Self { implicit, chooses_completion, ..Self::default() };
    }

    pub(crate) fn set_chooses_completion(&mut self) {
        self.chooses_completion = true;
    }

    pub(crate) fn chooses_completion(&self) -> bool {
        self.chooses_completion
    }

    pub(crate) fn is_implicit(&self) -> bool {
        self.implicit
    }

    pub(crate) fn set_implicit(&mut self) {
        self.implicit = true;
    }

    pub(crate) fn lose(&mut self, lost: TransactionLost) {
        self.doubt = None;
        self.lost = Some(Box::new(lost));
    }

    /// The transaction is lost unless [`clear_assumed_loss`](Self::clear_assumed_loss) follows.
    pub(crate) fn assume_lost(&mut self, lost: TransactionLost) {
        self.lost = Some(Box::new(lost));
    }

    /// Takes back an [`assume_lost`](Self::assume_lost).
    pub(crate) fn clear_assumed_loss(&mut self) {
        self.lost = None;
    }

    /// Returns true if everything that was executed in a lost transaction was committed, which is
    /// what its owner asks for.
    pub(crate) fn is_committed(&self) -> bool {
        !self.refused
            && self.lost().is_some_and(|lost| lost.outcome == TransactionOutcome::Committed)
    }

    /// Returns an error if the transaction is lost.
    pub(crate) fn refuse_if_lost(&mut self) -> Result<(), Error> {
        self.refused |= self.lost.is_some();
        self.lost().map_or(Ok(()), |lost| Err(lost.to_error()))
    }

    /// Returns an error if the transaction is lost or has failed; called after the server was
    /// queried.
    pub(crate) fn refuse_if_failed(&mut self) -> Result<(), Error> {
        self.refuse_if_lost()?;
        if self.has_doubt() { Err(self.failure().to_error()) } else { Ok(()) }
    }

    pub(crate) fn take_lost(&mut self) -> Option<TransactionLost> {
        self.lost.take().map(|lost| *lost)
    }

    pub(crate) fn set_mark(&mut self, mark: Option<String>) {
        self.mark = mark.map(String::into_boxed_str);
    }

    pub(crate) fn mark(&self) -> Option<String> {
        self.mark.as_deref().map(str::to_owned)
    }

    /// Records that a statement may begin or end a transaction.
    pub(crate) fn note_doubt(&mut self, what: &str, outcome: TransactionOutcome, by_choice: bool) {
        let doubt = self.doubt.get_or_insert(Box::new(Doubt {
            text: None,
            by_choice,
            ending: false,
            failed: false,
            cause: None,
        }));
        doubt.by_choice |= by_choice;
        doubt.text = match doubt.text.take() {
            None => Some((what.to_owned(), outcome)),
            Some((what, _)) => Some((what, TransactionOutcome::Unknown)),
        };
    }

    /// Records a statement that explicitly ends a transaction.
    pub(crate) fn note_explicit_end(&mut self, keyword: &str) {
        self.note_doubt(keyword, TransactionOutcome::Unknown, true);
        if let Some(doubt) = &mut self.doubt {
            doubt.ending = true;
        }
    }

    /// Records that an operation has failed or was dropped.
    pub(crate) fn fail(&mut self, cause: Option<String>) {
        if !self.is_open() && self.doubt.is_none() {
            return;
        }
        let doubt = self.doubt.get_or_insert(Box::new(Doubt {
            text: None,
            by_choice: false,
            ending: false,
            failed: true,
            cause: None,
        }));
        (doubt.failed, doubt.by_choice) = (true, doubt.ending);
        if let Some((what, outcome)) = &mut doubt.text
            && what == SEVERAL
        {
            *outcome = TransactionOutcome::Unknown;
        }
        if doubt.cause.is_none() {
            doubt.cause = cause;
        }
    }

    /// Notes that a statement has failed on a server that then commits nothing, and refuses what
    /// follows: if the statement has ended the transaction, its changes were rolled back.
    pub(crate) fn fail_with_rollback(&mut self, cause: String) {
        self.fail(Some(cause));
        if let Some((what, outcome)) = self.doubt.as_mut().and_then(|doubt| doubt.text.as_mut())
            && what != SEVERAL
        {
            *outcome = TransactionOutcome::RolledBack;
        }
    }

    /// Records that a failure was rolled back to a savepoint.
    pub(crate) fn on_rollback_to_savepoint(&mut self) {
        if let Some(doubt) = &mut self.doubt {
            doubt.cause = None;
        }
    }

    /// Applies the state that the server has reported.
    pub(crate) fn apply_server_state(&mut self, state: TransactionState) {
        let is_marked = self.mark.take().is_some();
        if state != TransactionState::None && !self.is_open() {
            self.owner = Owner::Borrower;
        }
        match state {
            TransactionState::Open => self.doubt = None,
            // A failed transaction cannot be compared with the mark.
            TransactionState::Failed if is_marked => self.note_gone(),
            TransactionState::Failed => {
                if let Some(doubt) = &mut self.doubt {
                    (doubt.text, doubt.failed) = (None, true);
                }
            }
            TransactionState::None => self.note_gone(),
        }
    }

    fn note_gone(&mut self) {
        let Some(doubt) = self.doubt.take() else { return };
        let lost = match self.owner {
            Owner::Guard => true,
            Owner::Borrower if doubt.by_choice => {
                self.owner = Owner::Nobody;
                false
            }
            Owner::Borrower => true,
            Owner::Nobody => self.implicit && doubt.failed,
        };
        if lost {
            self.lost = Some(Box::new(doubt.reason()));
        }
    }

    /// Returns the error of a failed transaction that was to be committed.
    pub(crate) fn failure(&self) -> TransactionLost {
        let cause = self.doubt.as_ref().and_then(|doubt| doubt.cause.as_deref());
        let message = match cause {
            Some(cause) => format!(
                "the transaction was not committed, since a statement in it had failed: {cause}"
            ),
            None => {
                "the transaction was not committed, since a statement in it had failed whose error \
                 was not read: it was dropped before it ended, or executed on the driver's own \
                 connection"
                    .to_owned()
            }
        };
        TransactionLost::new(TransactionOutcome::RolledBack, message)
    }
}

impl Doubt {
    /// Returns why the transaction is gone.
    fn reason(self) -> TransactionLost {
        use TransactionOutcome::{Committed, RolledBack, Unknown};
        let after = match &self.cause {
            Some(cause) => format!(" after this error: {cause}"),
            None => String::new(),
        };
        let (outcome, what) = match self.text {
            None if self.cause.is_some() => {
                (RolledBack, format!("the server has rolled it back{after}"))
            }
            None => (
                RolledBack,
                "the server has rolled it back after a statement in it was interrupted".to_owned(),
            ),
            Some((what, Committed)) => (Committed, format!("{what} has committed its changes")),
            Some((what, RolledBack)) => (RolledBack, format!("{what} has rolled it back{after}")),
            Some((what, Unknown)) => (
                Unknown,
                format!(
                    "{what} has ended it{after}; whether its changes were committed is unknown"
                ),
            ),
        };
        TransactionLost::new(
            outcome,
            format!("the transaction is lost: {what}; no further statement runs in it"),
        )
    }
}
