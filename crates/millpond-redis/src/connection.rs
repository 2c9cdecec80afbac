//! A connection for one borrower at a time. It may watch, block and subscribe, and tracks what must
//! be undone afterwards.

use crate::command::Command;
use crate::command::argument::Argument;
use crate::command::effects::{Effect, Wait, effect};
use crate::command::slot::Slot;
#[cfg(feature = "fred")]
use crate::connect::options::Driver;
use crate::connect::options::RedisConnectOptions;
#[cfg(feature = "fred")]
use crate::driver::fred::client::FredClient;
use crate::error::RedisError;
use crate::failover_count::FailoverCount;
use crate::link::{Blocking, Link, Masters, verify_pong};
use crate::subscription::{Message, Subscription};
use crate::value::{FromValue, Value};
#[cfg(feature = "fred")]
use fred::clients::Client;
use millpond_core::Triage;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const AUTH_IN_CLUSTER: &str = "in a cluster it would reach one node only: give user and password \
    in the URL or by `RedisConnectOptions::login`, in a pool for each user";

/// An exclusive connection: one borrower has it at a time.
///
/// It runs every command except those that would break the protocol.
/// [`transaction`](Self::transaction) and [`subscribe`](Self::subscribe) replace MULTI and
/// SUBSCRIBE. What a borrower leaves behind is undone before the connection is lent again, or the
/// connection is closed:
///
/// | left behind | what happens on return |
/// |---|---|
/// | nothing | it is idle at once |
/// | WATCH, SELECT, a command dropped before its answer | undone and verified by a PING with a nonce |
/// | a blocking command that was dropped, a subscription, AUTH, CLIENT settings, use of fred's client | closed |
/// | a timeout, a lost connection | closed |
///
/// In a cluster AUTH is refused, since it would concern one of several sockets: the user belongs in
/// the URL or in [`RedisConnectOptions::login`].
pub struct RedisConnection {
    link: Link,
    failovers: FailoverCount,
    options: Arc<RedisConnectOptions>,
    session: Session,
    subscription: Option<Subscription>,
    /// The masters that keyspace notifications are expected of, in a cluster.
    masters: Option<Masters>,
    #[cfg(feature = "fred")]
    fred: Option<FredClient>,
    /// Whether the last reset selected the database of the URL, where a hook may have chosen
    /// another.
    database_restored: bool,
}

/// What the borrower has done to the session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Session {
    /// The slot of the watched keys, if there are any.
    watched: Option<Slot>,
    /// The slot of the last command.
    last: Option<Slot>,
    /// Another database is selected.
    selected: bool,
    /// State was changed that only a new connection clears.
    lasting: bool,
    /// The connection cannot be lent again.
    spoilt: bool,
    /// fred's own client was handed out.
    shown: bool,
    flight: Flight,
}

/// The command under way. It stays noted if its future is dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Flight {
    #[default]
    None,
    Plain,
    Blocking,
}

impl RedisConnection {
    pub(crate) fn new(
        link: Link,
        failovers: FailoverCount,
        options: Arc<RedisConnectOptions>,
    ) -> Self {
        Self {
            link,
            failovers,
            options,
            session: Session::default(),
            subscription: None,
            masters: None,
            #[cfg(feature = "fred")]
            fred: None,
            database_restored: false,
        }
    }

    /// Runs a command.
    ///
    /// A blocking command may block for as long as its timeout says, in addition to the limit. A
    /// timeout of 0 is refused: it would block without a limit.
    ///
    /// # Errors
    ///
    /// A [`RedisError`]: [`is_ambiguous`](RedisError::is_ambiguous) says whether it may have been
    /// executed.
    ///
    /// # Cancel safety
    ///
    /// A command that was sent is executed; its answer is discarded. If it blocks at the server,
    /// the connection is closed on return, since an element that it takes would be lost.
    pub async fn run<T: FromValue>(&mut self, command: Command) -> Result<T, RedisError> {
        let mut command = command;
        T::from_value(self.send(&mut command).await?)
    }

    pub(crate) async fn send(&mut self, command: &mut Command) -> Result<Value, RedisError> {
        let (effect, blocking) = self.begin(command)?;
        let outcome = self.link.call(command, blocking).await;
        let is_failover = self.link.is_failover(&outcome, || command.role()).await;
        self.session.flight = Flight::None;
        if effect == Effect::Unwatch && outcome.is_ok() {
            self.session.watched = None;
        }
        self.judge(outcome, is_failover)
    }

    /// Notes the effect of a command before it is sent: it may be executed without an answer.
    fn begin(&mut self, command: &mut Command) -> Result<(Effect, Blocking), RedisError> {
        let effect = effect(command);
        let refused =
            |reason| Err(RedisError::Refused { command: command.name().to_owned(), reason });
        let blocking = match effect {
            Effect::Refused(reason) => return refused(reason),
            Effect::Lasting if self.link.is_cluster() && command.name() == "AUTH" => {
                return refused(AUTH_IN_CLUSTER);
            }
            Effect::Blocks(Wait::Forever) => {
                return refused("0 would wait for ever: say how long, and ask again");
            }
            Effect::Blocks(Wait::For(wait)) => Blocking::For(wait),
            Effect::Watch | Effect::Unwatch | Effect::Select | Effect::Lasting | Effect::None => {
                Blocking::No
            }
        };
        self.note_cut_off_watch();
        match effect {
            Effect::Watch => self.watch(command.slot),
            Effect::Unwatch => command.slot = self.session.watched.unwrap_or(Slot::Any),
            Effect::Select => self.session.selected = true,
            Effect::Lasting => self.session.lasting = true,
            _ => {}
        }
        self.session.last = Some(command.slot);
        self.session.flight =
            if blocking == Blocking::No { Flight::Plain } else { Flight::Blocking };
        Ok((effect, blocking))
    }

    /// Runs commands as one transaction (MULTI, EXEC), sent as one write. Returns `None` if a
    /// watched key has changed, so that nothing was executed. Its limit is the longest of those of
    /// its commands.
    ///
    /// # Errors
    ///
    /// The error of the first command that failed. If the server refused to queue it (`EXECABORT`),
    /// nothing was executed; otherwise the other commands were.
    ///
    /// # Cancel safety
    ///
    /// A transaction that was sent is executed; its answers are discarded.
    pub async fn transaction<T: FromValue>(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<Option<T>, RedisError> {
        let commands: Vec<Command> = commands.into_iter().collect();
        for command in &commands {
            if effect(command) != Effect::None {
                let reason = "it changes or blocks the session, which a transaction cannot undo";
                return Err(RedisError::Refused { command: command.name().to_owned(), reason });
            }
        }
        if commands.is_empty() {
            let reason = "a transaction needs a command";
            return Err(RedisError::Refused { command: "EXEC".to_owned(), reason });
        }
        self.note_cut_off_watch();
        self.session.last = commands.first().map(|command| command.slot);
        self.session.flight = Flight::Plain;
        let role = commands.iter().find_map(Command::role);
        let outcome = self.link.transaction(commands).await;
        let is_failover = self.link.is_failover(&outcome, || role).await;
        self.session.flight = Flight::None;
        let value = self.judge(outcome, is_failover)?;
        // EXEC ends the watch, whatever its outcome.
        self.session.watched = None;
        if value == Value::Nil { Ok(None) } else { T::from_value(value).map(Some) }
    }

    /// Subscribes to channels, for [`message`](Self::message). In a cluster, channels that begin
    /// with `__key` (keyspace notifications) are subscribed to at every master, all others at one.
    /// If the server speaks RESP3, commands may still be run. The connection is closed on return.
    ///
    /// # Errors
    ///
    /// A [`RedisError`].
    ///
    /// # Cancel safety
    ///
    /// The connection may be subscribed or not; it is closed on return.
    pub async fn subscribe(
        &mut self,
        channels: impl IntoIterator<Item = impl Argument>,
    ) -> Result<(), RedisError> {
        self.listen(Command::new("SUBSCRIBE").args(channels)).await
    }

    /// Subscribes to the channels that match patterns, as [`subscribe`](Self::subscribe) does.
    ///
    /// # Errors
    ///
    /// A [`RedisError`].
    ///
    /// # Cancel safety
    ///
    /// As [`subscribe`](Self::subscribe).
    pub async fn psubscribe(
        &mut self,
        patterns: impl IntoIterator<Item = impl Argument>,
    ) -> Result<(), RedisError> {
        self.listen(Command::new("PSUBSCRIBE").args(patterns)).await
    }

    /// Waits for the next message. Returns `None` if none arrives within the limit. A server that
    /// has vanished is silent as well: TCP keepalive ends the connection then.
    ///
    /// # Errors
    ///
    /// [`RedisError::Lost`] when the connection has ended, or when a cluster has a new master whose
    /// keyspace notifications were subscribed to at its predecessor; [`RedisError::Lagged`] when
    /// messages were dropped because more than 1,024 waited; [`RedisError::Refused`] without a
    /// subscription.
    ///
    /// # Cancel safety
    ///
    /// No message is lost.
    pub async fn message(&mut self, limit: Duration) -> Result<Option<Message>, RedisError> {
        let Some(subscription) = &mut self.subscription else {
            let reason = "nothing is subscribed to";
            return Err(RedisError::Refused { command: "message".to_owned(), reason });
        };
        self.link.message(subscription, &mut self.masters, limit).await
    }

    /// Returns fred's own client, for what is not offered here. Returns `None` over another
    /// [`Driver`], or if the client cannot be set up (because its certificates cannot be read, or
    /// because of sentinels of which only they or only their master are encrypted).
    ///
    /// The client has a connection of its own, opened at the first call and not counted by
    /// `max_connections`; its commands wait until that is open. It reads answers by fred's own
    /// rules: a list that looks like a message is one. This connection is closed on return, and the
    /// client with it; if a clone of the client still exists, the reason is
    /// [`HandleLeaked`](millpond_core::CloseReason::HandleLeaked).
    #[cfg(feature = "fred")]
    pub fn driver(&mut self) -> Option<&Client> {
        if self.options.driver != Driver::Fred {
            return None;
        }
        self.session.shown = true;
        if self.fred.is_none() {
            self.fred = FredClient::open(&self.options).ok();
        }
        self.fred.as_ref().map(FredClient::client)
    }

    /// The most sockets that it has: 1, in a cluster one for each master.
    pub fn sockets(&self) -> usize {
        self.link.sockets()
    }

    pub(crate) async fn ping(&mut self) -> Result<(), RedisError> {
        if self.failovers.is_outdated() {
            return Err(RedisError::Lost { reason: "it was opened before a failover".to_owned() });
        }
        let nonce = fastrand::u64(..).to_string();
        let outcome = self.run::<Value>(Command::new("PING").arg(&nonce)).await;
        verify_pong(outcome, &nonce).inspect_err(|_| self.session.spoilt = true)
    }

    /// Returns whether it may be lent, as far as is known here.
    pub(crate) fn is_fit(&self) -> bool {
        !self.link.is_dead() && !self.failovers.is_outdated() && !self.session.spoilt
    }

    /// Returns whether a clone of fred's client exists outside.
    pub(crate) fn has_escaped(&self) -> bool {
        #[cfg(feature = "fred")]
        return self.fred.as_ref().is_some_and(FredClient::has_escaped);
        #[cfg(not(feature = "fred"))]
        false
    }

    /// Returns what to do with the connection on return.
    pub(crate) fn triage(&self) -> Triage {
        let Session { watched, selected, lasting, shown, flight, .. } = self.session;
        let is_lost = flight == Flight::Blocking || self.may_have_lost_a_watch();
        let is_changed = lasting || shown || self.subscription.is_some() || is_lost;
        if is_changed || !self.is_fit() || self.link.is_large() {
            Triage::Discard
        } else if watched.is_some() || selected || flight == Flight::Plain {
            Triage::Reset
        } else {
            Triage::Keep
        }
    }

    /// Takes the present session for the one that every borrower finds: the `on_connect` hooks have
    /// run.
    pub(crate) fn set_up(&mut self) {
        (self.session.selected, self.session.lasting) = (false, false);
    }

    /// Undoes what the borrower has left behind, and verifies that the connection is in sync.
    ///
    /// # Errors
    ///
    /// The connection must be closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection must be closed.
    pub(crate) async fn restore(&mut self) -> Result<(), RedisError> {
        self.session.spoilt = true;
        if let Some(slot) = self.session.watched {
            let unwatch = Command { slot, ..Command::new("UNWATCH") };
            self.link.call(&unwatch, Blocking::No).await?;
        }
        if self.session.selected {
            let select = Command::new("SELECT").arg(u32::from(self.options.database));
            self.link.call(&select, Blocking::No).await?;
        }
        let nonce = fastrand::u64(..).to_string();
        // Ask the node that may still owe an answer.
        let slot = self.session.last.unwrap_or(Slot::Any);
        let ping = Command { slot, ..Command::new("PING").arg(&nonce) };
        let pong = self.link.call(&ping, Blocking::No).await;
        // An error may be the answer to what was cut off.
        if self.session.flight == Flight::Plain && pong.is_err() {
            return pong.map(drop);
        }
        verify_pong(pong, &nonce)?;
        self.database_restored = self.session.selected;
        self.session = Session::default();
        Ok(())
    }

    /// Returns whether the last [`restore`](Self::restore) has undone what an `on_connect` hook may
    /// have done.
    pub(crate) fn take_database_restored(&mut self) -> bool {
        std::mem::take(&mut self.database_restored)
    }

    /// Closes the connection. Its sockets are closed when the future completes.
    pub(crate) async fn close(mut self) {
        self.link.abort();
        self.link.lost().await;
    }

    /// Returns whether the last command may be a WATCH that was cut off: in a cluster it is then
    /// not known which node has it.
    fn may_have_lost_a_watch(&self) -> bool {
        let Session { flight, watched, .. } = self.session;
        flight != Flight::None && watched.is_some() && self.link.is_cluster()
    }

    /// Notes that a WATCH may have been cut off, before the next command replaces it as the last.
    fn note_cut_off_watch(&mut self) {
        self.session.spoilt |= self.may_have_lost_a_watch();
    }

    /// Notes the slot of watched keys. Two of them in a cluster cannot be undone.
    fn watch(&mut self, slot: Slot) {
        self.session.spoilt |=
            self.session.watched.is_some_and(|other| other != slot) && self.link.is_cluster();
        self.session.watched = Some(slot);
    }

    async fn listen(&mut self, command: Command) -> Result<(), RedisError> {
        if command.args.len() == 0 {
            let reason = "it names no channel";
            return Err(RedisError::Refused { command: command.name().to_owned(), reason });
        }
        self.session.spoilt = true;
        let subscription = self.subscription.get_or_insert_default();
        self.link.subscribe(&command, subscription, &mut self.masters).await
    }

    /// Notes what an outcome says about the connection.
    fn judge(
        &mut self,
        outcome: Result<Value, RedisError>,
        is_failover: bool,
    ) -> Result<Value, RedisError> {
        self.session.spoilt |=
            is_failover || outcome.as_ref().is_err_and(RedisError::ends_the_connection);
        if is_failover {
            self.failovers.record();
        }
        outcome
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConnection").field("session", &self.session).finish_non_exhaustive()
    }
}
