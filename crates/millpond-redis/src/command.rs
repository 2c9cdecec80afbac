//! A command: its name, its arguments, which of them are keys, and whether it may be repeated.

pub(crate) mod argument;
pub(crate) mod arguments;
pub(crate) mod effects;
pub(crate) mod slot;

use crate::connect::node::Node;
use crate::error::RedisError;
use argument::Argument;
use arguments::Arguments;
use bytes::Bytes;
use slot::{Slot, slot_of};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// One command to Redis.
///
/// Keys are added by methods of their own, since in a cluster they decide which node is asked:
///
/// ```
/// use millpond_redis::Command;
///
/// let set = Command::new("SET").key("pond:1").arg("mill").arg("EX").arg(60);
/// let get = Command::new("GET").key("pond:1").idempotent();
/// ```
#[derive(Clone)]
#[must_use = "a command does nothing until it is run"]
pub struct Command {
    pub(crate) name: Cow<'static, str>,
    pub(crate) args: Arguments,
    pub(crate) slot: Slot,
    pub(crate) idempotent: bool,
    pub(crate) limit: Option<Duration>,
    /// The node to ask, if the keys do not decide that.
    pub(crate) node: Option<ClusterNode>,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNode(pub(crate) Node);

impl Command {
    /// Creates a command. The second word of a name is an argument: `CLIENT` with the argument
    /// `ID`.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        let mut name = name.into();
        if name.bytes().any(|byte| byte.is_ascii_lowercase()) {
            name.to_mut().make_ascii_uppercase();
        }
        Self {
            name,
            args: Arguments::default(),
            slot: Slot::Any,
            idempotent: false,
            limit: None,
            node: None,
        }
    }

    /// Adds a key.
    pub fn key(mut self, key: impl Argument) -> Self {
        let key = key.into_bytes();
        let slot = slot_of(&key);
        self.slot = match self.slot {
            Slot::Any => Slot::One(slot),
            Slot::One(other) if other == slot => Slot::One(slot),
            _ => Slot::Several,
        };
        self.args.push(key);
        self
    }

    /// Adds several keys.
    pub fn keys<K: Argument>(self, keys: impl IntoIterator<Item = K>) -> Self {
        keys.into_iter().fold(self, Self::key)
    }

    /// Adds an argument that is no key.
    pub fn arg(mut self, arg: impl Argument) -> Self {
        self.args.push(arg.into_bytes());
        self
    }

    /// Adds several arguments that are no keys.
    pub fn args<A: Argument>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Sets a limit instead of the pool's `command_timeout`. For a blocking command it begins after
    /// the time for which the server may block. In a transaction the longest limit of its commands
    /// counts.
    pub fn within(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Marks the command as one that may be executed twice without harm, as `GET` and `SET` may and
    /// `INCR` may not. Only such commands are sent again after they were sent and their connection
    /// was lost; a command of which nothing was sent is sent again in any case.
    pub fn idempotent(self) -> Self {
        Self { idempotent: true, ..self }
    }

    /// The name, in upper case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether it may be sent again after this error.
    pub(crate) fn may_be_sent_again(&self, error: &RedisError) -> bool {
        match error {
            RedisError::NotSent { .. } => true,
            error => self.idempotent && error.has_no_answer(),
        }
    }

    /// Returns whether it runs a script or function, which may return any error.
    pub(crate) fn is_script(&self) -> bool {
        matches!(self.name(), "EVAL" | "EVALSHA" | "EVAL_RO" | "EVALSHA_RO" | "FCALL" | "FCALL_RO")
    }

    /// Returns the question to the server of a script whether it is a master.
    pub(crate) fn role(&self) -> Option<Self> {
        let of = |slot, node| Self { slot, node, limit: self.limit, ..Self::new("ROLE") };
        self.is_script().then(|| of(self.slot, self.node.clone()))
    }

    /// Returns the keys of a script, behind the script and their number.
    pub(crate) fn keys_of_script(&self) -> impl Iterator<Item = &Bytes> {
        let count = std::str::from_utf8(self.argument(1)).ok().and_then(|text| text.parse().ok());
        self.args.iter().skip(2).take(count.unwrap_or(0))
    }

    /// Returns an argument, or nothing.
    pub(crate) fn argument(&self, at: usize) -> &[u8] {
        self.args.iter().nth(at).map_or(&[], |arg| arg)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The arguments are left out: they may be secret.
        f.debug_struct("Command")
            .field("name", &self.name)
            .field("arguments", &self.args.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_share_a_hash_tag_live_together() {
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), slot_of(b"foo{}{bar}"));
        assert_ne!(slot_of(b"foo"), slot_of(b"bar"));
        assert_eq!(Command::new("MGET").keys(["{a}1", "{a}2"]).slot, Slot::One(slot_of(b"a")));
        assert_eq!(Command::new("MGET").keys(["foo", "bar"]).slot, Slot::Several);
        assert_eq!(Command::new("PING").slot, Slot::Any);
    }

    #[test]
    fn a_debug_print_shows_no_argument() {
        let text = format!("{:?}", Command::new("auth").arg("hunter2"));
        assert!(text.contains("AUTH") && !text.contains("hunter2"), "{text}");
    }
}
