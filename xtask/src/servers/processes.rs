//! Signals processes, waits for them, and finds those that are not child processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// The interval of [`poll`].
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The names of the servers' processes. A process with another name is not ended because of its
/// working directory: it may be a developer's shell.
const SERVERS: [&str; 6] =
    ["postgres", "initdb", "mariadbd", "mysqld", "pgbouncer", "redis-server"];

/// Calls `attempt` until it returns a value; `None` if it does not within the limit.
pub fn poll<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now().checked_add(limit);
    loop {
        let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        match attempt() {
            None if !is_over => thread::sleep(POLL_INTERVAL),
            found => return found,
        }
    }
}

/// Waits until processes have ended. If they have not at the time limit of a step, sends them its
/// signals and goes on to the next step.
pub fn end(
    mut have_ended: impl FnMut() -> bool,
    pids: impl Fn() -> Vec<u32>,
    steps: &[(Duration, &[Signal])],
) {
    for (limit, signals) in steps {
        if poll(*limit, || have_ended().then_some(())).is_some() {
            return;
        }
        signals.iter().for_each(|it| signal(*it, &pids()));
    }
}

/// Sends a signal to processes; those that have ended already are skipped.
pub fn signal(signal: Signal, pids: &[u32]) {
    for pid in pids {
        let _ = kill(id(*pid), signal);
    }
}

/// Kills a process and its process group.
pub fn kill_group(leader: u32) {
    let _ = killpg(id(leader), Signal::SIGKILL);
}

fn id(pid: u32) -> Pid {
    // The kernel's own limit is 2^22.
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

/// Returns the servers whose working directory is this one or below it.
pub fn servers_within(directory: &Path) -> Vec<u32> {
    let is_within = |pid: &u32| {
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory))
    };
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    all()
        .into_iter()
        .filter(|pid| is_within(pid) && SERVERS.contains(&name(pid).trim_end()))
        .collect()
}

/// Returns a process and all its descendants, parents first.
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

/// Returns the parent in a line of `/proc/PID/stat`. The name before it may contain spaces and
/// parentheses.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (redis-server) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) b (c) R 34 1"), Some(34));
        assert_eq!(parent(""), None);
    }

    #[test]
    fn a_child_belongs_to_the_family_and_no_other_program_is_a_server() {
        let directory = std::env::temp_dir();
        let mut child = Command::new("sleep").arg("60").current_dir(&directory).spawn().unwrap();
        assert!(family(std::process::id()).contains(&child.id()));
        assert!(!servers_within(&directory).contains(&child.id()));
        signal(Signal::SIGTERM, &[child.id()]);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn killing_a_group_ends_all_its_processes() {
        let mut shell = Command::new("sh");
        let mut shell = shell
            .args(["-c", "sleep 60 & wait"])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        poll(Duration::from_secs(9), || (family(shell.id()).len() > 1).then_some(())).unwrap();
        kill_group(shell.id());
        // The pipe ends only when `sleep` has ended too.
        let mut output = Vec::new();
        std::io::Read::read_to_end(&mut shell.stdout.take().unwrap(), &mut output).unwrap();
        assert!(!shell.wait().unwrap().success());
    }
}
