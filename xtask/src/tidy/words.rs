//! Plain words: no dialect, no persons where programs are meant, no name that was replaced.

use super::Violation;
use super::workspace::Workspace;

/// Words and phrases, and what to write instead.
const PHRASES: [(&str, &str); 36] = [
    ("whoever", "the caller, a client, a task"),
    ("whomever", "the caller, a client, a task"),
    ("he", "it, they"),
    ("him", "it, them"),
    ("his", "its, their"),
    ("himself", "itself"),
    ("is told", "gets, sees, is reported"),
    ("are told", "get, see, are reported"),
    ("was told", "got, was reported"),
    ("were told", "got, were reported"),
    ("be told", "get, be reported"),
    ("been told", "got, been reported"),
    ("being told", "being reported"),
    ("to be had", "available, supported"),
    ("who comes", "the next caller, a client"),
    ("who come", "callers, clients"),
    ("in vain", "without a result"),
    ("what is to be", "what must be"),
    ("keeps house", "runs the maintenance task"),
    ("keep house", "run the maintenance task"),
    ("come to an end", "finished, ended"),
    ("comes to an end", "ends"),
    ("came to an end", "ended"),
    ("keeper", "maintenance task"),
    ("keepers", "maintenance tasks"),
    ("aftermath", "effects; ErrorImpact"),
    ("examine", "validate"),
    ("examines", "validates"),
    ("examined", "validated"),
    ("examining", "validating"),
    ("examination", "validation"),
    ("prove", "verify; validate"),
    ("proves", "verifies; validates"),
    ("proved", "verified; validated"),
    ("proving", "verifying; validating"),
    ("unproven", "unverified; untested"),
];

/// Names that were replaced, and the new ones.
const NAMES: [(&str, &str); 15] = [
    ("Stamp", "EventContext"),
    ("PLACES_MAX", "MAX_CONNECTIONS"),
    ("CLOSE_LIMIT", "DEFAULT_CLOSE_TIMEOUT"),
    ("NotKept", "NotPooled"),
    ("HomeEnded", "RuntimeShutDown"),
    ("Unproven", "Unverified"),
    ("Enclosure", "TransactionWrapper"),
    ("Errand", "CancelTransport"),
    ("Suspicion", "FailoverDetector"),
    ("PoolLink", "WeakPoolHandle"),
    ("DatabaseLink", "AnyConnection"),
    ("loans_in_turn", "acquires_per_turn"),
    ("home_stalled", "runtime_stalled_for"),
    ("set_for", "set_with_ttl"),
    ("TELL_EVERY", "REPORT_INTERVAL"),
];

/// Where they may stand: this file has to name them.
const EXCEPT: &[&str] = &["xtask/src/tidy/words.rs"];

/// No banned word stands in code, comments, messages or pages.
pub fn are_plain(workspace: &Workspace) -> Vec<Violation> {
    let sources =
        workspace.sources.iter().map(|source| (source.path.as_str(), source.text.as_str()));
    let texts = workspace.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    let files = sources
        .chain(texts)
        .filter(|(path, _)| !EXCEPT.iter().any(|place| path.starts_with(place)));
    files.flat_map(|(path, text)| check(path, text)).collect()
}

fn check(path: &str, text: &str) -> Vec<Violation> {
    let words = words(text);
    let mut violations = Vec::new();
    for at in 0..words.len() {
        let follows = |phrase: &str| {
            let mut rest = words.iter().skip(at);
            phrase.split(' ').all(|word| rest.next().is_some_and(|(_, found)| found == word))
        };
        for (phrase, plain) in PHRASES.iter().filter(|(phrase, _)| follows(phrase)) {
            let message = format!("`{phrase}` is not plain English; write for example: {plain}");
            violations.push(Violation::new(
                path,
                words.get(at).map_or(1, |(line, _)| *line),
                message,
            ));
        }
    }
    for (line, identifier) in identifiers(text) {
        if let Some((old, new)) = NAMES.iter().find(|(old, _)| *old == identifier) {
            violations.push(Violation::new(path, line, format!("`{old}` is called {new} now")));
        }
    }
    violations
}

/// The identifiers of a text, and all that looks like them, with their lines.
pub fn identifiers(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(at, line)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').map(move |name| (at + 1, name))
    })
}

/// The words of a text in lower case with their lines. Identifiers are split at underscores and
/// capitals.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut previous = ' ';
        for c in line.chars() {
            let begins = !previous.is_alphabetic() || (c.is_uppercase() && previous.is_lowercase());
            if c.is_alphabetic() {
                match words.last_mut() {
                    Some((_, word)) if !begins => word.extend(c.to_lowercase()),
                    _ => words.push((at + 1, c.to_lowercase().collect())),
                }
            }
            previous = c;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let violations = are_plain(&Workspace::of(&[("crates/a/src/lib.rs", text)]));
        violations.into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn plain_words_and_those_that_only_begin_alike_pass() {
        assert_eq!(
            lines("// The caller gets an error; heap, history, improved, told, retold.\n"),
            [0; 0]
        );
    }

    #[test]
    fn words_phrases_and_parts_of_identifiers_are_caught() {
        assert_eq!(
            lines("// Whoever asks.\nfn a_caller_is_told_why() {}\nstruct PoolKeeper;\n"),
            [1, 2, 3]
        );
        assert_eq!(
            lines("let a = \"this is not to be had\";\n/// The pool is\n/// told.\n"),
            [1, 2]
        );
    }

    #[test]
    fn a_replaced_name_is_caught_and_a_longer_one_passes() {
        assert_eq!(lines("fn a(stamp: Stamp, other: Stamped) {}\n"), [1]);
    }
}
