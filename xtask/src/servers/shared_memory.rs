//! The one thing that a PostgreSQL leaves outside its directory when it is killed: a few bytes of
//! shared memory, by which it knows that no process of its predecessor still runs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Removes what dead servers below this directory have left. One that ended in order has removed
/// it, and the file that names it.
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
            // It fails for what is gone already.
            let _ = ipcrm.status();
        }
    }
}

/// The seventh line of the file holds key and id.
fn id_in(postmaster_pid: &str) -> Option<u64> {
    postmaster_pid.lines().nth(6)?.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stands_in_the_seventh_line() {
        let text =
            "29050\n/dev/shm/data\n1795422305\n37079\n\n127.0.0.1\n    58094    131087\nready   \n";
        assert_eq!(id_in(text), Some(131_087));
        assert_eq!(id_in("29050\n/dev/shm/data\n"), None);
    }
}
