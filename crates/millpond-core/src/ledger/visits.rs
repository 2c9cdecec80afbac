//! How many connections and slots were looked at one by one, for the tests that say on what that
//! does not depend.

#[cfg(test)]
std::thread_local! {
    static COUNT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[inline]
pub(crate) fn note() {
    #[cfg(test)]
    COUNT.set(COUNT.get() + 1);
}

#[cfg(test)]
pub(crate) fn take() -> u64 {
    COUNT.take()
}
