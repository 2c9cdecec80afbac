//! A gate that holds calls until the test lets them through.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// Blocks every caller until it is opened. Clones are the same gate.
#[derive(Clone)]
pub struct Gate {
    /// Closed when the gate is open; each permit lets one call through.
    passes: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Gate {
    /// Creates a shut gate.
    pub fn new() -> Self {
        Self { passes: Arc::new(Semaphore::new(0)), waiting: Arc::new(AtomicUsize::new(0)) }
    }

    /// Opens the gate permanently.
    pub fn open(&self) {
        self.passes.close();
    }

    /// Lets one call through: the one that has waited longest, else the next one.
    pub fn let_one_through(&self) {
        self.passes.add_permits(1);
    }

    /// Returns how many calls wait at the gate.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Waits until the gate lets the caller through.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future lets no other caller through.
    pub async fn pass(&self) {
        let _waiting = Waiting::new(&self.waiting);
        if let Ok(pass) = self.passes.acquire().await {
            pass.forget();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("open", &self.passes.is_closed())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// Counts one waiting call for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
