//! Redirections of a cluster: errors that name another node.

use crate::command::slot::Slot;
use crate::connect::node::Node;
use crate::error::RedisError;

/// Where to send a command instead. It was not executed.
pub(super) enum Redirection {
    /// The slot has moved to this node.
    Moved(u16, Node),
    /// The key has moved to this node, the slot not yet.
    Ask(Node),
    /// Some of its keys have moved and others have not.
    Again,
}

/// Reads a redirection such as `MOVED 3999 127.0.0.1:6381`. Without a host it is that of the
/// answering node. If it names another slot than the command's, it is an error of a script, not a
/// redirection.
pub(super) fn redirection(error: &RedisError, asked: Slot, answering: &str) -> Option<Redirection> {
    let RedisError::Server { code, message } = error else { return None };
    let target = || {
        let (slot, address) = message.split_once(' ')?;
        let slot =
            slot.parse().ok().filter(|slot| asked == Slot::Any || asked == Slot::One(*slot))?;
        let (host, port) = address.rsplit_once(':')?;
        let host =
            if host.is_empty() || host == "?" { answering } else { host.trim_matches(['[', ']']) };
        Some((slot, Node { host: host.to_owned(), port: port.parse().ok()? }))
    };
    match code.as_str() {
        "MOVED" => target().map(|(slot, node)| Redirection::Moved(slot, node)),
        "ASK" => target().map(|(_, node)| Redirection::Ask(node)),
        // In the server's exact words: a script may return an error of that name after its
        // execution.
        "TRYAGAIN" if message.starts_with("Multiple keys request during rehashing") => {
            Some(Redirection::Again)
        }
        _ => None,
    }
}
