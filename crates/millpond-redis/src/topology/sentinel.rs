//! Finds the master that sentinels name.
//!
//! All sentinels are asked at the same time, so that a silent one causes no delay.

use crate::command::Command;
use crate::connect::login::Login;
use crate::connect::node::Node;
use crate::connect::options::{RedisConnectOptions, SentinelTls};
use crate::deadlines::within;
use crate::driver::Socket;
use crate::driver::dial::Destination;
use crate::driver::overdue::Deadline;
use crate::error::RedisError;
use crate::topology::Topology;
use crate::value::{FromValue, Value};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout_at};

/// How long after its answer a sentinel is asked again, while the master that it has named does not
/// answer: there may be another one by now.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The sentinels of a master, and how to connect to them.
pub(crate) struct Sentinels<'a> {
    nodes: &'a [Node],
    service: &'a str,
    login: &'a Login,
    options: RedisConnectOptions,
}

impl<'a> Sentinels<'a> {
    /// `options` are those of the master.
    pub(crate) fn new(
        options: &RedisConnectOptions,
        nodes: &'a [Node],
        service: &'a str,
        login: &'a Login,
        tls: &SentinelTls,
    ) -> Self {
        // A sentinel has only database 0.
        let mut options = options.clone().database(0);
        match tls {
            SentinelTls::AsMaster => {}
            SentinelTls::Off => options.tls = None,
            SentinelTls::On(tls) => options.tls = Some(tls.clone()),
        }
        Self { nodes, service, login, options }
    }
}

/// Connects to the master that the sentinels name, if it is one.
///
/// # Errors
///
/// The reason why there is no master; "no such master" only if there is no other error.
///
/// # Cancel safety
///
/// All sockets are closed.
pub(crate) async fn master<'a>(
    topology: &Arc<Topology>,
    sentinels: &'a Sentinels<'a>,
    limit: Duration,
) -> Result<Socket, RedisError> {
    let until = Deadline::new(limit).end();
    let ask_after = async |delay: Duration, sentinel: &'a Node| {
        sleep(delay).await;
        (sentinel, ask(sentinel, sentinels, limit).await)
    };
    let mut asking: FuturesUnordered<_> =
        sentinels.nodes.iter().map(|sentinel| ask_after(Duration::ZERO, sentinel)).collect();
    let mut asking_again = FuturesUnordered::new();
    let (mut dialling, mut named) = (FuturesUnordered::new(), HashSet::new());
    let mut last = None;
    while !(asking.is_empty() && dialling.is_empty()) {
        let step = async {
            tokio::select! {
                Some(socket) = dialling.next() => Step::Dialled(socket),
                Some(answer) = asking.next() => Step::Answered(answer),
                Some(answer) = asking_again.next() => Step::Answered(answer),
            }
        };
        let Ok(step) = timeout_at(until, step).await else { break };
        let (sentinel, answer) = match step {
            Step::Dialled((_, Ok(socket))) => return Ok(socket),
            Step::Dialled((master, Err(error))) => {
                named.remove(&master);
                last = Some(error);
                continue;
            }
            Step::Answered(answered) => answered,
        };
        asking_again.push(ask_after(ASK_AGAIN_AFTER, sentinel));
        match answer {
            Ok(Some(master)) => {
                if named.insert(master.clone()) {
                    dialling.push(async {
                        let outcome = enter(topology, &master, limit).await;
                        (master, outcome)
                    });
                }
            }
            Ok(None) => {
                last = last.or(Some(RedisError::of_server("ERR No such master with that name")))
            }
            // It says more than "no such master".
            Err(error) => last = last.filter(|last| last.code().is_none()).or(Some(error)),
        }
    }
    Err(last.unwrap_or_else(|| match named.iter().next() {
        Some(master) => late(master, limit),
        None => RedisError::NotSent { reason: "no sentinel answers".to_owned() },
    }))
}

enum Step<'a> {
    Dialled((Node, Result<Socket, RedisError>)),
    Answered((&'a Node, Result<Option<Node>, RedisError>)),
}

/// Asks a sentinel who the master is.
async fn ask(
    sentinel: &Node,
    Sentinels { service, login, options, .. }: &Sentinels<'_>,
    limit: Duration,
) -> Result<Option<Node>, RedisError> {
    let question = Command::new("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(*service);
    let asking = async {
        let socket = Socket::dial(Destination::Network(sentinel), login, options, limit).await?;
        let master = Option::<(String, u16)>::from_value(
            socket.send(&question, Deadline::new(limit)).await?,
        )?;
        Ok(master.map(|(host, port)| Node { host, port }))
    };
    let asking = async { asking.await.map_err(with_hint) };
    let reason =
        || format!("the sentinel {sentinel} did not answer within {:.3} s", limit.as_secs_f64());
    within(limit, asking).await.unwrap_or_else(|| Err(RedisError::NotSent { reason: reason() }))
}

/// Names the setting of sentinels that differ from their master in TLS.
fn with_hint(error: RedisError) -> RedisError {
    const HINT: &str = "where sentinels and their master differ in TLS, write sentinel_tls=on or \
        sentinel_tls=off";
    match error {
        RedisError::Setup { reason } if reason.contains("TLS") => {
            RedisError::Setup { reason: format!("{reason}; {HINT}") }
        }
        error => error,
    }
}

/// Connects to a node that a sentinel names, and checks that it is a master: the sentinel may not
/// know of the last failover.
async fn enter(topology: &Topology, node: &Node, limit: Duration) -> Result<Socket, RedisError> {
    let unsent = |reason: String| RedisError::NotSent { reason };
    let entering = async {
        let socket = topology.dial(node, limit).await.map_err(with_hint)?;
        match socket.send(&Command::new("ROLE"), Deadline::new(limit)).await {
            Ok(role) if is_master(&role) => Ok(socket),
            // The user may not ask: a replica refuses the first write.
            Err(error) if error.code() == Some("NOPERM") => Ok(socket),
            Err(error) => Err(error),
            _ => Err(unsent(format!("the sentinels name {node}, which is no master"))),
        }
    };
    within(limit, entering).await.unwrap_or_else(|| Err(late(node, limit)))
}

/// Returns whether this is what a master answers to ROLE.
pub(crate) fn is_master(role: &Value) -> bool {
    matches!(role, Value::List(parts) if parts.first() == Some(&Value::Bytes("master".into())))
}

fn late(master: &Node, limit: Duration) -> RedisError {
    let seconds = limit.as_secs_f64();
    let reason = format!("the master {master} did not answer within {seconds:.3} s");
    RedisError::NotSent { reason }
}
