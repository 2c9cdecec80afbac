//! What is not written here at all, each with what to write instead.

use std::ops::Range;

use proc_macro2::Delimiter;

use super::Violation;
use super::tokens::{Kind, Token};
use super::workspace::{Source, Workspace};

/// None of the forbidden things stands in the code or its comments.
pub fn is_not_written(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        for at in 0..source.tokens.len() {
            for look in [ignored_test, unfinished_macro, silenced_lint, sleeping_thread] {
                if let Some((line, message)) = look(source, at) {
                    violations.push(Violation::new(&source.path, line, message));
                }
            }
        }
        for (line, comment) in source.comments() {
            violations.extend(
                [promise_without_issue(&comment), ignored_example(&comment)]
                    .into_iter()
                    .flatten()
                    .map(|message| Violation::new(&source.path, line, message)),
            );
        }
    }
    violations
}

/// `#[ignore]`, also as `#[cfg_attr(.., ignore)]`.
fn ignored_test(source: &Source, at: usize) -> Option<(usize, String)> {
    let token = source.tokens.get(at).filter(|token| token.is("ignore") && token.place.attribute)?;
    let before = source.tokens.get(at.checked_sub(1)?)?;
    let is_attribute = before.opens(Delimiter::Bracket) || before.is_punct(',');
    let message = "an ignored test is never run; print `SKIP` and why where it cannot run, or delete it";
    is_attribute.then(|| (token.lines.0, message.to_owned()))
}

/// `todo!()`, `unimplemented!()`, `dbg!()`.
fn unfinished_macro(source: &Source, at: usize) -> Option<(usize, String)> {
    let token = source.tokens.get(at)?;
    let name = token.ident().filter(|name| ["todo", "unimplemented", "dbg"].contains(name))?;
    let called = source.tokens.get(at + 1)?.is_punct('!') && matches!(source.tokens.get(at + 2)?.kind, Kind::Open(_));
    called.then(|| (token.lines.0, format!("`{name}!` is unfinished work; finish it or leave it out")))
}

/// `allow(clippy::..)`, `allow(dead_code)`, `allow(unused..)`.
fn silenced_lint(source: &Source, at: usize) -> Option<(usize, String)> {
    let token = source.tokens.get(at).filter(|token| token.is("allow") && token.place.attribute)?;
    let list = group(&source.tokens, at + 1, Delimiter::Parenthesis)?;
    let silenced = |name: &str| name == "clippy" || name == "dead_code" || name.starts_with("unused");
    let lint = source.tokens.get(list)?.iter().filter_map(Token::ident).find(|name| silenced(name))?;
    let message = format!("`allow({lint}..)` hides what changes; repair it, or `expect` it with a reason");
    Some((token.lines.0, message))
}

/// `thread::sleep`, called or imported, in code for tests.
fn sleeping_thread(source: &Source, at: usize) -> Option<(usize, String)> {
    let tokens = &source.tokens;
    let token = tokens.get(at).filter(|token| token.is("thread") && source.is_test(token))?;
    if !(tokens.get(at + 1)?.is_punct(':') && tokens.get(at + 2)?.is_punct(':')) {
        return None;
    }
    let imported = group(tokens, at + 3, Delimiter::Brace).and_then(|list| tokens.get(list));
    let sleeps = tokens.get(at + 3)?.is("sleep") || imported.is_some_and(|list| list.iter().any(|t| t.is("sleep")));
    let message = "a test that sleeps is slow and still guesses; pause the clock, or wait for what happens";
    sleeps.then(|| (token.lines.0, message.to_owned()))
}

/// A promise to do it later that nobody can look up.
fn promise_without_issue(comment: &str) -> Option<String> {
    for word in ["TODO", "FIXME"] {
        for (at, _) in comment.match_indices(word) {
            let (before, after) = (comment.get(..at)?, comment.get(at + word.len()..)?);
            let is_word = !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric);
            let issue = after.strip_prefix("(#").and_then(|rest| rest.split_once(')'));
            let numbered = issue.is_some_and(|(number, _)| number.parse::<u64>().is_ok());
            if is_word && !numbered {
                return Some(format!("`{word}` without an issue is forgotten; do it now, or write `{word}(#12)`"));
            }
        }
    }
    None
}

/// An example in the docs that is never compiled.
fn ignored_example(comment: &str) -> Option<String> {
    let fence = comment.trim_start_matches(['/', '!', '*', ' ']).strip_prefix("```")?;
    let ignored = fence.split(',').any(|word| word.trim() == "ignore");
    ignored.then(|| "an ignored example rots; let it run, or mark it `no_run` or `text`".to_owned())
}

/// The tokens inside the group that opens at `open`.
fn group(tokens: &[Token], open: usize, delimiter: Delimiter) -> Option<Range<usize>> {
    tokens.get(open).filter(|token| token.opens(delimiter)).map(|token| open + 1..token.mate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> usize {
        is_not_written(&Workspace::of(&[("crates/a/src/lib.rs", text)])).len()
    }

    #[test]
    fn ordinary_code_passes() {
        assert_eq!(check("#[test] fn ignore() { ignore(); }"), 0);
        assert_eq!(check("fn a(todo: bool) -> bool { todo != true }\nconst A: &str = \"todo!()\";"), 0);
        assert_eq!(check("#[expect(clippy::x, reason = \"y\")] fn allow(clippy: u8) { allow(clippy); }"), 0);
        assert_eq!(check("fn a() { std::thread::sleep(b); }"), 0);
        assert_eq!(check("// TODO(#12): later\n/// ```no_run\n/// ```\nfn a() {}"), 0);
        assert_eq!(check("const A: &str = \"TODO\"; // AUTODOC"), 0);
    }

    #[test]
    fn ignored_tests_are_caught() {
        assert_eq!(check("#[test] #[ignore] fn a() {}"), 1);
        assert_eq!(check("#[test] #[ignore = \"slow\"] fn a() {}"), 1);
        assert_eq!(check("#[test] #[cfg_attr(miri, ignore)] fn a() {}"), 1);
    }

    #[test]
    fn unfinished_work_is_caught() {
        assert_eq!(check("fn a() { todo!() }\nfn b() { unimplemented!(\"x\") }\nfn c() { dbg!(1); }"), 3);
        assert_eq!(check("// TODO: later\n/* FIXME */\n/// TODO(me): x\nfn a() {}"), 3);
    }

    #[test]
    fn silenced_lints_are_caught() {
        assert_eq!(check("#![allow(clippy::all)]\n#[allow(dead_code)] fn a() {}\n#[allow(unused_mut)] fn b() {}"), 3);
        assert_eq!(check("#[cfg_attr(test, allow(dead_code))] fn a() {}"), 1);
    }

    #[test]
    fn sleeping_threads_are_caught_in_tests() {
        assert_eq!(check("#[cfg(test)] mod tests { fn a() { std::thread::sleep(b); } }"), 1);
        assert_eq!(check("#[cfg(test)] mod tests { use std::thread::{self, sleep}; }"), 1);
        let files = [("crates/a/tests/it/main.rs", "use std::thread; fn a() { thread::sleep(b) }")];
        assert_eq!(is_not_written(&Workspace::of(&files)).len(), 1);
    }

    #[test]
    fn ignored_examples_are_caught() {
        assert_eq!(check("/// ```ignore\n/// ```\nfn a() {}"), 1);
        assert_eq!(check("//! ```rust,ignore\n//! ```"), 1);
    }
}
