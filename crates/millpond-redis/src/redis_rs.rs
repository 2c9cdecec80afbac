//! A connection over redis-rs: one socket, in a cluster one to each node that it is used for.
//!
//! redis-rs' own cluster client looks for lost nodes while everybody waits, repeats what had no answer, and does not look at
//! all for a node that is merely silent. So only its multiplexed connection is used here, and the way through the cluster is
//! ours: what happens to one node concerns those who ask for its keys, and nobody else.
//!
//! # Invariants
//!
//! 1. Whoever drops a link closes its sockets.
//! 2. A command is sent again only after an answer that says that it was not executed.
//! 3. A socket of a connection for one borrower is never dialled again: a WATCH would be lost unnoticed.

mod hub;
mod slots;
mod socket;

pub(crate) use hub::Hub;

use crate::command::{ClusterNode, Command, Slot};
use crate::connect_options::{Deployment, Login, Node};
use crate::deadlines;
use crate::drivers::{Manner, Use, within};
use crate::error::RedisError;
use crate::value::{FromValue, Value};
use fred::types::config::Server;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use socket::{Place, Socket, error_in};
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

/// How often one command is redirected.
const REDIRECTIONS_MAX: u32 = 16;

/// The pause before a second and further redirection: a slot changes hands, or some of the keys have moved and others not.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection.
pub(crate) struct RedisRsLink {
    hub: Arc<Hub>,
    sockets: Sockets,
    /// Whether lost nodes are dialled again.
    heals: bool,
    aborted: AtomicBool,
    /// Where keys are watched.
    watched: Mutex<Option<Arc<Node>>>,
}

/// The sockets of a connection.
enum Sockets {
    One(Socket),
    /// Dialled when they are needed.
    Cluster(Mutex<HashMap<Arc<Node>, Dialled>>),
}

/// A socket that one caller dials while others wait for it.
type Dialled = Arc<OnceCell<Arc<Socket>>>;

/// How long a command may take, and has taken.
struct Clock {
    since: Instant,
    limit: Duration,
}

impl Clock {
    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.since.elapsed())
    }

    fn ran_out(&self, command: &Command) -> RedisError {
        RedisError::TimedOut { command: command.name().to_owned(), limit: self.limit }
    }
}

impl RedisRsLink {
    /// Connects; in a cluster to one of its nodes.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt.
    pub(crate) async fn open(hub: &Arc<Hub>, purpose: Use, limit: Duration) -> Result<Self, RedisError> {
        let options = hub.options();
        let limit = limit.min(options.command_timeout);
        let sockets = match &options.deployment {
            Deployment::Single(node) => Sockets::One(hub.dial(node, limit).await?),
            Deployment::Unix(path) => {
                Sockets::One(Socket::dial(Place::Unix(path), &options.login, options, limit).await?)
            }
            Deployment::Sentinel { nodes, service, login } => {
                let master = master(hub, nodes, service, login, limit).await?;
                Sockets::One(master)
            }
            Deployment::Cluster(_) => Sockets::Cluster(Mutex::default()),
        };
        let heals = purpose == Use::Shared && options.is_cluster();
        let (aborted, watched) = (AtomicBool::new(false), Mutex::default());
        let link = Self { hub: Arc::clone(hub), sockets, heals, aborted, watched };
        if link.is_cluster() {
            let entering = link.enter(limit);
            let late = || RedisError::TimedOut { command: "the handshake".to_owned(), limit };
            within(limit, entering).await.ok_or_else(late)??;
        }
        Ok(link)
    }

    /// Learns who owns what, unless it is known, and finds a node that answers.
    async fn enter(&self, limit: Duration) -> Result<(), RedisError> {
        if self.hub.owners().is_empty() {
            self.hub.learn().await?;
        }
        let mut last = Err(RedisError::Lost { reason: "no node of the cluster answers".to_owned() });
        for node in self.hub.owners() {
            last = self.socket(&node, limit).await.map(drop);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// Whether the connection is lost, as far as this side knows.
    pub(crate) fn is_dead(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
            || match &self.sockets {
                Sockets::One(socket) => socket.is_dead(),
                Sockets::Cluster(_) => !self.heals && self.open_sockets(Socket::is_dead).contains(&true),
            }
    }

    /// Ends when it is closed.
    pub(crate) async fn lost(&mut self) {
        join_all(self.open_sockets(Socket::closed)).await;
    }

    /// Gives the connection up: its sockets close.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        self.open_sockets(Socket::abort);
    }

    /// The limit of a command that has none of its own.
    pub(crate) fn limit(&self) -> Duration {
        self.hub.options().command_timeout
    }

    /// Whether it leads to a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.sockets, Sockets::Cluster(_))
    }

    /// The masters.
    pub(crate) fn nodes(&self) -> Vec<ClusterNode> {
        match &self.sockets {
            // Whatever it is called: there is no other.
            Sockets::One(_) => vec![ClusterNode(Server::new("", 0))],
            Sockets::Cluster(_) => {
                self.hub.owners().iter().map(|node| ClusterNode(Server::new(node.host.as_str(), node.port))).collect()
            }
        }
    }

    /// How many sockets it may come to have.
    pub(crate) fn sockets(&self) -> usize {
        self.nodes().len()
    }

    /// Sends a command to where its keys are, and waits for its answer.
    ///
    /// # Errors
    ///
    /// An error of the server's is one here; `MOVED` if a slot is still moving in the end.
    ///
    /// # Cancel safety
    ///
    /// What was sent is executed; its answer is read and thrown away.
    pub(crate) async fn call(&self, command: Command, manner: Manner) -> Result<Value, RedisError> {
        let limit = command.limit.unwrap_or(self.limit());
        let limit = if let Manner::Blocking(wait) = manner { limit.saturating_add(wait) } else { limit };
        let clock = Clock { since: Instant::now(), limit };
        match &self.sockets {
            Sockets::One(socket) => self.send(socket, None, &command, &clock, socket.send(&command)).await,
            // Its future has some kilobytes.
            Sockets::Cluster(_) => Box::pin(self.follow(&command, &clock)).await,
        }
    }

    /// Sends commands as one transaction. The answer is nil if a watched key has changed.
    ///
    /// # Errors
    ///
    /// The first error of the server's.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call): all of it is executed, or nothing.
    pub(crate) async fn transaction(&self, commands: Vec<Command>) -> Result<Value, RedisError> {
        let clock = Clock { since: Instant::now(), limit: self.limit() };
        let exec = Command { slot: common_slot(&commands), ..Command::new("EXEC") };
        let all: Vec<Command> = [vec![Command::new("MULTI")], commands, vec![exec.clone()]].concat();
        let answers = match &self.sockets {
            Sockets::One(socket) => self.send(socket, None, &exec, &clock, socket.pipeline(&all)).await?,
            Sockets::Cluster(_) => {
                let (node, watched) = (self.place_of(&exec)?, self.watched());
                // What is watched elsewhere would not be noticed here.
                if watched.is_some_and(|watched| watched != node) {
                    return Err(RedisError::moving());
                }
                let socket = self.socket(&node, clock.left()).await?;
                self.send(&socket, Some(&node), &exec, &clock, socket.pipeline(&all)).await?
            }
        };
        let inner = if let Some(Value::List(inner)) = answers.last() { &inner[..] } else { &[] };
        match answers.iter().chain(inner).find_map(error_in) {
            Some(error) if error.is_moving() => {
                if let Some(Redirection::Moved(slot, node)) = redirection(&error, "") {
                    self.hub.moved(slot, &Arc::new(node));
                }
                Err(RedisError::moving())
            }
            Some(error) => Err(error),
            None => {
                self.watch(None);
                Ok(answers.into_iter().next_back().unwrap_or(Value::Nil))
            }
        }
    }

    /// Goes where the cluster sends it.
    async fn follow(&self, command: &Command, clock: &Clock) -> Result<Value, RedisError> {
        let (mut node, mut asking) = (self.place_of(command)?, false);
        for attempt in 0..REDIRECTIONS_MAX {
            if attempt > 1 {
                sleep(PAUSE.min(clock.left())).await;
            }
            let outcome = self.ask(&node, command, asking, clock).await;
            let next = outcome.as_ref().err().and_then(|error| redirection(error, &node.host));
            (node, asking) = match next {
                Some(Redirection::Moved(slot, to)) => {
                    let to = Arc::new(to);
                    self.hub.moved(slot, &to);
                    (to, false)
                }
                Some(Redirection::Ask(to)) => (Arc::new(to), true),
                Some(Redirection::Again) => (self.place_of(command)?, false),
                None => {
                    match command.name() {
                        "WATCH" if outcome.is_ok() => self.watch(Some(node)),
                        "UNWATCH" if outcome.is_ok() => self.watch(None),
                        _ => {}
                    }
                    return outcome;
                }
            };
        }
        Err(RedisError::moving())
    }

    /// Sends a command to a node. Where the slot is just arriving, it has to be asked for in the same breath.
    async fn ask(&self, node: &Arc<Node>, command: &Command, asking: bool, clock: &Clock) -> Result<Value, RedisError> {
        let socket = self.socket(node, clock.left()).await?;
        if !asking {
            return self.send(&socket, Some(node), command, clock, socket.send(command)).await;
        }
        let both = [Command::new("ASKING"), command.clone()];
        let answers = self.send(&socket, Some(node), command, clock, socket.pipeline(&both)).await?;
        let answer = answers.into_iter().next_back().unwrap_or(Value::Nil);
        error_in(&answer).map_or(Ok(answer), Err)
    }

    /// Waits for an answer as long as there is time. A socket on which none has come in the meantime, to nobody, is given up.
    async fn send<T>(
        &self,
        socket: &Socket,
        node: Option<&Arc<Node>>,
        command: &Command,
        clock: &Clock,
        sending: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let (before, left) = (socket.answers(), clock.left());
        if let Some(outcome) = deadlines::within(left, pin!(sending)).await {
            return outcome;
        }
        if socket.answers() == before && left >= self.limit() / 2 {
            socket.abort();
            if let Some(node) = node {
                self.hub.suspect(node);
            }
        }
        Err(clock.ran_out(command))
    }

    /// Where a command is sent at first.
    fn place_of(&self, command: &Command) -> Result<Arc<Node>, RedisError> {
        if let Some(ClusterNode(server)) = &command.node {
            return Ok(Arc::new(Node { host: server.host.to_string(), port: server.port }));
        }
        let known = match command.slot {
            Slot::Several => return Err(RedisError::CrossSlot { command: command.name().to_owned() }),
            Slot::One(_) if command.name() == "UNWATCH" => self.watched(),
            Slot::One(slot) => self.hub.owner(slot),
            Slot::Any => None,
        };
        // Whoever answers knows better.
        let any = || self.hub.owners().into_iter().find(|node| !self.hub.is_down(node));
        known.or_else(any).ok_or_else(|| RedisError::Lost { reason: "no node of the cluster answers".to_owned() })
    }

    /// The socket to a node of a cluster, dialled if need be.
    async fn socket(&self, node: &Arc<Node>, limit: Duration) -> Result<Arc<Socket>, RedisError> {
        let lost = |reason: String| RedisError::Lost { reason };
        let Sockets::Cluster(sockets) = &self.sockets else { return Err(lost("it is no cluster".to_owned())) };
        if self.aborted.load(Ordering::Acquire) {
            return Err(lost("it was given up".to_owned()));
        }
        if self.hub.is_down(node) {
            return Err(lost(format!("{}:{} does not answer", node.host, node.port)));
        }
        let dialled = {
            let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            let dialled = sockets.entry(Arc::clone(node)).or_default();
            if dialled.get().is_some_and(|socket| socket.is_dead()) {
                if !self.heals {
                    return Err(lost("the server has closed it".to_owned()));
                }
                *dialled = Dialled::default();
            }
            Arc::clone(dialled)
        };
        let dialling = dialled.get_or_try_init(async || self.hub.dial(node, limit).await.map(Arc::new));
        let late = || RedisError::TimedOut { command: "the handshake".to_owned(), limit };
        match within(limit, dialling).await.ok_or_else(late).flatten() {
            Ok(socket) => Ok(Arc::clone(socket)),
            Err(error) => {
                let is_silent = matches!(error, RedisError::TimedOut { .. }) && limit >= self.limit() / 2;
                if is_silent || matches!(error, RedisError::Lost { .. }) {
                    self.hub.suspect(node);
                }
                Err(error)
            }
        }
    }

    /// What is to be known of each socket that is open.
    fn open_sockets<T>(&self, what: impl Fn(&Socket) -> T) -> Vec<T> {
        match &self.sockets {
            Sockets::One(socket) => vec![what(socket)],
            Sockets::Cluster(sockets) => {
                let sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
                sockets.values().filter_map(|dialled| dialled.get()).map(|socket| what(socket)).collect()
            }
        }
    }

    fn watched(&self) -> Option<Arc<Node>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn watch(&self, node: Option<Arc<Node>>) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = node;
    }
}

/// Where a command was sent on to. It was not executed.
enum Redirection {
    /// The slot lives there now.
    Moved(u16, Node),
    /// The key does already, the slot not yet.
    Ask(Node),
    /// Some of its keys are here and others there.
    Again,
}

/// What an error says about where to go: `MOVED 3999 127.0.0.1:6381`. No host means that of the node that says it.
fn redirection(error: &RedisError, teller: &str) -> Option<Redirection> {
    let RedisError::Server { code, message } = error else { return None };
    let place = || {
        let (slot, address) = message.split_once(' ')?;
        let (host, port) = address.rsplit_once(':')?;
        let host = if host.is_empty() { teller } else { host.trim_matches(['[', ']']) };
        Some((slot.parse().ok()?, Node { host: host.to_owned(), port: port.parse().ok()? }))
    };
    match code.as_str() {
        "MOVED" => place().map(|(slot, node)| Redirection::Moved(slot, node)),
        "ASK" => place().map(|(_, node)| Redirection::Ask(node)),
        "TRYAGAIN" => Some(Redirection::Again),
        _ => None,
    }
}

/// The slot that all commands of a transaction share.
fn common_slot(commands: &[Command]) -> Slot {
    commands.iter().fold(Slot::Any, |common, command| match (common, command.slot) {
        (Slot::Any, slot) | (slot, Slot::Any) => slot,
        (common, slot) if common == slot => common,
        _ => Slot::Several,
    })
}

/// Connects to the master that the sentinels name, if it is one.
async fn master(
    hub: &Arc<Hub>,
    sentinels: &[Node],
    service: &str,
    login: &Login,
    limit: Duration,
) -> Result<Socket, RedisError> {
    let options = hub.options();
    let clock = Clock { since: Instant::now(), limit };
    let mut last = RedisError::Lost { reason: "no sentinel answers".to_owned() };
    // Database 0, the only one a sentinel has.
    let of_sentinel = options.clone().database(0);
    let question = Command::new("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    let mut asking: FuturesUnordered<_> = sentinels
        .iter()
        .map(async |sentinel| {
            let socket = Socket::dial(Place::Network(sentinel), login, &of_sentinel, limit).await?;
            let late = || clock.ran_out(&question);
            let answer = within(clock.left(), socket.send(&question)).await.ok_or_else(late)??;
            Option::<(String, u16)>::from_value(answer)
        })
        .collect();
    while let Some(answer) = asking.next().await {
        match answer {
            Ok(Some((host, port))) => {
                let socket = hub.dial(&Node { host, port }, clock.left()).await?;
                let role = Command::new("ROLE");
                let late = || clock.ran_out(&role);
                let answer = within(clock.left(), socket.send(&role)).await.ok_or_else(late)??;
                // A sentinel that has not heard of the last failover names the master that was.
                let is_master =
                    matches!(&answer, Value::List(parts) if parts.first() == Some(&Value::Bytes("master".into())));
                if is_master {
                    return Ok(socket);
                }
                last = RedisError::Lost { reason: "the sentinels name a replica as master".to_owned() };
            }
            Ok(None) => last = RedisError::of_server("ERR No such master with that name"),
            Err(error) => last = error,
        }
    }
    Err(last)
}
