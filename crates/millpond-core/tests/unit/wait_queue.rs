//! The queue of waiters by itself: order, leaving, timers, and the memory it keeps.

use super::*;
use std::panic::Location;

fn queue_of(arrivals: &[u64]) -> (Queue<u64>, Vec<Ticket<u64>>) {
    let mut queue = Queue::new();
    let tickets = arrivals.iter().map(|&arrival| join(&mut queue, arrival)).collect();
    (queue, tickets)
}

fn claimant(arrival: u64, since: Time, has_timer: bool) -> Claimant {
    let caller = Caller { location: Location::caller(), label: None, task: None };
    Claimant { arrival, since, ..Claimant::new(caller, Duration::MAX, has_timer) }
}

fn join(queue: &mut Queue<u64>, arrival: u64) -> Ticket<u64> {
    queue.join(&claimant(arrival, Time::ZERO, false), Some(Waker::noop().clone()))
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
        let (mut queue, mut tickets) = queue_of(&[1, 2, 3, 4]);
        assert_eq!(queue.leave(tickets.remove(gone)).0, None);
        let rest: Vec<u64> = [1, 2, 3, 4].into_iter().filter(|a| *a != gone as u64 + 1).collect();
        assert_eq!(served(&mut queue), rest);
    }
}

#[test]
fn what_was_granted_to_one_who_leaves_comes_back() {
    let (mut queue, mut tickets) = queue_of(&[1, 2]);
    assert!(queue.grant(77).is_ok());
    assert_eq!(queue.leave(tickets.remove(0)).0, Some(77));
    assert_eq!(queue.len(), 1);
}

#[test]
fn places_are_used_again() {
    let (mut queue, mut tickets) = queue_of(&[]);
    for arrival in 0..10_000 {
        tickets.push(join(&mut queue, arrival));
        if tickets.len() > 3 {
            let _ = queue.leave(tickets.remove(0));
        }
    }
    assert!(queue.ring.capacity() <= 8, "{} places for at most 4 waiters", queue.ring.capacity());
}

#[test]
fn a_crowd_that_has_gone_leaves_no_memory_behind() {
    let crowd: Vec<u64> = (0..100_000).collect();
    let (mut queue, tickets) = queue_of(&crowd);
    for ticket in tickets {
        let _ = queue.leave(ticket);
    }
    assert_eq!((queue.len(), queue.ring.capacity()), (0, 0));
    join(&mut queue, 1);
    assert_eq!(served(&mut queue), [1]);
}

#[test]
fn only_those_that_have_waited_long_are_woken_to_set_timers_and_only_once() {
    let mut queue: Queue<u64> = Queue::new();
    let at = |n: u64| Time::at_nanos(n);
    let mut tickets: Vec<Ticket<u64>> = (0..10)
        .map(|n| queue.join(&claimant(n, at(n), n == 3), Some(Waker::noop().clone())))
        .collect();
    let _ = (queue.leave(tickets.remove(5)), queue.leave(tickets.remove(0)));
    let mut woken = Vec::new();
    assert_eq!(queue.set_timers(at(6), at(50), &mut woken), TimersSet::Due);
    assert_eq!(woken.len(), 4, "1, 2, 4 and 6: the others have gone or have a timer");
    assert_eq!(queue.set_timers(at(6), at(50), &mut woken), TimersSet::Due);
    assert_eq!(woken.len(), 4);
    assert_eq!(queue.set_timers(at(100), at(100), &mut woken), TimersSet::All);
    assert_eq!(woken.len(), 7);
}

#[test]
fn one_that_joins_again_when_no_other_waits_is_woken_too() {
    let (mut queue, mut tickets) = queue_of(&[1, 2]);
    let mut woken = Vec::new();
    queue.set_timers(Time::ZERO, Time::ZERO, &mut woken);
    while let Some(ticket) = tickets.pop() {
        let _ = queue.leave(ticket);
    }
    let _again = join(&mut queue, 1);
    queue.set_timers(Time::ZERO, Time::ZERO, &mut woken);
    assert_eq!(woken.len(), 3);
}

#[test]
fn those_who_left_from_between_are_swept_out_while_the_first_still_waits() {
    let (mut queue, _first) = queue_of(&[0]);
    let mut last = join(&mut queue, 1);
    for arrival in 2..100_000 {
        let next = join(&mut queue, arrival);
        let _ = queue.leave(mem::replace(&mut last, next));
    }
    assert_eq!(queue.len(), 2);
    assert!(queue.ring.len() <= 2 * KEPT, "{} places for 2 waiters", queue.ring.len());
    assert_eq!(served(&mut queue), [0, 99_999]);
}
