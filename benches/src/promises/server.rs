//! A server that fails on command: connects hang, panic or fail, pings hang.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::sleep;

/// The script of the next calls, and counters. Clones are the same server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server(Arc<Script>);

#[derive(Debug, Default)]
struct Script {
    hanging: AtomicU32,
    panicking: AtomicU32,
    down: AtomicBool,
    pings_hang: AtomicBool,
    connects: AtomicU32,
}

/// A connection to nothing.
#[derive(Debug)]
pub(crate) struct Wire;

impl Server {
    /// Makes this many of the next connects hang forever.
    pub(crate) fn hang(&self, connects: u32) {
        self.0.hanging.store(connects, Ordering::SeqCst);
    }

    /// Makes this many of the next connects panic.
    pub(crate) fn panic(&self, connects: u32) {
        self.0.panicking.store(connects, Ordering::SeqCst);
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn let_pings_hang(&self) {
        self.0.pings_hang.store(true, Ordering::SeqCst);
    }

    /// Returns the number of connects.
    pub(crate) fn connects(&self) -> u32 {
        self.0.connects.load(Ordering::SeqCst)
    }

    pub(crate) async fn connect(&self) -> io::Result<Wire> {
        self.0.connects.fetch_add(1, Ordering::SeqCst);
        if one_of(&self.0.hanging) {
            pending::<()>().await;
        }
        assert!(!one_of(&self.0.panicking), "scripted");
        sleep(Duration::from_millis(2)).await;
        if self.0.down.load(Ordering::SeqCst) { Err(io::Error::other("down")) } else { Ok(Wire) }
    }

    pub(crate) async fn ping(&self) -> io::Result<()> {
        if self.0.pings_hang.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
        Ok(())
    }
}

fn one_of(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
