//! A test sleeps only under a paused clock.
//!
//! The clock of a test is paused if its attributes contain `start_paused` or its body calls
//! `time::pause`. A test sleeps if it calls tokio's `sleep` or `sleep_until`, directly or through
//! functions of the same file. Functions of other files are not followed, so there are no false
//! positives, and some sleeps are missed. Clippy rejects `std::thread::sleep`.

use std::collections::BTreeSet;

use super::Violation;
use super::workspace::Workspace;

/// No test sleeps in real time.
pub fn are_under_a_paused_clock(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        let functions = source.functions();
        let mut sleepers: BTreeSet<&str> = ["sleep", "sleep_until"].into();
        loop {
            let known = sleepers.len();
            let more = functions
                .iter()
                .filter(|function| sleepers.iter().any(|name| calls(&function.body, name)));
            sleepers.extend(more.map(|function| function.name).collect::<Vec<_>>());
            if sleepers.len() == known {
                break;
            }
        }
        for test in functions.iter().filter(|function| function.head.contains("test")) {
            let is_test = test
                .head
                .lines()
                .any(|line| line.trim().starts_with("#[") && line.contains("test"));
            let all = [test.head.as_str(), &test.body].concat();
            let is_paused = all.contains("start_paused") || all.contains("time::pause");
            if is_test && !is_paused && sleepers.contains(test.name) {
                let name = test.name;
                let message = format!(
                    "`{name}` sleeps in real time; use `start_paused`, or wait for an event"
                );
                violations.push(Violation::new(&source.path, test.line, message));
            }
        }
    }
    violations
}

/// Returns true if a body calls this function. Methods do not count: `clock.sleep()` may be any.
fn calls(body: &str, name: &str) -> bool {
    body.match_indices(name).any(|(at, _)| {
        let (before, after) =
            (body.get(..at).unwrap_or_default(), body.get(at + name.len()..).unwrap_or_default());
        let is_name = !before.ends_with(|c: char| c.is_alphanumeric() || "_.".contains(c))
            && after.starts_with('(');
        is_name && !before.ends_with("fn ") && !before.ends_with("thread::")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> usize {
        are_under_a_paused_clock(&Workspace::of(&[("crates/a/tests/it/main.rs", text)])).len()
    }

    fn test(attribute: &str, body: &str) -> String {
        format!("{attribute}\nasync fn a() {{\n    {body}\n}}\n")
    }

    #[test]
    fn sleeps_in_real_time_are_caught_also_in_helpers() {
        let helpers =
            "async fn b() {\n    c().await\n}\nasync fn c() {\n    time::sleep_until(d).await\n}\n";
        const PAUSED: &str = "#[tokio::test(start_paused = true)]";
        for (before, attribute, body, found) in [
            ("", PAUSED, "tokio::time::sleep(b).await;", 0),
            ("", "#[tokio::test]", "tokio::time::pause(); sleep(b).await;", 0),
            ("", "#[tokio::test]", "time::timeout(b, c).await; clock.sleep(d);", 0),
            ("", "/// Not a test.", "sleep(b).await;", 0),
            ("", "#[tokio::test(worker_threads = 2)]", "tokio::time::sleep(b).await;", 1),
            (helpers, "#[tokio::test]", "b().await;", 1),
            (helpers, PAUSED, "b().await;", 0),
        ] {
            assert_eq!(check(&format!("{before}{}", test(attribute, body))), found, "{body}");
        }
    }
}
