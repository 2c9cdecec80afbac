//! What an author brings along to have a manager tried, and what is claimed for it.

use millpond_core::{BoxError, Manager};
use std::fmt;
use std::future::Future;

/// Makes the manager that is to be tried. Where a manager is all there is, a closure will do:
/// `|| async { Tcp(address) }`.
///
/// A test calls [`manager`](Self::manager) once, on a runtime of its own. The other methods are called only if what they
/// stand for is claimed; a claim without its method fails.
pub trait Fixture: Send + Sync + 'static {
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

    /// Stands for [`Capability::Answers`]: asks over the connection for an answer that `number` alone has, and comes back
    /// with the number that the answer is of. `SELECT 4711`, `ECHO 4711`.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is dropped at every poll: the pool must cope with what is left of it.
    fn ask(&self, conn: &mut Connection<Self>, number: i64) -> impl Future<Output = Result<i64, BoxError>> + Send {
        let _ = (conn, number);
        async { Err(unclaimed("Answers", "ask")) }
    }

    /// Stands for [`Capability::Dies`]: has the server end this connection, and comes back when it has.
    ///
    /// # Errors
    ///
    /// If the server could not be asked.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn kill(&self, conn: &mut Connection<Self>) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Dies", "kill")) }
    }

    /// Stands for [`Capability::Transactions`]: executes a script, `BEGIN` included, past everything that would notice it.
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

    /// Stands for [`Capability::Transactions`]: begins a transaction as the driver does it, and leaves it open.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is dropped at every poll: the pool must cope with what is left of it.
    fn begin(&self, conn: &mut Connection<Self>) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Transactions", "begin")) }
    }

    /// Stands for [`Capability::Transactions`]: whether a transaction is open, as the server says it.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn is_in_transaction(&self, conn: &mut Connection<Self>) -> impl Future<Output = Result<bool, BoxError>> + Send {
        let _ = conn;
        async { Err(unclaimed("Transactions", "is_in_transaction")) }
    }

    /// Stands for [`Capability::Streams`]: asks for 5,000 rows, reads so many of them, and drops what would give the rest.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// It is not cancelled.
    fn fetch(&self, conn: &mut Connection<Self>, rows: usize) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (conn, rows);
        async { Err(unclaimed("Streams", "fetch")) }
    }

    /// Stands for [`Capability::Redis`]: sends a command as it is written, and comes back with its answer as text: nothing
    /// for nil. Words that begin with `key` are keys. What the driver refuses to send is an error.
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

    /// Stands for [`Capability::Redis`]: executes commands in one transaction; whether they were: not if a watched key has
    /// changed.
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
}

/// What a fixture's manager opens.
pub type Connection<F> = <<F as Fixture>::Manager as Manager>::Connection;

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

/// Something that not every manager or pool can do. A case that needs it is skipped where it is not claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Of managers: connections do no real I/O, so the clock can be paused and hours pass at once.
    PausedClock,
    /// Of managers: a connection can be asked for something. See [`Fixture::ask`].
    Answers,
    /// Of managers: the server can end a connection. See [`Fixture::kill`].
    Dies,
    /// Of managers: SQL with transactions. See [`Fixture::execute`], [`Fixture::begin`] and
    /// [`Fixture::is_in_transaction`].
    Transactions,
    /// Of managers: answers come row by row. See [`Fixture::fetch`].
    Streams,
    /// Of managers: Redis' commands, transactions and subscriptions. See [`Fixture::command`], [`Fixture::transact`] and
    /// [`Fixture::subscribe`].
    Redis,
    /// Of pools: a connection has one borrower at a time.
    Exclusive,
    /// Of pools: what comes back is lent again.
    Keeps,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without = match self {
            Self::PausedClock => "PausedClock: real I/O needs real time",
            Self::Answers => "Answers: a connection cannot be asked for anything",
            Self::Dies => "Dies: the server ends no connection by itself",
            Self::Transactions => "Transactions: there are none",
            Self::Streams => "Streams: an answer comes whole",
            Self::Redis => "Redis: it is no Redis",
            Self::Exclusive => "Exclusive: connections are shared",
            Self::Keeps => "Keeps: nothing is lent twice",
        };
        f.write_str(without)
    }
}
