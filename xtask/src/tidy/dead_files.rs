//! Every Rust file is compiled: a `mod` declaration leads to it.

use std::collections::BTreeSet;

use super::Violation;
use super::workspace::{Workspace, normal};

/// Every Rust file is a crate root or is declared by a file beside or above it.
pub fn every_file_is_reachable(workspace: &Workspace) -> Vec<Violation> {
    let targets = workspace.packages.iter().flat_map(|package| &package.targets);
    let roots: BTreeSet<String> = targets.map(|target| target.src_path.clone()).collect();
    let mut reached = roots.clone();
    for source in &workspace.sources {
        let (parent, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
        let is_root = roots.contains(&source.path) || file == "mod.rs";
        let children = if is_root {
            parent.to_owned()
        } else {
            source.path.trim_end_matches(".rs").to_owned()
        };
        let (mut inside, mut explicit) = (children.clone(), None);
        for line in source.text.lines() {
            let text = line.trim();
            if let Some(path) =
                text.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]"))
            {
                explicit = Some(normal(&format!("{parent}/{path}")));
            } else if let Some(name) = module(text, ";") {
                reached.extend(explicit.take());
                reached.extend([format!("{inside}/{name}.rs"), format!("{inside}/{name}/mod.rs")]);
            } else if let Some(name) = module(text, " {") {
                inside = format!("{children}/{name}");
            } else if line == "}" {
                inside.clone_from(&children);
            }
        }
    }
    let dead = workspace.sources.iter().filter(|source| !reached.contains(&source.path));
    let message = "no `mod` declaration leads here; declare it or delete it";
    dead.map(|source| Violation::new(&source.path, 1, message)).collect()
}

/// The name in `mod a;` or `pub(crate) mod a {`.
fn module<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let rest = text.strip_suffix(end)?;
    let (before, name) = rest.rsplit_once("mod ")?;
    (before.is_empty() || before.starts_with("pub")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(files: &[(&str, &str)]) -> Vec<String> {
        every_file_is_reachable(&Workspace::of(files))
            .into_iter()
            .map(|violation| violation.path)
            .collect()
    }

    #[test]
    fn files_beside_below_and_by_path_pass() {
        let files = [
            (
                "c/src/lib.rs",
                "mod a;\nmod b {\n    mod c;\n}\n#[path = \"odd/x.rs\"]\nmod d;\n\
                 pub(crate) mod e;\n",
            ),
            ("c/src/a.rs", "mod e;\n"),
            ("c/src/a/e/mod.rs", ""),
            ("c/src/b/c.rs", ""),
            ("c/src/odd/x.rs", ""),
            ("c/src/e.rs", ""),
        ];
        assert_eq!(dead(&files), [""; 0]);
    }

    #[test]
    fn an_undeclared_file_is_caught() {
        let files = [("crates/a/tests/it/main.rs", "// mod b;\n"), ("crates/a/tests/it/b.rs", "")];
        assert_eq!(dead(&files), ["crates/a/tests/it/b.rs"]);
    }
}
