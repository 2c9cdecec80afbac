//! `cargo xtask tidy`: checks the rules that a program can check, and prints all violations.
//!
//! A rule is a function from the [`Workspace`] to its violations.

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

use workspace::Workspace;

/// The name of a rule, and its function.
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

/// A violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    path: String,
    line: usize,
    /// What is wrong, and how to fix it.
    message: String,
}

impl Violation {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// Checks the workspace at `root` and prints the violations; true if there are none.
pub fn run(root: &Path) -> Result<bool, String> {
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
