//! Code, comments and prose have at most 100 columns.

use super::workspace::Workspace;
use super::{Violation, markdown};

const COLUMNS_MAX: usize = 100;

/// Generated pages, and the changelog.
const EXCEPT: [&str; 4] =
    ["CHANGELOG.md", "docs/comparison.md", "docs/performance.md", "docs/settings.md"];

/// No line of Rust or prose is longer than 100 columns, except tables and addresses in comments and
/// pages, which cannot be broken.
pub fn fit(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut check = |path: &str, line: usize, text: &str, is_prose: bool| {
        let columns = text.chars().count();
        let content = text.trim_start_matches(['/', '!', ' ']);
        let cannot_break = is_prose && (content.starts_with('|') || text.contains("://"));
        if columns > COLUMNS_MAX && !cannot_break {
            let message = format!("{columns} columns, {COLUMNS_MAX} are allowed; wrap the line");
            violations.push(Violation::new(path, line, message));
        }
    };
    for source in &workspace.sources {
        for (at, line) in source.text.lines().enumerate() {
            check(&source.path, at + 1, line, line.trim_start().starts_with("//"));
        }
    }
    for (path, page) in workspace.pages().filter(|(path, _)| !EXCEPT.contains(path)) {
        let lines: Vec<&str> = page.lines().collect();
        for (line, _) in markdown::read(page).1 {
            check(path, line, lines.get(line - 1).unwrap_or(&""), true);
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
    fn short_lines_tables_addresses_and_examples_of_pages_pass() {
        let long = "x ".repeat(60);
        let page =
            format!("short\n\n| {long} |\n\n[a]: https://e.invalid/{long}\n\n```\n{long}\n```\n");
        assert_eq!(check("docs/a.md", &page), 0);
        assert_eq!(check("a/src/lib.rs", &format!("//! short\n//! | {long} |\n")), 0);
    }

    #[test]
    fn a_long_line_of_prose_code_or_a_comment_is_caught() {
        let long = "x ".repeat(60);
        assert_eq!(check("docs/a.md", &format!("short\n{long}\n")), 1);
        let code = format!("fn a() {{\n    // {long}\n    b(\"{long}://\");\n}}\n/// {long}\n");
        assert_eq!(check("a/src/lib.rs", &code), 3);
    }
}
