//! Session state reaches the next borrower only if the reset level allows it.

use crate::conformance::fixture::Fixture;
use crate::conformance::stage::{Stage, Trial};
use millpond_core::{Lease, ResetLevel};

/// Leaves every kind of state that the fixture knows: settings, temporary tables, locks and so on.
pub async fn b05_no_session_state_survives_a_session_reset<T: Trial>(stage: Stage<T>) {
    let marks = stage.fixture.marks();
    assert!(marks.len() >= 3, "the fixture claims Session, and knows {} marks", marks.len());
    for level in [ResetLevel::Session, ResetLevel::Replace] {
        let service = stage.service(|plan| plan.reset = level);
        for mark in marks {
            let mut lease = service.lease().await;
            service.execute(&mut lease, mark.leave).await;
            assert!(
                service.finds(&mut lease, mark.look).await,
                "the fixture does not see it: {mark:?}"
            );
            drop(lease);
            let mut lease = service.lease().await;
            let found = stage.fixture.finds(&mut lease, mark.look).await;
            assert!(!matches!(found, Ok(true)), "at {level:?} the next borrower saw {mark:?}");
            service.assert_answers(&mut lease, 5).await;
        }
        let mut lease = service.lease().await;
        for mark in marks {
            service.execute(&mut lease, mark.leave).await;
        }
        drop(lease);
        for mark in marks {
            let found = stage.fixture.finds(&mut *service.lease().await, mark.look).await;
            assert!(
                !matches!(found, Ok(true)),
                "one of many at {level:?}: the next borrower saw {mark:?}"
            );
        }
    }
}

/// Every level but `none` promises at least that; with `none`, the borrower has to end it.
pub async fn b05_an_open_transaction_is_cleared_by_every_level_but_none<T: Trial>(stage: Stage<T>) {
    for level in
        [ResetLevel::Transaction, ResetLevel::Session, ResetLevel::Replace, ResetLevel::None]
    {
        let service = stage.service(|plan| plan.reset = level);
        let mut lease = service.lease().await;
        let before = Lease::info(&lease).id;
        service.execute(&mut lease, "BEGIN").await;
        drop(lease);
        if level == ResetLevel::None {
            let open = stage.fixture.is_in_transaction(&mut *service.lease().await).await;
            assert!(
                matches!(open, Ok(true)),
                "nothing is done, not even for a connection in doubt: {open:?}"
            );
            continue;
        }
        service.assert_clean().await;
        let after = Lease::info(&service.lease().await).id;
        assert!(before != after || level != ResetLevel::Replace, "at {level:?}");
    }
}
