//! What is not written here, each with what to write instead. Clippy refuses the rest: `todo!`,
//! `dbg!`, `allow`, and the functions of `clippy.toml`.

use super::Violation;
use super::workspace::Workspace;

/// None of the forbidden things stands in the code or its comments.
pub fn is_not_written(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        for (at, line) in source.text.lines().enumerate() {
            let text = line.trim_start();
            let found = [ignored_test(text), promise_without_issue(text), ignored_example(text)];
            let found = found.into_iter().flatten();
            violations.extend(found.map(|message| Violation::new(&source.path, at + 1, message)));
        }
    }
    violations
}

/// `#[ignore]`, also as `#[cfg_attr(.., ignore)]`.
fn ignored_test(text: &str) -> Option<String> {
    let attribute = text.strip_prefix("#[")?;
    let ignored = attribute.starts_with("ignore")
        || (attribute.starts_with("cfg_attr") && attribute.contains(" ignore"));
    let message =
        "an ignored test is never run; print `SKIP` and why where it cannot run, or delete it";
    ignored.then(|| message.to_owned())
}

/// A promise to do it later that nobody can look up.
fn promise_without_issue(text: &str) -> Option<String> {
    let comment = text.find("//").and_then(|at| text.get(at..))?;
    let mut words = comment.split(|c: char| !c.is_alphanumeric() && c != '_');
    let word = words.find(|word| ["TODO", "FIXME"].contains(word))?;
    let issue = comment.split_once(&format!("{word}(#")).and_then(|(_, rest)| rest.split_once(')'));
    let numbered = issue.is_some_and(|(number, _)| number.parse::<u64>().is_ok());
    (!numbered).then(|| {
        format!("`{word}` without an issue is forgotten; do it now, or write `{word}(#12)`")
    })
}

/// An example in the docs that is never compiled.
fn ignored_example(text: &str) -> Option<String> {
    let fence = text.strip_prefix("//")?.trim_start_matches(['/', '!', ' ']).strip_prefix("```")?;
    let ignored = fence.split(',').any(|word| word.trim() == "ignore");
    ignored.then(|| "an ignored example rots; let it run, or mark it `no_run` or `text`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> usize {
        is_not_written(&Workspace::of(&[("crates/a/src/lib.rs", text)])).len()
    }

    #[test]
    fn ordinary_code_passes() {
        assert_eq!(
            check(
                "#[test]\nfn ignore() {\n    ignore();\n}\nconst A: &str = \"TODO\"; // AUTODOC\n"
            ),
            0
        );
        assert_eq!(check("// TODO(#12): later\n/// ```no_run\n/// ```\nfn a() {}\n"), 0);
    }

    #[test]
    fn ignored_tests_and_examples_are_caught() {
        assert_eq!(check("#[test]\n#[ignore]\nfn a() {}\n#[ignore = \"slow\"]\nfn b() {}\n"), 2);
        assert_eq!(
            check("#[cfg_attr(miri, ignore)]\nfn a() {}\n/// ```ignore\n/// ```\nfn b() {}\n"),
            2
        );
        assert_eq!(check("//! ```rust,ignore\n//! ```"), 1);
    }

    #[test]
    fn a_promise_without_an_issue_is_caught() {
        assert_eq!(
            check(
                &["// TO", "DO: later\na(); // FIX", "ME\n/// TO", "DO(me): x\nfn a() {}"].concat()
            ),
            3
        );
    }
}
