//! The glossary contains the main public names, and no name that does not exist.

use std::collections::BTreeSet;

use super::markdown::code_spans;
use super::workspace::Workspace;
use super::{Violation, words};

const PAGE: &str = "docs/glossary.md";

/// Public names that must be in the glossary.
const PUBLIC: &str = "Manager Pool QueuePool NullPool SharedPool SqlPool Lease Acquire Status \
    Holder Hooks HookPoint Observer Event EventContext CloseReason ErrorClass PoolHistograms \
    LeaseOwner ResetLevel SyncState FailoverDetector Request Reservation Triage TransactionLost \
    Pooler PoolKind Credentials ErrorImpact Multiplexer Member Borrower Share";

/// Each public name is a code span of the glossary, and each name in its code spans exists.
pub fn has_the_public_names(workspace: &Workspace) -> Vec<Violation> {
    let Some(page) = workspace.texts.get(PAGE) else { return Vec::new() };
    let spans = page
        .lines()
        .enumerate()
        .flat_map(|(at, line)| code_spans(line).map(move |span| (at + 1, span)));
    let named: Vec<(usize, &str)> = spans.collect();
    let mut violations = Vec::new();
    for name in PUBLIC.split(' ').filter(|name| !named.iter().any(|(_, span)| span == name)) {
        let message = format!("the public name `{name}` is missing; add an entry");
        violations.push(Violation::new(PAGE, 1, message));
    }
    let known: BTreeSet<&str> = workspace
        .sources
        .iter()
        .flat_map(|source| words::identifiers(&source.text))
        .map(|(_, name)| name)
        .collect();
    for (line, span) in named {
        let is_file = span.contains('/') || span.contains('.');
        let file = format!("/{}", span.trim_end_matches('/'));
        let exists = match is_file {
            true => workspace.paths.iter().any(|path| path.ends_with(&file)),
            false => span.split("::").all(|part| known.contains(part)),
        };
        // Names of crates and expressions are not identifiers.
        let is_name = span.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
        if !exists && (is_file || is_name) {
            let message = format!("there is no `{span}`; correct the name");
            violations.push(Violation::new(PAGE, line, message));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str) -> Vec<String> {
        let names: String = PUBLIC.split(' ').map(|name| format!("struct {name};\n")).collect();
        let files =
            [(PAGE, page), ("crates/a/src/lib.rs", &names), ("crates/a/src/room/file.rs", "")];
        let found = has_the_public_names(&Workspace::of(&files)).into_iter();
        found.map(|violation| violation.message).collect()
    }

    fn page() -> String {
        PUBLIC.split(' ').map(|name| format!("| `{name}` |\n")).collect()
    }

    #[test]
    fn a_page_with_all_names_passes() {
        let more = "| `room/file.rs` | `Status` | `pool_size + max_overflow` |\n";
        assert_eq!(check(&format!("{}{more}", page())), [""; 0]);
    }

    #[test]
    fn a_missing_name_and_one_that_does_not_exist_are_caught() {
        let page = page().replace("`Lease`", "`Leash`");
        let found = check(&format!("{page}| `room/gone.rs` |\n")).join("; ");
        for expected in ["`Lease` is missing", "no `Leash`", "no `room/gone.rs`"] {
            assert!(found.contains(expected), "{found}");
        }
    }
}
