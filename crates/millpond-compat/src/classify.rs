//! Classifies a manager's errors for the pool, since managers of other pools do not.

use millpond_core::ErrorClass;
use std::fmt;

type Answer<E> = dyn Fn(&E) -> ErrorClass + Send + Sync;

/// The user's function, or [`ErrorClass::Transient`] for every error.
pub(crate) struct Classify<E>(Option<Box<Answer<E>>>);

impl<E> Classify<E> {
    pub(crate) const fn unset() -> Self {
        Self(None)
    }

    pub(crate) fn set(&mut self, classify: impl Fn(&E) -> ErrorClass + Send + Sync + 'static) {
        self.0 = Some(Box::new(classify));
    }

    pub(crate) fn of(&self, error: &E) -> ErrorClass {
        self.0.as_ref().map_or(ErrorClass::Transient, |classify| classify(error))
    }
}

impl<E> fmt::Debug for Classify<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "unset" })
    }
}
