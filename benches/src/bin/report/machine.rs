//! The properties of the machine, and pinning programs to one or two of its cores.

use std::env::consts::OS;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;

/// The machine on which the results were measured.
#[derive(Debug)]
pub struct Machine {
    /// The name of the processor.
    pub processor: String,
    /// The number of usable cores.
    pub cores: usize,
    /// The operating system and its version.
    pub system: String,
    /// The compiler and its version.
    pub compiler: String,
    /// The numbers of the cores to pin to; empty if there is no `taskset`.
    pinnable: Vec<usize>,
}

impl Machine {
    /// Returns the properties of this machine.
    pub fn here() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let pinnable = said("taskset", &["--version"])
            .and_then(|_| field(&status, "Cpus_allowed_list").map(cores));
        Self {
            processor: field(&info, "model name").unwrap_or("unknown processor").to_owned(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            system: format!("{OS} {}", kernel.trim()).trim_end().to_owned(),
            compiler: said("rustc", &["-V"]).unwrap_or_else(|| "unknown compiler".to_owned()),
            pinnable: pinnable.unwrap_or_default(),
        }
    }

    /// Returns a sentence about how the programs are pinned.
    pub fn pinning(&self) -> String {
        match self.pinnable.as_slice() {
            [] => "nothing is pinned: there is no `taskset` here (util-linux has it)".to_owned(),
            [one] => format!("everything is pinned to core {one} by `taskset`: there is no other"),
            [one, two, ..] => {
                format!(
                    "rows on one core are pinned to core {one}, all others to cores {one} and \
                     {two}, by `taskset`"
                )
            }
        }
    }

    /// Returns a command that runs its arguments pinned to this many cores, or `None` without
    /// `taskset`.
    pub fn pinned_to(&self, cores: usize) -> Option<Command> {
        let list: Vec<String> = self.pinnable.iter().take(cores).map(usize::to_string).collect();
        if list.is_empty() {
            return None;
        }
        let mut command = Command::new("taskset");
        command.args(["-c", &list.join(",")]);
        Some(command)
    }
}

/// Returns the date in UTC.
pub fn today() -> String {
    said("date", &["-u", "+%F"]).unwrap_or_else(|| "an unknown day".to_owned())
}

/// Returns the output of a program; `None` if it is missing, fails or prints nothing.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}

/// Returns the value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

/// Parses a list of cores such as `0-1,4`.
fn cores(list: &str) -> Vec<usize> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>())
        {
            cores.extend(first..=last);
        }
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cores_has_ranges_and_single_ones() {
        assert_eq!(cores("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(cores("7"), [7]);
        assert_eq!(cores(""), [0; 0]);
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        assert_eq!(field("a\t: 1\nmodel name\t: X: Y\n", "model name"), Some("X: Y"));
    }
}
