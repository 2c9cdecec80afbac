//! Writes the generated parts of `docs/performance.md`, each between two markers, and its pictures.

use std::fs;
use std::path::Path;

use crate::machine::{Machine, today};
use crate::picture::PICTURES;
use crate::results::Results;
use crate::table;

const PAGE: &str = "docs/performance.md";

/// A generated part of the page, by its markers.
struct Part {
    begin: &'static str,
    end: &'static str,
}

const FIGURES: Part = Part {
    begin: "<!-- rivals: written by `cargo xtask rivals --write`; edit nothing from here -->",
    end: "<!-- rivals: end -->",
};

const WEIGHT: Part = Part {
    begin: "<!-- weight: written by `cargo xtask rivals --compile --write`; edit nothing \
        from here -->",
    end: "<!-- weight: end -->",
};

/// The pools of the race and their dependencies, as `Cargo.lock` names them.
const PACKAGES: [&str; 11] = [
    "millpond-core",
    "sqlx",
    "deadpool",
    "deadpool-redis",
    "bb8",
    "mobc",
    "r2d2",
    "fred",
    "tokio",
    "crossbeam-queue",
    "async-trait",
];

/// Writes the results to the page and draws the pictures.
pub fn write(root: &Path, results: &Results, quick: bool) -> Result<(), String> {
    let lock = read(root, "Cargo.lock")?;
    let generated = generate(results, &Machine::here(), &versions(&lock), quick);
    let pictures = root.join("docs/pictures");
    fs::create_dir_all(&pictures).map_err(|e| format!("could not make docs/pictures: {e}"))?;
    for picture in &PICTURES {
        let path = pictures.join(picture.file);
        fs::write(&path, picture.draw(results))
            .map_err(|e| format!("could not write {}: {e}", path.display()))?;
    }
    FIGURES.renew(root, &generated)
}

/// Writes the results of the builds to the page.
pub fn write_weight(root: &Path, results: &Results) -> Result<(), String> {
    let Machine { processor, cores, compiler, .. } = Machine::here();
    let command = "cargo xtask rivals --compile --write";
    let mut out = format!(
        "Taken on {} with `{command}`, on {processor} ({cores} cores), {compiler}. ",
        today()
    );
    out += "Each is built alone, from nothing, with what it needs; three times in turn.\n\n";
    out += table::markdown(results).trim_end();
    out.push('\n');
    WEIGHT.renew(root, &out)
}

fn read(root: &Path, name: &str) -> Result<String, String> {
    fs::read_to_string(root.join(name)).map_err(|e| format!("could not read {name}: {e}"))
}

impl Part {
    fn renew(&self, root: &Path, generated: &str) -> Result<(), String> {
        let page = self.splice(&read(root, PAGE)?, generated)?;
        fs::write(root.join(PAGE), page).map_err(|e| format!("could not write {PAGE}: {e}"))
    }

    /// Returns the page with the text between the markers replaced.
    fn splice(&self, page: &str, generated: &str) -> Result<String, String> {
        let Self { begin, end } = self;
        let lost = || format!("{PAGE} must have the lines `{begin}` and `{end}`");
        let (before, rest) = page.split_once(begin).ok_or_else(lost)?;
        let (_, after) = rest.split_once(end).ok_or_else(lost)?;
        Ok(format!("{before}{begin}\n\n{generated}\n{end}{after}"))
    }
}

fn generate(results: &Results, machine: &Machine, versions: &[String], quick: bool) -> String {
    let Machine { processor, cores, system, compiler, .. } = machine;
    let command =
        if quick { "cargo xtask rivals --quick --write" } else { "cargo xtask rivals --write" };
    let mut out = format!(
        "Taken on {} with `{command}`, on {processor} ({cores} cores), {system}, \
         {compiler}; {}.\n\n",
        today(),
        machine.pinning(),
    );
    if quick {
        out += "These are short rounds: for a look, not for conclusions.\n\n";
    }
    out += &format!("Versions: {}.\n\n", versions.join(", "));
    for name in results.failed() {
        out += &format!("**{name} failed its gate and is not timed.**\n\n");
    }
    for picture in &PICTURES {
        out += &format!("![{}](pictures/{})\n\n", picture.title, picture.file);
    }
    out += "Medians of the rounds; ×n is in times millpond's value; below, the least and the \
        greatest round.\n\n";
    out += table::markdown(results).trim_end();
    out.push('\n');
    out
}

/// Returns the name and version of each package of the race.
pub fn versions(lock: &str) -> Vec<String> {
    let version = |name: &&str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some(format!("{name} {}", rest.split('"').next()?))
    };
    PACKAGES.iter().filter_map(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let part = Part { begin: "<begin>", end: "<end>" };
        let new =
            part.splice("# By hand\n\n<begin>\nold\n<end>\n\nBy hand too\n", "new\n").unwrap();
        assert_eq!(new, "# By hand\n\n<begin>\n\nnew\n\n<end>\n\nBy hand too\n");
        assert_eq!(part.splice(&new, "new\n").unwrap(), new);
    }

    #[test]
    fn a_page_without_markers_is_left_alone() {
        assert!(FIGURES.splice("# By hand\n", "new").unwrap_err().contains("rivals: end"));
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "[[package]]\nname = \"sqlx\"\nversion = \"0.9.0\"\n\n[[package]]\n\
            name = \"x\"\nversion = \"1.0.0\"\n";
        assert_eq!(versions(lock), ["sqlx 0.9.0"]);
    }
}
