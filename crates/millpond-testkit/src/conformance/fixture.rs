//! What an author brings along to have a manager tried, and what is claimed for it.

use crate::conformance::plan::{Mark, Plan, Refusals};
use crate::own_server::OwnServer;
use millpond_core::{BoxError, Manager, Pool};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Makes the manager that is to be tried. Where a manager is all there is, a closure will do:
/// `|| async { Tcp(address) }`.
///
/// A test calls [`manager`](Self::manager) once, on a runtime of its own. The other methods are
/// called only if what they stand for is claimed; a claim without its method fails.
pub trait Fixture: Sized + Send + Sync + 'static {
    /// What is tried.
    type Manager: Manager;

    /// A manager and whatever it needs to connect to.
    ///
    /// # Errors
    ///
    /// Why there is none here; the tests are skipped then, and say so.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn manager(&self) -> impl Future<Output = Result<Self::Manager, String>> + Send;

    /// Stands for [`Capability::Answers`]: asks over the connection for an answer that `number`
    /// alone has, and comes back with the number that the answer is of. `SELECT 4711`, `ECHO 4711`.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is dropped at every poll: the pool must cope with what is left of it.
    fn ask(
        &self,
        conn: &mut Connection<Self>,
        number: i64,
    ) -> impl Future<Output = Result<i64, BoxError>> + Send {
        let _ = (conn, number);
        async { Err(unclaimed("Answers", "ask")) }
    }

    /// Stands for [`Capability::Answers`]: the same in a wording of its own for each `wording`, so
    /// that every one is a statement to be prepared. By default there is one wording.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// As [`ask`](Self::ask).
    fn ask_worded(
        &self,
        conn: &mut Connection<Self>,
        wording: u64,
        number: i64,
    ) -> impl Future<Output = Result<i64, BoxError>> + Send {
        let _ = wording;
        self.ask(conn, number)
    }

    /// Stands for [`Capability::Dies`]: has the server end this connection, and comes back when it
    /// has.
    ///
    /// # Errors
    ///
    /// If the server could not be asked.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn kill(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Dies", "kill")) }
    }

    /// Stands for [`Capability::Dirty`]: does something on the connection that must not be there
    /// any more when the next borrower has it: a setting, a temporary table, a lock, a
    /// subscription, a transaction that is left open.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is dropped at every poll: the pool must cope with what is left of it.
    fn make_dirty(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Dirty", "make_dirty")) }
    }

    /// Stands for [`Capability::Dirty`]: whether what [`make_dirty`](Self::make_dirty) did is
    /// there, if possible as the server says it.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn is_dirty(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Dirty", "is_dirty")) }
    }

    /// Stands for [`Capability::Counted`]: how many connections of this fixture's managers are open
    /// at the server, as the server counts them. Those of other tests at the same server must not
    /// be among them.
    ///
    /// # Errors
    ///
    /// If the server could not be asked.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn open_at_server(&self) -> impl Future<Output = Result<usize, BoxError>> + Send {
        async { Err(unclaimed("Counted", "open_at_server")) }
    }

    /// The most connections that the server lets the tests have at the same time, if there are few.
    /// Cases that need more are skipped, and say so. Called after [`manager`](Self::manager).
    fn sessions_max(&self) -> Option<u32> {
        None
    }

    /// Stands for [`Capability::Transactions`]: executes a script, as text.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn execute(
        &self,
        conn: &mut Connection<Self>,
        sql: &'static str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (conn, sql);
        async { Err(unclaimed("Transactions", "execute")) }
    }

    /// Stands for [`Capability::Transactions`]: the same past everything that would notice it, as a
    /// function does that is passed the driver's own connection. By default it is noticed.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn execute_unseen(
        &self,
        conn: &mut Connection<Self>,
        sql: &'static str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.execute(conn, sql)
    }

    /// Stands for [`Capability::Transactions`]: whether a query gives a row.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn finds(
        &self,
        conn: &mut Connection<Self>,
        sql: &'static str,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        let _ = (conn, sql);
        async { Err(unclaimed("Transactions", "finds")) }
    }

    /// Scripts that leave a transaction open, in every disguise that the server knows.
    fn beginnings(&self) -> &'static [&'static str] {
        &["BEGIN", "/* read */ begin", "-- read\nBegin", "SELECT 1; BEGIN", "BEGIN; SAVEPOINT a"]
    }

    /// Stands for [`Capability::Transactions`]: begins a transaction as the driver does it, and
    /// leaves it open.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is dropped at every poll: the pool must cope with what is left of it.
    fn begin(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Transactions", "begin")) }
    }

    /// Stands for [`Capability::Transactions`]: whether a transaction is open, as the server says
    /// it.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn is_in_transaction(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Transactions", "is_in_transaction")) }
    }

    /// Stands for [`Capability::Streams`]: asks for 5,000 rows, reads so many of them, and drops
    /// what would give the rest.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn fetch(
        &self,
        conn: &mut Connection<Self>,
        rows: usize,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (conn, rows);
        async { Err(unclaimed("Streams", "fetch")) }
    }

    /// Stands for [`Capability::Redis`]: sends a command as it is written, and comes back with its
    /// answer as text: nothing for nil. Words that begin with `key` are keys. What the driver
    /// refuses to send is an error.
    ///
    /// # Errors
    ///
    /// The driver's, and the server's.
    ///
    /// # Cancel safety
    ///
    /// It is dropped at every poll: the pool must cope with what is left of it.
    fn command(
        &self,
        conn: &mut Connection<Self>,
        words: &[&str],
    ) -> impl Future<Output = Result<String, BoxError>> + Send {
        let _ = (conn, words);
        async { Err(unclaimed("Redis", "command")) }
    }

    /// Stands for [`Capability::Redis`]: executes commands in one transaction; whether they were:
    /// not if a watched key has changed.
    ///
    /// # Errors
    ///
    /// The driver's, and the server's.
    ///
    /// # Cancel safety
    ///
    /// It is dropped at every poll: the pool must cope with what is left of it.
    fn transact(
        &self,
        conn: &mut Connection<Self>,
        commands: &[&[&str]],
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        let _ = (conn, commands);
        async { Err(unclaimed("Redis", "transact")) }
    }

    /// Stands for [`Capability::Redis`]: subscribes to a channel as the driver does it.
    ///
    /// # Errors
    ///
    /// The driver's, if it cannot.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn subscribe(
        &self,
        conn: &mut Connection<Self>,
        channel: &str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (conn, channel);
        async { Err(unclaimed("Redis", "subscribe")) }
    }

    /// Stands for [`Capability::Pools`]: where the server is, without parameters.
    fn url(&self) -> String {
        String::new()
    }

    /// Stands for [`Capability::Pools`]: the pool that the backend's own options build.
    ///
    /// # Errors
    ///
    /// If the options refuse the plan.
    fn pool(&self, plan: &Plan) -> Result<Served<Self>, BoxError> {
        let _ = plan;
        Err(unclaimed("Pools", "pool"))
    }

    /// Stands for [`Capability::Session`]: every kind of trace that can be left on a session.
    fn marks(&self) -> &'static [Mark] {
        &[]
    }

    /// Stands for [`Capability::Network`]: how the server turns a new client away.
    fn refusals(&self) -> Refusals {
        Refusals { not_yet: Vec::new(), never: Vec::new() }
    }

    /// Stands for [`Capability::Cancels`]: has the server be busy for so long, and answer then.
    ///
    /// # Errors
    ///
    /// The error of the driver, also if a statement was interrupted.
    ///
    /// # Cancel safety
    ///
    /// It is dropped at every poll: the backend must make the server stop.
    fn pause(
        &self,
        conn: &mut Connection<Self>,
        time: Duration,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (conn, time);
        async { Err(unclaimed("Cancels", "pause")) }
    }

    /// Stands for [`Capability::Restarts`]: a server of the test's own, which is at the URL that
    /// comes with it.
    ///
    /// # Errors
    ///
    /// Why there is none here; the test is skipped then, and says so.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn own_server(&self) -> impl Future<Output = Result<(OwnServer, String), String>> + Send {
        async { Err(unclaimed("Restarts", "own_server").to_string()) }
    }

    /// Stands for [`Capability::Restarts`]: opens a connection past all pools, and closes it.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn dial(&self, url: &str) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = url;
        async { Err(unclaimed("Restarts", "dial")) }
    }

    /// Stands for [`Capability::Demotes`]: has a server take no writes any more.
    ///
    /// # Errors
    ///
    /// If it could not be done.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn demote(&self, server: &mut OwnServer) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = server;
        async { Err(unclaimed("Demotes", "demote")) }
    }

    /// Stands for [`Capability::Demotes`]: scripts that are refused much as a write to a demoted
    /// server is, for harmless causes. There is a table `ponds`.
    fn harmless(&self) -> &'static [&'static str] {
        &[]
    }

    /// Stands for [`Capability::Statements`]: how many statements the session keeps prepared, if
    /// possible as the server says it.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn statements(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<u64, BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Statements", "statements")) }
    }

    /// Stands for [`Capability::Credentials`]: sets the password of a user, who may have to be
    /// created.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn set_password(
        &self,
        user: &str,
        password: &str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (user, password);
        async { Err(unclaimed("Credentials", "set_password")) }
    }

    /// Stands for [`Capability::Memory`]: a pool over a database that is in memory alone.
    ///
    /// # Errors
    ///
    /// If the options refuse the plan, whose URL is left aside.
    fn in_memory(&self, plan: &Plan) -> Result<Served<Self>, BoxError> {
        let _ = plan;
        Err(unclaimed("Memory", "in_memory"))
    }

    /// Stands for [`Capability::Readers`]: a pool of one writer, and one of `pool_size` readers,
    /// over one database.
    ///
    /// # Errors
    ///
    /// If the options refuse the plan.
    fn split(&self, plan: &Plan) -> Result<(Served<Self>, Served<Self>), BoxError> {
        let _ = plan;
        Err(unclaimed("Readers", "split"))
    }
}

/// What a fixture's manager opens.
pub type Connection<F> = <<F as Fixture>::Manager as Manager>::Connection;

/// A pool as the users of a backend have it: with all that its options add to its manager.
pub type Served<F> = Arc<dyn Pool<Connection = Connection<F>>>;

impl<F, Making, M> Fixture for F
where
    F: Fn() -> Making + Send + Sync + 'static,
    Making: Future<Output = M> + Send,
    M: Manager,
{
    type Manager = M;

    async fn manager(&self) -> Result<M, String> {
        Ok(self().await)
    }
}

fn unclaimed(capability: &str, method: &str) -> BoxError {
    format!("`can` claims {capability}, but the fixture has no `{method}`").into()
}

/// Something that not every manager or pool can do. A case that needs it is skipped where it is not
/// claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Of managers: connections do no real I/O, so the clock can be paused and hours pass at once.
    PausedClock,
    /// Of managers: a connection can be asked for something. See [`Fixture::ask`].
    Answers,
    /// Of managers: the server can end a connection. See [`Fixture::kill`].
    Dies,
    /// Of managers: a borrower can leave something on a connection. See [`Fixture::make_dirty`] and
    /// [`Fixture::is_dirty`].
    Dirty,
    /// Of managers: the server says how many connections are open. See [`Fixture::open_at_server`].
    Counted,
    /// Of managers: SQL with transactions. See [`Fixture::execute`], [`Fixture::begin`] and
    /// [`Fixture::is_in_transaction`].
    Transactions,
    /// Of managers: answers come row by row. See [`Fixture::fetch`].
    Streams,
    /// Of managers: Redis' commands, transactions and subscriptions. See [`Fixture::command`],
    /// [`Fixture::transact`] and [`Fixture::subscribe`].
    Redis,
    /// Of backends: they build a pool of their own. See [`Fixture::url`] and [`Fixture::pool`];
    /// what follows needs it too.
    Pools,
    /// Of backends: a session has state beyond its transaction. See [`Fixture::marks`].
    Session,
    /// Of backends: the server is at a host and port. See [`Fixture::refusals`] and
    /// [`Fixture::ask_worded`].
    Network,
    /// Of backends: what was abandoned is stopped at the server, over a connection more. See
    /// [`Fixture::pause`].
    Cancels,
    /// Of backends: a test can have a server of its own. See [`Fixture::own_server`] and
    /// [`Fixture::dial`].
    Restarts,
    /// Of backends: a server can become one that takes no writes. See [`Fixture::demote`] and
    /// [`Fixture::harmless`].
    Demotes,
    /// Of backends: statements are prepared and kept. See [`Fixture::statements`].
    Statements,
    /// Of backends: a password can come from a file. See [`Fixture::set_password`].
    Credentials,
    /// Of backends: a database can be in memory alone. See [`Fixture::in_memory`].
    Memory,
    /// Of backends: one connection writes and others read. See [`Fixture::split`].
    Readers,
    /// Of pools: a connection has one borrower at a time.
    Exclusive,
    /// Of pools: what comes back is lent again.
    Keeps,
}

impl Capability {
    /// What stays untested for a manager that does not claim this; `None` for what only a backend
    /// or a pool can claim.
    pub(crate) fn untested(self) -> Option<&'static str> {
        Some(match self {
            Self::PausedClock => "what happens in hours, or when a future is dropped anywhere",
            Self::Answers => "that an answer reaches only who asked for it",
            Self::Dies => "that a ping notices a connection which the server has ended",
            Self::Dirty => "that what a borrower leaves on a connection is undone",
            Self::Counted => "that what is closed or cut off is closed at the server",
            Self::Transactions => "that no transaction is lent on",
            Self::Streams => "that rows nobody read are not lent on",
            _ => return None,
        })
    }

    /// All that can be claimed of a manager, and of any.
    pub(crate) const OF_MANAGERS: [Self; 7] = [
        Self::PausedClock,
        Self::Answers,
        Self::Dies,
        Self::Dirty,
        Self::Counted,
        Self::Transactions,
        Self::Streams,
    ];
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without = match self {
            Self::PausedClock => "PausedClock: real I/O needs real time",
            Self::Answers => "Answers: a connection cannot be asked for anything",
            Self::Dies => "Dies: the server ends no connection by itself",
            Self::Dirty => "Dirty: a borrower leaves nothing on a connection",
            Self::Counted => "Counted: the server cannot be asked what is open",
            Self::Transactions => "Transactions: there are none",
            Self::Streams => "Streams: an answer comes whole",
            Self::Redis => "Redis: it is no Redis",
            Self::Pools => "Pools: there is a manager and nothing more",
            Self::Session => "Session: a session has no state",
            Self::Network => "Network: there is none in between",
            Self::Cancels => "Cancels: what was abandoned is not stopped over another connection",
            Self::Restarts => "Restarts: there is no server to be killed",
            Self::Demotes => "Demotes: every server takes writes",
            Self::Statements => "Statements: nothing is kept prepared",
            Self::Credentials => "Credentials: there are no passwords",
            Self::Memory => "Memory: no database is in memory alone",
            Self::Readers => "Readers: every connection may write",
            Self::Exclusive => "Exclusive: connections are shared",
            Self::Keeps => "Keeps: nothing is lent twice",
        };
        f.write_str(without)
    }
}
