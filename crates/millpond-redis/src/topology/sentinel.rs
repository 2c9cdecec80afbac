//! Finds the master that sentinels name.
//!
//! All sentinels are asked at the same time, so that a silent one causes no delay.

use crate::command::Command;
use crate::connect::login::Login;
use crate::connect::node::Node;
use crate::deadlines::within;
use crate::driver::Socket;
use crate::driver::dial::Place;
use crate::driver::overdue::Patience;
use crate::error::RedisError;
use crate::topology::Topology;
use crate::value::{FromValue, Value};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Connects to the master that the sentinels name, if it is one.
///
/// # Errors
///
/// The reason why there is no master; "no such master" only if there is no other error.
///
/// # Cancel safety
///
/// All sockets are closed.
pub(crate) async fn master(
    topology: &Arc<Topology>,
    sentinels: &[Node],
    service: &str,
    login: &Login,
    limit: Duration,
) -> Result<Socket, RedisError> {
    let until = Instant::now() + limit;
    let mut asking: FuturesUnordered<_> =
        sentinels.iter().map(|sentinel| ask(topology, sentinel, service, login, limit)).collect();
    let (mut dialling, mut named) = (FuturesUnordered::new(), HashSet::new());
    let mut last = None;
    while !(asking.is_empty() && dialling.is_empty()) {
        let step = async {
            tokio::select! {
                Some(socket) = dialling.next() => Step::Dialled(socket),
                Some(answer) = asking.next() => Step::Answered(answer),
            }
        };
        let Ok(step) = timeout_at(until, step).await else { break };
        match step {
            Step::Dialled(Ok(socket)) => return Ok(socket),
            Step::Dialled(Err(error)) => last = Some(error),
            Step::Answered(Ok(Some(master))) => {
                if named.insert(master.clone()) {
                    dialling.push(enter(topology, master, limit));
                }
            }
            Step::Answered(Ok(None)) => {
                last = last.or(Some(RedisError::of_server("ERR No such master with that name")))
            }
            // It says more than "no such master".
            Step::Answered(Err(error)) => {
                last = last.filter(|last| last.code().is_none()).or(Some(error))
            }
        }
    }
    Err(last.unwrap_or_else(|| RedisError::NotSent { reason: "no sentinel answers".to_owned() }))
}

enum Step {
    Dialled(Result<Socket, RedisError>),
    Answered(Result<Option<Node>, RedisError>),
}

/// Asks a sentinel who the master is.
async fn ask(
    topology: &Topology,
    sentinel: &Node,
    service: &str,
    login: &Login,
    limit: Duration,
) -> Result<Option<Node>, RedisError> {
    // A sentinel has only database 0.
    let options = topology.options().clone().database(0);
    let question = Command::new("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    let asking = async {
        let socket = Socket::dial(Place::Network(sentinel), login, &options, limit).await?;
        let master = Option::<(String, u16)>::from_value(
            socket.send(&question, Patience::new(limit)).await?,
        )?;
        Ok(master.map(|(host, port)| Node { host, port }))
    };
    let reason =
        || format!("the sentinel {sentinel} did not answer within {:.3} s", limit.as_secs_f64());
    within(limit, asking).await.unwrap_or_else(|| Err(RedisError::NotSent { reason: reason() }))
}

/// Connects to a node that a sentinel names, and checks that it is a master: the sentinel may not
/// know of the last failover.
async fn enter(topology: &Topology, node: Node, limit: Duration) -> Result<Socket, RedisError> {
    let unsent = |reason: String| RedisError::NotSent { reason };
    let entering = async {
        let socket = topology.dial(&node, limit).await?;
        match socket.send(&Command::new("ROLE"), Patience::new(limit)).await? {
            Value::List(parts) if parts.first() == Some(&Value::Bytes("master".into())) => {
                Ok(socket)
            }
            _ => Err(unsent(format!("the sentinels name {node}, which is no master"))),
        }
    };
    let late = || {
        Err(unsent(format!("the master {node} did not answer within {:.3} s", limit.as_secs_f64())))
    };
    within(limit, entering).await.unwrap_or_else(late)
}
