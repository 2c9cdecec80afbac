//! Relative links in Markdown pages point to something that is there.

use super::Violation;
use super::markdown;
use super::workspace::{Workspace, normal};

/// Every `[text](path)` and `[name]: path` of a page that is not an address leads to a file or
/// directory.
pub fn point_to_files(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, page) in workspace.pages() {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        for (line, text) in markdown::read(page).1 {
            for target in targets(&text).into_iter().filter(|target| is_relative(target)) {
                let file = target.split('#').next().unwrap_or_default();
                if !exists(workspace, &normal(&format!("{directory}/{file}"))) {
                    let message =
                        format!("the link to `{target}` leads nowhere; correct it or remove it");
                    violations.push(Violation::new(path, line, message));
                }
            }
        }
    }
    violations
}

/// Where the links of a line of prose lead.
fn targets(text: &str) -> Vec<&str> {
    let first_word = |rest: &str| rest.split_whitespace().next().map(str::len);
    let mut found = Vec::new();
    for (at, _) in text.match_indices("](") {
        let rest = text.get(at + 2..).unwrap_or_default();
        let inside = rest.split_once(')').map(|(inside, _)| inside.trim_start());
        found.extend(inside.and_then(|inside| inside.get(..first_word(inside)?)));
    }
    let definition = text.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    found.extend(definition.and_then(|(_, rest)| rest.split_whitespace().next()));
    found
}

fn is_relative(target: &str) -> bool {
    let address = target.contains("://") || target.starts_with("mailto:");
    !address && !target.starts_with('#') && !target.is_empty()
}

fn exists(workspace: &Workspace, path: &str) -> bool {
    let directory = format!("{path}/");
    path.is_empty()
        || workspace.paths.contains(path)
        || workspace.paths.iter().any(|file| file.starts_with(&directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str) -> usize {
        let files = [
            ("docs/a.md", page),
            ("docs/b.md", ""),
            ("README.md", ""),
            ("crates/a/Cargo.toml", ""),
        ];
        point_to_files(&Workspace::of(&files)).len()
    }

    #[test]
    fn links_to_files_directories_and_addresses_pass() {
        assert_eq!(
            check(
                "[b](b.md#part) [r](../README.md \"t\") [c](../crates/a) \
                 [w](https://e.invalid/x) [h](#h)"
            ),
            0
        );
        assert_eq!(check("`[b](gone.md)`\n\n[b]: b.md\n"), 0);
    }

    #[test]
    fn links_that_lead_nowhere_are_caught() {
        assert_eq!(check("[b](gone.md), [c](../gone/)\n\n[d]: gone.md"), 3);
    }
}
