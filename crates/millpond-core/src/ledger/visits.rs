//! How many connections and slots are looked at one by one, for tests.

#[cfg(test)]
std::thread_local! {
    pub(super) static VISITS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts a connection or slot that is looked at, for the tests of what that does not depend on.
#[inline]
pub(crate) fn note_visit() {
    #[cfg(test)]
    VISITS.set(VISITS.get() + 1);
}
