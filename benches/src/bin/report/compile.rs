//! What a pool adds to a build: the crates in its tree, and the time of a clean debug build.
//!
//! Each pool is the only dependency of an empty package, in the versions of `Cargo.lock`. So it is
//! built with the features that a user gets, not with those that this workspace enables.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::programs::{cargo, target_directory};
use crate::results::{Line, Results, middle};

const ROUNDS: usize = 3;

/// An empty package that depends on one pool.
struct Scratch {
    pool: &'static str,
    directory: PathBuf,
}

/// Measures millpond-core, deadpool and bb8 in turn.
pub fn measure(root: &Path) -> Result<Results, String> {
    let target = target_directory()?;
    let ours =
        format!("millpond-core = {{ path = \"{}\" }}", root.join("crates/millpond-core").display());
    let deadpool = "deadpool = \
        { version = \"0.13\", default-features = false, features = [\"managed\", \"rt_tokio_1\"] }";
    let mut pools = Vec::new();
    for (pool, dependency) in
        [("millpond", ours.as_str()), ("deadpool", deadpool), ("bb8", "bb8 = \"0.9\"")]
    {
        pools.push(Scratch::new(pool, dependency, root, &target)?);
    }
    let mut seconds = vec![Vec::new(); pools.len()];
    for round in 1..=ROUNDS {
        for (scratch, spent) in pools.iter().zip(&mut seconds) {
            spent.push(scratch.build()?);
            eprintln!("rivals: clean build of {}, {round} of {ROUNDS}", scratch.pool);
        }
    }
    let mut results = Results::default();
    for (scratch, spent) in pools.iter().zip(seconds) {
        let crates = scratch.crates()? as f64;
        let least = spent.iter().copied().fold(f64::INFINITY, f64::min);
        let most = spent.iter().copied().fold(0.0, f64::max);
        for (row, unit, [low, median, high]) in [
            ("crates", "crates", [crates; 3]),
            ("compile", "s", [least, middle(spent.clone()), most]),
        ] {
            let line = Line {
                row: row.into(),
                pool: scratch.pool.into(),
                unit: unit.into(),
                median,
                low,
                high,
            };
            results.add(line);
        }
    }
    Ok(results)
}

impl Scratch {
    fn new(
        pool: &'static str,
        dependency: &str,
        root: &Path,
        target: &Path,
    ) -> Result<Self, String> {
        let directory = target.join("rivals-compile").join(pool);
        // The empty table keeps cargo from looking for a workspace in parent directories.
        let manifest = format!(
            "[package]\nname = \"scratch\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
             {dependency}\n"
        );
        let broken = |e: std::io::Error| format!("could not write to {}: {e}", directory.display());
        fs::create_dir_all(directory.join("src")).map_err(broken)?;
        fs::write(directory.join("src/lib.rs"), "//! Empty.\n").map_err(broken)?;
        fs::write(directory.join("Cargo.toml"), manifest).map_err(broken)?;
        fs::copy(root.join("Cargo.lock"), directory.join("Cargo.lock")).map_err(broken)?;
        Ok(Self { pool, directory })
    }

    /// Builds the package from scratch and returns the seconds.
    fn build(&self) -> Result<f64, String> {
        let built = self.directory.join("target");
        if built.exists() {
            fs::remove_dir_all(&built)
                .map_err(|e| format!("could not remove {}: {e}", built.display()))?;
        }
        let mut command = cargo(&self.directory, &["build", "--quiet", "--offline"]);
        let began = Instant::now();
        let status = command
            .env("CARGO_TARGET_DIR", &built)
            .status()
            .map_err(|e| format!("could not run cargo: {e}"))?;
        let seconds = began.elapsed().as_secs_f64();
        if status.success() {
            Ok(seconds)
        } else {
            Err(format!("{} does not build alone", self.pool))
        }
    }

    /// Returns the number of crates in the tree, the pool included.
    fn crates(&self) -> Result<usize, String> {
        let args = ["tree", "--offline", "--edges", "normal,build", "--prefix", "none"];
        let output = cargo(&self.directory, &args)
            .output()
            .map_err(|e| format!("could not run cargo: {e}"))?;
        if !output.status.success() {
            return Err(format!("`cargo tree` failed for {}", self.pool));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let names: BTreeSet<&str> =
            text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        Ok(names.iter().filter(|name| **name != "scratch").count())
    }
}
