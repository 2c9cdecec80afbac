//! Comments and prose have at most 100 columns. rustfmt limits the code.

use super::Violation;
use super::markdown;
use super::workspace::Workspace;

const COLUMNS_MAX: usize = 100;

/// Pages that are generated, and the changelog.
const EXCEPT: &[&str] =
    &["CHANGELOG.md", "docs/comparison.md", "docs/performance.md", "docs/settings.md"];

/// No comment line and no line of prose is longer than 100 columns, except tables, addresses and
/// examples.
pub fn fit(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut look = |path: &str, line: usize, text: &str| {
        let columns = text.chars().count();
        let may_be_long =
            text.trim_start_matches(['/', '!', ' ']).starts_with('|') || text.contains("://");
        if columns > COLUMNS_MAX
            && !may_be_long
            && !EXCEPT.iter().any(|place| path.starts_with(place))
        {
            let message =
                format!("{columns} columns, {COLUMNS_MAX} are allowed; wrap the paragraph");
            violations.push(Violation::new(path, line, message));
        }
    };
    for source in &workspace.sources {
        let mut is_example = false;
        for (at, line) in source.text.lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
            let is_fence = comment.trim_start_matches(['/', '!', ' ']).starts_with("```");
            is_example ^= is_fence;
            if !is_example && !is_fence {
                look(&source.path, at + 1, line);
            }
        }
    }
    for (path, page) in workspace.pages() {
        let lines: Vec<&str> = page.lines().collect();
        for (line, _) in markdown::read(page).1 {
            look(path, line, lines.get(line - 1).unwrap_or(&""));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> usize {
        fit(&Workspace::of(&[(path, text)])).len()
    }

    #[test]
    fn short_lines_tables_addresses_and_examples_pass() {
        let long = "x ".repeat(60);
        assert_eq!(
            check(
                "docs/a.md",
                &format!(
                    "short\n\n| {long} |\n\n[a]: https://e.invalid/{long}\n\n```\n{long}\n```\n"
                )
            ),
            0
        );
        assert_eq!(
            check(
                "crates/a/src/lib.rs",
                &format!("//! short\n//! | {long} |\n/// ```\n/// {long}\n/// ```\n")
            ),
            0
        );
    }

    #[test]
    fn a_long_line_of_prose_or_of_a_comment_is_caught() {
        let long = "x ".repeat(60);
        assert_eq!(check("docs/a.md", &format!("short\n{long}\n")), 1);
        assert_eq!(
            check(
                "crates/a/src/lib.rs",
                &format!("fn a() {{\n    // {long}\n    b();\n}}\n/// {long}\n")
            ),
            2
        );
    }
}
