//! What a node of a cluster says about where a command should have gone.

use crate::command::slot::Slot;
use crate::connect::node::Node;
use crate::error::RedisError;

/// Where a command was sent on to. It was not executed.
pub(super) enum Redirection {
    /// The slot lives there now.
    Moved(u16, Node),
    /// The key does already, the slot not yet.
    Ask(Node),
    /// Some of its keys are here and others there.
    Again,
}

/// What an error says about where to go: `MOVED 3999 127.0.0.1:6381`. No host means that of the node that says it. One that
/// speaks of another slot than the command's is the command's own, of a script for example.
pub(super) fn redirection(error: &RedisError, asked: Slot, teller: &str) -> Option<Redirection> {
    let RedisError::Server { code, message } = error else { return None };
    let place = || {
        let (slot, address) = message.split_once(' ')?;
        let slot = slot.parse().ok().filter(|slot| asked == Slot::Any || asked == Slot::One(*slot))?;
        let (host, port) = address.rsplit_once(':')?;
        let host = if host.is_empty() || host == "?" { teller } else { host.trim_matches(['[', ']']) };
        Some((slot, Node { host: host.to_owned(), port: port.parse().ok()? }))
    };
    match code.as_str() {
        "MOVED" => place().map(|(slot, node)| Redirection::Moved(slot, node)),
        "ASK" => place().map(|(_, node)| Redirection::Ask(node)),
        // In the server's words: a script may have an error of that name, and was executed.
        "TRYAGAIN" if message.starts_with("Multiple keys request during rehashing") => Some(Redirection::Again),
        _ => None,
    }
}
