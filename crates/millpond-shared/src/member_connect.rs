//! Opens another member in the background.

use crate::member::Member;
use crate::members::{Core, Members, SharedMember};
use millpond_core::{CloseReason, Handle, Manager, PoolError};
use std::sync::{Arc, Weak};

/// The connect of another member. It holds the pool weakly, so that no connection is opened after
/// the last handle is dropped.
pub(crate) struct MemberConnect<M: Manager> {
    core: Weak<Core<M>>,
    /// The reason of the failure, if waiting longer would not help.
    failure: Option<PoolError>,
}

impl<M: Manager> MemberConnect<M>
where
    M::Connection: Clone + Sync,
{
    /// Returns a connect, and the runtime to run it on, if there are too few members. Only one
    /// connect runs at a time.
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
            Ok(member) => add_member(&core, member),
            // The connect began before its current waiters, so its deadline is not theirs.
            Err(error) if error.is_timeout() => {}
            Err(error) => self.failure = Some(error),
        }
    }
}

fn add_member<M: Manager>(core: &Arc<Core<M>>, member: Member<M>) {
    let member = Arc::new(SharedMember { core: Arc::clone(core), member });
    let late = {
        let mut members = core.members.lock();
        members.serving.push(member);
        // The pool may have been closed, or the new member outdated, since it was lent.
        if members.closed {
            members.remove_all(CloseReason::PoolClosed)
        } else {
            members.retire(Member::unfit)
        }
    };
    drop(late);
}

impl<M: Manager> Drop for MemberConnect<M> {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.members.lock().opening = false;
            core.opened.send_replace(self.failure.take());
        }
    }
}
