//! Checks answers whose end the driver may have misread, or whose rows it would decode by outdated
//! type definitions.

use crate::command::Command;
use crate::generated_stream::Outlet;
use crate::operation::{Step, altered};
use crate::sql_text::StatementEffect;
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use futures_util::TryStreamExt;
use sqlx::{Database, Error, Executor};
use std::mem;
use std::time::{Duration, Instant};

/// No row of 16 MiB arrives within this time: the kernel and the driver copy it several times.
const LARGE_ROW_TIME: Duration = Duration::from_millis(1);

impl<DB: Database> Tracked<DB>
where
    for<'x> &'x mut DB::Connection: Executor<'x, Database = DB>,
{
    /// Returns true if the driver may take a row of the statement for the end of its answer.
    pub(crate) fn may_be_misread(&self, command: &Command<DB>) -> bool {
        !command.is_prepared() && self.backend().misreads_large_rows(command.text())
    }

    /// Yields the rows and results of a statement whose answer may be misread. The last result
    /// follows when the answer was confirmed.
    pub(crate) async fn forward_confirmed(
        &mut self,
        effect: StatementEffect,
        command: Command<DB>,
        out: &Outlet<Step<DB>>,
    ) -> Result<(), Error> {
        let mut steps = self.fetch_stream(effect, command);
        let (mut result, mut is_late) = (None, false);
        let mut since = Instant::now();
        loop {
            let step = match steps.try_next().await {
                Ok(Some(step)) => step,
                Ok(None) => break,
                Err(error) => {
                    if let Some(earlier) = result.take() {
                        out.put(earlier).await;
                    }
                    return Err(error);
                }
            };
            is_late |= step.is_left() && since.elapsed() >= LARGE_ROW_TIME;
            if let Some(earlier) = result.take() {
                out.put(earlier).await;
            }
            if step.is_left() {
                result = Some(step);
            } else {
                out.put(step).await;
            }
            since = Instant::now();
        }
        drop(steps);
        if is_late {
            self.confirm().await?;
        }
        if let Some(result) = result {
            out.put(result).await;
        }
        Ok(())
    }

    /// Checks that the driver did not stop before the end of the command.
    pub(crate) async fn confirm(&mut self) -> Result<(), Error> {
        let backend = self.backend();
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        guard.track(backend.confirm(conn)).await
    }

    /// Returns an error if a type of the row was altered after the driver had cached it.
    pub(crate) fn refuse_if_altered(&mut self, row: &DB::Row) -> Result<(), Error> {
        let backend = self.backend();
        if !backend.has_volatile_types(row) || backend.is_decodable(row) {
            return Ok(());
        }
        if !mem::replace(&mut self.needs_new_session, true) {
            self.cache.note_altered_type();
        }
        Err(altered())
    }
}
