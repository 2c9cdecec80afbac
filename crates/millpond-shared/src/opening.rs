//! One more member, opened behind the borrowers' backs.

use crate::members::{Core, Members, SharedMember};
use millpond_core::{CloseReason, Handle, Manager, Member, PoolError};
use std::sync::{Arc, Weak};

/// That one more member is being opened. Does not keep the pool alive: nothing is opened for
/// nobody.
pub(crate) struct Opening<M: Manager> {
    core: Weak<Core<M>>,
    /// Why nothing came of it, if waiting longer is of no use.
    failure: Option<PoolError>,
}

impl<M: Manager> Opening<M>
where
    M::Connection: Clone + Sync,
{
    /// Whether one more member is to be opened, and where. One is opened at a time.
    pub(crate) fn begin(core: &Arc<Core<M>>, members: &mut Members<M>) -> Option<(Handle, Self)> {
        if members.opening || members.serving.len() >= core.size {
            return None;
        }
        let runtime = core.multiplexer.runtime()?;
        members.opening = true;
        Some((runtime, Self { core: Arc::downgrade(core), failure: None }))
    }

    pub(crate) async fn run(mut self) {
        let Some(opening) = self.core.upgrade().map(|core| core.multiplexer.open()) else {
            return;
        };
        let outcome = opening.await;
        let Some(core) = self.core.upgrade() else { return };
        match outcome {
            Ok(member) => put_into_service(&core, member),
            // It began before those who wait now came, so its deadline is not theirs.
            Err(error) if error.is_timeout() => {}
            Err(error) => self.failure = Some(error),
        }
    }
}

fn put_into_service<M: Manager>(core: &Arc<Core<M>>, member: Member<M>) {
    let member = Arc::new(SharedMember { core: Arc::clone(core), member });
    let late = {
        let mut members = core.members.lock();
        members.serving.push(member);
        // The pool may have been closed, or the new member outdated, since it was lent.
        if members.closed {
            members.dismiss_all(CloseReason::PoolClosed)
        } else {
            members.retire(Member::unfit)
        }
    };
    drop(late);
}

impl<M: Manager> Drop for Opening<M> {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.members.lock().opening = false;
            core.opened.send_replace(self.failure.take());
        }
    }
}
