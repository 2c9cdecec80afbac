//! The glossary explains the public names that a user meets first, and names nothing that does not
//! exist.

use std::collections::BTreeSet;

use super::markdown::code_spans;
use super::workspace::Workspace;
use super::{Violation, words};

const PAGE: &str = "docs/glossary.md";

/// Public names that must stand in the glossary.
const PUBLIC: [&str; 22] = [
    "Manager",
    "Pool",
    "QueuePool",
    "NullPool",
    "SharedPool",
    "SqlPool",
    "Lease",
    "Acquire",
    "Status",
    "Holder",
    "Hooks",
    "HookPoint",
    "Observer",
    "Event",
    "EventContext",
    "CloseReason",
    "ErrorClass",
    "PoolHistograms",
    "LeaseOwner",
    "ResetLevel",
    "SyncState",
    "FailoverDetector",
];

/// Each public name stands in backticks in the glossary, and each name in its backticks exists.
pub fn has_the_public_names(workspace: &Workspace) -> Vec<Violation> {
    let Some(page) = workspace.texts.get(PAGE) else { return Vec::new() };
    let spans = page
        .lines()
        .enumerate()
        .flat_map(|(at, line)| code_spans(line).map(move |span| (at + 1, span)));
    let named: Vec<(usize, &str)> = spans.collect();
    let mut violations = Vec::new();
    for name in PUBLIC.iter().filter(|name| !named.iter().any(|(_, span)| span == *name)) {
        violations.push(Violation::new(
            PAGE,
            1,
            format!("the public name `{name}` is not explained; add an entry"),
        ));
    }
    let known: BTreeSet<&str> = workspace
        .sources
        .iter()
        .flat_map(|source| words::identifiers(&source.text))
        .map(|(_, name)| name)
        .collect();
    for (line, span) in named {
        let is_file = span.contains('/') || span.contains('.');
        let exists = match is_file {
            true => workspace
                .paths
                .iter()
                .any(|path| path.ends_with(&format!("/{}", span.trim_end_matches('/')))),
            false => span.split("::").all(|part| known.contains(part)),
        };
        // Names of crates and expressions are no identifiers.
        let is_name = span.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
        if !exists && (is_file || is_name) {
            violations.push(Violation::new(
                PAGE,
                line,
                format!("there is no `{span}`; correct the name"),
            ));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str) -> Vec<String> {
        let names: String = PUBLIC.map(|name| format!("struct {name};\n")).concat();
        let files =
            [(PAGE, page), ("crates/a/src/lib.rs", &names), ("crates/a/src/room/file.rs", "")];
        has_the_public_names(&Workspace::of(&files))
            .into_iter()
            .map(|violation| violation.message)
            .collect()
    }

    #[test]
    fn a_page_with_all_names_passes() {
        let page = PUBLIC.map(|name| format!("| `{name}` |\n")).concat();
        assert_eq!(
            check(&format!("{page}| `room/file.rs` | `Status` | `pool_size + max_overflow` |\n")),
            [""; 0]
        );
    }

    #[test]
    fn a_missing_name_and_one_that_does_not_exist_are_caught() {
        let page =
            PUBLIC.map(|name| format!("| `{name}` |\n")).concat().replace("`Lease`", "`Leash`");
        let found = check(&format!("{page}| `room/gone.rs` |\n"));
        assert!(found[0].contains("`Lease` is not explained"), "{found:?}");
        assert!(
            found[1].contains("no `Leash`") && found[2].contains("no `room/gone.rs`"),
            "{found:?}"
        );
    }
}
