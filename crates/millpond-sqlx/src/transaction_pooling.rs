//! Runs each statement in a separate transaction, on connections behind a pooler that lends a
//! server for each transaction.
//!
//! A driver sends a statement with arguments in two turns. Outside a transaction such a pooler may
//! send them to two servers, and the second one would execute a statement that another client has
//! prepared there. Changes that a statement makes to the session of its server would affect other
//! clients, so they are cleared in the message that ends the transaction.

use crate::backend::TransactionWrapper;
use crate::command::Command;
use crate::generated_stream::Outlet;
use crate::operation::Step;
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use futures_util::TryStreamExt;
use sqlx::{Connection, Database, Describe, Error, Executor, SqlStr, raw_sql};

/// The number of statements prepared in a transaction before they are deallocated.
const PREPARED_MAX: u32 = 100;

impl<DB: Database> Tracked<DB>
where
    for<'x> &'x mut DB::Connection: Executor<'x, Database = DB>,
{
    /// Returns the wrapper for the next statement, if it needs one.
    pub(crate) fn transaction_wrapper(&self) -> Option<TransactionWrapper> {
        let outside = !self.driver().is_in_transaction();
        self.backend().transaction_wrapper().filter(|_| outside)
    }

    /// Returns the statement that deallocates prepared statements, every `PREPARED_MAX` statements.
    /// They cannot be reused, since the next transaction may run on another server, so they would
    /// accumulate on this one.
    pub(crate) fn deallocate_if_due(&mut self) -> Option<&'static str> {
        let wrapper = self.backend().transaction_wrapper()?;
        let prepared = self.prepared_mut();
        *prepared = (*prepared + 1) % PREPARED_MAX;
        (*prepared == 0).then_some(wrapper.deallocate)
    }

    /// Executes a statement after deallocating prepared ones.
    pub(crate) async fn deallocate_then_execute(
        &mut self,
        deallocate: &'static str,
        command: Command<DB>,
        out: Outlet<Step<DB>>,
    ) -> Result<(), Error> {
        self.resume().await?;
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        guard.track(conn.execute(raw_sql(deallocate))).await?;
        let effect = self.backend().effect(command.text());
        self.execute_tracked(effect, command, &out).await
    }

    /// Executes a statement in its own transaction, which is committed after the last row.
    pub(crate) async fn execute_wrapped(
        &mut self,
        wrapper: TransactionWrapper,
        command: Command<DB>,
        out: Outlet<Step<DB>>,
    ) -> Result<(), Error> {
        self.open_wrapper(&wrapper).await?;
        let done = self.forward_rows(command, &out).await;
        self.close_wrapper(&wrapper, done).await
    }

    /// Prepares a statement in its own transaction, since the driver may have to query its types.
    pub(crate) async fn prepare_wrapped(
        &mut self,
        wrapper: TransactionWrapper,
        sql: SqlStr,
        parameters: &[DB::TypeInfo],
    ) -> Result<DB::Statement, Error> {
        self.open_wrapper(&wrapper).await?;
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        let prepared = guard.track(conn.prepare_with(sql, parameters)).await;
        self.close_wrapper(&wrapper, prepared).await
    }

    /// Describes a statement in its own transaction.
    pub(crate) async fn describe_wrapped(
        &mut self,
        wrapper: TransactionWrapper,
        sql: SqlStr,
    ) -> Result<Describe<DB>, Error> {
        self.open_wrapper(&wrapper).await?;
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        let described = guard.track(conn.describe(sql)).await;
        self.close_wrapper(&wrapper, described).await
    }

    /// Executes a statement and forwards its rows and results.
    pub(crate) async fn forward_rows(
        &mut self,
        command: Command<DB>,
        out: &Outlet<Step<DB>>,
    ) -> Result<(), Error> {
        let effect = self.backend().effect(command.text());
        let may_be_misread = self.may_be_misread(&command);
        if may_be_misread {
            return self.forward_confirmed(effect, command, out).await;
        }
        let mut steps = self.fetch_stream(effect, command);
        while let Some(step) = steps.try_next().await? {
            out.put(step).await;
        }
        Ok(())
    }

    // The driver does not know of these transactions: it would end them in a separate message.
    async fn open_wrapper(&mut self, wrapper: &TransactionWrapper) -> Result<(), Error> {
        self.resume().await?;
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        guard.track(conn.execute(raw_sql(wrapper.begin))).await.map(drop)
    }

    async fn close_wrapper<T>(
        &mut self,
        wrapper: &TransactionWrapper,
        done: Result<T, Error>,
    ) -> Result<T, Error> {
        let done = match done {
            Ok(value) => {
                let (conn, guard) = self.begin_operation(SyncState::Clean);
                guard.track(conn.execute(raw_sql(wrapper.commit))).await.map(|_| value)
            }
            Err(error) => Err(error),
        };
        if done.is_err() {
            let (conn, guard) = self.begin_operation(SyncState::Clean);
            // If the rollback fails, the connection is verified or closed; the caller gets the
            // statement's own error.
            let _ = guard.track(conn.execute(raw_sql(wrapper.rollback))).await;
        }
        done
    }
}
