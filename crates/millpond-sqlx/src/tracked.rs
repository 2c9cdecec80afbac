//! The driver's connection with a memory: it knows whether it is in step, and what was done with it.

use crate::alarm::Loan;
use crate::anchor::Anchor;
use crate::backend::Backend;
use crate::cached::{Cached, SchemaChanges};
use crate::command::{Command, ForDriver};
use crate::generate::generate;
use crate::look::Seen;
use crate::standing::Standing;
use crate::statement::Effect;
use crate::watch::{End, Marks, Watch, Watched};
use either::Either;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use sqlx::{Connection, Database, Describe, Error, Execute, Executor, SqlStr};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The driver's connection, and what is known of it.
///
/// `&mut Tracked` is an `Executor` that follows what it executes. It dereferences to the driver's own connection, so a
/// lease can be passed to a function that takes `&mut SqliteConnection`; what happens there is not seen, so the connection
/// counts as [`Standing::Raw`] from then on.
pub struct Tracked<DB: Database> {
    /// `None` only while it is being taken out, which consumes `self`.
    conn: Option<DB::Connection>,
    backend: &'static dyn Backend<DB>,
    pub(crate) standing: Standing,
    /// Whether a statement was executed because of which every return is in doubt.
    lasting: bool,
    /// Whether a savepoint was cut off while it began: what its transaction holds is unknown, so nothing more is done in it.
    doomed: bool,
    /// Whether an error may have meant that the server is no longer the one to talk to.
    suspect: bool,
    /// Set when an operation is dropped half-way, cleared before the next one.
    brake: Arc<AtomicBool>,
    keepsake: Option<Keepsake<DB::Connection>>,
    /// Whether its borrower had the driver's own connection since it was last seen to be in step.
    pub(crate) shown: bool,
    /// Whether a reset has undone what hooks had set when it was opened.
    pub(crate) hooks_undone: bool,
    session: Option<u64>,
    /// How much was prepared under names since they were forgotten, where they are.
    names: u32,
    cached: Cached<DB>,
    /// What it has seen of the schema, where it has to look at it.
    seen: Seen,
    /// The settings of the session as its hooks have left them, where they are put back.
    pub(crate) baseline: Vec<Option<String>>,
    pub(crate) anchor: Option<Anchor>,
    loan: Loan,
    /// Whether somebody had the driver's own connection, with which session locks can be taken unseen.
    pub(crate) escaped: bool,
    /// The same since the last proof.
    unseen: bool,
    /// Whether an operation may have made the driver's buffers grow.
    pub(crate) bulky: bool,
}

/// What is said to whoever goes on in a transaction that is lost.
const DOOMED: &str = "a savepoint of this transaction was cut off while it began, so the transaction is lost: roll it back \
                      and begin anew";

/// Who gets the driver's connection when it would be dropped.
type Keepsake<C> = Box<dyn FnOnce(C) + Send>;

impl<DB: Database> Tracked<DB> {
    /// A connection that was just opened, or proved to be as good as new.
    pub fn new(conn: DB::Connection, backend: &'static dyn Backend<DB>) -> Self {
        Self::with_brake(conn, backend, Arc::default())
    }

    /// The same with a brake of one's own: a flag that is set as soon as an operation is dropped half-way, and cleared
    /// before the next one. Whoever works for the connection may look at it and stop: SQLite's progress handler does.
    pub fn with_brake(conn: DB::Connection, backend: &'static dyn Backend<DB>, brake: Arc<AtomicBool>) -> Self {
        Self {
            conn: Some(conn),
            backend,
            standing: Standing::Clean,
            lasting: false,
            doomed: false,
            suspect: false,
            brake,
            keepsake: None,
            shown: false,
            hooks_undone: false,
            session: None,
            names: 0,
            cached: Cached::new(),
            seen: Seen::default(),
            baseline: Vec::new(),
            anchor: None,
            loan: Loan::default(),
            escaped: false,
            unseen: false,
            bulky: false,
        }
    }

    /// Hands the driver's connection to `keepsake` instead of dropping it, whatever the reason of the drop.
    #[must_use]
    pub fn kept_by(mut self, keepsake: impl FnOnce(DB::Connection) + Send + 'static) -> Self {
        self.keepsake = Some(Box::new(keepsake));
        self
    }

    /// Sets the limit of every statement from now on until the connection goes back; `None` for no limit. The pool's own is
    /// `statement_timeout`.
    ///
    /// A statement that takes longer ends with an error of which [`Expired::of`](crate::Expired::of) tells more. It counts as dropped half-way: the
    /// server is told to stop it when the connection goes back. The time that a consumer takes between two rows does not
    /// count.
    pub fn set_statement_timeout(&mut self, limit: impl Into<Option<Duration>>) {
        self.loan.limits.statement = limit.into();
    }

    /// Notes that it has a new borrower.
    pub(crate) fn lent(&mut self, loan: Loan) {
        self.loan = loan;
    }

    /// The number by which the server knows this session, if it is known and the session can be cancelled.
    pub fn session(&self) -> Option<u64> {
        self.session
    }

    /// Notes the number by which the server knows this session: for managers.
    pub fn set_session(&mut self, session: u64) {
        self.session = Some(session);
    }

    /// Shares what this connection notices of changes of the schema with the others of its pool: for managers, when it is
    /// new.
    pub fn share_schema_changes(&mut self, changes: &SchemaChanges<DB>) {
        self.cached.share(changes);
    }

    /// Whether what the driver remembers of statements and types is out of date.
    pub fn is_outdated(&self) -> bool {
        self.cached.is_outdated()
    }

    /// Makes the driver forget what it remembers of statements and types, if that is out of date: for managers, before the
    /// connection is lent again.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection counts as cut off.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        if self.cached.is_outdated() {
            let (backend, as_of) = (self.backend, self.cached.noticed());
            let (conn, watch) = self.watched(Standing::Clean);
            watch.follow(backend.forget(conn)).await?;
            self.cached.emptied(as_of);
        }
        Ok(())
    }

    /// Forgets it: whoever cancels does so once.
    pub(crate) fn take_session(&mut self) -> Option<u64> {
        self.session.take()
    }

    /// What is known of the connection. A transaction that sqlx knows to be open makes it at least `Raw`.
    pub fn standing(&self) -> Standing {
        let doubt = self.lasting || self.driver().is_in_transaction();
        if doubt { self.standing.max(Standing::Raw) } else { self.standing }
    }

    /// Whether the driver's own connection was handed out since the last proof, so that what was done with it was not seen:
    /// for managers.
    pub fn was_unseen(&self) -> bool {
        self.unseen
    }

    /// Whether an error on it may have meant that the server is no longer the one to talk to.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Declares the connection clean: for managers, after they have proved it.
    pub fn trust(&mut self) {
        self.unseen = false;
        self.standing = Standing::Clean;
        self.shown = false;
        self.doomed = false;
        self.suspect = false;
        self.brake.store(false, Ordering::Release);
    }

    /// Stops whatever still runs for the connection, if something may: for managers, when it comes back.
    pub fn stop(&self) {
        self.brake.store(true, Ordering::Release);
    }

    /// The driver's connection.
    pub fn driver(&self) -> &DB::Connection {
        match &self.conn {
            Some(conn) => conn,
            None => absent(),
        }
    }

    /// The driver's connection without a change of standing: for managers and backends, who prove afterwards or know what
    /// they do. Everybody else dereferences.
    pub fn driver_mut(&mut self) -> &mut DB::Connection {
        match &mut self.conn {
            Some(conn) => conn,
            None => absent(),
        }
    }

    /// Takes the driver's connection out for good.
    pub fn into_driver(mut self) -> DB::Connection {
        self.keepsake = None;
        match self.conn.take() {
            Some(conn) => conn,
            None => absent(),
        }
    }

    /// Proves that nothing is open on the connection, or makes it so: see [`Backend::settle`].
    ///
    /// # Errors
    ///
    /// If that could not be proved; then the connection is to be closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection is to be closed.
    pub async fn settle(&mut self) -> Result<(), Error> {
        let backend = self.backend;
        backend.settle(self).await
    }

    /// The driver's connection for a hook before a loan, whose deeds are looked into when the connection comes back.
    pub(crate) fn driver_for_hook(&mut self) -> &mut DB::Connection {
        self.worsen(Standing::Raw);
        self.seen = Seen::default();
        self.driver_mut()
    }

    /// Makes the standing worse, never better: for managers, who know of what was not seen here.
    pub fn worsen(&mut self, standing: Standing) {
        self.standing = self.standing.max(standing);
    }

    /// The driver's connection and the watch over the operation that is about to begin.
    pub(crate) fn watched(&mut self, effect: Standing) -> (&mut DB::Connection, Watch<'_, DB>) {
        self.watched_saying("", effect)
    }

    /// The same for a statement, which is named if it takes too long.
    fn watched_saying(&mut self, sql: &str, effect: Standing) -> (&mut DB::Connection, Watch<'_, DB>) {
        let alarm = self.loan.alarm(sql);
        match &mut self.conn {
            Some(conn) => {
                let marks = Marks {
                    standing: &mut self.standing,
                    suspect: &mut self.suspect,
                    cached: &mut self.cached,
                    bulky: &mut self.bulky,
                };
                (conn, Watch::new(self.backend, marks, &self.brake, alarm, effect))
            }
            None => absent(),
        }
    }

    pub(crate) fn backend(&self) -> &'static dyn Backend<DB> {
        self.backend
    }

    pub(crate) fn names_mut(&mut self) -> &mut u32 {
        &mut self.names
    }

    pub(crate) fn seen_mut(&mut self) -> &mut Seen {
        &mut self.seen
    }

    fn is_braked(&self) -> bool {
        self.brake.load(Ordering::Acquire)
    }

    /// Makes the connection usable for its borrower after one of his operations was cut off. The doubt remains.
    pub(crate) async fn resume(&mut self) -> Result<(), Error> {
        if self.doomed {
            return Err(Error::Protocol(DOOMED.to_owned()));
        }
        if let Some(error) = self.loan.overdue() {
            return Err(error);
        }
        self.stay_in_step().await?;
        if self.is_braked() {
            let backend = self.backend;
            let (conn, watch) = self.watched(Standing::Cut);
            watch.follow(backend.resume(conn)).await?;
            self.brake.store(false, Ordering::Release);
        }
        self.refresh().await
    }

    /// Whether something has to be done before the next statement can be executed: see [`resume`](Self::resume).
    fn has_to_resume(&self) -> bool {
        let doubtful = self.shown || self.standing == Standing::Broken;
        doubtful || self.is_braked() || self.doomed || self.cached.is_outdated() || self.loan.overdue().is_some()
    }

    /// Notes that a savepoint begins, and that it has begun or was refused. In between, drivers lose track of the outer
    /// transaction: sqlx rolls it back behind its owner's back, and what follows would be committed one by one.
    pub(crate) fn set_doomed(&mut self, doomed: bool) {
        self.doomed = doomed;
    }

    /// What a statement makes of the connection if it ends well.
    fn note(&mut self, sql: &str) -> Standing {
        let effect = self.backend.effect(sql);
        if effect != Effect::None {
            self.seen = Seen::default();
            if self.backend.deallocates(sql) {
                self.cached.note_forgotten();
            }
        }
        match effect {
            Effect::None => Standing::Clean,
            Effect::Doubt => Standing::Raw,
            Effect::Lasting => {
                self.lasting = true;
                Standing::Raw
            }
        }
    }
}

/// A tracked connection without its connection cannot be reached: whoever takes it out consumes the whole.
#[expect(clippy::unreachable, reason = "Drop has to move the connection out, and safe code has only Option for that")]
fn absent() -> ! {
    unreachable!("a tracked connection holds its connection until it is consumed")
}

impl<DB: Database> Drop for Tracked<DB> {
    fn drop(&mut self) {
        if let (Some(conn), Some(keepsake)) = (self.conn.take(), self.keepsake.take()) {
            keepsake(conn);
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
        self.worsen(Standing::Raw);
        self.seen = Seen::default();
        self.escaped = true;
        self.unseen = true;
        self.shown = true;
        // What is executed from here on is not seen, so it must not be stopped for the sake of what was cut before.
        self.brake.store(false, Ordering::Release);
        self.driver_mut()
    }
}

impl<DB: Database> fmt::Debug for Tracked<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked").field("backend", &DB::NAME).field("standing", &self.standing).finish_non_exhaustive()
    }
}

/// The rows and results of a statement, in the order in which they come.
type Steps<'e, DB> = BoxStream<'e, Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, Error>>;

impl<DB: Database> Tracked<DB>
where
    for<'x> &'x mut DB::Connection: Executor<'x, Database = DB>,
{
    /// A query taken apart, if it can be executed here.
    fn command<'q>(&self, query: impl Execute<'q, DB>) -> Result<Command<DB>, Error> {
        let command = Command::new(query)?;
        self.backend.admit(command.text())?;
        Ok(command)
    }

    /// The first row of a statement; the connection is in step when it has come.
    ///
    /// # Errors
    ///
    /// The driver's, or that the statement cannot be executed here.
    ///
    /// # Cancel safety
    ///
    /// The connection counts as cut off if the future is dropped.
    pub(crate) async fn first(&mut self, command: &mut Command<DB>) -> Result<Option<DB::Row>, Error> {
        self.backend.admit(command.text())?;
        if self.backend.stops_after_one_row() && !self.has_to_resume() {
            let look = self.look(command.text()).await?;
            let effect = self.note(command.text());
            let may_be_empty = self.backend.may_be_empty(command.text());
            let (conn, watch) = self.watched_saying(command.text(), effect);
            let row = watch.follow(conn.fetch_optional(ForDriver(command))).await?;
            self.bulky |= row.as_ref().is_some_and(|row| self.backend.is_large(row));
            if row.is_none() && !may_be_empty {
                self.confirm().await?;
            }
            self.look_back(look).await?;
            return Ok(row);
        }
        first_row::<DB>(self.fetch_many(ForDriver(command))).await
    }

    /// Sees to it that the driver ended the command when it gave no row, and did not just stop.
    async fn confirm(&mut self) -> Result<(), Error> {
        let backend = self.backend;
        let (conn, watch) = self.watched(Standing::Clean);
        watch.follow(backend.confirm(conn)).await
    }

    /// The rows of a statement under watch. Nothing is in the way of it.
    pub(crate) fn follow_many(&mut self, command: Command<DB>) -> Steps<'_, DB> {
        let effect = self.note(command.text());
        let end = if self.backend.may_be_empty(command.text()) { End::Possible } else { End::Awaited };
        let (conn, watch) = self.watched_saying(command.text(), effect);
        Watched::new(conn.fetch_many(ForDriver(command)), watch, end).boxed()
    }
}

impl<'c, DB: Database> Executor<'c> for &'c mut Tracked<DB>
where
    for<'x> &'x mut DB::Connection: Executor<'x, Database = DB>,
{
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Steps<'e, DB>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let command = match self.command(query) {
            Ok(command) => command,
            Err(error) => return stream::once(future::err(error)).boxed(),
        };
        if let Some(enclosure) = self.enclosure()
            && (command.is_prepared() || !self.backend.runs_alone(command.text()))
        {
            return generate(move |out| self.enclose(enclosure, command, out)).boxed();
        }
        if command.is_prepared()
            && let Some(forget) = self.forgetting()
        {
            return generate(move |out| self.forget_first(forget, command, out)).boxed();
        }
        if self.has_to_resume() || self.backend.depends_on_schema(command.text()) {
            return generate(move |out| async move {
                self.resume().await?;
                let look = self.look(command.text()).await?;
                self.pass_on(command, &out).await?;
                self.look_back(look).await
            })
            .boxed();
        }
        self.follow_many(command)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<DB::Row>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        match Command::new(query) {
            Ok(mut command) => Box::pin(async move { self.first(&mut command).await }),
            Err(error) => Box::pin(future::err(error)),
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.backend.admit(sql.as_str())?;
            if let Some(enclosure) = self.enclosure() {
                return self.prepare_enclosed(enclosure, sql, parameters).await;
            }
            self.resume().await?;
            self.look(sql.as_str()).await?;
            let (conn, watch) = self.watched(Standing::Clean);
            watch.follow(conn.prepare_with(sql, parameters)).await
        })
    }

    // Exists because the workspace turns on sqlx's feature `macros`.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<DB>, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.backend.admit(sql.as_str())?;
            if let Some(enclosure) = self.enclosure() {
                return self.describe_enclosed(enclosure, sql).await;
            }
            self.resume().await?;
            self.look(sql.as_str()).await?;
            let (conn, watch) = self.watched(Standing::Clean);
            watch.follow(conn.describe(sql)).await
        })
    }
}

/// The first row of a statement; the others are read and thrown away, so that the connection ends in step.
async fn first_row<DB: Database>(mut steps: Steps<'_, DB>) -> Result<Option<DB::Row>, Error> {
    let mut first = None;
    while let Some(step) = steps.try_next().await? {
        if let (Either::Right(row), None) = (step, &first) {
            first = Some(row);
        }
    }
    Ok(first)
}
