//! Removes leases that may be in Redis although nobody holds them: the answer to their request came
//! too late, its caller went away, or they were released during an outage.

use crate::storage::{Asked, CentralizedStateStorage, WeakStorage};
use millpond_redis::{Breaker, ScriptCall};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// Removes a lease when it is dropped, unless it was forgotten.
pub(crate) struct Removal {
    storage: WeakStorage,
    key: String,
    /// The script; `None` once there is nothing to remove.
    script: Option<ScriptCall>,
    /// When the lease expires at the latest.
    until: Instant,
}

impl Removal {
    /// `script` returns how many leases it has removed from `key`.
    pub(crate) fn new(
        storage: &CentralizedStateStorage,
        key: &str,
        script: ScriptCall,
        expiry: Duration,
    ) -> Self {
        let (storage, key) = (storage.downgrade(), key.to_owned());
        Self { storage, key, script: Some(script), until: Instant::now() + expiry }
    }

    /// Keeps the lease: its holder has it, or it has expired.
    pub(crate) fn forget(mut self) {
        self.script = None;
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        if let (Some(script), Ok(runtime)) = (self.script.take(), Handle::try_current()) {
            let (storage, key) = (self.storage.clone(), std::mem::take(&mut self.key));
            runtime.spawn(remove(storage, key, script, self.until));
        }
    }
}

/// Runs the script until the lease is known to be gone, or the storage is.
async fn remove(storage: WeakStorage, key: String, script: ScriptCall, until: Instant) {
    let mut was_absent = false;
    while Instant::now() < until {
        let Some(storage) = storage.upgrade() else { return };
        match storage.ask(&key, Box::pin(script.clone().run::<u32>(storage.pool()))).await {
            // The request for the lease may still be on its way.
            Ok(Asked::Answered(0)) if !was_absent => was_absent = true,
            Ok(Asked::Answered(_)) | Err(_) => return,
            Ok(Asked::NotExecuted | Asked::Unknown) => {}
        }
        drop(storage);
        sleep(Breaker::PAUSE).await;
    }
}
