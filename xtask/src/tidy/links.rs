//! Relative links in Markdown pages lead to existing files.

use std::sync::LazyLock;

use regex::Regex;

use super::workspace::{Workspace, normal};
use super::{Violation, markdown};

/// `[text](target)`, `[text](target "title")`, and `[name]: target`.
static LINK: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\]\(\s*([^)\s]+)|^\s*\[[^\]]*\]:\s*(\S+)").ok());

/// Every relative link of a page leads to a file or directory.
pub fn point_to_files(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, page) in workspace.pages() {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        for (line, text) in markdown::read(page).1 {
            let links = LINK.iter().flat_map(|link| link.captures_iter(&text));
            for target in links.filter_map(|link| Some(link.get(1).or(link.get(2))?.as_str())) {
                let file = target.split('#').next().unwrap_or_default();
                let is_address = file.contains("://") || file.starts_with("mailto:");
                if !is_address
                    && !file.is_empty()
                    && !exists(workspace, &normal(&format!("{directory}/{file}")))
                {
                    let message = format!(
                        "the target of the link `{target}` does not exist; correct or remove it"
                    );
                    violations.push(Violation::new(path, line, message));
                }
            }
        }
    }
    violations
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

    #[test]
    fn links_to_missing_files_are_caught() {
        for (page, found) in [
            ("[b](b.md#part) [r](../README.md \"t\") [c](../crates/a)", 0),
            ("[w](https://e.invalid/x) [h](#h) `[b](gone.md)`\n\n[b]: b.md\n", 0),
            ("[b](gone.md), [c](../gone/)\n\n[d]: gone.md", 3),
        ] {
            let files =
                [("docs/a.md", page), ("docs/b.md", ""), ("README.md", ""), ("crates/a/x", "")];
            assert_eq!(point_to_files(&Workspace::of(&files)).len(), found, "{page}");
        }
    }
}
