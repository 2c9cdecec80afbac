//! Processes that are not our children: which there are, and how they get a signal.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the servers call their processes. Nothing else is ended because of the directory it works in: a developer's
/// shell may stand there to read a log.
const SERVERS: [&str; 5] = ["postgres", "initdb", "mariadbd", "pgbouncer", "redis-server"];

/// Sends a signal, such as `TERM`, to processes; those that have ended already are passed over.
pub fn signal(name: &str, pids: &[u32]) {
    kill(name, pids.iter().map(u32::to_string).collect());
}

/// Sends a signal to groups of processes, each named by its first one.
pub fn signal_groups(name: &str, leaders: &[u32]) {
    kill(name, leaders.iter().map(|pid| format!("-{pid}")).collect());
}

fn kill(name: &str, targets: Vec<String>) {
    if targets.is_empty() {
        return;
    }
    // The shell's own `kill`: the program of that name is not installed everywhere.
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$0\" -- \"$@\"", name]).args(targets);
    // A process that ended meanwhile is what we want; callers that need to know look again.
    let _ = kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// The servers whose working directory is at or below this one.
pub fn servers_within(directory: &Path) -> Vec<u32> {
    let is_within = |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
    let is_server = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        SERVERS.contains(&name.trim_end())
    };
    all().into_iter().filter(|pid| is_within(pid) && is_server(pid)).collect()
}

/// A process and all that it started, itself or through others, parents first.
pub fn family(ancestor: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in all() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![ancestor];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        found.extend(children.remove(pid).unwrap_or_default());
        at += 1;
    }
    found
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The parent in a line of `/proc/PID/stat`. The name before it may hold blanks and parentheses of its own.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (redis-server) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) b (c) R 34 1"), Some(34));
        assert_eq!(parent(""), None);
    }

    #[test]
    fn a_child_belongs_to_the_family_and_a_signal_ends_it() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(family(process::id()).contains(&child.id()));
        signal("KILL", &[child.id()]);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_signal_to_a_group_ends_what_the_first_one_started() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 60 & wait"]).stdout(Stdio::piped());
        let mut shell = std::os::unix::process::CommandExt::process_group(&mut shell, 0).spawn().unwrap();
        while family(shell.id()).len() < 2 {
            std::thread::yield_now();
        }
        signal_groups("TERM", &[shell.id()]);
        // The pipe ends only when the sleeper has gone, too.
        let mut output = Vec::new();
        std::io::Read::read_to_end(&mut shell.stdout.take().unwrap(), &mut output).unwrap();
        assert!(!shell.wait().unwrap().success());
    }

    #[test]
    fn what_is_no_server_of_ours_is_let_alone() {
        let directory = std::env::temp_dir();
        let mut child = Command::new("sleep").arg("60").current_dir(&directory).spawn().unwrap();
        assert!(!servers_within(&directory).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
