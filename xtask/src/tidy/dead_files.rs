//! No Rust file lies about that nothing compiles.

use super::Violation;
use super::modules::Reach;
use super::workspace::Workspace;

/// Every Rust file is reached by `mod` declarations from a crate root.
pub fn every_file_is_reachable(workspace: &Workspace) -> Vec<Violation> {
    let dead = workspace.sources.iter().filter(|source| source.reach == Reach::Dead);
    let message = "no `mod` declaration leads here; declare it or delete it";
    dead.map(|source| Violation::new(&source.path, 1, message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_file_passes() {
        let files = [("crates/a/src/lib.rs", "mod b;"), ("crates/a/src/b.rs", "")];
        assert_eq!(every_file_is_reachable(&Workspace::of(&files)), []);
    }

    #[test]
    fn an_undeclared_file_is_caught() {
        let files = [("crates/a/tests/it/main.rs", "// mod b;"), ("crates/a/tests/it/b.rs", "")];
        let found = every_file_is_reachable(&Workspace::of(&files));
        assert_eq!(
            found.iter().map(|violation| violation.path.as_str()).collect::<Vec<_>>(),
            ["crates/a/tests/it/b.rs"]
        );
    }
}
