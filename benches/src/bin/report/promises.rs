//! `cargo xtask rivals --promises`: runs the scenarios of `benches/src/promises.rs` and writes
//! `docs/comparison.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::machine::{Machine, today};
use crate::page::versions;
use crate::programs;

const PAGE: &str = "docs/comparison.md";

/// The pools, in the order of the columns.
const POOLS: [&str; 5] = ["millpond", "deadpool", "bb8", "mobc", "sqlx::Pool"];

/// A scenario and its results.
#[derive(Debug, Default)]
struct Scenario {
    name: String,
    action: String,
    best: String,
    /// The pools with their results.
    results: Vec<(String, String)>,
}

/// Runs the scenarios and prints the page; writes it if `write` is true.
pub fn run(root: &Path, write: bool) -> Result<(), String> {
    programs::build(root, &["--bin", "promises"])?;
    let mut command = programs::with_servers(&["postgres", "postgres-tls", "pgbouncer"]);
    command.arg(programs::program("debug", "promises")?);
    let mut scenarios = Vec::new();
    programs::read_lines(command, |line| {
        eprintln!("{line}");
        read(&mut scenarios, line);
        Ok(())
    })?;
    let lock = fs::read_to_string(root.join("Cargo.lock"))
        .map_err(|e| format!("could not read Cargo.lock: {e}"))?;
    let page = render(&scenarios, &Machine::here(), &versions(&lock));
    println!("{page}");
    if write {
        fs::write(root.join(PAGE), page).map_err(|e| format!("could not write {PAGE}: {e}"))?;
    }
    Ok(())
}

/// Parses one line of the program; skips lines of other forms.
fn read(scenarios: &mut Vec<Scenario>, line: &str) {
    let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
    match (<[String; 4]>::try_from(fields.clone()), <[String; 3]>::try_from(fields)) {
        (Ok([kind, name, action, best]), _) if kind == "scenario" => {
            scenarios.push(Scenario { name, action, best, results: Vec::new() });
        }
        (_, Ok([kind, pool, result])) if kind == "result" => {
            scenarios
                .iter_mut()
                .last()
                .into_iter()
                .for_each(|last| last.results.push((pool.clone(), result.clone())));
        }
        _ => {}
    }
}

fn render(scenarios: &[Scenario], machine: &Machine, versions: &[String]) -> String {
    let mut out = String::from(INTRODUCTION);
    let Machine { processor, cores, .. } = machine;
    let versions = versions.join(", ");
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "Taken on {} on {processor} ({cores} cores), a debug build. Versions: {versions}.\n\n",
        today()
    );
    let _ =
        writeln!(out, "| | best possible | {} |\n|---|---|---|---|---|---|---|", POOLS.join(" | "));
    for scenario in scenarios {
        let of = |pool: &&str| {
            let found = scenario.results.iter().find(|(name, _)| name == pool);
            found.map_or("-", |(_, result)| result.as_str())
        };
        let cells: Vec<&str> = POOLS.iter().map(of).collect();
        let _ = writeln!(out, "| {} | {} | {} |", scenario.name, scenario.best, cells.join(" | "));
    }
    out += "\n## What was done\n\n";
    for scenario in scenarios {
        let _ = writeln!(out, "- **{}.** {}", scenario.name, scenario.action);
    }
    out + CONCLUSION
}

const INTRODUCTION: &str = "\
# How pools keep their promises

<!-- Written by `cargo xtask rivals --promises --write`; edit nothing here, but the program. -->

The same scenarios for millpond and four other pools, each with the settings that suit it best: \
all timeouts are set
where a pool has them, and connections are checked where the pool checks them by default. One \
command produces every row:

```sh
cargo xtask rivals --promises
```

";

const CONCLUSION: &str = "
The scripted connections, the five adapters and the scenarios are in `benches/src/promises`; if \
one of them is unfair to a
pool, that is a bug of ours. Speed is another matter: see [performance.md](performance.md).
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_program_become_rows() {
        let mut scenarios = Vec::new();
        for line in [
            "noise",
            "scenario\tCap\tAn action.\t10",
            "result\tmillpond\t10",
            "result\tbb8\tcannot",
        ] {
            read(&mut scenarios, line);
        }
        let page = render(&scenarios, &Machine::here(), &["bb8 0.9.1".to_owned()]);
        assert!(page.contains("| Cap | 10 | 10 | - | cannot | - | - |"), "{page}");
        assert!(page.contains("- **Cap.** An action."), "{page}");
    }
}
