//! The tests that docs/promises.md names exist.

use std::collections::BTreeSet;

use super::Violation;
use super::markdown;
use super::workspace::{Source, Workspace};

const PAGE: &str = "docs/promises.md";
const COLUMN: &str = "Tests";

/// In the tables of the page, each code span in the column `Tests` is the name of a function, with
/// or without a path.
pub fn have_their_tests(workspace: &Workspace) -> Vec<Violation> {
    let Some(page) = workspace.texts.get(PAGE) else { return Vec::new() };
    let functions: BTreeSet<&str> =
        workspace.sources.iter().flat_map(Source::functions).map(|it| it.name).collect();
    let Some(named) = named_tests(page) else {
        let message = format!("no table has a column `{COLUMN}`; add it");
        return vec![Violation::new(PAGE, 1, message)];
    };
    let missing = named
        .into_iter()
        .filter(|(_, test)| !functions.contains(test.rsplit("::").next().unwrap_or(test)));
    let message = |test| format!("there is no test `{test}`; correct the name, or write the test");
    missing.map(|(line, test)| Violation::new(PAGE, line, message(test))).collect()
}

/// Returns the tests that the tables name, with their lines; `None` if no table has the column.
fn named_tests(page: &str) -> Option<Vec<(usize, &str)>> {
    let mut found = None;
    // The index of the column, from the first row of the table.
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
    fn tests_that_do_not_exist_are_caught() {
        let head = "| Promise | Tests |\n|---|---|\n";
        for (page, found) in [
            (format!("{head}| `Cap` | `a::it::the_cap_holds`, `the_cap_holds` |\n"), 0),
            (format!("{head}| `Cap` | `the_cap_holds` `it::gone` |\n"), 1),
            ("| Promise | Proof |\n|---|---|\n| Cap | `the_cap_holds` |\n".to_owned(), 1),
        ] {
            assert_eq!(check(&page), found, "{page}");
        }
        assert_eq!(have_their_tests(&Workspace::of(&[])), [], "without the page");
    }
}
