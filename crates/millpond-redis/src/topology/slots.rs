//! The owners of the slots of a cluster, from `CLUSTER SLOTS`.

use crate::connect::node::Node;
use crate::error::RedisError;
use crate::value::{FromValue, Value};
use std::collections::HashMap;
use std::sync::Arc;

const SLOTS: usize = 16_384;

/// The length of the ID of a node, in hexadecimal digits.
const ID_LENGTH: usize = 40;

/// The owner of each slot.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// All nodes, replicas included.
    nodes: Vec<Arc<Node>>,
    /// The IDs of nodes, where the cluster names them.
    ids: HashMap<Arc<Node>, String>,
    /// The index of the owner of each slot.
    owners: Vec<Option<usize>>,
}

impl Slots {
    pub(super) fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        let at = *self.owners.get(usize::from(slot))?;
        self.nodes.get(at?).cloned()
    }

    /// Returns all owners, sorted.
    pub(super) fn owners(&self) -> Vec<Arc<Node>> {
        let mut positions: Vec<usize> = self.owners.iter().flatten().copied().collect();
        positions.sort_unstable();
        positions.dedup();
        let mut nodes: Vec<Arc<Node>> =
            positions.into_iter().filter_map(|at| self.nodes.get(at).cloned()).collect();
        nodes.sort();
        nodes
    }

    /// Returns all nodes, replicas included.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.clone()
    }

    /// Returns the ID of a node, if it is known.
    pub(super) fn id(&self, node: &Node) -> Option<String> {
        self.ids.get(node).cloned()
    }

    /// Returns whether the node of an ID is named at another address than this.
    pub(super) fn names_elsewhere(&self, id: &str, node: &Node) -> bool {
        self.ids.iter().any(|(at, named)| named == id && **at != *node)
    }

    /// Notes the owner of one slot.
    pub(super) fn put(&mut self, slot: u16, owner: Arc<Node>) {
        let at = self.place_of(owner);
        self.assign_range(usize::from(slot), usize::from(slot), at);
    }

    fn place_of(&mut self, node: Arc<Node>) -> usize {
        self.nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }

    fn assign_range(&mut self, first: usize, last: usize, at: usize) {
        self.owners.resize(SLOTS, None);
        for owner in self.owners.iter_mut().take(last.saturating_add(1)).skip(first) {
            *owner = Some(at);
        }
    }
}

/// Reads the answer of a node to `CLUSTER SLOTS`.
///
/// # Errors
///
/// [`RedisError::Lost`] if it knows no slots: it is not in a cluster, or not yet.
pub(super) fn read(answer: Value, answering: &Node) -> Result<Slots, RedisError> {
    let (mut slots, mut ids) = (Slots::default(), HashMap::new());
    for range in Vec::<Value>::from_value(answer)? {
        let Value::List(parts) = range else { continue };
        let mut parts = parts.into_iter();
        let (Some(first), Some(last)) = (parts.next(), parts.next()) else { continue };
        let (first, last) = (usize::from_value(first)?, usize::from_value(last)?);
        // The owner comes first, then its replicas.
        for (nth, node) in parts.enumerate() {
            let Some((node, id)) = node_in(node, answering) else { continue };
            let node = Arc::new(node);
            if let Some(id) = id {
                // Of an address that several nodes have, as behind a proxy, none is known.
                let known = ids.entry(Arc::clone(&node)).or_insert_with(|| Some(id.clone()));
                known.take_if(|known| *known != id);
            }
            let at = slots.place_of(node);
            if nth == 0 {
                slots.assign_range(first, last, at);
            }
        }
    }
    slots.ids = ids.into_iter().filter_map(|(node, id)| Some((node, id?))).collect();
    let reason = || format!("{} knows of no slots", answering.host);
    if slots.nodes.is_empty() { Err(RedisError::Lost { reason: reason() }) } else { Ok(slots) }
}

/// Reads the ID of a node. Proxies give other answers, which are none.
pub(super) fn id_in(value: &Value) -> Option<String> {
    let Value::Bytes(id) = value else { return None };
    let is_id = id.len() == ID_LENGTH && id.iter().all(u8::is_ascii_hexdigit);
    is_id.then(|| String::from_utf8_lossy(id).into_owned())
}

/// Reads `[host, port, id, ..]`. Without a host it is that of the answering node.
fn node_in(value: Value, answering: &Node) -> Option<(Node, Option<String>)> {
    let Value::List(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let host = Option::<String>::from_value(parts.next()?).ok()?;
    let port = u16::from_value(parts.next()?).ok()?;
    let host = host
        .filter(|host| !host.is_empty() && host != "?")
        .unwrap_or_else(|| answering.host.clone());
    Some((Node { host, port }, parts.next().as_ref().and_then(id_in)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn node(port: u16) -> Node {
        Node { host: "here".to_owned(), port }
    }

    fn announced(host: &'static str, port: i64) -> Value {
        Value::List(vec![
            Value::Bytes(Bytes::from_static(host.as_bytes())),
            Value::Int(port),
            Value::Nil,
        ])
    }

    #[test]
    fn an_owner_is_read_off_the_range_of_its_slots_and_replicas_own_nothing() {
        let range = |first, last, nodes: Vec<Value>| {
            Value::List([vec![Value::Int(first), Value::Int(last)], nodes].concat())
        };
        let answer = Value::List(vec![
            range(0, 100, vec![announced("here", 1), announced("here", 2)]),
            range(101, 16_383, vec![announced("", 3)]),
        ]);
        let mut slots = read(answer, &node(9)).unwrap();
        assert_eq!(slots.owner(100).as_deref(), Some(&node(1)));
        assert_eq!(
            slots.owner(101).as_deref(),
            Some(&node(3)),
            "an empty host is that of the node that answered"
        );
        assert_eq!((slots.nodes().len(), slots.owners().len()), (3, 2));
        slots.put(100, Arc::new(node(7)));
        assert_eq!(slots.owner(100).as_deref(), Some(&node(7)));
        assert_eq!(slots.owner(99).as_deref(), Some(&node(1)));
    }

    #[test]
    fn an_address_of_several_nodes_has_the_id_of_none() {
        let named = |port, id: u8| {
            let id = Value::Bytes(format!("{id:040x}").into());
            Value::List(vec![Value::Bytes("here".into()), Value::Int(port), id])
        };
        let nodes = vec![named(1, 7), named(2, 8), named(1, 9), named(1, 7)];
        let range = [vec![Value::Int(0), Value::Int(16_383)], nodes].concat();
        let slots = read(Value::List(vec![Value::List(range)]), &node(9)).unwrap();
        let eight = format!("{:040x}", 8);
        assert_eq!((slots.id(&node(1)), slots.id(&node(2))), (None, Some(eight.clone())));
        assert!(slots.names_elsewhere(&eight, &node(1)));
        assert!(!slots.names_elsewhere(&eight, &node(2)));
    }

    #[test]
    fn a_node_that_knows_of_no_slots_is_no_informant() {
        assert!(read(Value::List(vec![]), &node(9)).is_err());
        assert_eq!(Slots::default().owner(5), None);
    }
}
