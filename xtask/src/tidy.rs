//! `cargo xtask tidy`: checks the house rules that a machine can check, and prints all violations
//! at once.
//!
//! A rule is a function from the [`Workspace`] to its violations. Exceptions stand in a table of
//! the rule, with a reason.

mod arrows;
mod columns;
mod forbidden;
mod glossary;
mod length;
mod links;
mod markdown;
mod modules;
mod promises;
mod readme;
mod secrets;
mod sleeps;
mod words;
mod workspace;

use std::path::Path;

use crate::cargo;
use workspace::Workspace;

/// A rule's name, as it stands in its violations, and the rule.
type Rule = (&'static str, fn(&Workspace) -> Vec<Violation>);

const RULES: [Rule; 14] = [
    ("arrows", arrows::only_allowed_dependencies),
    ("first-line", length::says_its_job),
    ("length", length::fits_one_idea),
    ("dead-file", modules::reach_every_file),
    ("circle", modules::import_in_one_direction),
    ("forbidden", forbidden::is_not_written),
    ("secrets", secrets::are_not_derived_into_debug),
    ("sleeps", sleeps::are_under_a_paused_clock),
    ("promises", promises::have_their_tests),
    ("links", links::point_to_files),
    ("readme", readme::is_compiled),
    ("words", words::are_plain),
    ("columns", columns::fit),
    ("glossary", glossary::has_the_public_names),
];

/// Something that is against a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    path: String,
    line: usize,
    /// What is wrong, and what to do.
    message: String,
}

impl Violation {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// Checks the workspace; true if it is tidy.
pub fn run() -> Result<bool, String> {
    report(&cargo::workspace_root()?)
}

/// Checks the workspace at `root` and prints what is wrong; true if nothing is.
pub fn report(root: &Path) -> Result<bool, String> {
    let workspace = Workspace::read(root)?;
    let mut found: Vec<(Violation, &str)> = Vec::new();
    for (name, rule) in RULES {
        found.extend(rule(&workspace).into_iter().map(|violation| (violation, name)));
    }
    found.sort();
    for (Violation { path, line, message }, rule) in &found {
        println!("{path}:{line}: {rule}: {message}");
    }
    let files = workspace.sources.len();
    match found.len() {
        0 => println!("tidy: {} rules, {files} Rust files, no violation", RULES.len()),
        count => println!("tidy: {count} violation(s); CONTRIBUTING.md explains the rules"),
    }
    Ok(found.is_empty())
}
