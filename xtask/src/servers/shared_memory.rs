//! Removes the shared memory that a killed PostgreSQL leaves: a few bytes by which the next server
//! detects that a process of the previous one still runs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Removes the shared memory of killed servers below this directory. Others have removed it
/// themselves, and the file with its id.
pub fn remove_of_servers_within(directory: &Path) {
    let homes = fs::read_dir(directory).into_iter().flatten().flatten();
    for home in homes {
        let text = fs::read_to_string(home.path().join("data/postmaster.pid")).unwrap_or_default();
        if let Some(id) = id_in(&text) {
            let mut ipcrm = Command::new("ipcrm");
            ipcrm
                .args(["-m", &id.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            // Fails if it was removed already.
            let _ = ipcrm.status();
        }
    }
}

/// Returns the id in the seventh line of the file, which holds key and id.
fn id_in(postmaster_pid: &str) -> Option<u64> {
    postmaster_pid.lines().nth(6)?.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_in_the_seventh_line() {
        let text =
            "29050\n/dev/shm/data\n1795422305\n37079\n\n127.0.0.1\n    58094    131087\nready   \n";
        assert_eq!(id_in(text), Some(131_087));
        assert_eq!(id_in("29050\n/dev/shm/data\n"), None);
    }
}
