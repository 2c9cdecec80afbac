//! A connection for one borrower: it may watch, block and subscribe, and knows what it has to undo.

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
use crate::failover_count::Epoch;
use crate::link::{Link, Manner};
use crate::subscription::{Message, Subscription};
use crate::value::{FromValue, Value};
#[cfg(feature = "fred")]
use fred::clients::Client;
use millpond_core::Triage;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A connection that one borrower has for itself.
///
/// It runs every command but those that would break the protocol; [`transaction`](Self::transaction) and
/// [`subscribe`](Self::subscribe) stand for MULTI and SUBSCRIBE. What a command leaves behind is undone before the next
/// borrower gets the connection, or the connection is closed:
///
/// | left behind | what happens on return |
/// |---|---|
/// | nothing | it goes back at once |
/// | WATCH, SELECT, a command cut off before its answer | undone, and a nonce echoed, before it is lent again |
/// | a blocking command cut off, a subscription, AUTH, CLIENT settings, use of the driver's own client | closed |
/// | a timeout, a lost connection | closed |
pub struct RedisConnection {
    link: Link,
    epoch: Epoch,
    options: Arc<RedisConnectOptions>,
    session: Session,
    subscription: Option<Subscription>,
    #[cfg(feature = "fred")]
    fred: Option<FredClient>,
    /// Whether it was led back to the database of the URL, where a hook may have led it elsewhere.
    led_back: bool,
}

/// What a borrower has done to the session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Session {
    /// Keys are watched, and in a cluster there.
    watched: Option<Slot>,
    /// Where the last command was sent.
    last: Option<Slot>,
    /// Another database is talked to.
    selected: bool,
    /// Something was changed that only a new connection has not.
    lasting: bool,
    /// The connection cannot be lent again.
    spoilt: bool,
    /// Somebody had the driver's own client.
    shown: bool,
    flight: Flight,
}

/// What is under way. It stays so if the future is dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Flight {
    #[default]
    None,
    Plain,
    Blocking,
}

impl RedisConnection {
    pub(crate) fn new(link: Link, epoch: Epoch, options: Arc<RedisConnectOptions>) -> Self {
        Self {
            link,
            epoch,
            options,
            session: Session::default(),
            subscription: None,
            #[cfg(feature = "fred")]
            fred: None,
            led_back: false,
        }
    }

    /// Runs a command.
    ///
    /// A command that blocks at the server has its own wait in addition to the limit; it must name one, since 0 would wait
    /// for ever on a server that is gone.
    ///
    /// # Errors
    ///
    /// A [`RedisError`]: [`is_ambiguous`](RedisError::is_ambiguous) says whether it may have been executed.
    ///
    /// # Cancel safety
    ///
    /// A command that was sent is executed; its answer reaches nobody. If it blocks at the server the connection is closed
    /// on return, since an element that it takes would be lost.
    pub async fn run<T: FromValue>(&mut self, command: Command) -> Result<T, RedisError> {
        let mut command = command;
        let (effect, manner) = self.begin(&mut command)?;
        let outcome = self.link.call(command, manner).await;
        T::from_value(self.end(effect, outcome)?)
    }

    /// Notes what a command may do before it is sent: it may take effect without our hearing of it.
    fn begin(&mut self, command: &mut Command) -> Result<(Effect, Manner), RedisError> {
        let effect = effect(command);
        let refused = |reason| Err(RedisError::Refused { command: command.name().to_owned(), reason });
        let manner = match effect {
            Effect::Refused(reason) => return refused(reason),
            Effect::Blocks(Wait::Forever) => return refused("0 would wait for ever: say how long, and ask again"),
            Effect::Blocks(Wait::For(wait)) => Manner::Blocking(wait),
            Effect::Watch | Effect::Unwatch | Effect::Select | Effect::Lasting | Effect::None => Manner::Plain,
        };
        match effect {
            Effect::Watch => self.watch(command.slot),
            Effect::Unwatch => command.slot = self.session.watched.unwrap_or(Slot::Any),
            Effect::Select => self.session.selected = true,
            Effect::Lasting => self.session.lasting = true,
            _ => {}
        }
        self.session.last = Some(command.slot);
        self.session.flight = if manner == Manner::Plain { Flight::Plain } else { Flight::Blocking };
        Ok((effect, manner))
    }

    /// Notes what has become of it.
    fn end(&mut self, effect: Effect, outcome: Result<Value, RedisError>) -> Result<Value, RedisError> {
        self.session.flight = Flight::None;
        if effect == Effect::Unwatch && outcome.is_ok() {
            self.session.watched = None;
        }
        self.judge(outcome)
    }

    /// Runs commands as one transaction (MULTI, EXEC), sent as a whole: all of them or none. `None` if a key that was
    /// WATCHed has changed since.
    ///
    /// # Errors
    ///
    /// The first command's that failed. If the server refused it when it was queued (`EXECABORT`) nothing was executed;
    /// else the others were.
    ///
    /// # Cancel safety
    ///
    /// A transaction that was sent is executed; its answers reach nobody.
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
        self.session.last = commands.first().map(|command| command.slot);
        self.session.flight = Flight::Plain;
        let outcome = self.link.transaction(commands).await;
        self.session.flight = Flight::None;
        let value = self.judge(outcome)?;
        // EXEC forgets what was watched, whatever comes of it.
        self.session.watched = None;
        if value == Value::Nil { Ok(None) } else { T::from_value(value).map(Some) }
    }

    /// Subscribes to channels: what is published from then on arrives. In a cluster channels that begin with `__key`, which tell
    /// what happens to keys, are listened to at every master, all others at one. Commands may be run still, if the server
    /// knows the third version of the protocol; their answers have its forms from then on (`HGETALL` is a map). From now on the connection serves
    /// [`message`](Self::message); it is closed on return.
    ///
    /// # Errors
    ///
    /// A [`RedisError`].
    ///
    /// # Cancel safety
    ///
    /// The connection may be subscribed or not; it is closed on return.
    pub async fn subscribe(&mut self, channels: impl IntoIterator<Item = impl Argument>) -> Result<(), RedisError> {
        self.listen(Command::new("SUBSCRIBE").args(channels)).await
    }

    /// Subscribes to the channels that fit a pattern, as [`subscribe`](Self::subscribe) does.
    ///
    /// # Errors
    ///
    /// A [`RedisError`].
    ///
    /// # Cancel safety
    ///
    /// As [`subscribe`](Self::subscribe).
    pub async fn psubscribe(&mut self, patterns: impl IntoIterator<Item = impl Argument>) -> Result<(), RedisError> {
        self.listen(Command::new("PSUBSCRIBE").args(patterns)).await
    }

    /// The next message, or `None` if none came within the limit. A server that is gone without a word is silent too:
    /// subscribe anew now and then, on another connection.
    ///
    /// # Errors
    ///
    /// [`RedisError::Lost`] when the connection is gone, [`RedisError::Lagged`] when messages were dropped because more
    /// than 1,024 waited, [`RedisError::Refused`] without a subscription.
    ///
    /// # Cancel safety
    ///
    /// No message is lost.
    pub async fn message(&mut self, limit: Duration) -> Result<Option<Message>, RedisError> {
        let Some(subscription) = &mut self.subscription else {
            let reason = "nothing is subscribed to";
            return Err(RedisError::Refused { command: "message".to_owned(), reason });
        };
        subscription.next(limit).await
    }

    /// fred's own client, for what is not offered here; `None` over another [`Driver`], or if its settings cannot be (the
    /// certificates of its authority, for example).
    ///
    /// It is a connection beside this one, opened when it is first asked for, and not counted by `max_connections`: its
    /// session is another one, and its commands wait until it is there. It reads answers by fred's own rules, by which a list
    /// that looks like a message is one. This connection is closed on return, and the client with it; a clone that outlives
    /// the lease is told as the reason [`Escaped`](millpond_core::CloseReason::HandleLeaked).
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

    /// How many sockets it has, or may come to have: 1, in a cluster one for each master.
    pub fn sockets(&self) -> usize {
        self.link.sockets()
    }

    pub(crate) async fn ping(&mut self) -> Result<(), RedisError> {
        if self.epoch.is_over() {
            return Err(RedisError::Lost { reason: "it was opened before a failover".to_owned() });
        }
        let nonce = fastrand::u64(..).to_string();
        let outcome = self.run::<Value>(Command::new("PING").arg(&nonce)).await;
        crate::link::proves_life(outcome, &nonce).inspect_err(|_| self.session.spoilt = true)
    }

    /// Whether it may be lent as far as this side knows.
    pub(crate) fn is_fit(&self) -> bool {
        !self.link.is_dead() && !self.epoch.is_over() && !self.session.spoilt
    }

    /// Whether somebody else has a handle to it.
    pub(crate) fn has_escaped(&self) -> bool {
        #[cfg(feature = "fred")]
        return self.fred.as_ref().is_some_and(FredClient::has_escaped);
        #[cfg(not(feature = "fred"))]
        false
    }

    /// What has to be done with it when it comes back.
    pub(crate) fn triage(&self) -> Triage {
        let Session { watched, selected, lasting, shown, flight, .. } = self.session;
        let is_changed = lasting || shown || self.subscription.is_some() || flight == Flight::Blocking;
        if is_changed || !self.is_fit() || self.link.is_large() {
            Triage::Discard
        } else if watched.is_some() || selected || flight == Flight::Plain {
            Triage::Reset
        } else {
            Triage::Keep
        }
    }

    /// Makes what was done up to now the state that every borrower finds: the `on_connect` hooks have run.
    pub(crate) fn set_up(&mut self) {
        (self.session.selected, self.session.lasting) = (false, false);
    }

    /// Undoes what a borrower has left, and proves that the connection is in step.
    ///
    /// # Errors
    ///
    /// Then it must be closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection must be closed.
    pub(crate) async fn restore(&mut self) -> Result<(), RedisError> {
        self.session.spoilt = true;
        if let Some(slot) = self.session.watched {
            self.link.call(Command { slot, ..Command::new("UNWATCH") }, Manner::Plain).await?;
        }
        if self.session.selected {
            self.link.call(Command::new("SELECT").arg(u32::from(self.options.database)), Manner::Plain).await?;
        }
        let nonce = fastrand::u64(..).to_string();
        // Of the node that may still owe an answer.
        let slot = self.session.last.unwrap_or(Slot::Any);
        let echo = self.link.call(Command { slot, ..Command::new("ECHO").arg(&nonce) }, Manner::Plain).await?;
        if String::from_value(echo)? != nonce {
            return Err(RedisError::Lost { reason: "it is out of step with the server".to_owned() });
        }
        self.led_back = self.session.selected;
        self.session = Session::default();
        Ok(())
    }

    /// Whether the last [`restore`](Self::restore) has undone what an `on_connect` hook may have done.
    pub(crate) fn take_led_back(&mut self) -> bool {
        std::mem::take(&mut self.led_back)
    }

    /// Gives it up. Its sockets are closed when the future has ended.
    pub(crate) async fn close(mut self) {
        self.link.abort();
        self.link.lost().await;
    }

    /// Notes where keys are watched. At two places in a cluster it is too much to undo.
    fn watch(&mut self, slot: Slot) {
        self.session.spoilt |= self.session.watched.is_some_and(|other| other != slot) && self.link.is_cluster();
        self.session.watched = Some(slot);
    }

    async fn listen(&mut self, command: Command) -> Result<(), RedisError> {
        if command.args.len() == 0 {
            let reason = "it names no channel";
            return Err(RedisError::Refused { command: command.name().to_owned(), reason });
        }
        self.session.spoilt = true;
        let subscription = self.subscription.get_or_insert_default();
        self.link.subscribe(&command, subscription).await
    }

    /// Notes what an answer says about the connection.
    fn judge(&mut self, outcome: Result<Value, RedisError>) -> Result<Value, RedisError> {
        if let Err(error) = &outcome {
            self.session.spoilt |= error.ends_the_connection();
            if error.tells_of_a_failover() {
                self.epoch.end();
            }
        }
        outcome
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConnection").field("session", &self.session).finish_non_exhaustive()
    }
}
