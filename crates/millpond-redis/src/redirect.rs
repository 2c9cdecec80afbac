//! Commands whose slot is moving from one node of a cluster to another: the way to where their keys are now.
//!
//! Redis answers MOVED when a slot has moved, and ASK while it moves and a key is no longer there. Either means that the
//! command was not executed. fred learns the new places upon MOVED, and its way with ASK goes wrong: it sends the command to
//! the old node again, and on a shared connection takes somebody else's answer for that to its ASKING. So it follows nothing,
//! and the target of a move is asked of the node that knows: the one that the slot moves away from. ASKING and the command
//! then travel as one pipeline, between which nothing else is written.

use crate::command::{ClusterNode, Command};
use crate::drivers::{Manner, within};
use crate::error::RedisError;
use crate::fred_link::{FredLink, custom};
use crate::value::{FromValue, Value};
use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::{Options, Server};
use fred::types::{ClusterHash, Value as DriverValue};
use std::time::Duration;

/// How often one command is redirected.
const REDIRECTIONS_MAX: u32 = 16;

/// The pause before a second and further redirection: a slot changes hands, or some of the keys have moved and others not.
const PAUSE: Duration = Duration::from_millis(20);

impl FredLink {
    /// Follows a command whose keys are not where they were looked for, at most for the command's limit.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); `MOVED` if the slot is still moving in the end.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub(crate) async fn redirect(&self, slot: u16, command: Command, manner: Manner) -> Result<Value, RedisError> {
        let mut outcome = Err(RedisError::moving());
        for attempt in 0..REDIRECTIONS_MAX {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            outcome = match self.target(slot).await? {
                Some(target) => self.send_asking(target, command.clone()).await,
                // It has arrived, and the driver has learnt where.
                None => self.send(command.clone(), manner).await,
            };
            if !outcome.as_ref().is_err_and(RedisError::is_moving) {
                break;
            }
        }
        outcome
    }

    /// Where a slot is moving to, if it is.
    async fn target(&self, slot: u16) -> Result<Option<Server>, RedisError> {
        let Some(owner) = self.client().cached_cluster_state().and_then(|state| state.get_server(slot).cloned()) else {
            return Ok(None);
        };
        let mut nodes = Command::new("CLUSTER").arg("NODES");
        nodes.node = Some(ClusterNode(owner));
        let text = String::from_value(self.send(nodes, Manner::Plain).await?)?;
        Ok(target_in(&text, slot))
    }

    /// Sends a command to a node that does not own its slot yet. One that blocks does not block there: its keys have just
    /// begun to arrive.
    async fn send_asking(&self, target: Server, command: Command) -> Result<Value, RedisError> {
        let limit = command.limit.unwrap_or(self.limit());
        let lost = |error| RedisError::of_driver(&error, &command.name, limit);
        let options = Options {
            cluster_node: Some(target),
            timeout: Some(limit),
            max_attempts: Some(1),
            fail_fast: true,
            ..Options::default()
        };
        let both = self.client().pipeline().with_options(&options);
        let asking = custom("ASKING".into(), ClusterHash::Random, false);
        both.custom_raw(asking, Vec::<DriverValue>::new()).await.map_err(lost)?;
        let args: Vec<DriverValue> = command.args.iter().cloned().map(DriverValue::Bytes).collect();
        both.custom_raw(custom(command.name.clone(), ClusterHash::Random, false), args).await.map_err(lost)?;
        let answers = within(limit, both.try_all::<DriverValue>()).await;
        let timed_out = || RedisError::TimedOut { command: command.name.to_string(), limit };
        match answers.ok_or_else(timed_out)?.pop() {
            Some(answer) => answer.map(Value::of_driver).map_err(lost),
            None => Err(RedisError::moving()),
        }
    }
}

/// Reads the answer to `CLUSTER NODES`: a node's own line ends with `[slot->-id]` for a slot that moves away.
fn target_in(nodes: &str, slot: u16) -> Option<Server> {
    let own = nodes.lines().find(|line| line.contains("myself"))?;
    let mark = format!("[{slot}->-");
    let id = own.split(' ').find_map(|word| word.strip_prefix(&mark)?.strip_suffix(']'))?;
    let line = nodes.lines().find(|line| line.starts_with(id))?;
    let address = line.split(' ').nth(1)?.split('@').next()?;
    let (host, port) = address.rsplit_once(':')?;
    Some(Server::new(host.trim_matches(['[', ']']), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_of_a_move_is_read_off_the_line_of_the_node_that_it_leaves() {
        let nodes = "aaa 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460 [93->-bbb] [77-<-ccc]\n\
                     bbb 127.0.0.1:7002@17002,host master - 0 0 2 connected 5461-10922\n\
                     ccc 127.0.0.1:7003@17003 master - 0 0 3 connected 10923-16383\n";
        assert_eq!(target_in(nodes, 93), Some(Server::new("127.0.0.1", 7002)));
        assert_eq!(target_in(nodes, 77), None);
        assert_eq!(target_in(nodes, 94), None);
        assert_eq!(target_in("", 93), None);
    }
}
