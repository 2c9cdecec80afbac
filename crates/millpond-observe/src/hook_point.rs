//! The hook points in the life of a connection, and sets of them.

use std::ops::BitOr;

named! {
    /// One hook point in the life of a connection at which hooks are called. There are five.
    pub enum HookPoint {
        /// After the pool's very first connection was opened, before `Connect`.
        FirstConnect = "on_first_connect",
        /// After any connection was opened.
        Connect = "on_connect",
        /// Before a connection is lent.
        Checkout = "on_checkout",
        /// After a connection came back.
        Checkin = "on_checkin",
        /// Before a connection is closed.
        Close = "on_close",
    }
    /// The name of the hook: `on_connect` and so on.
    pub fn name;
}

/// A set of [`HookPoint`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookPoints(u8);

impl HookPoints {
    /// All five.
    pub const ALL: Self = Self(0b1_1111);
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether the hook point is in the set.
    pub fn contains(self, point: HookPoint) -> bool {
        self.0 & Self::from(point).0 != 0
    }
}

impl From<HookPoint> for HookPoints {
    fn from(point: HookPoint) -> Self {
        Self(1 << point as u8)
    }
}

impl<R: Into<HookPoints>> BitOr<R> for HookPoints {
    type Output = Self;
    fn bitor(self, other: R) -> Self {
        Self(self.0 | other.into().0)
    }
}

impl<R: Into<HookPoints>> BitOr<R> for HookPoint {
    type Output = HookPoints;
    fn bitor(self, other: R) -> HookPoints {
        HookPoints::from(self) | other
    }
}
