//! The members of a pool: which connections serve, whose turn it is, and when they are retired.
//!
//! A member that is only too old is ageing: it gets no new borrowers while a young member serves,
//! and it is closed when its last borrower is gone. If no young member serves, one of the ageing
//! ones stands in for them, so that a healthy connection is always shared.

use millpond_core::{
    CloseReason, CloseReport, ConnectionId, Holder, Manager, Member, Multiplexer, PoolError,
};
use parking_lot::Mutex;
use std::mem;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// A connection that serves. It is closed when neither the pool nor a borrower holds it any more.
pub(crate) struct SharedMember<M: Manager> {
    pub(crate) core: Arc<Core<M>>,
    pub(crate) member: Member<M>,
}

/// All members. Guarded by the pool's lock: no user code runs in here.
pub(crate) struct Members<M: Manager> {
    pub(crate) serving: Vec<Arc<SharedMember<M>>>,
    /// Those that are too old, for as long as somebody has a share.
    ageing: Vec<(ConnectionId, Weak<SharedMember<M>>)>,
    /// The ageing member that is lent while no young one serves.
    fallback: Option<ConnectionId>,
    /// Whose turn it is, and how many acquires are left of it.
    turn: usize,
    left: u32,
    pub(crate) acquires_per_turn: u32,
    /// Whether one more is being opened.
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

    /// The next member in turn.
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

    /// The ageing member that is lent while no young one serves: the one whose loan is oldest,
    /// since the others are sooner free to be replaced. It stays the same for as long as it is
    /// there. `holders` has the oldest loan first.
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

    /// Takes unfit members out of service. One that is only too old ages. The caller drops what is
    /// returned outside the lock, because destructors of connections are user code.
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

    /// Takes one member out of service.
    pub(crate) fn remove(
        &mut self,
        id: ConnectionId,
        why: CloseReason,
    ) -> Vec<Arc<SharedMember<M>>> {
        self.retire(|member| (member.id() == id).then_some(why))
    }

    /// Takes all members out of service.
    pub(crate) fn remove_all(&mut self, why: CloseReason) -> Vec<Arc<SharedMember<M>>> {
        self.retire(|_| Some(why))
    }
}

/// State that the handles, members and acquires of a pool share. It and its members hold each other
/// until [`end`](Core::end).
pub(crate) struct Core<M: Manager> {
    /// Opens and closes the members, and keeps the books.
    pub(crate) multiplexer: Multiplexer<M>,
    /// No user code runs while it is locked.
    pub(crate) members: Mutex<Members<M>>,
    /// How many members serve.
    pub(crate) size: usize,
    /// Wakes waiters when a member arrives, fails to open, or loses its runtime. Has the reason if
    /// waiting longer would not help.
    pub(crate) opened: watch::Sender<Option<PoolError>>,
}

impl<M: Manager> Core<M> {
    /// Takes members out of service that are too old, or outdated by a failover, by
    /// `invalidate_all` or by the end of their runtime.
    pub(crate) fn retire_unfit(&self) {
        let gone = self.members.lock().retire(Member::unfit);
        drop(gone);
    }

    /// Takes a member out of service.
    pub(crate) fn remove(&self, id: ConnectionId, why: CloseReason) {
        let gone = self.members.lock().remove(id, why);
        drop(gone);
    }

    /// Ends lending. Members close as soon as nobody holds a share of them.
    pub(crate) fn end(&self) {
        let gone = {
            let mut members = self.members.lock();
            members.closed = true;
            members.remove_all(CloseReason::PoolClosed)
        };
        drop(gone);
        self.opened.send_replace(None);
    }

    /// Ends lending, and waits until all members are closed.
    pub(crate) async fn close(&self, limit: Duration) -> CloseReport {
        self.end();
        self.multiplexer.pool().close_within(limit).await
    }
}
