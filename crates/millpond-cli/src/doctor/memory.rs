//! The memory of processes, as Linux counts it.

use super::measured::Memory;
use std::fs;

/// Returns the proportional set size of a process in bytes: its own memory, and its part of what it
/// shares with others. `None` where that cannot be read: another system, another user's process.
pub fn proportional(process: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Returns the proportional set size of this process.
pub fn own() -> Option<u64> {
    proportional("self")
}

/// Returns what each of `connections` needs in this process, which has grown by them.
pub fn grown(before: Option<u64>, after: Option<u64>, connections: u32) -> Option<Memory> {
    let grown = after?.saturating_sub(before?);
    let bytes = grown.checked_div(connections.into())?;
    Some(Memory { bytes, how: "how much this process has grown by several of them" })
}

/// Returns the name of a process on this machine.
pub fn name(process: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_this_process_is_known() {
        assert!(own().unwrap() > 1 << 16);
        assert_eq!(proportional("0"), None);
        assert!(name(std::process::id()).is_some());
    }
}
