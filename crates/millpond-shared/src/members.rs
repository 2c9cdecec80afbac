//! The members of a pool: which connections are lent, in which order, and when they are retired.
//!
//! A member that is only too old is ageing: it gets no new borrowers while there is a young member,
//! and it is closed after its last borrower. If there is no young member, one of the ageing members
//! is lent in its place, so that a healthy connection is always available.

use crate::member::Member;
use crate::multiplexer::Multiplexer;
use millpond_core::{CloseReason, CloseReport, ConnectionId, Holder, Manager, PoolError};
use parking_lot::Mutex;
use std::mem;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// A member of the pool. It is closed when neither the pool nor a borrower holds it.
pub(crate) struct SharedMember<M: Manager> {
    pub(crate) core: Arc<Core<M>>,
    pub(crate) member: Member<M>,
}

/// All members. Guarded by the pool's lock: no user code runs in here.
pub(crate) struct Members<M: Manager> {
    pub(crate) serving: Vec<Arc<SharedMember<M>>>,
    /// Members that are too old, while borrowers still have shares of them.
    ageing: Vec<(ConnectionId, Weak<SharedMember<M>>)>,
    /// The ageing member that is lent while there is no young one.
    fallback: Option<ConnectionId>,
    /// The index of the current member, and how many acquires its turn still has.
    turn: usize,
    left: u32,
    pub(crate) acquires_per_turn: u32,
    /// True while another member is being opened.
    pub(crate) opening: bool,
    pub(crate) closed: bool,
}

impl<M: Manager> Members<M> {
    pub(crate) fn new() -> Self {
        Self {
            serving: Vec::new(),
            ageing: Vec::new(),
            fallback: None,
            turn: 0,
            left: 0,
            acquires_per_turn: 1,
            opening: false,
            closed: false,
        }
    }

    /// Returns the next member in turn.
    pub(crate) fn next(&mut self) -> Option<Arc<SharedMember<M>>> {
        match self.left.checked_sub(1).filter(|_| self.turn < self.serving.len()) {
            Some(left) => self.left = left,
            None => {
                let next = self.turn + 1;
                self.turn = if next < self.serving.len() { next } else { 0 };
                self.left = self.acquires_per_turn.saturating_sub(1);
            }
        }
        self.serving.get(self.turn).cloned()
    }

    /// Returns the ageing member to lend while there is no young one: the one with the oldest loan,
    /// since the others will sooner be free to be replaced. It stays the same while it exists.
    /// `holders` lists the oldest loan first.
    pub(crate) fn fallback_member(
        &mut self,
        holders: impl FnOnce() -> Vec<Holder>,
    ) -> Option<Arc<SharedMember<M>>> {
        let find = |id| self.ageing.iter().find(|(ageing, _)| *ageing == id)?.1.upgrade();
        let fallback = self.fallback.and_then(find).or_else(|| {
            let is_any = !self.ageing.is_empty();
            is_any.then(holders)?.iter().find_map(|holder| find(holder.id))
        });
        self.fallback = fallback.as_ref().map(|shared| shared.member.id());
        fallback
    }

    /// Removes unfit members; a member that is only too old becomes an ageing one. The caller must
    /// drop the returned members outside the lock, because destructors of connections are user
    /// code.
    pub(crate) fn retire(
        &mut self,
        unfit: impl Fn(&Member<M>) -> Option<CloseReason>,
    ) -> Vec<Arc<SharedMember<M>>> {
        let mut gone = Vec::new();
        for serving in mem::take(&mut self.serving) {
            let member = &serving.member;
            match unfit(member) {
                None => self.serving.push(serving),
                Some(why) => {
                    match why {
                        CloseReason::Recycled => {
                            self.ageing.push((member.id(), Arc::downgrade(&serving)));
                        }
                        why => member.dismiss(why),
                    }
                    gone.push(serving);
                }
            }
        }
        for (id, ageing) in mem::take(&mut self.ageing) {
            let Some(aged) = ageing.upgrade() else { continue };
            match unfit(&aged.member) {
                None | Some(CloseReason::Recycled) => self.ageing.push((id, ageing)),
                Some(why) => aged.member.dismiss(why),
            }
            gone.push(aged);
        }
        gone
    }

    /// Removes one member.
    pub(crate) fn remove(
        &mut self,
        id: ConnectionId,
        why: CloseReason,
    ) -> Vec<Arc<SharedMember<M>>> {
        self.retire(|member| (member.id() == id).then_some(why))
    }

    /// Removes all members.
    pub(crate) fn remove_all(&mut self, why: CloseReason) -> Vec<Arc<SharedMember<M>>> {
        self.retire(|_| Some(why))
    }
}

/// State that the handles, members and acquires of a pool share. A pool and its members reference
/// each other until [`end`](Core::end).
pub(crate) struct Core<M: Manager> {
    /// Opens and closes the members, and keeps the counts.
    pub(crate) multiplexer: Multiplexer<M>,
    /// No user code runs while this is locked.
    pub(crate) members: Mutex<Members<M>>,
    /// The number of members to keep.
    pub(crate) size: usize,
    /// Wakes waiters when a member is added, fails to open, or loses its runtime. Contains the
    /// reason if waiting longer would not help.
    pub(crate) opened: watch::Sender<Option<PoolError>>,
}

impl<M: Manager> Core<M> {
    /// Removes members that are too old, or outdated by a failover, by `invalidate_all` or by the
    /// end of their runtime.
    pub(crate) fn retire_unfit(&self) {
        let gone = self.members.lock().retire(Member::unfit);
        drop(gone);
    }

    /// Removes a member.
    pub(crate) fn remove(&self, id: ConnectionId, why: CloseReason) {
        let gone = self.members.lock().remove(id, why);
        drop(gone);
    }

    /// Stops lending. Members close when no borrower holds a share of them.
    pub(crate) fn end(&self) {
        let gone = {
            let mut members = self.members.lock();
            members.closed = true;
            members.remove_all(CloseReason::PoolClosed)
        };
        drop(gone);
        self.opened.send_replace(None);
    }

    /// Stops lending, and waits until all members are closed.
    pub(crate) async fn close(&self, limit: Duration) -> CloseReport {
        self.end();
        self.multiplexer.pool().close_within(limit).await
    }
}
