//! Lends shares of members, and takes them back.

use crate::borrower::Share;
use crate::member::Member;
use crate::member_connect::MemberConnect;
use crate::members::{Core, SharedMember};
use millpond_core::{
    BoxError, CloseReason, ConnectionInfo, Lease, LeaseMeta, LeaseOwner, Manager, PoolError,
    PooledConnection, Request,
};
use std::sync::Arc;

/// How many connections may panic while being cloned for one caller.
const PANICS_MAX: u32 = 3;

/// The next member, and a clone of its connection.
struct Cloned<M: Manager> {
    of: Arc<SharedMember<M>>,
    conn: M::Connection,
}

impl<M: Manager> Core<M>
where
    M::Connection: Clone + Sync,
{
    /// Returns the next member in turn. If it is unfit, retires all unfit members; if there are too
    /// few members, opens another one.
    fn next_member(self: &Arc<Self>) -> Result<Option<Arc<SharedMember<M>>>, PoolError> {
        let mut gone = Vec::new();
        let (member, opening) = {
            let mut members = self.members.lock();
            if members.closed {
                return Err(PoolError::Closed);
            }
            let mut next = members.next();
            if next.as_ref().is_none_or(|next| next.member.unfit().is_some()) {
                gone = members.retire(Member::unfit);
                let holders = || self.multiplexer.pool().holders();
                next = members.next().or_else(|| members.fallback_member(holders));
            }
            (next, MemberConnect::begin(self, &mut members))
        };
        drop(gone);
        if let Some((runtime, opening)) = opening {
            runtime.spawn(opening.run());
        }
        Ok(member)
    }

    /// Returns a clone of the next member's connection, if there is a member.
    fn clone_next(self: &Arc<Self>, panics: &mut u32) -> Result<Option<Cloned<M>>, PoolError> {
        loop {
            let Some(of) = self.next_member()? else { return Ok(None) };
            match self.clone_of(&of.member) {
                Ok(conn) => return Ok(Some(Cloned { of, conn })),
                Err(message) => {
                    *panics += 1;
                    if *panics >= PANICS_MAX {
                        let message = format!("cloning a connection panicked: {message}");
                        let source = Arc::from(BoxError::from(message));
                        return Err(PoolError::Connect { attempts: *panics, source });
                    }
                }
            }
        }
    }

    /// Returns a clone of a member's connection. If cloning panics, removes the member and returns
    /// the panic message.
    fn clone_of(&self, member: &Member<M>) -> Result<M::Connection, String> {
        let clone = self.multiplexer.call("clone", || M::Connection::clone(member));
        clone.inspect_err(|_| self.remove(member.id(), CloseReason::Panicked))
    }

    /// Returns the lease of a share. If a ping of its member is due, sends it in the background.
    fn lend(
        self: &Arc<Self>,
        share: Share<M::Connection>,
        member: &Member<M>,
    ) -> Lease<M::Connection> {
        if share.ping_due {
            self.ping(member);
        }
        share.lease
    }

    fn ping(self: &Arc<Self>, member: &Member<M>) {
        let Some(runtime) = self.multiplexer.runtime() else { return };
        let Ok(conn) = self.clone_of(member) else { return };
        let (id, ping) = (member.id(), self.multiplexer.ping(member.id(), conn));
        // A hanging ping must not keep a dropped pool alive.
        let core = Arc::downgrade(self);
        runtime.spawn(async move {
            if let (Err(why), Some(core)) = (ping.await, core.upgrade()) {
                core.remove(id, why);
            }
        });
    }
}

/// Lends a share within the request's limit; waits only while there is no member.
pub(crate) async fn acquire<M: Manager>(
    core: Arc<Core<M>>,
    request: Request,
) -> Result<Lease<M::Connection>, PoolError>
where
    M::Connection: Clone + Sync,
{
    let mut borrower = core.multiplexer.begin(request).await;
    let (mut panics, mut listener) = (0, None);
    loop {
        match core.clone_next(&mut panics) {
            Ok(Some(Cloned { of, conn })) => {
                let share = borrower.lend(&of.member, conn, Arc::clone(&of) as _);
                return Ok(core.lend(share, &of.member));
            }
            Ok(None) => {}
            Err(error) => return Err(borrower.fail(error)),
        }
        // Tried once more after subscribing, so that no new member is missed in between.
        let Some(opened) = &mut listener else {
            listener = Some(core.opened.subscribe());
            continue;
        };
        let mut failure = None;
        let hears = async {
            if opened.changed().await.is_ok() {
                failure = opened.borrow_and_update().clone();
            }
        };
        let waited = borrower.wait(hears).await;
        if let Some(error) = waited.err().or(failure) {
            return Err(borrower.fail(error));
        }
    }
}

/// Lends a share if there is a member; counted only if it succeeds.
pub(crate) fn try_acquire<M: Manager>(
    core: &Arc<Core<M>>,
    request: Request,
) -> Option<Lease<M::Connection>>
where
    M::Connection: Clone + Sync,
{
    let Cloned { of, conn } = core.clone_next(&mut 0).ok()??;
    let share = core.multiplexer.lend(request, &of.member, conn, Arc::clone(&of) as _);
    Some(core.lend(share, &of.member))
}

impl<M: Manager> SharedMember<M> {
    fn take_back(&self, share: &LeaseMeta) {
        if self.core.multiplexer.take_back(share) {
            self.core.remove(self.member.id(), CloseReason::Overdue);
        }
    }
}

impl<M: Manager> LeaseOwner<M::Connection> for SharedMember<M>
where
    M::Connection: Clone + Sync,
{
    fn returned(&self, held: PooledConnection<M::Connection>) {
        self.take_back(held.meta());
    }

    fn discarded(&self, held: PooledConnection<M::Connection>, reason: CloseReason) {
        self.take_back(held.meta());
        self.core.remove(self.member.id(), reason);
    }

    /// The clone belongs to the borrower; the member stays in the pool.
    fn detached(&self, share: &LeaseMeta) {
        self.take_back(share);
    }

    fn info(&self, share: &LeaseMeta) -> ConnectionInfo {
        self.core.multiplexer.info(share)
    }
}
