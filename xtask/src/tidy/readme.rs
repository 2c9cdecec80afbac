//! The Rust code in README.md is compiled as doctests.

use super::workspace::{Workspace, normal};
use super::{Violation, markdown};

const README: &str = "README.md";

/// If the README contains Rust, the docs of a crate include it, and none of it is ignored.
pub fn is_compiled(workspace: &Workspace) -> Vec<Violation> {
    let page = workspace.texts.get(README).map(String::as_str).unwrap_or_default();
    let has = |info: &str, word: &str| info.split(',').any(|part| part.trim() == word);
    let (fences, _) = markdown::read(page);
    let rust: Vec<_> = fences.iter().filter(|(_, info)| has(info, "rust")).collect();
    let ignored = rust.iter().filter(|(_, info)| has(info, "ignore")).map(|(line, _)| *line);
    let message = "an ignored example is not compiled; mark it `no_run`";
    let mut violations: Vec<_> =
        ignored.map(|line| Violation::new(README, line, message)).collect();
    let is_included = workspace.sources.iter().any(|source| {
        let directory = source.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let included = source.text.split("doc = include_str!(\"").skip(1);
        let mut paths = included.filter_map(|rest| rest.split('"').next());
        paths.any(|path| normal(&format!("{directory}/{path}")) == README)
    });
    if let Some((line, _)) = rust.first().filter(|_| !is_included) {
        let message =
            "this is not compiled; include the page in the docs of crates/millpond/src/lib.rs";
        violations.push(Violation::new(README, *line, message));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readme_passes_if_a_crate_includes_all_of_it() {
        let include = "#![doc = include_str!(\"../../../README.md\")]";
        for (readme, library, found) in [
            ("```rust\nfn main() {}\n```", include, 0),
            ("```sh\ncargo run\n```", "", 0),
            ("```rust\n```", "const A: &str = include_str!(\"../../../README.md\");", 1),
            ("```rust\nfn main() {}\n```", "#![doc = include_str!(\"../README.md\")]", 1),
            ("```rust,ignore\n```", include, 1),
        ] {
            let files = [("README.md", readme), ("crates/a/src/lib.rs", library)];
            assert_eq!(is_compiled(&Workspace::of(&files)).len(), found, "{library}");
        }
    }
}
