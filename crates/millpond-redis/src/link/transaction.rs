//! Transactions, sent as one write.

use super::redirection::{Redirection, redirection};
use super::{Link, PAUSE, REDIRECTIONS_MAX, Sockets, yielding};
use crate::command::Command;
use crate::command::slot::Slot;
use crate::connect::node::Node;
use crate::driver::error_in;
use crate::driver::overdue::Deadline;
use crate::error::RedisError;
use crate::value::Value;
use std::sync::Arc;
use tokio::time::{Instant, sleep};

impl Link {
    /// Sends commands as one transaction. Returns nil if a watched key has changed.
    ///
    /// # Errors
    ///
    /// The first error reply; `MOVED` if a slot keeps moving, or has moved since its keys were
    /// watched.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call): all of it is executed, or nothing.
    pub(crate) async fn transaction(&self, commands: Vec<Command>) -> Result<Value, RedisError> {
        let limits = commands.iter().map(|command| command.limit.unwrap_or(self.limit()));
        let deadline = Deadline::new(limits.max().unwrap_or(self.limit()));
        let exec = Command {
            slot: Slot::common(commands.iter().map(|command| command.slot)),
            ..Command::new("EXEC")
        };
        let all = [vec![Command::new("MULTI")], commands, vec![exec.clone()]].concat();
        let outcome = match &self.sockets {
            Sockets::One(socket) => {
                let sending = socket.pipeline(&all, self.socket_deadline(deadline));
                let answers = self.send(socket, None, &exec, deadline, sending).await;
                let results = |answers| outcome(answers, |_| None).map_err(|refused| refused.error);
                answers.and_then(results)
            }
            Sockets::Cluster(_) => Box::pin(self.transaction_in_cluster(all, deadline)).await,
        };
        yielding(outcome).await
    }

    /// Follows redirections: a transaction that is redirected was not executed.
    async fn transaction_in_cluster(
        &self,
        all: Vec<Command>,
        deadline: Deadline,
    ) -> Result<Value, RedisError> {
        let Some(exec) = all.last() else { return Ok(Value::Nil) };
        let (mut node, mut asking, watched) = (self.place_of(exec)?, false, self.watched());
        // A change of a key that is watched at another node would not be noticed.
        if watched.as_ref().is_some_and(|watched| *watched != node) {
            return Err(RedisError::moving());
        }
        for attempt in 0..REDIRECTIONS_MAX {
            if attempt > 1 {
                sleep(PAUSE.min(deadline.left())).await;
            }
            let answers = self.send_all(&node, &all, asking, deadline).await?;
            let refused = match outcome(answers, |error| redirection(error, exec.slot, &node.host))
            {
                Ok(answer) => {
                    self.watch(None);
                    return Ok(answer);
                }
                Err(refused) => refused,
            };
            if refused.is_complete {
                self.watch(None);
            }
            (node, asking) = match refused.redirection {
                None => {
                    self.note_outage(&refused.error);
                    return Err(refused.error);
                }
                // EXEC has ended the watch, so a second attempt would not notice a change.
                Some(_) if watched.is_some() => return Err(RedisError::moving()),
                Some(Redirection::Moved(slot, to)) => {
                    let to = Arc::new(to);
                    self.topology.moved(slot, &to, self.connect_limit);
                    (to, false)
                }
                Some(Redirection::Ask(to)) => (Arc::new(to), true),
                Some(Redirection::Again) => (self.place_of(exec)?, false),
            };
        }
        Err(RedisError::moving())
    }

    /// Sends commands to a node in one write; with ASKING in front if the node is importing the
    /// slot, which counts until EXEC.
    async fn send_all(
        &self,
        node: &Arc<Node>,
        all: &[Command],
        asking: bool,
        deadline: Deadline,
    ) -> Result<Vec<Value>, RedisError> {
        let Some(exec) = all.last() else { return Ok(Vec::new()) };
        let socket = self.socket(node, deadline.left()).await?;
        let socket_deadline = self.socket_deadline(Deadline { since: Instant::now(), ..deadline });
        if !asking {
            let sending = socket.pipeline(all, socket_deadline);
            return self.send(&socket, Some(node), exec, deadline, sending).await;
        }
        let all = [&[Command::new("ASKING")], all].concat();
        let sending = socket.pipeline(&all, socket_deadline);
        let mut answers = self.send(&socket, Some(node), exec, deadline, sending).await?;
        answers.drain(..answers.len().min(1));
        Ok(answers)
    }
}

/// A transaction without a result.
struct Refused {
    error: RedisError,
    redirection: Option<Redirection>,
    /// Whether MULTI and EXEC were answered as those of one transaction.
    is_complete: bool,
}

/// Returns the results of a transaction from the answers to its commands.
fn outcome(
    answers: Vec<Value>,
    redirection: impl Fn(&RedisError) -> Option<Redirection>,
) -> Result<Value, Refused> {
    // Without MULTI the server has executed each command by itself.
    if let Some(refused) = answers.first().and_then(error_in)
        && redirection(&refused).is_none()
    {
        let reason = format!(
            "MULTI was refused, and its commands may have been executed one by one: {refused}"
        );
        let error = RedisError::Lost { reason };
        return Err(Refused { error, redirection: None, is_complete: false });
    }
    // A command was not queued, so nothing was executed.
    if let Some(error) = answers.iter().find_map(error_in) {
        let redirection = redirection(&error);
        return Err(Refused { error, redirection, is_complete: true });
    }
    let answer = answers.into_iter().next_back().unwrap_or(Value::Nil);
    let inner = if let Value::List(inner) = &answer { &inner[..] } else { &[] };
    match inner.iter().find_map(error_in) {
        Some(error) => Err(Refused { error, redirection: None, is_complete: true }),
        None => Ok(answer),
    }
}
