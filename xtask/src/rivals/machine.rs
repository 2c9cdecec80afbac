//! The machine: what it is, and how a program is kept on one or two of its cores.

use std::env::consts::OS;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the figures were taken on.
#[derive(Debug)]
pub struct Machine {
    /// The name of the processor.
    pub processor: String,
    /// How many cores may be used.
    pub cores: usize,
    /// The system and its version.
    pub system: String,
    /// The compiler.
    pub compiler: String,
    /// The numbers of the cores that we may pin to; none if there is no `taskset`.
    pinnable: Vec<usize>,
}

impl Machine {
    /// The one that this runs on.
    pub fn here() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let pinnable = if there_is("taskset") { field(&status, "Cpus_allowed_list").map(cores) } else { None };
        Self {
            processor: field(&info, "model name").unwrap_or("unknown processor").to_owned(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            system: format!("{OS} {}", kernel.trim()).trim_end().to_owned(),
            compiler: said("rustc", "-V").unwrap_or_else(|| "unknown compiler".to_owned()),
            pinnable: pinnable.unwrap_or_default(),
        }
    }

    /// How the programs are pinned, as a sentence.
    pub fn pinning(&self) -> String {
        match self.pinnable.as_slice() {
            [] => "nothing is pinned: there is no `taskset` here (util-linux has it)".to_owned(),
            [one] => format!("everything is pinned to core {one} by `taskset`: there is no other"),
            [one, two, ..] => {
                format!("rows on one core are pinned to core {one}, all others to cores {one} and {two}, by `taskset`")
            }
        }
    }

    /// The start of a command that keeps what follows on so many cores.
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

/// The date, in UTC.
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    date(seconds / 86_400)
}

/// The date so many days after the first of January 1970.
fn date(mut days: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

fn there_is(program: &str) -> bool {
    let mut command = Command::new(program);
    let found = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn said(program: &str, arg: &str) -> Option<String> {
    let output = Command::new(program).arg(arg).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|said| !said.is_empty())
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

/// The cores of a list such as `0-1,4`.
fn cores(list: &str) -> Vec<usize> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
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

    #[test]
    fn days_are_dates() {
        assert_eq!([0, 59, 11_016, 20_780].map(date), ["1970-01-01", "1970-03-01", "2000-02-29", "2026-11-23"]);
    }
}
