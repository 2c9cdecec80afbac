//! The errors of a manager are user code: their destructors, and the texts that are logged.

use crate::support::secs;
use millpond_core::{ConnectInfo, Manager, QueuePool};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use tokio::runtime::{Builder, Runtime};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

static NOSY: OnceLock<QueuePool<Nosy>> = OnceLock::new();

#[derive(Default)]
struct Nosy(AtomicUsize);

/// Looks at the pool when it goes.
#[derive(Debug)]
struct NosyError;

impl fmt::Display for NosyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no")
    }
}

impl std::error::Error for NosyError {}

impl Drop for NosyError {
    fn drop(&mut self) {
        let _ = NOSY.get().map(QueuePool::status);
    }
}

impl Manager for Nosy {
    type Connection = u64;
    type Error = NosyError;
    async fn connect(&self, info: &ConnectInfo) -> Result<u64, NosyError> {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 { Err(NosyError) } else { Ok(info.id.get()) }
    }
    async fn ping(&self, _: &mut u64) -> Result<(), NosyError> {
        Ok(())
    }
    async fn close(&self, _: u64) -> Result<(), NosyError> {
        Err(NosyError)
    }
}

#[test]
fn an_error_is_not_dropped_under_the_lock() {
    let (done, end) = mpsc::channel();
    thread::spawn(move || {
        let pool = NOSY.get_or_init(|| QueuePool::builder(Nosy::default()).build().unwrap());
        runtime().block_on(async {
            drop(pool.acquire().await.unwrap());
            let _report = pool.close().await;
        });
        done.send(()).unwrap();
    });
    end.recv_timeout(secs(5)).expect("a deadlock");
}

/// Cannot be written down.
#[derive(Debug)]
struct Unprintable;

impl fmt::Display for Unprintable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no text")
    }
}

impl std::error::Error for Unprintable {}

/// Fails to connect once.
struct FailsOnce(AtomicBool);

impl Manager for FailsOnce {
    type Connection = u64;
    type Error = Unprintable;
    async fn connect(&self, info: &ConnectInfo) -> Result<u64, Unprintable> {
        if self.0.swap(true, Ordering::SeqCst) { Ok(info.id.get()) } else { Err(Unprintable) }
    }
    async fn ping(&self, _: &mut u64) -> Result<(), Unprintable> {
        Ok(())
    }
}

/// Writes down every field of every event.
struct Log;

impl Visit for Log {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        let _written = format!("{value:?}");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Log);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_connect_error_that_cannot_be_logged_costs_no_slot() {
    let pool = QueuePool::builder(FailsOnce(AtomicBool::new(false))).pool_size(1).max_overflow(0);
    let pool = pool.build().unwrap();
    tracing::subscriber::with_default(Log, || {
        runtime().block_on(async { drop(pool.acquire_within(secs(20)).await.unwrap()) });
    });
    assert_eq!(pool.status().connecting, 0);
}
