//! The programs in README.md are compiled and run as doctests.

use super::Violation;
use super::markdown;
use super::workspace::{Source, Workspace, normal};

const README: &str = "README.md";

/// If the README shows Rust, some crate includes it as documentation, and nothing in it is left
/// out.
pub fn is_compiled(workspace: &Workspace) -> Vec<Violation> {
    let page = workspace.texts.get(README).map(String::as_str).unwrap_or_default();
    let (fences, _) = markdown::read(page);
    let rust =
        fences.iter().filter(|fence| fence.info.split(',').any(|word| word.trim() == "rust"));
    let mut violations = Vec::new();
    let mut first = None;
    for fence in rust {
        first = first.or(Some(fence.line));
        if fence.info.split(',').any(|word| word.trim() == "ignore") {
            let message = "an ignored example rots; let it run, or mark it `no_run`";
            violations.push(Violation::new(README, fence.line, message));
        }
    }
    if let Some(line) = first.filter(|_| !workspace.sources.iter().any(includes_readme)) {
        let message = "nothing compiles this; write `#![doc \
            = include_str!(\"../../../README.md\")]` in crates/millpond/src/lib.rs";
        violations.push(Violation::new(README, line, message));
    }
    violations
}

/// Whether the docs of this file have `include_str!("path/to/README.md")`.
fn includes_readme(source: &Source) -> bool {
    let directory = source.path.rsplit_once('/').map_or("", |(directory, _)| directory);
    source.text.lines().any(|line| {
        let path =
            line.split_once("doc = include_str!(\"").and_then(|(_, rest)| rest.split('"').next());
        path.is_some_and(|path| normal(&format!("{directory}/{path}")) == README)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(readme: &str, library: &str) -> usize {
        is_compiled(&Workspace::of(&[("README.md", readme), ("crates/a/src/lib.rs", library)]))
            .len()
    }

    #[test]
    fn a_readme_that_a_crate_includes_passes() {
        assert_eq!(
            check("```rust\nfn main() {}\n```", "#![doc = include_str!(\"../../../README.md\")]"),
            0
        );
        assert_eq!(check("```sh\ncargo run\n```", ""), 0);
    }

    #[test]
    fn a_readme_that_nothing_compiles_is_caught() {
        assert_eq!(
            check(
                "```rust\nfn main() {}\n```",
                "const A: &str = include_str!(\"../../../README.md\");"
            ),
            1
        );
        assert_eq!(
            check("```rust\nfn main() {}\n```", "#![doc = include_str!(\"../README.md\")]"),
            1
        );
        assert_eq!(
            check("```rust,ignore\n```", "#![doc = include_str!(\"../../../README.md\")]"),
            1
        );
    }
}
