//! What the author of a manager provides to have it tested, and which capabilities are claimed.

use crate::conformance::plan::{Mark, Plan, Refusals};
use crate::own_server::OwnServer;
use millpond_core::{BoxError, Manager, Pool};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Creates the manager under test. A closure that returns a manager is a fixture too: `|| async {
/// Tcp(address) }`.
///
/// A test calls [`manager`](Self::manager) once, on its own runtime. The other methods are called
/// only if the capability that they belong to is claimed; a claim without its method fails the
/// test.
pub trait Fixture: Sized + Send + Sync + 'static {
    /// The type of the manager under test.
    type Manager: Manager;

    /// Returns the manager, after setting up what it connects to.
    ///
    /// # Errors
    ///
    /// Returns why the manager is not available here; the tests are then skipped with this reason.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn manager(&self) -> impl Future<Output = Result<Self::Manager, String>> + Send;

    /// For [`Capability::Answers`]: sends a query whose answer contains `number`, and returns the
    /// number from the answer. For example `SELECT 4711` or `ECHO 4711`.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite drops it at every poll; the pool must cope with a half-done call.
    fn ask(
        &self,
        conn: &mut Connection<Self>,
        number: i64,
    ) -> impl Future<Output = Result<i64, BoxError>> + Send {
        let _ = (conn, number);
        async { Err(unclaimed("Answers", "ask")) }
    }

    /// For [`Capability::Answers`]: like [`ask`](Self::ask), but with a different text for each
    /// `wording`, so that each is a statement to prepare. The default ignores `wording`.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
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

    /// For [`Capability::Dies`]: makes the server end this connection, and returns once it has.
    ///
    /// # Errors
    ///
    /// Returns an error if the server cannot be reached or refuses.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn kill(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Dies", "kill")) }
    }

    /// For [`Capability::Dirty`]: leaves something on the connection that the next borrower must
    /// not find: a setting, a temporary table, a lock, a subscription or an open transaction.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite drops it at every poll; the pool must cope with a half-done call.
    fn make_dirty(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Dirty", "make_dirty")) }
    }

    /// For [`Capability::Dirty`]: returns true if what [`make_dirty`](Self::make_dirty) left is
    /// still there, if possible according to the server.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn is_dirty(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Dirty", "is_dirty")) }
    }

    /// For [`Capability::Counted`]: returns how many connections of this fixture's managers are
    /// open at the server, as the server counts them. Must not include those of other tests at the
    /// same server.
    ///
    /// # Errors
    ///
    /// Returns an error if the server cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn open_at_server(&self) -> impl Future<Output = Result<usize, BoxError>> + Send {
        async { Err(unclaimed("Counted", "open_at_server")) }
    }

    /// For [`Capability::Away`]: returns a manager whose server is away, such as one for an address
    /// on which nothing listens.
    ///
    /// # Errors
    ///
    /// Returns why there is no such manager; the test fails.
    ///
    /// # Cancel safety
    ///
    /// The suite does not cancel it.
    fn away(&self) -> impl Future<Output = Result<Self::Manager, BoxError>> + Send {
        async { Err(unclaimed("Away", "away")) }
    }

    /// For [`Capability::Refuses`]: returns a manager that its server refuses permanently, such as
    /// one with a wrong password or for a database that does not exist.
    ///
    /// # Errors
    ///
    /// Returns why there is no such manager; the test fails.
    ///
    /// # Cancel safety
    ///
    /// The suite does not cancel it.
    fn refused(&self) -> impl Future<Output = Result<Self::Manager, BoxError>> + Send {
        async { Err(unclaimed("Refuses", "refused")) }
    }

    /// Returns the most connections that the server grants the tests at a time, or `None` if it
    /// grants plenty. Cases that need more are skipped with a message. Called after
    /// [`manager`](Self::manager).
    fn sessions_max(&self) -> Option<u32> {
        None
    }

    /// For [`Capability::Transactions`]: executes a script, as text.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn execute(
        &self,
        conn: &mut Connection<Self>,
        sql: &'static str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (conn, sql);
        async { Err(unclaimed("Transactions", "execute")) }
    }

    /// For [`Capability::Transactions`]: executes a script without the wrapper noticing it, as a
    /// function does that gets the driver's own connection. The default is
    /// [`execute`](Self::execute).
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn execute_unseen(
        &self,
        conn: &mut Connection<Self>,
        sql: &'static str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.execute(conn, sql)
    }

    /// For [`Capability::Transactions`]: returns true if a query yields a row.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn finds(
        &self,
        conn: &mut Connection<Self>,
        sql: &'static str,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        let _ = (conn, sql);
        async { Err(unclaimed("Transactions", "finds")) }
    }

    /// Returns scripts that leave a transaction open, in every spelling that the server accepts.
    fn beginnings(&self) -> &'static [&'static str] {
        &["BEGIN", "/* read */ begin", "-- read\nBegin", "SELECT 1; BEGIN", "BEGIN; SAVEPOINT a"]
    }

    /// For [`Capability::Transactions`]: begins a transaction through the driver's own method, and
    /// leaves it open.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite drops it at every poll; the pool must cope with a half-done call.
    fn begin(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Transactions", "begin")) }
    }

    /// For [`Capability::Transactions`]: returns true if a transaction is open, according to the
    /// server.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn is_in_transaction(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Transactions", "is_in_transaction")) }
    }

    /// For [`Capability::Streams`]: queries 5,000 rows, reads this many of them, and drops the
    /// stream with the rest.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn fetch(
        &self,
        conn: &mut Connection<Self>,
        rows: usize,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (conn, rows);
        async { Err(unclaimed("Streams", "fetch")) }
    }

    /// For [`Capability::Redis`]: sends a command with these words, and returns its reply as text,
    /// an empty string for nil. Words that begin with `key` are keys. A command that the driver
    /// refuses to send is an error.
    ///
    /// # Errors
    ///
    /// Returns the error of the driver or of the server.
    ///
    /// # Cancel safety
    ///
    /// The suite drops it at every poll; the pool must cope with a half-done call.
    fn command(
        &self,
        conn: &mut Connection<Self>,
        words: &[&str],
    ) -> impl Future<Output = Result<String, BoxError>> + Send {
        let _ = (conn, words);
        async { Err(unclaimed("Redis", "command")) }
    }

    /// For [`Capability::Redis`]: executes commands in one transaction; returns false if they were
    /// not executed because a watched key had changed.
    ///
    /// # Errors
    ///
    /// Returns the error of the driver or of the server.
    ///
    /// # Cancel safety
    ///
    /// The suite drops it at every poll; the pool must cope with a half-done call.
    fn transact(
        &self,
        conn: &mut Connection<Self>,
        commands: &[&[&str]],
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        let _ = (conn, commands);
        async { Err(unclaimed("Redis", "transact")) }
    }

    /// For [`Capability::Redis`]: subscribes to a channel through the driver's own method.
    ///
    /// # Errors
    ///
    /// Returns the driver's error if it cannot subscribe.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn subscribe(
        &self,
        conn: &mut Connection<Self>,
        channel: &str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (conn, channel);
        async { Err(unclaimed("Redis", "subscribe")) }
    }

    /// For [`Capability::Pools`]: returns the server's URL without parameters.
    fn url(&self) -> String {
        String::new()
    }

    /// For [`Capability::Pools`]: builds a pool with the backend's own options.
    ///
    /// # Errors
    ///
    /// Returns an error if the options refuse the plan.
    fn pool(&self, plan: &Plan) -> Result<Served<Self>, BoxError> {
        let _ = plan;
        Err(unclaimed("Pools", "pool"))
    }

    /// For [`Capability::Session`]: returns every kind of state that can be left on a session.
    fn marks(&self) -> &'static [Mark] {
        &[]
    }

    /// For [`Capability::Network`]: returns how the server turns a new client away.
    fn refusals(&self) -> Refusals {
        Refusals { not_yet: Vec::new(), never: Vec::new() }
    }

    /// For [`Capability::Cancels`]: keeps the server busy for this time; it answers afterwards.
    ///
    /// # Errors
    ///
    /// Returns the driver's error, also if the statement was interrupted.
    ///
    /// # Cancel safety
    ///
    /// The suite drops it at every poll; the backend must then stop the server.
    fn pause(
        &self,
        conn: &mut Connection<Self>,
        time: Duration,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (conn, time);
        async { Err(unclaimed("Cancels", "pause")) }
    }

    /// For [`Capability::Restarts`]: starts a server for this test alone, and returns it with its
    /// URL.
    ///
    /// # Errors
    ///
    /// Returns why there is no server here; the test is then skipped with this reason.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn own_server(&self) -> impl Future<Output = Result<(OwnServer, String), String>> + Send {
        async { Err(unclaimed("Restarts", "own_server").to_string()) }
    }

    /// For [`Capability::Restarts`]: opens a connection without a pool, and closes it.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn dial(&self, url: &str) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = url;
        async { Err(unclaimed("Restarts", "dial")) }
    }

    /// For [`Capability::Demotes`]: makes the server read-only.
    ///
    /// # Errors
    ///
    /// Returns an error if the server cannot be made read-only.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn demote(&self, server: &mut OwnServer) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = server;
        async { Err(unclaimed("Demotes", "demote")) }
    }

    /// For [`Capability::Demotes`]: returns scripts that are refused in a similar way to a write at
    /// a read-only server, but for harmless causes. They may use a table `ponds`.
    fn harmless(&self) -> &'static [&'static str] {
        &[]
    }

    /// For [`Capability::Statements`]: returns how many prepared statements the session keeps, if
    /// possible according to the server.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn statements(
        &self,
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = Result<u64, BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Statements", "statements")) }
    }

    /// For [`Capability::Credentials`]: sets the password of a user, and creates the user if
    /// needed.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    ///
    /// # Cancel safety
    ///
    /// The suite never cancels this call.
    fn set_password(
        &self,
        user: &str,
        password: &str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (user, password);
        async { Err(unclaimed("Credentials", "set_password")) }
    }

    /// For [`Capability::Memory`]: builds a pool over an in-memory database.
    ///
    /// # Errors
    ///
    /// Returns an error if the options refuse the plan. The plan's URL is ignored.
    fn in_memory(&self, plan: &Plan) -> Result<Served<Self>, BoxError> {
        let _ = plan;
        Err(unclaimed("Memory", "in_memory"))
    }

    /// For [`Capability::Readers`]: builds a pool with one writer and a pool of `pool_size` readers
    /// over one database.
    ///
    /// # Errors
    ///
    /// Returns an error if the options refuse the plan.
    fn split(&self, plan: &Plan) -> Result<(Served<Self>, Served<Self>), BoxError> {
        let _ = plan;
        Err(unclaimed("Readers", "split"))
    }
}

/// The connection type of a fixture's manager.
pub type Connection<F> = <<F as Fixture>::Manager as Manager>::Connection;

/// A pool as users of the backend get it, with everything that the backend's options add.
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
    /// Of managers: connections do no real I/O, so the clock can be paused and hours pass in no
    /// time.
    PausedClock,
    /// Of managers: a connection answers queries. See [`Fixture::ask`].
    Answers,
    /// Of managers: the server can end a connection. See [`Fixture::kill`].
    Dies,
    /// Of managers: a borrower can leave something on a connection. See [`Fixture::make_dirty`] and
    /// [`Fixture::is_dirty`].
    Dirty,
    /// Of managers: the server counts the open connections. See [`Fixture::open_at_server`].
    Counted,
    /// Of managers: the server can be away. See [`Fixture::away`].
    Away,
    /// Of managers: the server can refuse a connection permanently. See [`Fixture::refused`].
    Refuses,
    /// Of managers: SQL with transactions. See [`Fixture::execute`], [`Fixture::begin`] and
    /// [`Fixture::is_in_transaction`].
    Transactions,
    /// Of managers: answers arrive row by row. See [`Fixture::fetch`].
    Streams,
    /// Of managers: Redis' commands, transactions and subscriptions. See [`Fixture::command`],
    /// [`Fixture::transact`] and [`Fixture::subscribe`].
    Redis,
    /// Of backends: they build their own pool. See [`Fixture::url`] and [`Fixture::pool`]; the
    /// backend capabilities below need it too.
    Pools,
    /// Of backends: a session has state beyond its transaction. See [`Fixture::marks`].
    Session,
    /// Of backends: the server has a host and a port. See [`Fixture::refusals`] and
    /// [`Fixture::ask_worded`].
    Network,
    /// Of backends: abandoned queries are cancelled at the server, over an extra connection. See
    /// [`Fixture::pause`].
    Cancels,
    /// Of backends: a test can start its own server. See [`Fixture::own_server`] and
    /// [`Fixture::dial`].
    Restarts,
    /// Of backends: a server can become read-only. See [`Fixture::demote`] and
    /// [`Fixture::harmless`].
    Demotes,
    /// Of backends: statements are prepared and cached. See [`Fixture::statements`].
    Statements,
    /// Of backends: a password can come from a file. See [`Fixture::set_password`].
    Credentials,
    /// Of backends: a database can be in memory only. See [`Fixture::in_memory`].
    Memory,
    /// Of backends: one connection writes and others read. See [`Fixture::split`].
    Readers,
    /// Of pools: a connection has one borrower at a time.
    Exclusive,
    /// Of pools: a returned connection is lent again.
    Keeps,
}

impl Capability {
    /// Returns what stays untested for a manager that does not claim this, or `None` if only a
    /// backend or a pool can claim it.
    pub(crate) fn untested(self) -> Option<&'static str> {
        Some(match self {
            Self::PausedClock => "what happens over hours, or when a future is dropped anywhere",
            Self::Answers => "that an answer reaches only the caller that asked for it",
            Self::Dies => "that a ping detects a connection that the server has ended",
            Self::Dirty => "that what a borrower leaves on a connection is undone",
            Self::Counted => "that what is closed or cut off is closed at the server",
            Self::Away => "that a server that is away is tried again",
            Self::Refuses => "that a server that refuses permanently makes nobody wait",
            Self::Transactions => "that no open transaction reaches another borrower",
            Self::Streams => "that unread rows reach no other borrower",
            _ => return None,
        })
    }

    /// The capabilities that a manager can claim; any manager can have them.
    pub(crate) const OF_MANAGERS: [Self; 9] = [
        Self::PausedClock,
        Self::Answers,
        Self::Dies,
        Self::Dirty,
        Self::Counted,
        Self::Away,
        Self::Refuses,
        Self::Transactions,
        Self::Streams,
    ];
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without = match self {
            Self::PausedClock => "PausedClock: real I/O needs real time",
            Self::Answers => "Answers: a connection answers no queries",
            Self::Dies => "Dies: the server ends no connection by itself",
            Self::Dirty => "Dirty: a borrower leaves nothing on a connection",
            Self::Counted => "Counted: the server does not count its connections",
            Self::Away => "Away: the server is always there",
            Self::Refuses => "Refuses: the server refuses nobody permanently",
            Self::Transactions => "Transactions: there are none",
            Self::Streams => "Streams: every answer arrives as a whole",
            Self::Redis => "Redis: the server is not Redis",
            Self::Pools => "Pools: there is only a manager",
            Self::Session => "Session: a session has no state",
            Self::Network => "Network: there is no network to the server",
            Self::Cancels => "Cancels: no abandoned call is cancelled over another connection",
            Self::Restarts => "Restarts: there is no server to kill",
            Self::Demotes => "Demotes: every server accepts writes",
            Self::Statements => "Statements: no prepared statements are kept",
            Self::Credentials => "Credentials: there are no passwords",
            Self::Memory => "Memory: no database exists only in memory",
            Self::Readers => "Readers: every connection may write",
            Self::Exclusive => "Exclusive: connections are shared",
            Self::Keeps => "Keeps: no connection is lent twice",
        };
        f.write_str(without)
    }
}
