//! The queue of waiters: first come, first served, and leaving costs the same wherever one stands.
//!
//! A list through a slab of nodes that are used again, so that waiting allocates nothing once the slab has grown and a
//! cancelled waiter is unlinked without a search.
//!
//! # Invariants
//!
//! 1. The list holds the nodes that wait, in order of arrival; `len` is its length.
//! 2. A granted node is not in the list; it keeps what was granted until its owner comes or goes.

use crate::slots::Caller;
use crate::time::Time;
use std::task::Waker;

const NIL: u32 = u32::MAX;

/// How many nodes an empty queue keeps for the next waiters.
const KEPT_NODES: usize = 256;

/// A place in the queue. Its owner must [`Queue::leave`] with it.
#[derive(Debug)]
pub(crate) struct Ticket {
    node: u32,
}

#[derive(Debug)]
enum State<G> {
    Free,
    Waiting(Waker),
    Granted(G),
}

#[derive(Debug)]
struct Node<G> {
    state: State<G>,
    /// Whether it watches its own deadline.
    armed: bool,
    arrival: u64,
    since: Time,
    caller: Caller,
    before: u32,
    after: u32,
}

/// What a waiter finds when it looks.
#[derive(Debug)]
pub(crate) enum Look<G> {
    /// Something was granted; the ticket is spent.
    Granted(G),
    /// Not yet. The waker it had before, to be dropped outside the lock.
    Waiting(Option<Waker>),
}

#[derive(Debug)]
pub(crate) struct Queue<G> {
    nodes: Vec<Node<G>>,
    free: Vec<u32>,
    first: u32,
    last: u32,
    /// The first that does not watch its own deadline yet.
    unarmed: u32,
    len: u32,
}

impl<G> Queue<G> {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), first: NIL, last: NIL, unarmed: NIL, len: 0 }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The arrival number of the first waiter.
    pub(crate) fn first_arrival(&self) -> Option<u64> {
        self.node(self.first).map(|node| node.arrival)
    }

    /// Who is first, and since when.
    pub(crate) fn first(&self) -> Option<(Caller, Time)> {
        self.node(self.first).map(|node| (node.caller, node.since))
    }

    /// How many of the first `most` waiters came at `latest` or before.
    pub(crate) fn count_since(&self, latest: Time, most: u32) -> u32 {
        let mut count: u32 = 0;
        let mut at = self.first;
        while let Some(node) = self.node(at)
            && count < most
            && node.since <= latest
        {
            count = count.saturating_add(1);
            at = node.after;
        }
        count
    }

    /// Since when the first of the first `most` waiters has waited who came after `latest`.
    pub(crate) fn first_after(&self, latest: Time, most: u32) -> Option<Time> {
        let mut at = self.first;
        for _ in 0..most {
            let node = self.node(at)?;
            if node.since > latest {
                return Some(node.since);
            }
            at = node.after;
        }
        None
    }

    /// Queues a waiter at its place by arrival: nearly always the end, or the front for one who has to come again.
    /// `armed`: it watches its own deadline from the start.
    pub(crate) fn join(&mut self, arrival: u64, since: Time, armed: bool, caller: Caller, waker: Waker) -> Ticket {
        let node = Node { state: State::Waiting(waker), armed, arrival, since, caller, before: NIL, after: NIL };
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(place) = self.nodes.get_mut(index as usize) {
                    *place = node;
                }
                index
            }
            None => {
                let index = u32::try_from(self.nodes.len()).unwrap_or(NIL);
                self.nodes.push(node);
                index
            }
        };
        self.link(index, arrival);
        if !armed && self.node(self.unarmed).is_none_or(|first| first.arrival > arrival) {
            self.unarmed = index;
        }
        Ticket { node: index }
    }

    /// Since when the first has waited who does not watch its own deadline.
    pub(crate) fn unarmed_since(&self) -> Option<Time> {
        self.node(self.unarmed).map(|node| node.since)
    }

    /// Has those who came at `latest` or before watch their own deadlines: their wakers, to be woken outside the lock. One
    /// who came later than `now` goes by a clock that was paused and set forward: nobody else can watch for him.
    pub(crate) fn arm(&mut self, latest: Time, now: Time, wakers: &mut Vec<Waker>) {
        while let Some(node) = self.nodes.get_mut(self.unarmed as usize)
            && (node.armed || node.since <= latest || node.since > now)
        {
            if let (false, State::Waiting(waker)) = (node.armed, &node.state) {
                wakers.push(waker.clone());
            }
            node.armed = true;
            self.unarmed = node.after;
        }
    }

    /// Grants something to the first waiter. `Err` gives it back when nobody waits.
    pub(crate) fn grant(&mut self, granted: G) -> Result<Waker, G> {
        let index = self.first;
        if self.node(index).is_none() {
            return Err(granted);
        }
        self.unlink(index);
        match self.node_mut(index).map(|node| std::mem::replace(&mut node.state, State::Granted(granted))) {
            Some(State::Waiting(waker)) => Ok(waker),
            _ => {
                debug_assert!(false, "a node in the list does not wait");
                Ok(Waker::noop().clone())
            }
        }
    }

    /// Looks whether something was granted; if not, `waker` will be told.
    pub(crate) fn look(&mut self, ticket: &Ticket, waker: &Waker) -> Look<G> {
        let index = ticket.node;
        let Some(node) = self.node_mut(index) else { return Look::Waiting(None) };
        match &mut node.state {
            State::Waiting(old) if old.will_wake(waker) => Look::Waiting(None),
            State::Waiting(old) => Look::Waiting(Some(std::mem::replace(old, waker.clone()))),
            State::Granted(_) | State::Free => self.take(ticket).map_or(Look::Waiting(None), Look::Granted),
        }
    }

    /// What was granted, if anything was.
    pub(crate) fn granted(&self, ticket: &Ticket) -> Option<&G> {
        match &self.node(ticket.node)?.state {
            State::Granted(granted) => Some(granted),
            State::Waiting(_) | State::Free => None,
        }
    }

    /// Takes what was granted; the ticket is spent then.
    pub(crate) fn take(&mut self, ticket: &Ticket) -> Option<G> {
        self.granted(ticket)?;
        match self.release(ticket.node) {
            State::Granted(granted) => Some(granted),
            State::Waiting(_) | State::Free => None,
        }
    }

    /// Leaves the queue. What had been granted, or the waker, to be dropped outside the lock.
    pub(crate) fn leave(&mut self, ticket: &Ticket) -> (Option<G>, Option<Waker>) {
        let index = ticket.node;
        if matches!(self.node(index).map(|node| &node.state), Some(State::Waiting(_))) {
            self.unlink(index);
        }
        match self.release(index) {
            State::Granted(granted) => (Some(granted), None),
            State::Waiting(waker) => (None, Some(waker)),
            State::Free => (None, None),
        }
    }

    /// The wakers of all who wait; they keep their places.
    pub(crate) fn wakers(&self) -> Vec<Waker> {
        let waiting = self.nodes.iter().filter_map(|node| match &node.state {
            State::Waiting(waker) => Some(waker.clone()),
            State::Granted(_) | State::Free => None,
        });
        waiting.collect()
    }

    fn release(&mut self, index: u32) -> State<G> {
        let state = self.node_mut(index).map(|node| std::mem::replace(&mut node.state, State::Free));
        debug_assert!(!matches!(state, None | Some(State::Free)), "a spent ticket came back");
        self.free.push(index);
        if self.free.len() == self.nodes.len() && self.nodes.len() > KEPT_NODES {
            // Nobody waits or holds a ticket: a crowd that has gone leaves no memory behind.
            (self.nodes, self.free) = (Vec::new(), Vec::new());
        }
        state.unwrap_or(State::Free)
    }

    fn link(&mut self, index: u32, arrival: u64) {
        let mut before = self.last;
        let mut after = NIL;
        if self.first_arrival().is_some_and(|first| first > arrival) {
            // One who has to come again: older than everybody, or nearly so.
            (before, after) = (NIL, self.first);
        } else if self.node(self.last).is_some_and(|last| last.arrival > arrival) {
            (before, after) = self.place_of(arrival);
        }
        if let Some(node) = self.node_mut(index) {
            (node.before, node.after) = (before, after);
        }
        self.join_up(before, index);
        self.join_up(index, after);
        self.len = self.len.saturating_add(1);
    }

    /// The neighbours of one that arrived between the first and the last.
    fn place_of(&self, arrival: u64) -> (u32, u32) {
        let mut before = self.first;
        while let Some(node) = self.node(before)
            && let Some(next) = self.node(node.after)
            && next.arrival < arrival
        {
            before = node.after;
        }
        (before, self.node(before).map_or(NIL, |node| node.after))
    }

    fn unlink(&mut self, index: u32) {
        let Some((before, after)) = self.node(index).map(|node| (node.before, node.after)) else { return };
        self.join_up(before, after);
        if self.unarmed == index {
            self.unarmed = after;
        }
        if before == NIL && after == NIL {
            (self.first, self.last) = (NIL, NIL);
        }
        self.len = self.len.saturating_sub(1);
    }

    /// Makes two nodes neighbours; `NIL` stands for the end.
    fn join_up(&mut self, before: u32, after: u32) {
        match self.node_mut(before) {
            Some(node) => node.after = after,
            None if after != NIL => self.first = after,
            None => {}
        }
        match self.node_mut(after) {
            Some(node) => node.before = before,
            None if before != NIL => self.last = before,
            None => {}
        }
    }

    fn node(&self, index: u32) -> Option<&Node<G>> {
        self.nodes.get(index as usize)
    }

    fn node_mut(&mut self, index: u32) -> Option<&mut Node<G>> {
        self.nodes.get_mut(index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::Location;

    fn queue_of(arrivals: &[u64]) -> (Queue<u64>, Vec<Ticket>) {
        let mut queue = Queue::new();
        let caller = Caller { location: Location::caller(), task: None };
        let tickets =
            arrivals.iter().map(|&a| queue.join(a, Time::ZERO, false, caller, Waker::noop().clone())).collect();
        (queue, tickets)
    }

    fn served(queue: &mut Queue<u64>) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some(arrival) = queue.first_arrival() {
            order.push(arrival);
            assert!(queue.grant(arrival).is_ok());
        }
        assert_eq!(queue.len(), 0);
        assert!(queue.grant(0).is_err());
        order
    }

    #[test]
    fn waiters_are_served_in_order_of_arrival_however_they_joined() {
        let (mut queue, _) = queue_of(&[5, 6, 9, 4, 7, 10, 8]);
        assert_eq!(served(&mut queue), [4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_waiter_may_leave_from_anywhere_and_the_others_keep_their_order() {
        for gone in 0..4 {
            let (mut queue, tickets) = queue_of(&[1, 2, 3, 4]);
            assert_eq!(queue.leave(&tickets[gone]).0, None);
            let rest: Vec<u64> = [1, 2, 3, 4].into_iter().filter(|a| *a != gone as u64 + 1).collect();
            assert_eq!(served(&mut queue), rest);
        }
    }

    #[test]
    fn what_was_granted_to_one_who_leaves_comes_back() {
        let (mut queue, tickets) = queue_of(&[1, 2]);
        assert!(queue.grant(77).is_ok());
        assert_eq!(queue.leave(&tickets[0]).0, Some(77));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn places_are_used_again() {
        let (mut queue, mut tickets) = queue_of(&[]);
        let caller = Caller { location: Location::caller(), task: None };
        for arrival in 0..10_000 {
            tickets.push(queue.join(arrival, Time::ZERO, false, caller, Waker::noop().clone()));
            if tickets.len() > 3 {
                let _ = queue.leave(&tickets.remove(0));
            }
        }
        assert!(queue.nodes.len() <= 4, "{} nodes for at most 4 waiters", queue.nodes.len());
    }

    #[test]
    fn a_crowd_that_has_gone_leaves_no_memory_behind() {
        let crowd: Vec<u64> = (0..100_000).collect();
        let (mut queue, tickets) = queue_of(&crowd);
        for ticket in &tickets {
            let _ = queue.leave(ticket);
        }
        assert_eq!((queue.len(), queue.nodes.capacity(), queue.free.capacity()), (0, 0, 0));
        queue.join(1, Time::ZERO, false, Caller { location: Location::caller(), task: None }, Waker::noop().clone());
        assert_eq!(served(&mut queue), [1]);
    }

    #[test]
    fn only_those_who_have_waited_long_are_told_to_watch_their_deadlines_and_only_once() {
        let mut queue: Queue<u64> = Queue::new();
        let caller = Caller { location: Location::caller(), task: None };
        let at = |n: u64| Time::at_nanos(n);
        let tickets: Vec<Ticket> =
            (0..10).map(|n| queue.join(n, at(n), n == 3, caller, Waker::noop().clone())).collect();
        let _ = (queue.leave(&tickets[0]), queue.leave(&tickets[5]));
        let mut told = Vec::new();
        queue.arm(at(6), at(50), &mut told);
        assert_eq!(told.len(), 4, "1, 2, 4 and 6: the others have gone or need no telling");
        assert_eq!(queue.unarmed_since(), Some(at(7)));
        queue.arm(at(6), at(50), &mut told);
        assert_eq!(told.len(), 4);
        queue.arm(at(100), at(100), &mut told);
        assert_eq!((told.len(), queue.unarmed_since()), (7, None));
    }
}
