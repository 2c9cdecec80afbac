//! Interrupts a connection's statement once it is abandoned.

use sqlx::{Error, SqliteConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The number of steps of SQLite's virtual machine between two checks of the interrupt flag: about
/// ten microseconds.
const STEPS_BETWEEN_CHECKS: i32 = 1000;

/// Makes SQLite interrupt a connection's statement when its interrupt flag is set. A connection has
/// only one progress handler, so any other is replaced.
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
