//! Stops what SQLite does for a connection when nobody waits for it any more.

use sqlx::{Error, SqliteConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The number of steps of SQLite's virtual machine between two checks of the interrupt flag: about
/// ten microseconds.
const STEPS_BETWEEN_CHECKS: i32 = 1000;

/// Makes SQLite stop a connection's statement when its interrupt flag is set. A connection has one
/// progress handler, so another one is replaced.
pub(crate) async fn install_interrupt_handler(
    conn: &mut SqliteConnection,
    interrupt_flag: Arc<AtomicBool>,
) -> Result<(), Error> {
    let mut handle = conn.lock_handle().await?;
    handle.set_progress_handler(STEPS_BETWEEN_CHECKS, move || {
        !interrupt_flag.load(Ordering::Acquire)
    });
    Ok(())
}
