//! A statement for the driver, split into its parts so that its text can be read first.

use crate::backend::{Backend, LARGE};
use sqlx::error::BoxDynError;
use sqlx::{Arguments, Database, Error, Execute, SqlStr};
use std::borrow::BorrowMut;
use std::mem;

/// The contents of sqlx's `Execute`, whose `sql` method consumes it.
pub(crate) struct Command<DB: Database> {
    sql: SqlStr,
    arguments: Option<DB::Arguments>,
    persistent: bool,
}

impl<DB: Database> Command<DB> {
    /// Splits a query into its parts.
    ///
    /// # Errors
    ///
    /// `Error::Encode` if one of its arguments could not be encoded.
    pub(crate) fn new<'q>(mut query: impl Execute<'q, DB>) -> Result<Self, Error> {
        let arguments = query.take_arguments().map_err(Error::Encode)?;
        let persistent = query.persistent();
        Ok(Self { sql: query.sql(), arguments, persistent })
    }

    /// Returns true if it is prepared and then executed, instead of being sent as text.
    pub(crate) fn is_prepared(&self) -> bool {
        self.arguments.is_some()
    }

    /// Returns true if it makes the driver's send buffer large.
    pub(crate) fn is_large(&mut self, backend: &dyn Backend<DB>) -> bool {
        let arguments = self.arguments.as_mut().filter(|arguments| arguments.len() > 0);
        self.sql.as_str().len() > LARGE
            || arguments.is_some_and(|arguments| backend.has_large_arguments(arguments))
    }

    pub(crate) fn text(&self) -> &str {
        self.sql.as_str()
    }
}

/// A statement for the driver, owned or borrowed. Borrowed where possible: moving it between
/// futures costs more than reading its text.
pub(crate) struct ForDriver<C>(pub(crate) C);

impl<DB: Database, C: BorrowMut<Command<DB>> + Send> Execute<'_, DB> for ForDriver<C> {
    fn sql(mut self) -> SqlStr {
        mem::replace(&mut self.0.borrow_mut().sql, SqlStr::from_static(""))
    }

    /// The driver knows a prepared statement by its text. The user's own prepared statement is not
    /// passed on: its columns are those of the time when it was prepared. PostgreSQL's driver would
    /// use them even after a migration, and swapped columns would be returned under each other's
    /// names.
    fn statement(&self) -> Option<&DB::Statement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        Ok(self.0.borrow_mut().arguments.take())
    }

    fn persistent(&self) -> bool {
        self.0.borrow().persistent
    }
}
