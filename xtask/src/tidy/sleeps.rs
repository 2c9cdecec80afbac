//! A test sleeps only under a paused clock.
//!
//! A test is a function whose attributes say `test`. Its clock is paused if attributes or body say `start_paused` or call
//! `time::pause`. It sleeps if it calls `sleep` or `sleep_until`, itself or through functions of the same file. What a
//! function of another file does is not seen, so this finds most real sleeps but never accuses wrongly.

use std::collections::BTreeSet;
use std::ops::Range;

use proc_macro2::Delimiter;

use super::Violation;
use super::functions::Function;
use super::tokens::Token;
use super::workspace::{Source, Workspace};

/// No test sleeps while time is real.
pub fn are_under_a_paused_clock(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        let sleepers = sleepers(source);
        for test in source.functions.iter().filter(|function| is_test(source, function)) {
            if sleepers.contains(test.name.as_str()) && !is_paused(source, test) {
                let name = &test.name;
                let message = format!("`{name}` sleeps in real time; use `start_paused`, or wait for what happens");
                violations.push(Violation::new(&source.path, test.lines.0, message));
            }
        }
    }
    violations
}

/// The functions of a file that sleep, themselves or through one another.
fn sleepers(source: &Source) -> BTreeSet<&str> {
    let mut sleepers: BTreeSet<&str> = BTreeSet::new();
    loop {
        let known = sleepers.len();
        for function in &source.functions {
            let sleeps = function.body.clone().any(|at| {
                called(&source.tokens, at).is_some_and(|name| is_sleep(source, at, name) || sleepers.contains(name))
            });
            if sleeps {
                sleepers.insert(&function.name);
            }
        }
        if sleepers.len() == known {
            return sleepers;
        }
    }
}

/// The name of the function called here. A method is no such: `clock.sleep()` may be anything.
fn called(tokens: &[Token], at: usize) -> Option<&str> {
    let name = tokens.get(at)?.ident()?;
    let before = tokens.get(at.checked_sub(1)?)?;
    let calls = tokens.get(at + 1)?.opens(Delimiter::Parenthesis) && !before.is_punct('.') && !before.is("fn");
    calls.then_some(name)
}

/// Whether the call is tokio's; a thread that sleeps is another rule's business.
fn is_sleep(source: &Source, at: usize, name: &str) -> bool {
    let of_thread = at.checked_sub(3).and_then(|at| source.tokens.get(at)).is_some_and(|token| token.is("thread"));
    !of_thread && (name == "sleep" || name == "sleep_until")
}

fn is_test(source: &Source, function: &Function) -> bool {
    tokens(source, &function.head)
        .iter()
        .any(|token| token.is("test") && token.place.attribute && !token.place.condition)
}

fn is_paused(source: &Source, test: &Function) -> bool {
    let body = tokens(source, &test.body);
    let pauses = |window: &[Token]| matches!(window, [time, .., pause] if time.is("time") && pause.is("pause"));
    let starts = tokens(source, &test.head).iter().chain(body).any(|token| token.is("start_paused"));
    starts || body.windows(4).any(pauses)
}

fn tokens<'a>(source: &'a Source, range: &Range<usize>) -> &'a [Token] {
    source.tokens.get(range.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> usize {
        are_under_a_paused_clock(&Workspace::of(&[("crates/a/tests/it/main.rs", text)])).len()
    }

    #[test]
    fn a_paused_clock_and_other_waiting_pass() {
        assert_eq!(check("#[tokio::test(start_paused = true)] async fn a() { tokio::time::sleep(b).await }"), 0);
        assert_eq!(check("#[tokio::test] async fn a() { tokio::time::pause(); time::sleep(b).await }"), 0);
        assert_eq!(check("#[tokio::test] async fn a() { time::timeout(b, c).await; clock.sleep(d); }"), 0);
        assert_eq!(check("async fn not_a_test() { sleep(b).await }"), 0);
    }

    #[test]
    fn a_sleep_in_real_time_is_caught() {
        assert_eq!(check("#[tokio::test] async fn a() { tokio::time::sleep(b).await }"), 1);
        assert_eq!(
            check("#[tokio::test(flavor = \"multi_thread\")] async fn a() { spawn(async { sleep(b).await }) }"),
            1
        );
    }

    #[test]
    fn a_sleep_in_a_helper_is_caught_in_the_test_that_calls_it() {
        let helpers = "async fn b() { c().await }\nasync fn c() { tokio::time::sleep(d).await }\n";
        assert_eq!(check(&format!("{helpers}#[tokio::test] async fn a() {{ b().await }}")), 1);
        assert_eq!(check(&format!("{helpers}#[tokio::test(start_paused = true)] async fn a() {{ b().await }}")), 0);
    }
}
