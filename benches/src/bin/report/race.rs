//! Runs the programs of the race one after the other, and reads their results.

use std::process::Command;

use crate::machine::Machine;
use crate::programs::{program, read_lines, with_servers};
use crate::results::Results;

/// How many processes share the rounds of rows that take nanoseconds. The memory layout of a
/// process can make it a tenth faster or slower than the next one, as long as it runs.
const PROCESSES: u32 = 5;

/// Runs the programs one at a time and returns their results.
pub fn run(quick: bool) -> Result<Results, String> {
    let machine = Machine::here();
    eprintln!("rivals: {}", machine.pinning());
    let mut race = Race { quick, results: Results::default(), left_out: Vec::new() };
    race.run("rivals", Some("gate"), machine.pinned_to(2))?;
    race.left_out = race.results.failed();
    for _ in 0..PROCESSES {
        race.run("rivals", Some("one"), machine.pinned_to(1))?;
        race.run("rivals", Some("two"), machine.pinned_to(2))?;
    }
    race.run("rivals_memory", None, machine.pinned_to(2))?;
    // The servers share the machine, so nothing is pinned.
    race.run("rivals_servers", None, Some(with_servers(&["postgres", "redis"])))?;
    Ok(race.results.merged())
}

struct Race {
    quick: bool,
    results: Results,
    /// The pools that failed the gate.
    left_out: Vec<String>,
}

impl Race {
    /// Runs one program with the command prefix `before`, and reads its lines.
    fn run(
        &mut self,
        name: &str,
        part: Option<&str>,
        before: Option<Command>,
    ) -> Result<(), String> {
        let path = program("release", name)?;
        let mut command = match before {
            Some(mut before) => {
                before.arg(&path);
                before
            }
            None => Command::new(&path),
        };
        command.args(part);
        if name == "rivals" {
            command.args(["--processes", &PROCESSES.to_string()]);
        }
        command.args(self.quick.then_some("--quick"));
        for name in &self.left_out {
            command.args(["--without", name]);
        }
        read_lines(command, |line| self.results.read(line))
    }
}
