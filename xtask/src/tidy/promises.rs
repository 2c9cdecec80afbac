//! Every test that docs/promises.md names exists.

use std::collections::BTreeSet;

use super::Violation;
use super::markdown;
use super::workspace::{Source, Workspace};

const PAGE: &str = "docs/promises.md";
const COLUMN: &str = "Tests";

/// In the tables of the page, what stands in backticks under `Tests` is the name of a function,
/// with or without a path.
pub fn have_their_tests(workspace: &Workspace) -> Vec<Violation> {
    let Some(page) = workspace.texts.get(PAGE) else { return Vec::new() };
    let functions: BTreeSet<&str> = workspace
        .sources
        .iter()
        .flat_map(Source::functions)
        .map(|function| function.name)
        .collect();
    let Some(named) = named_tests(page) else {
        return vec![Violation::new(
            PAGE,
            1,
            format!("no table has a column `{COLUMN}`; add it, so that it can be checked"),
        )];
    };
    let missing = named
        .into_iter()
        .filter(|(_, test)| !functions.contains(test.rsplit("::").next().unwrap_or(test)));
    let violation = |(line, test)| {
        Violation::new(
            PAGE,
            line,
            format!("there is no test `{test}`; correct the name, or write the test"),
        )
    };
    missing.map(violation).collect()
}

/// The tests that the tables name, with their lines; None if there is no table for them.
fn named_tests(page: &str) -> Option<Vec<(usize, &str)>> {
    let mut found = None;
    // Which cell of a row is the column; set by a table's first row.
    let mut column: Option<usize> = None;
    let mut in_table = false;
    for (at, line) in page.lines().enumerate() {
        if !line.trim_start().starts_with('|') {
            in_table = false;
            continue;
        }
        let mut cells = line.trim().trim_matches('|').split('|').map(str::trim);
        if !in_table {
            in_table = true;
            column = cells.position(|cell| cell == COLUMN);
        } else if let Some(cell) = column.and_then(|column| cells.nth(column)) {
            let tests =
                markdown::code_spans(cell).map(|test| (at + 1, test.trim().trim_end_matches("()")));
            found.get_or_insert_with(Vec::new).extend(tests);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str) -> usize {
        let test = ("crates/a/tests/it/main.rs", "#[test]\nfn the_cap_holds() {}");
        have_their_tests(&Workspace::of(&[(PAGE, page), test])).len()
    }

    #[test]
    fn tests_that_exist_pass_by_path_or_by_name() {
        assert_eq!(
            check(
                "| Promise | Tests |\n|---|---|\n\
                 | `Cap` | `a::it::the_cap_holds`, `the_cap_holds` |\n"
            ),
            0
        );
    }

    #[test]
    fn a_test_that_does_not_exist_is_caught() {
        assert_eq!(
            check("| Tests | Promise |\n|---|---|\n| `the_cap_holds` `it::gone` | `Cap` |\n"),
            1
        );
    }

    #[test]
    fn a_page_without_the_column_is_caught() {
        assert_eq!(check("| Promise | Proof |\n|---|---|\n| Cap | `the_cap_holds` |\n"), 1);
    }

    #[test]
    fn without_the_page_there_is_nothing_to_check() {
        assert_eq!(have_their_tests(&Workspace::of(&[])), []);
    }
}
